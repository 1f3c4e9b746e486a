/**
 * Release at the playhead: an event is shown when the viewer's own player reaches its stamp.
 *
 * Pure: no timer, no clock. Whoever owns it offers events, asks what is due, and sleeps for
 * `waitMs`. Every event that is offered is released exactly once.
 */
import type { MediaTime } from "./clock.js";
import type { Basis, Playhead } from "./playhead.js";

/** What of an event the scheduler looks at. */
export interface Stamped {
  id: string;
  mediaepoch?: number;
  mediapts?: number;
}

/**
 * Why an event was released when it was.
 * - `playhead`: its stamp came on screen.
 * - `late`: the player was past it when it arrived.
 * - `end`: the player stands at the last frame of its epoch, which ended before its stamp.
 * - `epoch`: it belongs to an epoch that the player has left.
 * - `wall`: no stamp, or no player: by wall time, at once.
 * - `budget`: a newer epoch did not come on screen within the latency budget.
 * - `overflow`: more is held than `heldMax`; the earliest goes first.
 */
export type ReleaseReason = "playhead" | "late" | "end" | "epoch" | "wall" | "budget" | "overflow";

export interface Release<E> {
  event: E;
  reason: ReleaseReason;
  basis: Basis;
  /** Media time on screen at the release. */
  position: MediaTime | null;
  /** Playhead minus stamp in ms, positive is late; null when the two cannot be compared. */
  errorMs: number | null;
}

export interface SchedulerOptions {
  /** How long an event waits for an epoch that the player has not reached, in ms. */
  budgetMs?: number;
  /** Events held at once. */
  heldMax?: number;
  /** Event ids remembered to drop repeats. */
  idsMax?: number;
}

interface Held<E> {
  event: E;
  epoch: number;
  ptsMs: number;
  arrivedMs: number;
}

/** Epoch 0 is wall time since the room opened: no media clock. */
const NO_EPOCH = 0;
/** A player's rate may change and its clock may step: look again at least this often. */
const WAIT_MS_MAX = 500;
/** When a player changes its epoch cannot be foretold. */
const EPOCH_POLL_MS = 16;

export class ReleaseScheduler<E extends Stamped> {
  readonly budgetMs: number;
  readonly heldMax: number;
  /** Releases so far, by reason; and events dropped because their id had been offered before. */
  readonly counts: Record<ReleaseReason | "duplicate", number> = {
    playhead: 0, late: 0, end: 0, epoch: 0, wall: 0, budget: 0, overflow: 0, duplicate: 0,
  };
  #playhead: Playhead | null;
  #held: Held<E>[] = [];
  #seen: SeenIds;

  constructor(playhead: Playhead | null, options: SchedulerOptions = {}) {
    this.#playhead = playhead;
    this.budgetMs = options.budgetMs ?? 15_000;
    this.heldMax = options.heldMax ?? 5_000;
    this.#seen = new SeenIds(options.idsMax ?? 20_000);
  }

  /** Events that wait for the playhead. */
  get held(): number {
    return this.#held.length;
  }

  /** Events that wait, in the order in which they will be released. */
  *upcoming(): Iterable<E> {
    for (const held of this.#held) yield held.event;
  }

  /** Take an event in. What is to be shown at once comes back, in order: usually it or nothing. */
  offer(event: E, nowMs: number): Release<E>[] {
    if (!this.#seen.add(event.id)) {
      this.counts.duplicate += 1;
      return [];
    }
    const position = this.#playhead?.position(nowMs) ?? null;
    const { mediaepoch: epoch, mediapts: ptsMs } = event;
    if (epoch === undefined || ptsMs === undefined || position === null) {
      return [this.#release(event, "wall", null)];
    }
    // Only the recording of a room that had no media clock is played in its wall time.
    if (epoch === NO_EPOCH && position.epoch !== NO_EPOCH) {
      return [this.#release(event, "wall", null)];
    }
    if (epoch < position.epoch) return [this.#release(event, "epoch", position)];
    if (epoch === position.epoch && ptsMs <= position.ptsMs) {
      return [...this.due(nowMs), this.#release(event, "late", position, ptsMs)];
    }
    if (epoch === position.epoch && position.isEnd === true) {
      return [...this.due(nowMs), this.#release(event, "end", position, ptsMs)];
    }
    this.#hold({ event, epoch, ptsMs, arrivedMs: nowMs });
    if (this.#held.length <= this.heldMax) return [];
    const first = this.#held.shift() as Held<E>;
    return [this.#release(first.event, "overflow", position, comparable(first, position))];
  }

  /** What the playhead has reached by now, in the order of the stamps. */
  due(nowMs: number): Release<E>[] {
    if (this.#held.length === 0) return [];
    const position = this.#playhead?.position(nowMs) ?? null;
    if (position === null) {
      return this.#held.splice(0).map((held) => this.#release(held.event, "wall", null));
    }
    const reached = this.#held.findIndex((held) => !isReached(held, position));
    const due = this.#held.splice(0, reached === -1 ? this.#held.length : reached);
    const releases = due.map((held) => {
      if (held.epoch < position.epoch) return this.#release(held.event, "epoch", position);
      const reason = held.ptsMs <= position.ptsMs ? "playhead" : "end";
      return this.#release(held.event, reason, position, held.ptsMs);
    });
    return [...releases, ...this.#overdue(nowMs, position)];
  }

  /** How long nothing will be due, in ms, as far as can be foretold; Infinity while none is held. */
  waitMs(nowMs: number): number {
    const first = this.#held[0];
    if (first === undefined) return Infinity;
    const position = this.#playhead?.position(nowMs) ?? null;
    if (position === null) return 0;
    if (first.epoch > position.epoch) return EPOCH_POLL_MS;
    if (isReached(first, position)) return 0;
    const rate = this.#playhead?.rate ?? 1;
    if (rate <= 0) return WAIT_MS_MAX;
    return Math.min(Math.max(0, (first.ptsMs - position.ptsMs) / rate), WAIT_MS_MAX);
  }

  /** Forget what is held and what was seen: the player was moved. */
  reset(): void {
    this.#held = [];
    this.#seen = new SeenIds(this.#seen.capacity);
  }

  #overdue(nowMs: number, position: MediaTime): Release<E>[] {
    const last = this.#held.at(-1);
    if (last === undefined || last.epoch <= position.epoch) return [];
    const isOverdue = (held: Held<E>) =>
      held.epoch > position.epoch && nowMs - held.arrivedMs >= this.budgetMs;
    const overdue = this.#held.filter(isOverdue);
    if (overdue.length === 0) return [];
    this.#held = this.#held.filter((held) => !isOverdue(held));
    return overdue.map((held) => this.#release(held.event, "budget", position));
  }

  #hold(held: Held<E>): void {
    // From the back: events come nearly in order.
    let index = this.#held.length;
    while (index > 0 && isBefore(held, this.#held[index - 1] as Held<E>)) index -= 1;
    this.#held.splice(index, 0, held);
  }

  #release(event: E, reason: ReleaseReason, position: MediaTime | null, ptsMs?: number): Release<E> {
    this.counts[reason] += 1;
    return {
      event,
      reason,
      basis: position === null ? "wall" : (this.#playhead?.basis ?? "wall"),
      position,
      errorMs: position === null || ptsMs === undefined ? null : position.ptsMs - ptsMs,
    };
  }
}

function isReached(held: { epoch: number; ptsMs: number }, position: MediaTime): boolean {
  if (held.epoch !== position.epoch) return held.epoch < position.epoch;
  // What was stamped beyond the end, before its stamper knew of it, would else wait for ever.
  return held.ptsMs <= position.ptsMs || position.isEnd === true;
}

function isBefore(one: { epoch: number; ptsMs: number }, other: { epoch: number; ptsMs: number }): boolean {
  return one.epoch !== other.epoch ? one.epoch < other.epoch : one.ptsMs < other.ptsMs;
}

function comparable(held: { epoch: number; ptsMs: number }, position: MediaTime): number | undefined {
  return held.epoch === position.epoch ? held.ptsMs : undefined;
}

/** Remembers at least the newest `capacity` ids. Two generations instead of a queue. */
class SeenIds {
  readonly capacity: number;
  #young = new Set<string>();
  #old = new Set<string>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** False if the id is known. */
  add(id: string): boolean {
    if (this.#young.has(id) || this.#old.has(id)) return false;
    this.#young.add(id);
    if (this.#young.size >= this.capacity) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    return true;
  }
}
