/** Playheads: which frame a viewer sees now. One implementation per kind of player. */
import type { MediaClock, MediaTime, ServerClock } from "./clock.js";
import type { ReleaseReport } from "./generated/requests.js";

/** How a playhead knows its media time. */
export type Basis = ReleaseReport["basis"];

/** The media time of the frame on a viewer's screen. */
export interface Playhead {
  readonly basis: Basis;
  /** At this time of our own clock (ms); null while there is no player or no clock. */
  position(nowMs: number): MediaTime | null;
  /** Media ms per ms: 1 in live, the speed in a replay, 0 while paused. Absent means 1. */
  readonly rate?: number;
}

/** Live media without a player: the server's media clock, seen `delayMs` late. */
export class SyntheticPlayhead implements Playhead {
  readonly basis = "synthetic";
  readonly delayMs: number;
  #media: MediaClock;
  #server: ServerClock;

  constructor(clocks: { media: MediaClock; server: ServerClock }, delayMs: number) {
    this.#media = clocks.media;
    this.#server = clocks.server;
    this.delayMs = delayMs;
  }

  position(nowMs: number): MediaTime | null {
    return this.#media.at(this.#server.at(nowMs) - this.delayMs);
  }
}

/**
 * A recording that is played by the page itself: runs at `rate` through epochs one after the
 * other, can be paused and moved.
 */
export class RecordedPlayhead implements Playhead {
  readonly basis = "vod";
  #spans: { epoch: number; fromMs: number; toMs: number; startMs: number }[] = [];
  #rate = 0;
  #speed = 1;
  #atMs = 0;
  #sinceMs = 0;

  /** `spans`: first and last media time of each epoch, in order. May be extended while playing. */
  setSpans(spans: Iterable<{ epoch: number; fromMs: number; toMs: number }>): void {
    let startMs = 0;
    this.#spans = [];
    for (const span of spans) {
      this.#spans.push({ ...span, startMs });
      startMs += span.toMs - span.fromMs;
    }
  }

  /** Length of the whole recording in ms. */
  get durationMs(): number {
    const last = this.#spans.at(-1);
    return last === undefined ? 0 : last.startMs + last.toMs - last.fromMs;
  }

  get rate(): number {
    return this.#rate;
  }

  play(nowMs: number, speed = this.#speed): void {
    this.#settle(nowMs);
    this.#speed = this.#rate = speed;
  }

  pause(nowMs: number): void {
    this.#settle(nowMs);
    this.#rate = 0;
  }

  /** Jump to this many ms from the beginning of the recording. */
  seek(toMs: number, nowMs: number): void {
    this.#atMs = Math.min(Math.max(0, toMs), this.durationMs);
    this.#sinceMs = nowMs;
  }

  /** ms since the beginning of the recording, over all epochs. */
  elapsedMs(nowMs: number): number {
    const atMs = this.#atMs + (nowMs - this.#sinceMs) * this.#rate;
    return Math.min(Math.max(0, atMs), this.durationMs);
  }

  /** Where a media time lies, in ms from the beginning of the recording; null if nowhere. */
  elapsedAt(time: MediaTime): number | null {
    const span = this.#spans.find((one) => one.epoch === time.epoch);
    return span === undefined ? null : span.startMs + time.ptsMs - span.fromMs;
  }

  position(nowMs: number): MediaTime | null {
    const elapsedMs = this.elapsedMs(nowMs);
    const span = this.#spans.findLast((one) => one.startMs <= elapsedMs);
    if (span === undefined) return null;
    return { epoch: span.epoch, ptsMs: span.fromMs + elapsedMs - span.startMs };
  }

  #settle(nowMs: number): void {
    this.#atMs = this.elapsedMs(nowMs);
    this.#sinceMs = nowMs;
  }
}
