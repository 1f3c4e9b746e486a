/**
 * Watching by WebRTC: one POST with an offer, one answer (WHEP, draft-ietf-wish-whep). What breaks
 * is begun anew; who is told that there is no room is told where the same picture is as HLS.
 */
import { backoffMs } from "./backoff.js";

export interface WhepOptions {
  token?: string | null;
  iceServers?: RTCIceServer[];
}

export type WhepState = "connecting" | "playing" | "waiting" | "full" | "closed";

/** How long a connection may say nothing after its answer. */
const CONNECT_MS_MAX = 8_000;
const JITTER_MS = 50;
const GATHER_MS_MAX = 1_000;
const AGAIN = { base_ms: 400, max_ms: 5_000, factor: 1.6 };

/** Plays a room into a `<video>` until it is closed. */
export class WhepPlayer {
  /** Told whenever the state changes. */
  onState: (state: WhepState) => void = () => undefined;
  /** Where the same picture is as HLS, once the server has said that it has no room. */
  alternateUrl: string | null = null;
  #url: string;
  #video: HTMLVideoElement;
  #options: WhepOptions;
  #connection: RTCPeerConnection | null = null;
  #session: string | null = null;
  #tries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(url: string, video: HTMLVideoElement, options: WhepOptions = {}) {
    this.#url = url;
    this.#video = video;
    this.#options = options;
    void this.#begin();
  }

  close(): void {
    this.#isClosed = true;
    this.#end();
    this.onState("closed");
  }

  async #begin(): Promise<void> {
    if (this.#isClosed) return;
    this.onState("connecting");
    const connection = (this.#connection = new RTCPeerConnection({ iceServers: this.#options.iceServers ?? [] }));
    const stream = new MediaStream();
    connection.ontrack = ({ track }) => {
      stream.addTrack(track);
      if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
      void this.#video.play().catch(() => undefined);
    };
    connection.onconnectionstatechange = () => this.#changed(connection);
    for (const kind of ["video", "audio"]) {
      const { receiver } = connection.addTransceiver(kind, { direction: "recvonly" });
      // Events come as fast as pictures do: a little time to be there before their frame.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = JITTER_MS;
    }
    try {
      await this.#negotiate(connection);
      this.#timer = setTimeout(() => this.#again(connection, "waiting"), CONNECT_MS_MAX);
    } catch {
      this.#again(connection, this.alternateUrl === null ? "waiting" : "full");
    }
  }

  async #negotiate(connection: RTCPeerConnection): Promise<void> {
    await connection.setLocalDescription();
    await gathered(connection);
    const { token } = this.#options;
    const answer = await fetch(this.#url, {
      method: "POST",
      headers: { "content-type": "application/sdp", ...(token ? { authorization: `Bearer ${token}` } : {}) },
      body: connection.localDescription?.sdp ?? "",
    });
    this.alternateUrl = answer.status === 503 ? alternateOf(answer.headers.get("link"), this.#url) : null;
    if (answer.status !== 201) throw new Error(`WHEP answers ${answer.status}`);
    const location = answer.headers.get("location");
    this.#session = location === null ? null : new URL(location, this.#url).href;
    await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  }

  #changed(connection: RTCPeerConnection): void {
    if (connection !== this.#connection) return;
    if (connection.connectionState === "connected") {
      clearTimeout(this.#timer);
      this.#tries = 0;
      this.onState("playing");
    } else if (connection.connectionState === "failed") {
      this.#again(connection, "waiting");
    }
  }

  #again(connection: RTCPeerConnection, state: WhepState): void {
    if (connection !== this.#connection || this.#isClosed) return;
    this.#end();
    this.onState(state);
    this.#tries += 1;
    this.#timer = setTimeout(() => void this.#begin(), backoffMs(AGAIN, this.#tries, Math.random()));
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = null;
    // The server would notice by itself, after a while.
    if (this.#session !== null) void fetch(this.#session, { method: "DELETE", keepalive: true }).catch(() => undefined);
    this.#session = null;
  }
}

/** All candidates, or those that there are after a moment: on a host without STUN that is at once. */
async function gathered(connection: RTCPeerConnection): Promise<void> {
  if (connection.iceGatheringState === "complete") return;
  await new Promise<void>((resolve) => {
    setTimeout(resolve, GATHER_MS_MAX);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState === "complete") resolve();
    });
  });
}

/** The target of a `Link: <…>; rel="alternate"` header (RFC 8288). */
function alternateOf(link: string | null, base: string): string | null {
  const [, target] = link?.match(/<([^>]*)>\s*;[^,]*rel="?alternate"?/) ?? [];
  return target === undefined ? null : new URL(target, base).href;
}
