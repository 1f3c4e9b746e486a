/** A connection to a room: connects, resumes, keeps time, sends, and feeds the players' tracks. */
import { backoffMs, mergeBackoff } from "./backoff.js";
import { MediaClock, ServerClock } from "./clock.js";
import { Echoes, isEchoed, type Echo } from "./echo.js";
import { Emitter } from "./emitter.js";
import { browserEnvironment, type Environment, type Socket } from "./environment.js";
import {
  mayReconnect,
  readFrame,
  type Anchor,
  type Backoff,
  type ErrorFrame,
  type HelloFrame,
  type Limits,
  type Outcome,
  type ServerFrame,
  type Snapshot,
} from "./frames.js";
import type { EventOf, LiveEvent } from "./generated/events.js";
import type { RequestData, RequestType } from "./generated/requests.js";
import { isTemporary, Outbox, type OutboxOptions } from "./outbox.js";
import type { Playhead } from "./playhead.js";
import { decisionOf, Purchases } from "./purchases.js";
import type { Release, SchedulerOptions } from "./scheduler.js";
import { Track } from "./track.js";

const SUBPROTOCOL = "engagement.v1";
/** Pings in quick succession after connecting, to know the server's clock; then at leisure. */
const EAGER_PINGS = 5;
const EAGER_PING_MS = 400;
const PING_MS = 10_000;
/** A ping without an answer for so long: the connection is dead, whatever TCP says. */
const SILENCE_MS = 20_000;
/** Events wait so long for the first pong: no stamp can be judged before the server's clock is. */
const FIRST_PONG_MS = 1_000;
/** A connection that held for so long was good: the next wait is short again. */
const STABLE_MS = 5_000;
const SWEEP_MS = 1_000;
/** At most one release report in so many ms, however many events are sampled. */
const REPORT_EVERY_MS = 1_000;

export type ConnectionState =
  | { state: "connecting" }
  | { state: "live" }
  | { state: "waiting"; code: number; retryInMs: number }
  | { state: "closed"; code: number; reason: string };

export interface RoomOptions extends OutboxOptions, SchedulerOptions {
  /** Where the gateway is: `wss://live.example.com`, `http://127.0.0.1:8080` … */
  url: string | URL;
  /** Who we are; called before every connection, so that it can be a fresh one. */
  token?: string | (() => string | Promise<string>);
  /** Resume behind this cursor, as `room.cursor` gave it. */
  cursor?: string;
  /** The player that `event` waits for. Without one, events are released on arrival. */
  playhead?: Playhead | ((room: Room) => Playhead);
  /** Share of releases whose error is reported to the server, 0 to 1. */
  reportRate?: number;
  /** Replaces parts of the world, for tests and other runtimes. */
  environment?: Partial<Environment>;
}

export type RoomEvents = {
  /** An event whose moment has come on the room's own playhead. */
  event: [event: LiveEvent, release: Release<LiveEvent>];
  /** An event that arrived, long before or at its release. */
  arrival: [event: LiveEvent];
  /** For hosts and moderators: a comment that waits for them. If let through it comes as an event. */
  held: [event: EventOf<"comment.held">];
  /** The room's state, new: on the first connection, and when events were missed (`gap`). */
  snapshot: [snapshot: Snapshot, gap: boolean];
  state: [state: ConnectionState];
  clock: [anchor: Anchor];
  /** Events that the server left out because this connection was too slow, by type. */
  skipped: [counts: Record<string, number>];
  echo: [echo: Echo];
  /** The last word on a request of ours, also the room's refusal after it was accepted. */
  outcome: [outcome: Outcome];
  error: [error: { code: string; detail: string }];
};

export class Room extends Emitter<RoomEvents> {
  readonly name: string;
  readonly server = new ServerClock();
  readonly media = new MediaClock();
  /** Position behind the last event received; opaque. Keep it to resume later. */
  cursor: string | undefined;
  state: ConnectionState = { state: "connecting" };
  limits: Limits = {};

  #options: RoomOptions;
  #environment: Environment;
  #socket: Socket | null = null;
  #outbox: Outbox;
  #purchases = new Purchases();
  #tracks = new Set<Track>();
  #promises = new Map<string, (outcome: Outcome) => void>();
  #echoes = new Echoes();
  #backoff: Backoff = mergeBackoff(undefined);
  #attempt = 0;
  #retryAfterMs = 0;
  #liveSinceMs = 0;
  #early: LiveEvent[] | null = [];
  #pings = new Map<number, number>();
  #pingId = 0;
  #reportedMs = -Infinity;
  #retryTimer: unknown = null;
  #pingTimer: unknown = null;
  #sweepTimer: unknown = null;
  #earlyTimer: unknown = null;
  #hasSnapshot = false;
  #hasOwnTrack = false;

  constructor(name: string, options: RoomOptions) {
    super();
    this.name = name;
    this.#options = options;
    this.#environment = { ...browserEnvironment(), ...options.environment };
    this.#outbox = new Outbox(options);
    this.cursor = options.cursor;
  }

  override on<Name extends keyof RoomEvents>(
    name: Name,
    listener: (...args: RoomEvents[Name]) => void,
  ): () => void {
    if (name === "event") this.#followOwnPlayhead();
    return super.on(name, listener);
  }

  /** Time of the clock that playheads are asked with, in ms. */
  now(): number {
    return this.#environment.now();
  }

  /** Begin; `connect` does it for you. */
  open(): void {
    globalThis.addEventListener?.("online", this.#hurry);
    void this.#dial();
    this.#sweep();
  }

  /** One more player: what arrives from now on is released at its playhead too. */
  track(playhead: Playhead | null, released: (release: Release<LiveEvent>) => void): Track {
    const deliver = (release: Release<LiveEvent>) => {
      this.#report(release);
      released(release);
    };
    const track = new Track(playhead, deliver, this.#environment, this.#options, (closed) =>
      this.#tracks.delete(closed),
    );
    this.#tracks.add(track);
    return track;
  }

  /** The track behind `event`, from the moment somebody listens. */
  #followOwnPlayhead(): void {
    if (this.#hasOwnTrack) return;
    this.#hasOwnTrack = true;
    const { playhead } = this.#options;
    const own = typeof playhead === "function" ? playhead(this) : playhead;
    this.track(own ?? null, (release) => this.emit("event", release.event, release));
  }

  /** Whether this is the id of a request of ours. */
  isOwn(id: string): boolean {
    return this.#echoes.get(id) !== undefined;
  }

  /**
   * Send a request. It is sent again, with the same id, until the server has answered; the promise
   * holds the answer and never rejects. For a gift that is what the ledger decided: `paid` or
   * `refused` (`accepted` only when nobody could say for a while). Comments and gifts are echoed
   * at once.
   */
  send<T extends RequestType>(type: T, data: RequestData[T]): Promise<Outcome> {
    const id = this.#environment.uuid();
    const refused = (code: string): Outcome => ({ id, status: "rejected", code });
    if (this.state.state === "closed") return Promise.resolve(refused("closed"));
    const request = { id, type, data };
    if (!this.#outbox.push(request)) return Promise.resolve(refused("outbox_full"));
    const sentMs = this.now();
    if (type === "gift.send") this.#purchases.sent(request);
    if (isEchoed(type)) {
      const echo: Echo = { id, type, data, sentMs, status: "sending" };
      this.#echoes.add(echo);
      this.#echo(echo);
    }
    const promise = new Promise<Outcome>((resolve) => this.#promises.set(id, resolve));
    this.#flush();
    return promise;
  }

  /** Leave for good. Requests without an outcome are answered `closed`. */
  close(): void {
    if (this.state.state !== "closed") this.#end(1000, "closed by this side");
    for (const track of this.#tracks) track.close();
  }

  // --- connection --------------------------------------------------------------------------------

  #hurry = (): void => {
    if (this.state.state !== "waiting") return;
    this.#environment.clearTimeout(this.#retryTimer);
    void this.#dial();
  };

  async #dial(): Promise<void> {
    this.#become({ state: "connecting" });
    let token: string | undefined;
    try {
      const { token: source } = this.#options;
      token = typeof source === "function" ? await source() : source;
    } catch (error) {
      this.emit("error", { code: "no_token", detail: String(error) });
      this.#retry(0);
      return;
    }
    if ((this.state as ConnectionState).state !== "connecting") return;
    let socket: Socket;
    try {
      socket = this.#environment.openSocket(this.#address(), [SUBPROTOCOL]);
    } catch (error) {
      this.emit("error", { code: "cannot_connect", detail: String(error) });
      this.#end(1006, String(error));
      return;
    }
    this.#socket = socket;
    // Each handler asks whether it still speaks for the current connection.
    const current = () => this.#socket === socket;
    socket.onopen = () => {
      if (current() && token !== undefined) socket.send(JSON.stringify({ t: "auth", token }));
    };
    socket.onmessage = ({ data }) => {
      if (current()) this.#receive(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (current()) this.#disconnected(code, reason);
    };
    socket.onerror = () => undefined;
  }

  #address(): string {
    const url = new URL(`/v1/rooms/${encodeURIComponent(this.name)}/live`, this.#options.url);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.cursor !== undefined) url.searchParams.set("cursor", this.cursor);
    return url.href;
  }

  #disconnected(code: number, reason: string): void {
    this.#socket = null;
    this.#environment.clearTimeout(this.#pingTimer);
    this.#pings.clear();
    this.#outbox.disconnected();
    if (!mayReconnect(code)) this.#end(code, reason);
    else this.#retry(code);
  }

  #retry(code: number): void {
    const wasStable = this.#liveSinceMs > 0 && this.now() - this.#liveSinceMs >= STABLE_MS;
    if (wasStable) this.#attempt = 0;
    this.#liveSinceMs = 0;
    const jitterMs = backoffMs(this.#backoff, this.#attempt, this.#environment.random());
    const retryInMs = this.#retryAfterMs + jitterMs;
    this.#retryAfterMs = 0;
    this.#attempt += 1;
    this.#retryTimer = this.#environment.setTimeout(() => void this.#dial(), retryInMs);
    this.#become({ state: "waiting", code, retryInMs });
  }

  #end(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = null;
    const timers = [this.#retryTimer, this.#pingTimer, this.#sweepTimer, this.#earlyTimer];
    for (const timer of timers) this.#environment.clearTimeout(timer);
    globalThis.removeEventListener?.("online", this.#hurry);
    socket?.close(1000);
    this.#become({ state: "closed", code, reason });
    for (const id of this.#outbox.clear()) this.#settle({ id, status: "rejected", code: "closed" });
    for (const id of this.#purchases.clear()) this.#resolve({ id, status: "accepted", code: "undecided" });
  }

  #become(state: ConnectionState): void {
    this.state = state;
    this.emit("state", state);
  }

  // --- frames ------------------------------------------------------------------------------------

  #receive(data: unknown): void {
    const frame: ServerFrame | null = readFrame(data);
    switch (frame?.t) {
      case "hello":
        return this.#hello(frame);
      case "events":
        this.cursor = frame.cursor;
        return frame.events.forEach((event) => this.#arrive(event));
      case "clock":
        return this.#anchor(frame.anchor);
      case "skipped":
        this.cursor = frame.cursor;
        return this.emit("skipped", frame.counts);
      case "ack":
        for (const outcome of this.#outbox.acknowledge(frame.results, this.now())) {
          this.#settle(outcome);
        }
        return this.#flush();
      case "outcome":
        return frame.results.forEach((outcome) => this.#settle(outcome));
      case "error":
        return this.#failed(frame);
      case "pong":
        return this.#pong(frame);
    }
  }

  #failed(frame: ErrorFrame): void {
    const { code, detail = "" } = frame;
    if (frame.retry_after_s !== undefined) this.#retryAfterMs = frame.retry_after_s * 1000;
    if (frame.id !== undefined) this.#settle({ id: frame.id, status: "refused", code, detail });
    else if (isTemporary(code)) {
      const givenUp = this.#outbox.retry(frame.ids, this.now());
      for (const outcome of givenUp) this.#settle(outcome);
    }
    this.emit("error", { code, detail });
  }

  #hello(frame: HelloFrame): void {
    if (typeof frame.server_ms === "number") this.server.received(frame.server_ms, this.now());
    this.cursor = frame.cursor;
    this.limits = frame.limits ?? {};
    this.#backoff = mergeBackoff(this.limits.backoff);
    this.#outbox.credits = Math.max(1, this.limits.in_flight ?? 1);
    this.#liveSinceMs = this.now();
    // The clock first: what the snapshot holds is released by it.
    for (const anchor of frame.clock ?? []) this.#anchor(anchor);
    this.#become({ state: "live" });
    if (frame.snapshot !== undefined && !frame.recovered) {
      this.emit("snapshot", frame.snapshot, this.#hasSnapshot);
      this.#hasSnapshot = true;
      frame.snapshot.comments?.forEach((event) => this.#arrive(event));
    }
    this.#purchases.reconnected(this.now());
    this.#ping(EAGER_PINGS);
    this.#earlyTimer ??= this.#environment.setTimeout(() => this.#begin(), FIRST_PONG_MS);
    this.#flush();
  }

  #arrive(event: LiveEvent): void {
    // Nothing that happened in the room yet; what may happen has the same id.
    if (event.type === "comment.held") return this.emit("held", event);
    const echo = this.#echoes.get(event.id);
    if (echo !== undefined) this.#echo(echo, "shown");
    if (event.type === "gift.sent") this.#settle({ id: event.causationid ?? event.id, status: "paid" });
    const acceptedMs = Date.parse(event.time);
    if (Number.isFinite(acceptedMs)) this.server.received(acceptedMs, this.now());
    this.emit("arrival", event);
    if (this.#early !== null) this.#early.push(event);
    else for (const track of this.#tracks) track.offer(event);
  }

  /** The server's clock is known, or will not be: hand out what waited for it. */
  #begin(): void {
    const early = this.#early ?? [];
    this.#early = null;
    for (const event of early) for (const track of this.#tracks) track.offer(event);
  }

  #anchor(anchor: Anchor): void {
    if (anchor.at_us !== undefined) this.server.received(anchor.at_us / 1000, this.now());
    if (!this.media.observe(anchor)) return;
    this.emit("clock", anchor);
    for (const track of this.#tracks) track.wake();
  }

  // --- requests ----------------------------------------------------------------------------------

  #flush(): void {
    if (this.state.state !== "live" || this.#socket === null) return;
    for (;;) {
      const events = this.#outbox.next(this.now());
      if (events === null) return;
      this.#socket.send(JSON.stringify({ t: "send", events }));
    }
  }

  /** An answer came: the last word, unless it is a gift that is still to be decided. */
  #settle(answer: Outcome): void {
    const echo = this.#echoes.get(answer.id);
    if (echo?.type === "gift.send") {
      const isAskedAgain = answer.status === "rejected" && this.#purchases.isTaken(answer.id);
      const decision = isAskedAgain ? null : decisionOf(answer);
      if (decision !== null) return this.#decide(echo, decision);
      const isAwaited = this.#purchases.accepted(answer.id, this.now());
      if (isAwaited && echo.status === "sending") this.#echo(echo, "accepted");
      return;
    }
    const isTaken = answer.status !== "rejected" && answer.status !== "refused";
    if (echo !== undefined && echo.status !== "shown") {
      if (answer.code !== undefined) echo.code = answer.code;
      this.#echo(echo, isTaken ? "accepted" : "refused");
    }
    this.#resolve(answer);
  }

  /** A gift is decided, once: its fact and its outcome both say so, in any order. */
  #decide(echo: Echo, decision: Outcome): void {
    if (!this.#purchases.decided(decision.id)) return;
    if (echo.status !== "shown") {
      if (decision.code !== undefined) echo.code = decision.code;
      this.#echo(echo, decision.status === "paid" ? "paid" : "refused");
    }
    this.#resolve(decision);
  }

  #resolve(outcome: Outcome): void {
    this.emit("outcome", outcome);
    this.#promises.get(outcome.id)?.(outcome);
    this.#promises.delete(outcome.id);
  }

  #echo(echo: Echo, status: Echo["status"] = echo.status): void {
    echo.status = status;
    this.emit("echo", echo);
  }

  /** Gifts whose decision was lost, it seems. */
  #askAgain(): void {
    if (this.state.state !== "live") return;
    const { again, unknown } = this.#purchases.overdue(this.now());
    for (const request of again) this.#outbox.push(request);
    for (const id of unknown) this.#resolve({ id, status: "accepted", code: "undecided" });
  }

  /** A measurement, not a fact: it is sampled, never waits, and is never sent again. */
  #report(release: Release<LiveEvent>): void {
    const rate = this.#options.reportRate ?? 0.02;
    const { event, reason, basis } = release;
    const nowMs = this.now();
    const isComparable = reason === "playhead" || reason === "late" || reason === "wall";
    if (!isComparable || this.state.state !== "live" || this.#outbox.size > 0) return;
    if (this.#environment.random() >= rate || nowMs - this.#reportedMs < REPORT_EVERY_MS) return;
    const acceptedMs = Date.parse(event.time);
    // What was on air before we were here is late by nobody's fault.
    if (acceptedMs < this.server.at(this.#liveSinceMs)) return;
    const errorMs = release.errorMs ?? this.server.at(nowMs) - acceptedMs;
    if (!Number.isFinite(errorMs)) return;
    this.#reportedMs = nowMs;
    const data = { event: event.id, error_ms: Math.round(errorMs * 1000) / 1000, basis };
    this.#outbox.push({ id: this.#environment.uuid(), type: "release.report", data });
    this.#flush();
  }

  // --- time --------------------------------------------------------------------------------------

  #ping(eager: number): void {
    this.#environment.clearTimeout(this.#pingTimer);
    if (this.#socket === null) return;
    // Only an unanswered ping tells: a tab in the background may sleep for minutes itself.
    const [oldestMs] = this.#pings.values();
    if (oldestMs !== undefined && this.now() - oldestMs > SILENCE_MS) {
      const socket = this.#socket;
      this.#disconnected(1006, "silence");
      socket.close();
      return;
    }
    const id = (this.#pingId += 1);
    this.#pings.set(id, this.now());
    this.#socket.send(JSON.stringify({ t: "ping", id, at_ms: this.now() }));
    const waitMs = eager > 1 ? EAGER_PING_MS : PING_MS;
    this.#pingTimer = this.#environment.setTimeout(() => this.#ping(eager - 1), waitMs);
  }

  #pong(frame: { [key: string]: unknown }): void {
    const sentMs = this.#pings.get(frame["id"] as number);
    if (sentMs === undefined) return;
    this.#pings.delete(frame["id"] as number);
    const serverMs = frame["server_ms"];
    this.server.exchanged(sentMs, typeof serverMs === "number" ? serverMs : null, this.now());
    this.#begin();
  }

  #sweep(): void {
    for (const outcome of this.#outbox.expire(this.now())) this.#settle(outcome);
    this.#askAgain();
    this.#flush();
    this.#sweepTimer = this.#environment.setTimeout(() => this.#sweep(), SWEEP_MS);
  }
}

/** Watch a room: connects, stays connected, resumes where it left off. */
export function connect(name: string, options: RoomOptions): Room {
  const room = new Room(name, options);
  room.open();
  return room;
}
