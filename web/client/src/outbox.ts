/**
 * What is being sent: a queue, and frames in flight up to the server's credit.
 *
 * Pure. A request keeps its id for life, so sending it again after a lost connection or a lost
 * acknowledgement changes nothing: the server answers `duplicate`.
 */
import type { Outcome, WireRequest } from "./frames.js";

export interface OutboxOptions {
  /** Requests that may wait, in flight or not; beyond it new ones are refused. */
  queuedMax?: number;
  /** Requests of one frame. */
  frameRequestsMax?: number;
  /** UTF-8 bytes of one frame's requests; one larger request makes a frame of its own. */
  frameBytesMax?: number;
  /** A frame that was not acknowledged by then is sent again. */
  ackTimeoutMs?: number;
  /** Sends of one request before it is given up as `unacknowledged`. */
  attemptsMax?: number;
}

interface Entry {
  request: WireRequest;
  bytes: number;
  attempts: number;
  notBeforeMs: number;
}

interface Flight {
  entries: Entry[];
  waiting: Set<string>;
  sentMs: number;
}

/** The server could not take it now, through no fault of the request's. */
const TEMPORARY_CODES = new Set(["unavailable", "log_unavailable"]);
const TEMPORARY_WAIT_MS = 1_000;

export function isTemporary(code: string | undefined): boolean {
  return code !== undefined && TEMPORARY_CODES.has(code);
}

export class Outbox {
  /** `send` frames that may be unacknowledged; the server says how many in `hello`. */
  credits = 1;
  #queue: Entry[] = [];
  #flights: Flight[] = [];
  #options: Required<OutboxOptions>;
  #encoder = new TextEncoder();

  constructor(options: OutboxOptions = {}) {
    this.#options = {
      queuedMax: 1_000,
      frameRequestsMax: 50,
      frameBytesMax: 12 * 1024,
      ackTimeoutMs: 10_000,
      attemptsMax: 5,
      ...options,
    };
  }

  /** Requests that have no outcome yet. */
  get size(): number {
    return this.#queue.length + this.#flights.reduce((sum, one) => sum + one.waiting.size, 0);
  }

  /** Frames in flight. */
  get inFlight(): number {
    return this.#flights.length;
  }

  /** Take a request in; false when the outbox is full. */
  push(request: WireRequest): boolean {
    if (this.size >= this.#options.queuedMax) return false;
    const bytes = this.#encoder.encode(JSON.stringify(request)).length + 1;
    this.#queue.push({ request, bytes, attempts: 0, notBeforeMs: 0 });
    return true;
  }

  /** The requests of the next frame, which is in flight from now on; null when none may go. */
  next(nowMs: number): WireRequest[] | null {
    if (this.#flights.length >= this.credits) return null;
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#queue) {
      const isFull =
        entries.length >= this.#options.frameRequestsMax ||
        bytes + entry.bytes > this.#options.frameBytesMax;
      if (entries.length > 0 && isFull) break;
      // Later ones wait too: what one viewer says stays in order.
      if (entry.notBeforeMs > nowMs) break;
      entries.push(entry);
      bytes += entry.bytes;
    }
    if (entries.length === 0) return null;
    this.#queue.splice(0, entries.length);
    for (const entry of entries) entry.attempts += 1;
    const waiting = new Set(entries.map((entry) => entry.request.id));
    this.#flights.push({ entries, waiting, sentMs: nowMs });
    return entries.map((entry) => entry.request);
  }

  /** Results came: the outcomes that are final. A temporary refusal is tried again. */
  acknowledge(results: readonly Outcome[], nowMs: number): Outcome[] {
    const final: Outcome[] = [];
    for (const outcome of results) {
      const flight = this.#flights.find((one) => one.waiting.has(outcome.id));
      if (flight === undefined) {
        // A second answer, such as a refusal by the room after the request was on the log.
        final.push(outcome);
        continue;
      }
      flight.waiting.delete(outcome.id);
      const entry = flight.entries.find((one) => one.request.id === outcome.id) as Entry;
      const isRetried = outcome.status === "rejected" && isTemporary(outcome.code);
      if (isRetried && entry.attempts < this.#options.attemptsMax) {
        entry.notBeforeMs = nowMs + TEMPORARY_WAIT_MS;
        this.#queue.unshift(entry);
      } else {
        final.push(outcome);
      }
    }
    this.#flights = this.#flights.filter((flight) => flight.waiting.size > 0);
    return final;
  }

  /** The connection is gone: what had no answer goes first on the next one, with the same ids. */
  disconnected(): void {
    this.#requeue(this.#flights);
    this.#flights = [];
  }

  /** The server could not take the frames with these requests (or any): they go again, later. */
  retry(ids: readonly string[] | undefined, nowMs: number): Outcome[] {
    return this.#again(
      (flight) => ids === undefined || ids.some((id) => flight.waiting.has(id)),
      nowMs + TEMPORARY_WAIT_MS,
    );
  }

  /** Frames whose acknowledgement is overdue go again; returns what is given up. */
  expire(nowMs: number): Outcome[] {
    return this.#again((flight) => nowMs - flight.sentMs >= this.#options.ackTimeoutMs, nowMs);
  }

  #again(isMeant: (flight: Flight) => boolean, notBeforeMs: number): Outcome[] {
    const meant = this.#flights.filter(isMeant);
    if (meant.length === 0) return [];
    this.#flights = this.#flights.filter((flight) => !meant.includes(flight));
    for (const flight of meant) {
      for (const entry of flight.entries) entry.notBeforeMs = notBeforeMs;
    }
    this.#requeue(meant);
    const isGivenUp = (entry: Entry) => entry.attempts >= this.#options.attemptsMax;
    const givenUp = this.#queue.filter(isGivenUp);
    this.#queue = this.#queue.filter((entry) => !isGivenUp(entry));
    return givenUp.map((entry) => ({
      id: entry.request.id, status: "rejected", code: "unacknowledged",
    }));
  }

  /** Take everything out, for good: the ids of what had no outcome. */
  clear(): string[] {
    this.disconnected();
    return this.#queue.splice(0).map((entry) => entry.request.id);
  }

  #requeue(flights: readonly Flight[]): void {
    const entries = flights.flatMap((flight) =>
      flight.entries.filter((entry) => flight.waiting.has(entry.request.id)),
    );
    this.#queue.unshift(...entries);
  }
}
