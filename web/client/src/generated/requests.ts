// Generated from docs/schemas by scripts/generate-types.mjs. Do not edit.

/** The text of a comment, and what it answers. */
export interface CommentText {
  text: string;
  /** BCP 47 language tag. */
  lang?: string;
  /** UUID; idempotency key */
  reply_to?: string;
}

/** The comment that a moderator or its author acts on. */
export interface CommentTarget {
  /** UUID; idempotency key */
  target: string;
  reason?: string;
}

/** One tap on a gift. */
export interface GiftOrder {
  gift: string;
  count?: number;
  to?: string;
  combo?: string;
}

/** Taps since the client's last request. */
export interface LikeTaps {
  count?: number;
}

/** How far from its stamp a client released an event, signed: positive is late. */
export interface ReleaseReport {
  event: string;
  error_ms: number;
  basis: "hls" | "synthetic" | "vod" | "wall" | "webrtc";
}

/** No data. */
export type Empty = Record<string, never>;

/** The viewer that a moderator acts on. */
export interface ViewerTarget {
  target: string;
}

/** Silence a viewer for a time. */
export interface Mute {
  target: string;
  seconds: number;
}

/** The data of each request type. */
export interface RequestData {
  /** Say something in the room. */
  "comment.post": CommentText;
  /** Let a held comment through (a moderator). */
  "comment.release": CommentTarget;
  /** Take a comment back (its author) or down (a moderator). */
  "comment.remove": CommentTarget;
  /** Buy a gift for the host. */
  "gift.send": GiftOrder;
  /** Tap the heart. */
  "like.tap": LikeTaps;
  /** A client's sync measurement; becomes a metric, never a fact. */
  "release.report": ReleaseReport;
  /** Be present without a socket, for `HTTP_LEASE_TTL_S`; renewed by every further request. */
  "room.join": Empty;
  /** Leave the room; idempotent. */
  "room.leave": Empty;
  /** Keep a viewer out of the room (a moderator). */
  "viewer.ban": ViewerTarget;
  /** Silence a viewer for a time (a moderator). */
  "viewer.mute": Mute;
  /** Let a banned or muted viewer back in (a moderator). */
  "viewer.unban": ViewerTarget;
}

export type RequestType = keyof RequestData;
