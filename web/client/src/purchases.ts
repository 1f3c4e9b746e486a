/**
 * Gifts that the server has taken and not yet decided about. Pure.
 *
 * The decision comes by itself: as an `outcome` frame, or as the gift's own fact. Either can be
 * lost with a connection, so a gift that waits too long is asked about again, by sending the same
 * request: its id is what it was, so nothing is paid twice and the stored decision comes back.
 */
import type { Outcome, WireRequest } from "./frames.js";

/** A decision takes some ms; so long after the last word something was lost. */
const OVERDUE_MS = 4_000;
/** Asked about so often; after that the answer is what is known: it was accepted. */
const ASKS_MAX = 5;

interface Pending {
  request: WireRequest;
  isTaken: boolean;
  asks: number;
  askAtMs: number;
}

/** What was decided about a gift; null when the outcome does not say it. */
export function decisionOf(outcome: Outcome): Outcome | null {
  if (outcome.status === "accepted") return null;
  if (outcome.status !== "duplicate") return outcome;
  return outcome.outcome === undefined ? null : { ...outcome, status: outcome.outcome };
}

export class Purchases {
  #pending = new Map<string, Pending>();

  /** Gifts that wait. */
  get size(): number {
    return this.#pending.size;
  }

  /** A gift was sent for the first time. */
  sent(request: WireRequest): void {
    this.#pending.set(request.id, { request, isTaken: false, asks: 0, askAtMs: Infinity });
  }

  /** The server has it; whether it is one of ours that waits for its decision now. */
  accepted(id: string, nowMs: number): boolean {
    const pending = this.#pending.get(id);
    if (pending === undefined) return false;
    pending.isTaken = true;
    pending.askAtMs = nowMs + OVERDUE_MS;
    return true;
  }

  /** Whether the server has it: that it will not be asked about it now is no decision. */
  isTaken(id: string): boolean {
    return this.#pending.get(id)?.isTaken === true;
  }

  /** It is decided; false when it was before, or is not ours. */
  decided(id: string): boolean {
    return this.#pending.delete(id);
  }

  /** The connection is new: what was to come over the old one may be lost. */
  reconnected(nowMs: number): void {
    for (const pending of this.#pending.values()) {
      if (pending.isTaken) pending.askAtMs = nowMs;
    }
  }

  /** What is to be sent again, and what is given up: accepted, and nobody says more. */
  overdue(nowMs: number): { again: WireRequest[]; unknown: string[] } {
    const again: WireRequest[] = [];
    const unknown: string[] = [];
    for (const [id, pending] of this.#pending) {
      if (nowMs < pending.askAtMs) continue;
      if (pending.asks >= ASKS_MAX) {
        unknown.push(id);
        this.#pending.delete(id);
        continue;
      }
      pending.asks += 1;
      // Until this one is acknowledged, which sets the next time.
      pending.askAtMs = Infinity;
      again.push(pending.request);
    }
    return { again, unknown };
  }

  /** Forget all: the ids of what waited. */
  clear(): string[] {
    const ids = [...this.#pending.keys()];
    this.#pending.clear();
    return ids;
  }
}
