/** Frames of the WebSocket protocol `engagement.v1`, and how they are read. */
import type { LiveEvent } from "./generated/events.js";
import type { RequestType } from "./generated/requests.js";

/** A tie between media time and the server's clock: `pts_ms` was on air at `wall_ms + offset_ms`. */
export interface Anchor {
  id?: string;
  epoch: number;
  rate: number;
  rtp: number;
  pts_ms: number;
  wall_ms: number;
  offset_ms: number;
  err_ms: number;
  /** Server time in µs from which it holds; when absent, from its own frame on. */
  at_us?: number;
  /** The epoch is over: its last frame is the anchored one, and media time stands still. */
  ended?: boolean;
}

/** A PK battle as a room tells it to those who come. */
export interface BattleSnapshot {
  battle: string;
  status: string;
  sides: { room: string; host: string; score: number }[];
  revision: number;
  /** RFC 3339; empty before the start. */
  started?: string;
  deadline?: string;
  multiplier?: number;
  result?: string;
  winner?: string;
  top?: { actor: string; room: string; points: number }[];
  punish_until?: string;
}

/** Who gave how many coins. */
export interface SenderCoins {
  actor: string;
  coins: number;
}

/** The room as the gateway knows it, without history. */
export interface Snapshot {
  room: string;
  title: string;
  host: string;
  status: string;
  online: number;
  likes: number;
  battle?: BattleSnapshot | null;
  top_senders?: SenderCoins[];
  media?: { epoch: number; pts_ms: number } | null;
  comments?: LiveEvent[];
  [key: string]: unknown;
}

/** How to come back after a close: the n-th wait is random in `0 … base_ms * factor^n`. */
export interface Backoff {
  base_ms: number;
  max_ms: number;
  factor: number;
}

/** What the server allows this connection. */
export interface Limits {
  /** Unacknowledged `send` frames. */
  in_flight?: number;
  frame_bytes?: number;
  batch?: number;
  backoff?: Partial<Backoff>;
  [key: string]: unknown;
}

export interface HelloFrame {
  t: "hello";
  room: string;
  session: string;
  cursor: string;
  recovered: boolean;
  snapshot?: Snapshot;
  clock?: Anchor[];
  limits?: Limits;
  /** Server time in Unix ms when the frame was written. */
  server_ms?: number;
}

/**
 * What became of one request. `accepted` and `duplicate` both mean: it is on the log. A gift is
 * `paid` or `refused` after that.
 */
export interface Outcome {
  id: string;
  status: "accepted" | "duplicate" | "rejected" | "refused" | "paid";
  /** Of a `duplicate` gift: what was decided about it the first time. */
  outcome?: "paid" | "refused";
  code?: string;
  detail?: string;
}

/** What went wrong: with this connection, or with the request `id` or the requests `ids`. */
export interface ErrorFrame {
  t: "error";
  code: string;
  detail?: string;
  id?: string;
  ids?: string[];
  retry_after_s?: number;
}

export type ServerFrame =
  | HelloFrame
  | { t: "events"; cursor: string; events: LiveEvent[] }
  | { t: "clock"; anchor: Anchor }
  | { t: "skipped"; counts: Record<string, number>; cursor: string }
  | { t: "ack"; results: Outcome[] }
  | { t: "outcome"; results: Outcome[] }
  | ErrorFrame
  | { t: "pong"; [key: string]: unknown };

/** A request as it travels. */
export interface WireRequest {
  id: string;
  type: RequestType;
  data: unknown;
}

const KNOWN = new Set(["hello", "events", "clock", "skipped", "ack", "outcome", "error", "pong"]);

/**
 * A frame, or null when it is none we know: additions to the protocol are passed over, and so is
 * anything that is not an object of ours.
 */
export function readFrame(text: unknown): ServerFrame | null {
  if (typeof text !== "string") return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const frame = value as { t?: unknown; events?: unknown; results?: unknown; anchor?: unknown };
  if (typeof frame.t !== "string" || !KNOWN.has(frame.t)) return null;
  if (frame.t === "events" && !Array.isArray(frame.events)) return null;
  if ((frame.t === "ack" || frame.t === "outcome") && !Array.isArray(frame.results)) return null;
  if (frame.t === "clock" && (typeof frame.anchor !== "object" || frame.anchor === null)) return null;
  return value as ServerFrame;
}

/** Whether a closed connection may be opened again (`api.md`: 3000-3499 and 4000-4499 may). */
export function mayReconnect(code: number): boolean {
  return !((code >= 3500 && code <= 3999) || (code >= 4500 && code <= 4999));
}
