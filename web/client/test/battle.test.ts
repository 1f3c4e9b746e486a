import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { battleOf, foldBattle, isBattleEvent, remainingMs, shares, verdict, type Battle, type BattleEvent } from "../src/battle.js";
import { comment, event } from "./world.js";

const START_MS = Date.parse("2026-01-01T00:00:00Z");
const at = (seconds: number) => new Date(START_MS + seconds * 1000).toISOString();
const sides = [{ room: "r", host: "ana" }, { room: "s", host: "ben" }];

function moment(seconds: number): { time: string; mediaepoch: number; mediapts: number } {
  return { time: at(seconds), mediaepoch: 1, mediapts: 100_000 + seconds * 1000 };
}

const invited = event("battle.invited", {
  battle: "b", revision: 1, sides, duration_s: 60, rule: "coins", windows: [], punish_s: 10, by: "ana", expires: at(30),
}, moment(-5));
const started = event("battle.started", {
  battle: "b", revision: 3, sides, started: at(0), deadline: at(60), duration_s: 60, rule: "coins",
}, moment(0));
const scored = (revision: number, r: number, s: number) =>
  event("battle.scored", { battle: "b", revision, totals: { r, s }, top: [{ actor: "zoe", room: "r", points: r }] }, moment(revision));
const opened = event("battle.window.opened", { battle: "b", revision: 10, kind: "multiplier", multiplier: 3, until: at(60) }, moment(40));
const closed = event("battle.window.closed", { battle: "b", revision: 11, kind: "multiplier" }, moment(60));
const ended = event("battle.ended", {
  battle: "b", final_revision: 12, totals: { r: 90, s: 30 }, result: "win", reason: "deadline", winner: "r",
}, moment(61));
const punish = event("battle.window.opened", { battle: "b", revision: 13, kind: "punish", multiplier: 1, until: at(71) }, moment(61));
const whole: BattleEvent[] = [invited, started, scored(4, 10, 0), scored(5, 10, 20), opened, scored(10.5, 90, 30), closed, ended, punish];

const fold = (events: readonly BattleEvent[], from: Battle | null = null) => events.reduce(foldBattle, from);

describe("a battle", () => {
  test("is told apart from other events", () => {
    assert.equal(isBattleEvent(invited), true);
    assert.equal(isBattleEvent(comment("a")), false);
  });

  test("is invited, starts, scores, and ends with a winner who is then free to punish", () => {
    assert.equal(fold(whole.slice(0, 1))?.status, "invited");
    const running = fold(whole.slice(0, 4)) as Battle;
    assert.equal(running.status, "running");
    assert.deepEqual(running.sides.map((side) => side.score), [10, 20]);
    assert.equal(running.deadlineMs, START_MS + 60_000);
    const over = fold(whole) as Battle;
    assert.deepEqual([over.status, over.winner, over.punishUntilMs], ["ended", "r", START_MS + 71_000]);
    assert.deepEqual(over.sides.map((side) => side.score), [90, 30]);
    assert.deepEqual([verdict(over, "r"), verdict(over, "s")], ["win", "lose"]);
    const calm = event("battle.window.closed", { battle: "b", revision: 14, kind: "punish" });
    assert.equal(foldBattle(over, calm)?.punishUntilMs, null);
  });

  test("counts points several-fold while a window is open", () => {
    const open = fold(whole.slice(0, 5)) as Battle;
    assert.deepEqual([open.multiplier, open.windowUntilMs], [3, START_MS + 60_000]);
    assert.equal(fold(whole.slice(0, 7))?.multiplier, 1);
    assert.equal(foldBattle(open, ended)?.multiplier, 1);
  });

  test("is the same for every order of its facts after the start, and with repeats", () => {
    const scores = [scored(4, 1, 0), scored(5, 2, 0), scored(6, 2, 9), scored(7, 5, 9)];
    const straight = fold([started, ...scores]);
    assert.deepEqual(fold([started, ...[...scores].reverse(), ...scores])?.sides, straight?.sides);
    assert.deepEqual(fold(whole, fold(whole)), fold(whole));
  });

  test("is not hidden by an invitation to another one while it runs", () => {
    const other = { ...invited, data: { ...invited.data, battle: "other" } };
    assert.equal(fold([...whole.slice(0, 4), other])?.battle, "b");
    assert.equal(fold([...whole, other])?.battle, "other");
  });

  for (const type of ["battle.declined", "battle.cancelled", "battle.expired"] as const) {
    test(`is gone when it is ${type.slice(7)}`, () => {
      const gone = event(type, { battle: "b", revision: 2 } as never);
      assert.equal(fold([invited, gone]), null);
      assert.equal(fold([started, event(type, { battle: "x", revision: 9 } as never)])?.battle, "b");
    });
  }

  test("that nobody won says so", () => {
    for (const result of ["draw", "aborted"] as const) {
      const over = fold([started, { ...ended, data: { ...ended.data, result } }]) as Battle;
      assert.equal(verdict(over, "r"), result);
    }
    assert.equal(verdict(fold([started]) as Battle, "r"), null);
  });

  test("shares its bar by points, evenly before the first", () => {
    assert.deepEqual(shares(fold([started]) as Battle), [0.5, 0.5]);
    assert.deepEqual(shares(fold([started, scored(4, 30, 10)]) as Battle), [0.75, 0.25]);
  });

  test("facts of a battle that is not known change nothing", () => {
    assert.equal(fold([scored(4, 1, 1), ended]), null);
  });
});

describe("a battle's countdown", () => {
  const battle = fold([started]) as Battle;
  const deadlineMs = battle.deadlineMs as number;

  test("is as far as the frame on screen, by the room's clock", () => {
    assert.equal(remainingMs(battle, deadlineMs, null, START_MS + 12_500), 47_500);
    assert.equal(remainingMs(battle, deadlineMs, null, START_MS + 99_000), 0);
  });

  test("is told by the newest stamp where there is no clock", () => {
    const left = (ptsMs: number, epoch = 1) => remainingMs(battle, deadlineMs, { epoch, ptsMs }, null);
    assert.equal(left(100_000), 60_000);
    assert.equal(left(130_000), 30_000);
    assert.equal(left(200_000), 0);
    assert.equal(left(0, 2), null, "another epoch is not comparable");
    const later = fold([started, scored(6, 1, 1)]) as Battle;
    assert.equal(remainingMs(later, deadlineMs, { epoch: 1, ptsMs: 106_000 }, null), 54_000);
  });
});

describe("a battle's snapshot", () => {
  const told = {
    battle: "b", status: "running", revision: 7, started: at(0), deadline: at(60), multiplier: 2, result: "", winner: "",
    sides: [{ room: "r", host: "ana", score: 5 }, { room: "s", host: "ben", score: 6 }],
    top: [{ actor: "zoe", room: "s", points: 6 }],
  };

  test("is where those who come begin", () => {
    const battle = battleOf(told) as Battle;
    assert.deepEqual([battle.status, battle.multiplier, battle.result], ["running", 2, null]);
    assert.equal(fold([scored(7, 99, 99)], battle)?.sides[0]?.score, 5, "what the snapshot holds is no news");
    assert.equal(fold([scored(8, 99, 99)], battle)?.sides[0]?.score, 99);
  });

  test("may say that there is none", () => {
    assert.equal(battleOf(null), null);
    assert.equal(battleOf(undefined), null);
    assert.equal(battleOf({ ...told, status: "declined" }), null);
  });
});
