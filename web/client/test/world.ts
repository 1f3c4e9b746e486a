/** A world under the test's control: time, chance, timers and sockets. */
import type { Environment, Socket } from "../src/environment.js";
import type { Anchor, Limits, Snapshot } from "../src/frames.js";
import type { EventData, EventOf, EventType, GiftSent, LiveEvent } from "../src/generated/events.js";

export class FakeSocket implements Socket {
  readyState = 0;
  sent: Record<string, unknown>[] = [];
  isClosedByUs = false;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly url: URL;
  readonly protocols: string[];

  constructor(url: string, protocols: string[]) {
    this.url = new URL(url);
    this.protocols = protocols;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.isClosedByUs = true;
  }

  /** Frames of one kind that the client has sent on this socket. */
  frames(kind: string): Record<string, unknown>[] {
    return this.sent.filter((frame) => frame["t"] === kind);
  }

  /** Ids of the requests in all `send` frames, in order. */
  get requestIds(): string[] {
    return this.frames("send").flatMap((frame) =>
      (frame["events"] as { id: string }[]).map((request) => request.id),
    );
  }

  accept(): void {
    this.onopen?.(undefined as never);
  }

  tell(frame: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  tellText(text: string): void {
    this.onmessage?.({ data: text });
  }

  drop(code: number): void {
    this.onclose?.({ code, reason: "" });
  }

  hello(hello: {
    cursor?: string;
    recovered?: boolean;
    snapshot?: Partial<Snapshot>;
    clock?: Anchor[];
    limits?: Limits;
    server_ms?: number;
  } = {}): void {
    const frame = { t: "hello", room: "r", session: "g/1", cursor: "0-0", recovered: false, ...hello };
    this.tell(frame);
  }

  /** Answer every ping that has not been answered. */
  pong(serverMs?: number): void {
    for (const ping of this.frames("ping").splice(this.#ponged)) {
      this.#ponged += 1;
      this.tell({ t: "pong", id: ping["id"], ...(serverMs === undefined ? {} : { server_ms: serverMs }) });
    }
  }

  #ponged = 0;
}

interface Timer {
  id: number;
  atMs: number;
  run: () => void;
}

export class World {
  nowMs = 1_000_000;
  chance = 0.5;
  sockets: FakeSocket[] = [];
  #timers: Timer[] = [];
  #nextId = 1;
  #nextUuid = 1;

  readonly environment: Environment = {
    now: () => this.nowMs,
    random: () => this.chance,
    uuid: () => `00000000-0000-4000-8000-${String(this.#nextUuid++).padStart(12, "0")}`,
    setTimeout: (run, ms) => {
      const timer = { id: this.#nextId++, atMs: this.nowMs + ms, run };
      this.#timers.push(timer);
      return timer.id;
    },
    clearTimeout: (id) => {
      this.#timers = this.#timers.filter((timer) => timer.id !== id);
    },
    openSocket: (url, protocols) => {
      const socket = new FakeSocket(url, protocols);
      this.sockets.push(socket);
      return socket;
    },
  };

  /** The newest socket. */
  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  /** Let time pass: timers run when they are due, in order. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      await settled();
      const next = this.#timers
        .filter((timer) => timer.atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs || a.id - b.id)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
    }
    this.nowMs = untilMs;
  }
}

/** All promises that can go on have gone on. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

export function comment(id: string, fields: Partial<LiveEvent> & { text?: string } = {}): LiveEvent {
  const { text = id, ...attributes } = fields;
  return {
    specversion: "1.0",
    id,
    type: "comment.posted",
    source: "/rooms/r",
    time: new Date(1_000_000).toISOString(),
    datacontenttype: "application/json",
    dataschema: "urn:live-engagement:schema:comment.posted:1",
    roomid: "r",
    actorid: "ana",
    data: { text },
    ...attributes,
  } as LiveEvent;
}

/** An event of any type, stamped with media time 0 of epoch 1 unless said otherwise. */
export function event<T extends EventType>(
  type: T, data: EventData[T], attributes: Partial<LiveEvent> = {},
): EventOf<T> {
  return {
    ...comment(`${type}-1`),
    mediaepoch: 1,
    mediapts: 0,
    ...attributes,
    type,
    data,
  } as unknown as EventOf<T>;
}

/** One tap on a gift. */
export function gift(id: string, data: Partial<GiftSent> = {}, attributes: Partial<LiveEvent> = {}): EventOf<"gift.sent"> {
  const { count = 1, unit_price = 5 } = data;
  const sent: GiftSent = {
    gift: "rose", name: "Rose", tier: 1, animation: "rose", count, unit_price,
    coins: count * unit_price, earned: 0, to: "host", transfer: "0-1", session: "s", ...data,
  };
  return event("gift.sent", sent, { id, ...attributes });
}

export function anchor(fields: Partial<Anchor> = {}): Anchor {
  return {
    epoch: 1, rate: 90_000, rtp: 0, pts_ms: 0, wall_ms: 1_000_000, offset_ms: 0, err_ms: 1, ...fields,
  };
}
