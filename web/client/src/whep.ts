/**
 * Watching by WebRTC: one POST with an offer, one answer (WHEP, draft-ietf-wish-whep). What breaks
 * is begun anew; who is told that there is no room is told where the same picture is as HLS.
 */
import { backoffMs } from "./backoff.js";
import { gathered } from "./ice.js";

export interface WhepOptions {
  token?: string | null;
  iceServers?: RTCIceServer[];
}

export type WhepState = "connecting" | "playing" | "waiting" | "full" | "closed";

/** How long a connection may say nothing after its answer. */
const CONNECT_MS_MAX = 8_000;
const JITTER_MS = 50;
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
  /** The server makes the offer: some engines know no other way. */
  #isOffered = false;

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
    connection.ontrack = ({ track, receiver }) => {
      // Events come as fast as pictures do: a little time to be there before their frame.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = JITTER_MS;
      stream.addTrack(track);
      if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
      void this.#video.play().catch(() => undefined);
    };
    connection.onconnectionstatechange = () => this.#changed(connection);
    try {
      await (this.#isOffered ? this.#answer(connection) : this.#offer(connection));
      this.#timer = setTimeout(() => this.#again(connection, "waiting"), CONNECT_MS_MAX);
    } catch {
      this.#again(connection, this.alternateUrl === null ? "waiting" : "full");
    }
  }

  async #offer(connection: RTCPeerConnection): Promise<void> {
    for (const kind of ["video", "audio"]) connection.addTransceiver(kind, { direction: "recvonly" });
    await connection.setLocalDescription();
    await gathered(connection);
    const sdp = await this.#post(connection.localDescription?.sdp ?? "");
    await connection.setRemoteDescription({ type: "answer", sdp });
  }

  async #answer(connection: RTCPeerConnection): Promise<void> {
    await connection.setRemoteDescription({ type: "offer", sdp: await this.#post(null) });
    await connection.setLocalDescription();
    await gathered(connection);
    const sdp = connection.localDescription?.sdp ?? "";
    const taken = await this.#ask(this.#session ?? this.#url, "PATCH", sdp);
    if (!taken.ok) throw new Error(`WHEP answers ${taken.status}`);
  }

  /** Begin a session by our offer, or by asking for one; what the server describes. */
  async #post(offer: string | null): Promise<string> {
    const answer = await this.#ask(this.#url, "POST", offer);
    this.alternateUrl = answer.status === 503 ? alternateOf(answer.headers.get("link"), answer.url) : null;
    if (answer.status === 406 && offer !== null) this.#isOffered = await offersItself(answer);
    if (answer.status !== 201) throw new Error(`WHEP answers ${answer.status}`);
    const location = answer.headers.get("location");
    this.#session = location === null ? null : new URL(location, answer.url).href;
    return answer.text();
  }

  async #ask(url: string, method: "POST" | "PATCH", sdp: string | null): Promise<Response> {
    const { token } = this.#options;
    const headers = new Headers(sdp === null ? {} : { "content-type": "application/sdp" });
    if (token) headers.set("authorization", `Bearer ${token}`);
    return fetch(url, { method, headers, body: sdp });
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

/** Whether a refusal says that the server makes the offers. */
async function offersItself(refusal: Response): Promise<boolean> {
  const { code } = (await refusal.json().catch(() => ({}))) as { code?: string };
  return code === "server_offers";
}

/** The target of a `Link: <…>; rel="alternate"` header (RFC 8288). */
function alternateOf(link: string | null, base: string): string | null {
  const [, target] = link?.match(/<([^>]*)>\s*;[^,]*rel="?alternate"?/) ?? [];
  return target === undefined ? null : new URL(target, base).href;
}
