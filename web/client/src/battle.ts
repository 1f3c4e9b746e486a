/**
 * A PK battle as one room's facts tell it. Pure.
 *
 * Every fact carries the battle's revision and absolute values: the greatest revision is right,
 * whatever was repeated, lost or reordered. An invitation to another battle does not hide one that
 * runs.
 */
import type { MediaTime } from "./clock.js";
import type { BattleSnapshot } from "./frames.js";
import type { EventOf, EventType, LiveEvent, Supporter } from "./generated/events.js";

/** One room of a battle. */
export interface BattleSide {
  room: string;
  host: string;
  score: number;
}

export interface Battle {
  battle: string;
  revision: number;
  status: "invited" | "running" | "settling" | "ended";
  /** The first one has invited. */
  sides: BattleSide[];
  /** Unix ms of the server; null before the start. */
  startedMs: number | null;
  deadlineMs: number | null;
  /** How much points count now. */
  multiplier: number;
  /** Unix ms until which points count `multiplier`-fold; null if that is not told. */
  windowUntilMs: number | null;
  /** Unix ms until which the loser is punished; null at other times. */
  punishUntilMs: number | null;
  result: "win" | "draw" | "aborted" | null;
  /** The room that won. */
  winner: string | null;
  top: Supporter[];
  /** The moment of the newest fact, on both clocks; null when only a snapshot is known. */
  moment: { media: MediaTime; serverMs: number } | null;
}

export type BattleEvent = EventOf<Extract<EventType, `battle.${string}`>>;

export function isBattleEvent(event: LiveEvent): event is BattleEvent {
  return event.type.startsWith("battle.");
}

/** What a snapshot says; null when no battle is going on, nor its end. */
export function battleOf(snapshot: BattleSnapshot | null | undefined): Battle | null {
  if (snapshot === null || snapshot === undefined) return null;
  const { status, result } = snapshot;
  const isKnown = status === "invited" || status === "running" || status === "settling" || status === "ended";
  if (!isKnown) return null;
  return {
    battle: snapshot.battle,
    revision: snapshot.revision,
    status,
    sides: snapshot.sides.map((side) => ({ ...side })),
    startedMs: unixMs(snapshot.started),
    deadlineMs: unixMs(snapshot.deadline),
    multiplier: snapshot.multiplier ?? 1,
    windowUntilMs: null,
    punishUntilMs: unixMs(snapshot.punish_until),
    result: result === "win" || result === "draw" || result === "aborted" ? result : null,
    winner: snapshot.winner || null,
    top: snapshot.top ?? [],
    moment: null,
  };
}

/** The battle after this fact. Facts that are not news leave it as it is. */
export function foldBattle(battle: Battle | null, event: BattleEvent): Battle | null {
  const { data } = event;
  const revision = "final_revision" in data ? data.final_revision : "revision" in data ? data.revision : 0;
  const isSame = battle !== null && battle.battle === data.battle;
  if (isSame && revision <= battle.revision) return battle;
  if (event.type === "battle.started") return started(event, revision);
  if (event.type === "battle.invited") {
    const isBusy = battle !== null && (battle.status === "running" || battle.status === "settling");
    return isBusy ? battle : begun(event, revision, "invited");
  }
  if (!isSame) return battle;
  const next: Battle = { ...battle, revision, moment: momentOf(event) ?? battle.moment };
  switch (event.type) {
    case "battle.scored":
      return { ...next, sides: scored(next.sides, event.data.totals), top: event.data.top };
    case "battle.ended":
      return {
        ...next,
        status: "ended",
        multiplier: 1,
        windowUntilMs: null,
        sides: scored(next.sides, event.data.totals),
        top: event.data.top ?? [],
        result: event.data.result,
        winner: event.data.winner ?? null,
      };
    case "battle.window.opened": {
      const untilMs = unixMs(event.data.until);
      if (event.data.kind === "punish") return { ...next, punishUntilMs: untilMs };
      return { ...next, multiplier: event.data.multiplier, windowUntilMs: untilMs };
    }
    case "battle.window.closed":
      if (event.data.kind === "punish") return { ...next, punishUntilMs: null };
      return { ...next, multiplier: 1, windowUntilMs: null };
    case "battle.declined":
    case "battle.cancelled":
    case "battle.expired":
      return null;
    default:
      return next;
  }
}

/**
 * How long until this server time, in ms, as seen at a playhead: the host on screen has not come
 * further than that. `serverMs` is when the frame on screen was the newest (`MediaClock.serverMs`);
 * where no clock is known, as in a replay, the battle's own newest stamp tells it.
 */
export function remainingMs(
  battle: Battle, untilMs: number, position: MediaTime | null, serverMs: number | null,
): number | null {
  if (serverMs !== null) return Math.max(0, untilMs - serverMs);
  const { moment } = battle;
  if (moment === null || position === null || moment.media.epoch !== position.epoch) return null;
  return Math.max(0, untilMs - moment.serverMs - (position.ptsMs - moment.media.ptsMs));
}

/** Of all points, the share of each side, 0 to 1 in the order of `sides`; equal before the first. */
export function shares(battle: Battle): number[] {
  const total = battle.sides.reduce((sum, side) => sum + side.score, 0);
  return battle.sides.map((side) => (total === 0 ? 1 / battle.sides.length : side.score / total));
}

/** What the end means for a room; null before it. */
export function verdict(battle: Battle, room: string): "win" | "lose" | "draw" | "aborted" | null {
  if (battle.result !== "win") return battle.result;
  return battle.winner === room ? "win" : "lose";
}

function started(event: EventOf<"battle.started">, revision: number): Battle {
  return {
    ...begun(event, revision, "running"),
    startedMs: unixMs(event.data.started),
    deadlineMs: unixMs(event.data.deadline),
  };
}

function begun(
  event: EventOf<"battle.started" | "battle.invited">, revision: number, status: "invited" | "running",
): Battle {
  return {
    battle: event.data.battle,
    revision,
    status,
    sides: event.data.sides.map((side) => ({ ...side, score: 0 })),
    startedMs: null,
    deadlineMs: null,
    multiplier: 1,
    windowUntilMs: null,
    punishUntilMs: null,
    result: null,
    winner: null,
    top: [],
    moment: momentOf(event),
  };
}

function scored(sides: readonly BattleSide[], totals: Record<string, number>): BattleSide[] {
  return sides.map((side) => ({ ...side, score: totals[side.room] ?? side.score }));
}

function momentOf(event: BattleEvent): Battle["moment"] {
  const serverMs = unixMs(event.time);
  if (event.mediaepoch === undefined || event.mediapts === undefined || serverMs === null) return null;
  return { media: { epoch: event.mediaepoch, ptsMs: event.mediapts }, serverMs };
}

function unixMs(time: string | undefined): number | null {
  const ms = Date.parse(time ?? "");
  return Number.isFinite(ms) ? ms : null;
}
