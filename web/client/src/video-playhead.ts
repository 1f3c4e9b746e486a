/**
 * Playheads of `<video>` elements. A position is that of the frame that is shown, never of one that
 * is to come: an event is released with the first frame that is not before its stamp.
 */
import type { MediaClock, MediaTime, ServerClock } from "./clock.js";
import type { Basis, Playhead } from "./playhead.js";

/** Which media time was the newest at this time of the server, Unix ms. */
export interface DatedMedia {
  at(serverMs: number): MediaTime | null;
}

interface Clocks {
  media: MediaClock;
  server: ServerClock;
  /** The time of the clock that playheads are asked with, in ms. */
  now(): number;
}

/** Looks at every frame that a video shows. */
abstract class VideoPlayhead implements Playhead {
  abstract readonly basis: Basis;
  /** Called with every new frame: a track's `wake` belongs here. */
  onFrame: () => void = () => undefined;
  /** Tells where we are until the first frame is on screen. */
  before: Playhead | null = null;
  protected readonly video: HTMLVideoElement;
  #shown: MediaTime | null = null;
  #handle = 0;
  #ended = () => this.onFrame();
  #timer: ReturnType<typeof setInterval> | null = null;

  constructor(video: HTMLVideoElement) {
    this.video = video;
    if (typeof video.requestVideoFrameCallback === "function") this.#watch();
    // Elsewhere the element's own time, which is up to 250 ms behind, is all there is.
    else this.#timer = setInterval(() => this.#show(null), POLL_MS);
    video.addEventListener("ended", this.#ended);
  }

  position(nowMs: number): MediaTime | null {
    if (this.#shown === null) return this.before?.position(nowMs) ?? null;
    return this.video.ended ? { ...this.#shown, isEnd: true } : this.#shown;
  }

  /** The player was sent there; what is on screen until it has arrived does not count. */
  moved(to: MediaTime): void {
    this.#shown = to;
  }

  get rate(): number {
    if (this.#shown === null && this.before !== null) return this.before.rate ?? 1;
    return this.video.paused ? 0 : this.video.playbackRate;
  }

  /** Look no further. */
  close(): void {
    if (this.#timer === null) this.video.cancelVideoFrameCallback(this.#handle);
    else clearInterval(this.#timer);
    this.video.removeEventListener("ended", this.#ended);
  }

  /** The media time of a frame; null keeps what was. */
  protected abstract locate(frame: VideoFrameCallbackMetadata | null): MediaTime | null;

  #watch(): void {
    this.#handle = this.video.requestVideoFrameCallback((_, frame) => {
      this.#show(frame);
      this.#watch();
    });
  }

  #show(frame: VideoFrameCallbackMetadata | null): void {
    const found = this.video.seeking ? null : this.locate(frame);
    if (found === null) return;
    this.#shown = found;
    this.onFrame();
  }
}

const POLL_MS = 40;

/**
 * Video by WebRTC: a frame's RTP timestamp is the publisher's own (`rtpTimestamp` of
 * requestVideoFrameCallback), and the room's anchors say which media time that is. Where browsers
 * do not tell it, by the time at which the frame was captured, or else received.
 */
export class WebRtcPlayhead extends VideoPlayhead {
  readonly basis = "webrtc";
  #clocks: Clocks;

  constructor(video: HTMLVideoElement, clocks: Clocks) {
    super(video);
    this.#clocks = clocks;
  }

  protected override locate(frame: VideoFrameCallbackMetadata | null): MediaTime | null {
    const { media, server } = this.#clocks;
    const nowMs = this.#clocks.now();
    if (frame?.rtpTimestamp !== undefined) {
      return media.ofRtp(frame.rtpTimestamp, server.at(nowMs));
    }
    const capturedMs = frame?.captureTime ?? frame?.receiveTime;
    const ageMs = capturedMs === undefined ? 0 : performance.now() - capturedMs;
    return media.at(server.at(nowMs - ageMs));
  }
}

/** What of an hls.js player is looked at. */
export interface HlsPlayer {
  readonly playingDate: Date | null;
  readonly currentLevel: number;
  readonly levels: readonly { readonly details?: HlsDetails | undefined }[];
}

interface HlsFragment {
  readonly start: number;
  readonly tagList: readonly (readonly string[])[];
}

interface HlsDetails {
  readonly fragments: readonly HlsFragment[];
  /** The segment that is still being made, of which there are parts already. */
  readonly fragmentHint?: HlsFragment | null | undefined;
}

/**
 * Video by HLS, live or recorded: every segment carries the media time of its first frame
 * (`#EXT-X-LIVE-MEDIA-TIME`); playlists of others, and players that keep tags to themselves
 * (`hls` null: Safari's own), go by the date of the frame on the server's clock.
 */
export class HlsPlayhead extends VideoPlayhead {
  readonly basis: "hls" | "vod";
  /** Who plays now: a player that was made anew takes the place of another. */
  player: HlsPlayer | null;
  #media: DatedMedia;

  constructor(video: HTMLVideoElement, hls: HlsPlayer | null, media: DatedMedia, basis: "hls" | "vod" = "hls") {
    super(video);
    this.player = hls;
    this.#media = media;
    this.basis = basis;
  }

  protected override locate(frame: VideoFrameCallbackMetadata | null): MediaTime | null {
    const atS = frame?.mediaTime ?? this.video.currentTime;
    return this.#tagged(atS) ?? this.#dated(atS);
  }

  #tagged(atS: number): MediaTime | null {
    const hls = this.player;
    const details = hls?.levels[Math.max(0, hls.currentLevel)]?.details;
    const hint = details?.fragmentHint;
    const begun = (one: HlsFragment) => one.start <= atS + ROUNDING_S;
    const fragment = hint && begun(hint) ? hint : details?.fragments.findLast(begun);
    const tag = fragment?.tagList.find((one) => one[0]?.endsWith("EXT-X-LIVE-MEDIA-TIME"));
    const [, epoch, ptsMs] = tag?.[1]?.match(/EPOCH=(\d+),PTS=(-?[\d.]+)/) ?? [];
    if (fragment === undefined || epoch === undefined || ptsMs === undefined) return null;
    return { epoch: Number(epoch), ptsMs: Number(ptsMs) + (atS - fragment.start) * 1000 };
  }

  #dated(atS: number): MediaTime | null {
    const video = this.video as HTMLVideoElement & { getStartDate?: () => Date };
    const behindMs = (atS - video.currentTime) * 1000;
    const dateMs = this.player === null
      ? (video.getStartDate?.().getTime() ?? Number.NaN) + video.currentTime * 1000
      : (this.player.playingDate?.getTime() ?? Number.NaN);
    return Number.isNaN(dateMs) ? null : this.#media.at(dateMs + behindMs);
  }
}

/** Starts of fragments are sums of durations. */
const ROUNDING_S = 0.001;
