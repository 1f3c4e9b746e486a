/**
 * Publishing by WebRTC: one POST with an offer, one answer (WHIP, RFC 9725). What breaks is begun
 * anew, as a new epoch of the room; who is refused is told why.
 */
import { backoffMs } from "./backoff.js";
import { gathered } from "./ice.js";

export interface WhipOptions {
  token?: string | null;
  iceServers?: RTCIceServer[];
}

/** `over`: somebody else publishes in this room now. */
export type WhipState = "connecting" | "live" | "waiting" | "refused" | "over" | "closed";

const AGAIN = { base_ms: 400, max_ms: 5_000, factor: 1.6 };
const BITS_PER_S_MAX = 2_500_000;
/** What no second try changes: who we are, what we may do, what we offer. */
const REFUSALS = [400, 401, 403, 406, 415];

/** Publishes a stream to a room until it is closed. */
export class WhipPublisher {
  /** Told whenever the state changes; `why` of a refusal. */
  onState: (state: WhipState, why: string) => void = () => undefined;
  #url: string;
  #stream: MediaStream;
  #options: WhipOptions;
  #connection: RTCPeerConnection | null = null;
  #session: string | null = null;
  #tries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(url: string, stream: MediaStream, options: WhipOptions = {}) {
    this.#url = url;
    this.#stream = stream;
    this.#options = options;
    void this.#begin();
  }

  /** What is being sent, as the browser counts it; null while nothing is. */
  async stats(): Promise<RTCStatsReport | null> {
    return this.#connection?.getStats() ?? null;
  }

  close(): void {
    this.#isClosed = true;
    this.#end();
    this.onState("closed", "");
  }

  async #begin(): Promise<void> {
    if (this.#isClosed) return;
    this.onState("connecting", "");
    const connection = (this.#connection = new RTCPeerConnection({ iceServers: this.#options.iceServers ?? [] }));
    connection.onconnectionstatechange = () => this.#changed(connection);
    for (const track of this.#stream.getTracks()) this.#send(connection, track);
    try {
      await this.#negotiate(connection);
    } catch (error) {
      if (error instanceof WhipRefusal) this.#stop("refused", error.message);
      else this.#again(connection);
    }
  }

  #send(connection: RTCPeerConnection, track: MediaStreamTrack): void {
    const isVideo = track.kind === "video";
    const sendEncodings = isVideo ? [{ maxBitrate: BITS_PER_S_MAX }] : [{}];
    const transceiver = connection.addTransceiver(track, { direction: "sendonly", streams: [this.#stream], sendEncodings });
    if (!isVideo) return;
    // HLS and recordings carry H.264, and nothing is encoded anew on the way there.
    const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
    const isH264 = (codec: { mimeType: string }) => codec.mimeType === "video/H264";
    transceiver.setCodecPreferences([...codecs.filter(isH264), ...codecs.filter((codec) => !isH264(codec))]);
  }

  async #negotiate(connection: RTCPeerConnection): Promise<void> {
    await connection.setLocalDescription();
    await gathered(connection);
    const answer = await fetch(this.#url, {
      method: "POST",
      headers: { "content-type": "application/sdp", ...this.#authorization() },
      body: connection.localDescription?.sdp ?? "",
    });
    if (REFUSALS.includes(answer.status)) throw new WhipRefusal(await detailOf(answer));
    if (answer.status !== 201) throw new Error(`WHIP answers ${answer.status}`);
    const location = answer.headers.get("location");
    this.#session = location === null ? null : new URL(location, answer.url).href;
    await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    for (const { transport } of connection.getSenders()) {
      // The server has said goodbye. Without a word it is ICE that notices, which is a failure.
      transport?.addEventListener("statechange", () => {
        if (transport.state === "closed") void this.#ended(connection);
      });
    }
  }

  /** The server has ended it: for somebody else who publishes now, or because it goes away. */
  async #ended(connection: RTCPeerConnection): Promise<void> {
    if (connection !== this.#connection || this.#isClosed) return;
    const clock = await fetch(this.#url.replace(/\/whip$/, "/clock"), { cache: "no-store" }).catch(() => null);
    const { running } = (clock?.ok ? await clock.json() : {}) as { running?: boolean };
    if (running === true) this.#stop("over", "");
    else this.#again(connection);
  }

  #changed(connection: RTCPeerConnection): void {
    if (connection !== this.#connection) return;
    if (connection.connectionState === "connected") {
      this.#tries = 0;
      this.onState("live", "");
    } else if (connection.connectionState === "failed") {
      this.#again(connection);
    }
  }

  #again(connection: RTCPeerConnection): void {
    if (connection !== this.#connection || this.#isClosed) return;
    this.#end();
    this.onState("waiting", "");
    this.#tries += 1;
    this.#timer = setTimeout(() => void this.#begin(), backoffMs(AGAIN, this.#tries, Math.random()));
  }

  #stop(state: WhipState, why: string): void {
    this.#isClosed = true;
    this.#end();
    this.onState(state, why);
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = null;
    // The server would notice by itself, after a while.
    if (this.#session !== null) {
      void fetch(this.#session, { method: "DELETE", keepalive: true, headers: this.#authorization() }).catch(() => undefined);
    }
    this.#session = null;
  }

  #authorization(): Record<string, string> {
    const { token } = this.#options;
    return token ? { authorization: `Bearer ${token}` } : {};
  }
}

class WhipRefusal extends Error {}

/** What a problem document (RFC 9457) says in words. */
async function detailOf(answer: Response): Promise<string> {
  const told = (await answer.json().catch(() => ({}))) as { detail?: string; title?: string };
  return told.detail ?? told.title ?? `the server answers ${answer.status}`;
}
