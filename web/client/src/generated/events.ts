// Generated from docs/schemas by scripts/generate-types.mjs. Do not edit.

/** An anchor as it travels on the clock topic; its id is the event's id. */
export interface ClockAnchored {
  epoch: number;
  engine: string;
  rate: number;
  rtp: number;
  pts_ms: number;
  wall_ms: number;
  offset_ms: number;
  err_ms: number;
  at_us: number;
  /** Why a step or an end happened: republish, engine_switch, gap, publisher_left … */
  reason?: string;
}

/** A comment that waits for a moderator; only moderators see it. */
export interface CommentHeld {
  text: string;
  reason: string;
  lang?: string;
  reply_to?: string;
}

/** A comment that all viewers see. */
export interface CommentPosted {
  text: string;
  lang?: string;
  reply_to?: string;
}

/** A moderator let a held comment through; `comment.posted` with the held id follows. */
export interface CommentReleased {
  target: string;
  by: string;
}

/** A tombstone: the target is shown no more, live or in a replay. */
export interface CommentRemoved {
  target: string;
  by: string;
  reason?: string;
}

/** One request's taps (activity). */
export interface LikeTapped {
  count: number;
}

/** Likes folded over one window; `room_total` is absolute and monotone. */
export interface LikesCounted {
  window: number;
  window_ms: number;
  count: number;
  room_total: number;
  top: string[];
}

/** A request that was accepted into the log but refused by the room (activity). */
export interface RequestRefused {
  request: string;
  request_type: string;
  code: string;
  session: string;
}

/** A request that found everything as it wanted it: an open room opened again (activity). It is recorded so that a repeat after a crash is known to be one, when things have changed. */
export interface RequestUnchanged {
  request_type: string;
}

/** The live session ended; everyone has left. */
export interface RoomClosed {
  session: string;
  reason: string;
}

/** A live session began. */
export interface RoomOpened {
  title: string;
  host: string;
  session: string;
  recorded?: boolean;
}

/** Everything that the target asks of this room is refused. */
export interface ViewerBanned {
  target: string;
  by: string;
}

/** One lease began (activity). */
export interface ViewerJoined {
  session: string;
  entrance: "http" | "socket";
}

/** One lease ended (activity); idempotent. */
export interface ViewerLeft {
  session: string;
  reason: "closed" | "expired" | "left";
}

/** The target's comments are refused until `until` (RFC 3339). */
export interface ViewerMuted {
  target: string;
  by: string;
  until: string;
}

/** Mute and ban of the target are lifted. */
export interface ViewerUnbanned {
  target: string;
  by: string;
}

/** Presence folded over one window; `online` is absolute, `window` its version. */
export interface ViewersCounted {
  /** Index of the window: `accepted time / window_ms`, never decreasing in a room. */
  window: number;
  window_ms: number;
  online: number;
  joined: number;
  left: number;
  notable: string[];
  sample: string[];
}

/** What every event carries: CloudEvents 1.0 and our extension attributes. */
export interface EventAttributes {
  specversion: "1.0";
  id: string;
  /** `/rooms/<room>`; with `id` it identifies the event. */
  source: string;
  /** When the gateway accepted the request, RFC 3339 UTC with µs. */
  time: string;
  datacontenttype: "application/json";
  roomid: string;
  actorid?: string;
  mediaepoch?: number;
  /** ms in the epoch; may be negative before the first frame. */
  mediapts?: number;
  /** Uncertainty in ms; absent in epoch 0, which is wall time since the room opened. */
  mediaerr?: number;
  mediaanchor?: string;
  /** The request that caused it. */
  causationid?: string;
  traceparent?: string;
  dataschema: string;
}

/** The data of each event type. */
export interface EventData {
  "clock.anchored": ClockAnchored;
  "clock.epoch.closed": ClockAnchored;
  "clock.epoch.opened": ClockAnchored;
  "clock.stepped": ClockAnchored;
  "comment.held": CommentHeld;
  "comment.posted": CommentPosted;
  "comment.released": CommentReleased;
  "comment.removed": CommentRemoved;
  "like.tapped": LikeTapped;
  "likes.counted": LikesCounted;
  "request.refused": RequestRefused;
  "request.unchanged": RequestUnchanged;
  "room.closed": RoomClosed;
  "room.opened": RoomOpened;
  "viewer.banned": ViewerBanned;
  "viewer.joined": ViewerJoined;
  "viewer.left": ViewerLeft;
  "viewer.muted": ViewerMuted;
  "viewer.unbanned": ViewerUnbanned;
  "viewers.counted": ViewersCounted;
}

export type EventType = keyof EventData;

/** One event, told apart by its `type`. */
export type LiveEvent = {
  [T in EventType]: EventAttributes & { type: T; data: EventData[T] };
}[EventType];

/** An event of one type. */
export type EventOf<T extends EventType> = Extract<LiveEvent, { type: T }>;
