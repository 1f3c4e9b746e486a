// Generated from docs/schemas by scripts/generate-types.mjs. Do not edit.

/** One side said yes; when all have, the battle starts. */
export interface BattleAccepted {
  battle: string;
  revision: number;
  room: string;
  by: string;
}

/** The inviting side took the invitation back. */
export interface BattleCancelled {
  battle: string;
  revision: number;
  by: string;
}

/** A gift scored (battle topic only). Keyed by its gift: the same gift scores once. */
export interface BattleContributed {
  battle: string;
  revision: number;
  gift: string;
  room: string;
  coins: number;
  points: number;
  transfer: string;
}

/** A paid gift that scores nothing: it was accepted after the deadline, or reached the log
    after the books were closed (battle topic only). */
export interface BattleContributionLate {
  battle: string;
  gift: string;
  room: string;
  coins: number;
  transfer: string;
}

/** One side said no; the invitation is over. */
export interface BattleDeclined {
  battle: string;
  revision: number;
  room: string;
  by: string;
}

/** Who gave how many points to which side. */
export interface Supporter {
  actor: string;
  room: string;
  points: number;
}

/** Exactly one for a battle that started. Later gifts are paid, and score nothing. */
export interface BattleEnded {
  battle: string;
  final_revision: number;
  totals: Record<string, number>;
  result: "aborted" | "draw" | "win";
  reason: "aborted" | "deadline" | "host_disconnected" | "room_closed";
  winner?: string;
  top?: Supporter[];
}

/** Nobody answered in time, or a room was taken meanwhile. */
export interface BattleExpired {
  battle: string;
  revision: number;
  reason: "room_closed" | "room_in_battle" | "timeout";
}

/** One room of a battle. */
export interface Side {
  room: string;
  host: string;
}

/** A stretch of the battle in which points count more. */
export interface ScoreWindow {
  after_s: number;
  duration_s: number;
  multiplier: number;
}

/** The host of the first side asks the others. */
export interface BattleInvited {
  battle: string;
  revision: number;
  sides: Side[];
  duration_s: number;
  rule: string;
  windows: ScoreWindow[];
  punish_s: number;
  by: string;
  expires: string;
}

/** A request about a battle that changed nothing (battle topic only). */
export interface BattleRefused {
  battle: string;
  request: string;
  request_type: string;
  code: string;
}

/** Absolute totals by room: the same for every room at the same revision. */
export interface BattleScored {
  battle: string;
  revision: number;
  totals: Record<string, number>;
  top: Supporter[];
}

/** Gifts accepted from `started` to `deadline` score. The countdown is shown in media time. */
export interface BattleStarted {
  battle: string;
  revision: number;
  sides: Side[];
  started: string;
  deadline: string;
  duration_s: number;
  rule: string;
}

/** The window is over. */
export interface BattleWindowClosed {
  battle: string;
  revision: number;
  kind: "multiplier" | "punish";
}

/** From here on points count `multiplier`-fold; `punish` is the time after the end. */
export interface BattleWindowOpened {
  battle: string;
  revision: number;
  kind: "multiplier" | "punish";
  multiplier: number;
  until: string;
}

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

/** What a gift is called, looks like and costs from here on. */
export interface GiftCatalogued {
  gift: string;
  version: number;
  name: string;
  coins: number;
  tier: number;
  animation: string;
  combo: boolean;
  host_share_percent: number;
  by: string;
  offered?: boolean;
}

/** A combo is over. Moves no money; the server always ends a combo. */
export interface GiftComboEnded {
  combo: string;
  gift: string;
  total_count: number;
  total_coins: number;
  reason: "client" | "room_closed" | "timeout";
}

/** A gift that was not paid. It stays refused, even after a top-up: send it with a new id. */
export interface GiftRefused {
  request: string;
  gift: string;
  count: number;
  code: string;
  room: string;
}

/** A paid gift was taken back by a compensating transfer; nothing is deleted. */
export interface GiftReversed {
  request: string;
  coins: number;
  earned: number;
  to: string;
  transfer: string;
  session: string;
  sent: string;
  reason: string;
  count?: number;
}

/** A paid gift; `count` is what this tap adds, never a running total. */
export interface GiftSent {
  gift: string;
  name: string;
  tier: number;
  animation: string;
  count: number;
  unit_price: number;
  coins: number;
  earned: number;
  to: string;
  transfer: string;
  session: string;
  combo?: string;
  combo_name?: string;
  combo_count?: number;
  battle?: string;
}

/** Coins of a wallet are set aside until the hold is resolved, once. */
export interface HoldPlaced {
  hold: string;
  account: string;
  to: string;
  coins: number;
  expires: string;
}

/** A hold ended: `posted` moved its coins (see `transfer.posted`), the others freed them. */
export interface HoldResolved {
  hold: string;
  account: string;
  coins: number;
  outcome: "expired" | "posted" | "voided";
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

/** Coins went from one account to another. Σ debits = Σ credits, always.

    Accounts are named by their kind: `wallet:<user>`, `earnings:<host>`, `house`, `purchases`
    (where bought coins come from), `promotions` (where given ones come from). */
export interface TransferPosted {
  transfer: string;
  debit: string;
  credit: string;
  coins: number;
  request: string;
  reason: "gift" | "hold" | "house_share" | "promotion" | "purchase" | "reversal";
  room?: string;
  gift?: string;
  count?: number;
  reverses?: string;
}

/** A request about money that moved none. It stays refused: the id never expires. */
export interface TransferRefused {
  request: string;
  request_type: string;
  code: string;
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
  /** `/rooms/<room>`, `/accounts/<user>`, `/battles/<battle>` or `/gifts/<gift>`; with `id` it identifies the event. */
  source: string;
  /** When the gateway accepted the request, RFC 3339 UTC with µs. */
  time: string;
  datacontenttype: "application/json";
  roomid?: string;
  /** The user whose wallet it is about (ledger). */
  accountid?: string;
  battleid?: string;
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
  "battle.accepted": BattleAccepted;
  "battle.cancelled": BattleCancelled;
  "battle.contributed": BattleContributed;
  "battle.contribution.late": BattleContributionLate;
  "battle.declined": BattleDeclined;
  "battle.ended": BattleEnded;
  "battle.expired": BattleExpired;
  "battle.invited": BattleInvited;
  "battle.refused": BattleRefused;
  "battle.scored": BattleScored;
  "battle.started": BattleStarted;
  "battle.window.closed": BattleWindowClosed;
  "battle.window.opened": BattleWindowOpened;
  "clock.anchored": ClockAnchored;
  "clock.epoch.closed": ClockAnchored;
  "clock.epoch.opened": ClockAnchored;
  "clock.stepped": ClockAnchored;
  "comment.held": CommentHeld;
  "comment.posted": CommentPosted;
  "comment.released": CommentReleased;
  "comment.removed": CommentRemoved;
  "gift.catalogued": GiftCatalogued;
  "gift.combo.ended": GiftComboEnded;
  "gift.refused": GiftRefused;
  "gift.reversed": GiftReversed;
  "gift.sent": GiftSent;
  "hold.placed": HoldPlaced;
  "hold.resolved": HoldResolved;
  "like.tapped": LikeTapped;
  "likes.counted": LikesCounted;
  "request.refused": RequestRefused;
  "request.unchanged": RequestUnchanged;
  "room.closed": RoomClosed;
  "room.opened": RoomOpened;
  "transfer.posted": TransferPosted;
  "transfer.refused": TransferRefused;
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
