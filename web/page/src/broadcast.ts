/** The host's video: from a camera, or a test picture, published by WHIP. */
import { WhipPublisher, type WhipState } from "@live-engagement/client";
import { el } from "./dom.js";
import { mediaUrl } from "./media.js";
import { TestPicture } from "./test-picture.js";

const STATS_MS = 2_000;
const CAMERA = { video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } }, audio: true };
const WORDS: Record<WhipState, string> = {
  connecting: "Connecting…",
  live: "On the air",
  waiting: "Cut off, trying again…",
  refused: "Refused",
  over: "Somebody else publishes in this room now",
  closed: "Off the air",
};

export class Broadcast {
  readonly root: HTMLElement;
  #room: string;
  #token: string;
  #publisher: WhipPublisher | null = null;
  #picture: TestPicture | null = null;
  #stream: MediaStream | null = null;
  #bytes = { sent: 0, atMs: 0 };
  #video = el("video", { class: "preview", autoplay: true, playsinline: true, hidden: true, "aria-label": "What you publish" });
  #state = el("p", { class: "on-air", role: "status", "data-state": "closed" }, "Viewers see a picture as soon as you publish.");
  #camera = el("button", { type: "button", class: "primary" }, "Camera");
  #test = el("button", { type: "button" }, "Test picture");
  #stop = el("button", { type: "button", class: "danger", hidden: true }, "Stop");

  constructor(room: string, token: string) {
    this.#room = room;
    this.#token = token;
    this.#video.muted = true;
    this.#camera.addEventListener("click", () => void this.#fromCamera());
    this.#test.addEventListener("click", () => this.#fromPicture());
    this.#stop.addEventListener("click", () => this.stop());
    this.root = el(
      "section",
      { class: "card broadcast", hidden: mediaUrl() === null },
      el("h2", {}, "Your video"),
      this.#video,
      this.#state,
      el("div", { class: "broadcast-buttons" }, this.#camera, this.#test, this.#stop),
    );
    setInterval(() => void this.#count(), STATS_MS);
  }

  /** A gift has arrived at the host. */
  react(text: string): void {
    this.#picture?.react(text);
  }

  /** Off the air. */
  stop(): void {
    this.#publisher?.close();
    this.#release();
  }

  async #fromCamera(): Promise<void> {
    this.#camera.disabled = true;
    try {
      this.#publish(await navigator.mediaDevices.getUserMedia(CAMERA));
    } catch (error) {
      const { name, message } = error as Error;
      this.#tell("refused", name === "NotAllowedError" ? "The browser was not allowed to use the camera." : `No camera: ${message}`);
    } finally {
      this.#camera.disabled = false;
    }
  }

  #fromPicture(): void {
    this.#picture = new TestPicture(this.#room);
    this.#publish(this.#picture.stream);
  }

  #publish(stream: MediaStream): void {
    this.#stream = stream;
    this.#video.srcObject = stream;
    this.#show(true);
    this.#bytes = { sent: 0, atMs: performance.now() };
    const url = `${mediaUrl()}/v1/rooms/${encodeURIComponent(this.#room)}/whip`;
    const publisher = (this.#publisher = new WhipPublisher(url, stream, { token: this.#token }));
    publisher.onState = (state, why) => {
      this.#tell(state, why === "" ? WORDS[state] : `${WORDS[state]}: ${why}`);
      if (state === "refused" || state === "over") this.#release();
    };
  }

  #release(): void {
    this.#publisher = null;
    this.#picture?.close();
    this.#picture = null;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
    this.#show(false);
  }

  #show(isPublishing: boolean): void {
    this.#video.hidden = this.#stop.hidden = !isPublishing;
    this.#camera.hidden = this.#test.hidden = isPublishing;
  }

  #tell(state: WhipState, text: string): void {
    this.#state.dataset["state"] = state;
    this.#state.textContent = text;
  }

  /** What is being sent: "On the air · 640 × 360 · 30 fps · 0.8 Mbit/s". */
  async #count(): Promise<void> {
    if (this.#state.dataset["state"] !== "live") return;
    const stats = await this.#publisher?.stats();
    stats?.forEach((one: { type: string; kind?: string; bytesSent?: number; frameWidth?: number; frameHeight?: number; framesPerSecond?: number }) => {
      if (one.type !== "outbound-rtp" || one.kind !== "video") return;
      const nowMs = performance.now();
      const sent = one.bytesSent ?? 0;
      const megabits = ((sent - this.#bytes.sent) * 8) / 1_000 / Math.max(1, nowMs - this.#bytes.atMs);
      this.#bytes = { sent, atMs: nowMs };
      const size = one.frameWidth === undefined ? "" : ` · ${one.frameWidth} × ${one.frameHeight}`;
      this.#tell("live", `${WORDS.live}${size} · ${Math.round(one.framesPerSecond ?? 0)} fps · ${megabits.toFixed(1)} Mbit/s`);
    });
  }
}
