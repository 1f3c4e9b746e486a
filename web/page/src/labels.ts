/** Events in words: among the comments, and on the marks of the strip. */
import type { Battle, LiveEvent } from "@live-engagement/client";
import { count, mediaTime } from "./format.js";

/**
 * Events that are told in words among the comments; null for the others. `battle` is the one that
 * goes on: it knows the hosts.
 */
export function noteOf(event: LiveEvent, battle: Battle | null = null): string | null {
  switch (event.type) {
    case "room.opened":
      return `${event.data.host} went live: ${event.data.title}`;
    case "room.closed":
      return "The host has ended this live";
    case "viewer.muted":
      return `${event.data.target} was muted`;
    case "viewer.banned":
      return `${event.data.target} was banned`;
    case "viewer.unbanned":
      return `${event.data.target} may speak again`;
    case "battle.invited":
      return `${hostOf(event.data.sides, 0)} challenges ${event.data.sides.slice(1).map((side) => side.host).join(", ")}`;
    case "battle.started":
      return `PK battle: ${event.data.sides.map((side) => side.host).join(" vs ")}`;
    case "battle.declined":
      return `${event.data.by} declined the battle`;
    case "battle.window.opened":
      return event.data.kind === "multiplier" ? `Points count ×${event.data.multiplier}` : null;
    case "battle.ended":
      return endOf(event.data, battle);
    default:
      return null;
  }
}

export function labelOf(event: LiveEvent): string {
  const at = event.mediapts === undefined ? "" : ` at ${mediaTime(event.mediapts)}`;
  switch (event.type) {
    case "likes.counted":
      return `${event.data.count} likes${at}`;
    case "viewers.counted":
      return `${event.data.online} watching${at}`;
    case "gift.sent":
      return `${event.actorid} sent ${event.data.count} × ${event.data.name}${at}`;
    case "battle.scored":
      return `${Object.values(event.data.totals).map(count).join(" : ")}${at}`;
    default:
      return event.type + at;
  }
}

function endOf(data: { result: string; winner?: string; totals: Record<string, number> }, battle: Battle | null): string {
  const points = Object.values(data.totals).sort((a, b) => b - a).map(count).join(" : ");
  if (data.result === "aborted") return "The battle was called off";
  if (data.result === "draw") return `The battle ends in a draw, ${points}`;
  const winner = battle?.sides.find((side) => side.room === data.winner)?.host ?? data.winner;
  return `${winner} wins the battle, ${points}`;
}

function hostOf(sides: readonly { host: string }[], index: number): string {
  return sides[index]?.host ?? "somebody";
}
