/** One player's view of a room: a scheduler with a timer, and how well it released. */
import type { Environment } from "./environment.js";
import type { LiveEvent } from "./generated/events.js";
import type { Playhead } from "./playhead.js";
import { ReleaseScheduler, type Release, type SchedulerOptions } from "./scheduler.js";

/** Release errors kept for the statistics. */
const ERRORS_MAX = 256;

export interface TrackStats {
  /** Events that wait for the playhead. */
  held: number;
  /** Releases by reason, and duplicates dropped. */
  counts: ReleaseScheduler<LiveEvent>["counts"];
  /** Median and 99th percentile of the absolute release error in ms; null before the first. */
  errorP50Ms: number | null;
  errorP99Ms: number | null;
}

export class Track {
  readonly playhead: Playhead | null;
  #scheduler: ReleaseScheduler<LiveEvent>;
  #environment: Environment;
  #released: (release: Release<LiveEvent>) => void;
  #timer: unknown = null;
  #errorsMs: number[] = [];
  #closed: (track: Track) => void;

  constructor(
    playhead: Playhead | null,
    released: (release: Release<LiveEvent>) => void,
    environment: Environment,
    options: SchedulerOptions = {},
    closed: (track: Track) => void = () => undefined,
  ) {
    this.#closed = closed;
    this.playhead = playhead;
    this.#released = released;
    this.#environment = environment;
    this.#scheduler = new ReleaseScheduler(playhead, options);
  }

  /** Take an event in; it is released now or when the playhead gets there. */
  offer(event: LiveEvent): void {
    this.#deliver(this.#scheduler.offer(event, this.#environment.now()));
    this.#sleep();
  }

  /** The playhead was paused, started or changed its rate: look again. */
  wake(): void {
    this.#deliver(this.#scheduler.due(this.#environment.now()));
    this.#sleep();
  }

  /** The playhead was moved: forget what is held, so that events can be offered again. */
  reset(): void {
    this.#scheduler.reset();
    this.#sleep();
  }

  /** Events that wait for the playhead, in the order of their stamps. */
  upcoming(): Iterable<LiveEvent> {
    return this.#scheduler.upcoming();
  }

  stats(): TrackStats {
    const sorted = this.#errorsMs.map(Math.abs).sort((a, b) => a - b);
    const quantile = (share: number) =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
    return {
      held: this.#scheduler.held,
      counts: { ...this.#scheduler.counts },
      errorP50Ms: quantile(0.5),
      errorP99Ms: quantile(0.99),
    };
  }

  /** Stop; what is held is not released any more. */
  close(): void {
    this.#environment.clearTimeout(this.#timer);
    this.#scheduler.reset();
    this.#closed(this);
  }

  #sleep(): void {
    this.#environment.clearTimeout(this.#timer);
    const waitMs = this.#scheduler.waitMs(this.#environment.now());
    // Rounded up: a timer that fires a fraction early would only have to be set again.
    if (waitMs !== Infinity) {
      this.#timer = this.#environment.setTimeout(() => this.wake(), Math.ceil(waitMs));
    }
  }

  #deliver(releases: Release<LiveEvent>[]): void {
    for (const release of releases) {
      if (release.reason === "playhead" && release.errorMs !== null) {
        this.#errorsMs.push(release.errorMs);
        if (this.#errorsMs.length > ERRORS_MAX) this.#errorsMs.shift();
      }
      this.#released(release);
    }
  }
}
