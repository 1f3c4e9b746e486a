/** A room's recordings as one film: every epoch that is on disk, one after the other. */
import { HlsPlayhead, type MediaTime, type RecordedPlayhead } from "@live-engagement/client";
import { mediaUrl } from "./media.js";

const LISTING_MS_MAX = 3_000;
/** An epoch that begins so soon is what a player has stumbled over: it reads ahead. */
const NEAR_MS = 2_500;

/** What a replay moves along: a playhead with a beginning and an end. */
export type Reel = Pick<
  RecordedPlayhead,
  "basis" | "rate" | "durationMs" | "play" | "pause" | "seek" | "elapsedMs" | "elapsedAt" | "position"
>;

/** One epoch as the media process lists it. */
interface Recording {
  epoch: number;
  began_ms: number;
  pts_ms: number;
  duration_ms: number;
}

/** One epoch in the film; `startMs` from its beginning. */
interface Span {
  epoch: number;
  beganMs: number;
  fromMs: number;
  durationMs: number;
  startMs: number;
}

/** What is recorded of a room, the first epoch first; none where there is no media process. */
export async function recordingsOf(room: string): Promise<Recording[]> {
  const base = mediaUrl();
  if (base === null) return [];
  const url = `${base}/v1/rooms/${encodeURIComponent(room)}/vod`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(LISTING_MS_MAX) }).catch(() => null);
  if (!answer?.ok) return [];
  const { items } = (await answer.json()) as { items: Recording[] };
  return items.sort((one, other) => one.epoch - other.epoch);
}

/** Plays the recordings of a room in a `<video>`; where it is, its frames say. */
export class RecordedVideo implements Reel {
  readonly basis = "vod";
  readonly durationMs: number;
  readonly playhead: HlsPlayhead;
  #video: HTMLVideoElement;
  #spans: Span[] = [];

  private constructor(video: HTMLVideoElement, recordings: readonly Recording[], playhead: (at: Dated) => HlsPlayhead) {
    this.#video = video;
    let startMs = 0;
    for (const { epoch, began_ms: beganMs, pts_ms: fromMs, duration_ms: durationMs } of recordings) {
      this.#spans.push({ epoch, beganMs, fromMs, durationMs, startMs });
      startMs += durationMs;
    }
    this.durationMs = startMs;
    this.playhead = playhead({ at: (serverMs) => this.#at(serverMs) });
    const [first] = this.#spans;
    if (first !== undefined) this.playhead.moved({ epoch: first.epoch, ptsMs: first.fromMs });
  }

  /** Load the recordings of a room into a video; `failed` is told of what cannot be mended. */
  static async load(
    video: HTMLVideoElement, room: string, recordings: readonly Recording[], failed: (why: string) => void,
  ): Promise<RecordedVideo> {
    const first = recordings[0]?.epoch ?? 0;
    const last = recordings.at(-1)?.epoch ?? first;
    const url = `${mediaUrl()}/v1/rooms/${encodeURIComponent(room)}/vod/${first}-${last}/index.m3u8`;
    const { default: Hls } = await import("hls.js/light");
    if (!Hls.isSupported()) {
      video.src = url;
      video.addEventListener("error", () => failed(video.error?.message ?? ""));
      return new RecordedVideo(video, recordings, (dated) => new HlsPlayhead(video, null, dated, "vod"));
    }
    const begin = (startPosition: number) => {
      const hls = new Hls({ enableWorker: false, startPosition });
      hls.on(Hls.Events.ERROR, (_, { fatal, type, details }) => {
        if (!fatal) return;
        const isPlaying = !video.paused;
        const againS = recorded.#beyond(video.currentTime);
        hls.destroy();
        if (type !== Hls.ErrorTypes.MEDIA_ERROR) return failed(details);
        // From one epoch to the next there may be sound, or another codec: buffers are made anew.
        recorded.playhead.player = begin(againS);
        if (isPlaying) video.addEventListener("loadedmetadata", () => recorded.play(0), { once: true });
      });
      hls.loadSource(url);
      hls.attachMedia(video);
      return hls;
    };
    // What is still being recorded begins at its beginning too.
    const hls = begin(0);
    const recorded = new RecordedVideo(video, recordings, (dated) => new HlsPlayhead(video, hls, dated, "vod"));
    return recorded;
  }

  get rate(): number {
    return this.playhead.rate;
  }

  play(_nowMs: number, speed = this.#video.playbackRate): void {
    // The default is what a source that is loaded later begins with.
    this.#video.defaultPlaybackRate = this.#video.playbackRate = speed;
    // Where the browser wants a click first, the button is there.
    void this.#video.play().catch(() => undefined);
  }

  pause(): void {
    this.#video.pause();
  }

  seek(toMs: number): void {
    const atMs = Math.min(Math.max(0, toMs), this.durationMs);
    const span = this.#spans.findLast((one) => one.startMs <= atMs);
    if (span === undefined) return;
    this.playhead.moved({ epoch: span.epoch, ptsMs: span.fromMs + atMs - span.startMs });
    this.#video.currentTime = atMs / 1000;
  }

  elapsedMs(): number {
    return this.#video.ended ? this.durationMs : Math.min(this.#video.currentTime * 1000, this.durationMs);
  }

  elapsedAt(time: MediaTime): number | null {
    const span = this.#spans.find((one) => one.epoch === time.epoch);
    return span === undefined ? null : span.startMs + time.ptsMs - span.fromMs;
  }

  position(nowMs: number): MediaTime | null {
    return this.playhead.position(nowMs);
  }

  /** Where to go on after this time could not be played, in s: the epoch that begins there, or here. */
  #beyond(atS: number): number {
    const next = this.#spans.find((one) => one.startMs > atS * 1000);
    const isNear = next !== undefined && next.startMs - atS * 1000 < NEAR_MS;
    return isNear ? next.startMs / 1000 + 0.01 : atS;
  }

  #at(serverMs: number): MediaTime | null {
    const span = this.#spans.findLast((one) => one.beganMs <= serverMs);
    return span === undefined ? null : { epoch: span.epoch, ptsMs: span.fromMs + serverMs - span.beganMs };
  }
}

interface Dated {
  at(serverMs: number): MediaTime | null;
}
