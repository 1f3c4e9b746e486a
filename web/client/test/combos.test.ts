import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Combos } from "../src/combos.js";
import { event, gift } from "./world.js";

const tap = (id: string, combo_count: number, count = 1) => gift(id, { combo: "c", combo_count, count });

describe("combos", () => {
  test("count up with every tap", () => {
    const combos = new Combos();
    assert.equal(combos.add(tap("a", 1)).count, 1);
    assert.equal(combos.add(tap("b", 4, 3)).count, 4);
    assert.equal(combos.size, 1);
  });

  test("show the greatest count, whatever is repeated, lost or reordered", () => {
    const combos = new Combos();
    const counts = [3, 1, 9, 9, 2].map((n, index) => combos.add(tap(`t${index}`, n)).count);
    assert.deepEqual(counts, [3, 3, 9, 9, 9]);
  });

  test("end by their fact, with its total, and are forgotten", () => {
    const combos = new Combos();
    combos.add(tap("a", 2));
    const data = { combo: "c", gift: "rose", total_count: 7, total_coins: 35, reason: "timeout" } as const;
    const ended = combos.end(event("gift.combo.ended", data));
    assert.equal(ended?.count, 7);
    assert.equal(ended?.isEnded, true);
    assert.equal(combos.size, 0);
    assert.equal(combos.end(event("gift.combo.ended", data)), null);
  });

  test("a gift that does not combo is one by itself", () => {
    const combos = new Combos();
    const lion = combos.add(gift("x", { gift: "lion", count: 2 }));
    assert.deepEqual([lion.key, lion.count, lion.isEnded], ["x", 2, true]);
    assert.equal(combos.size, 0);
  });

  test("two senders of the same gift are two combos", () => {
    const combos = new Combos();
    combos.add(gift("a", { combo: "c1", combo_count: 5 }, { actorid: "ana" }));
    const ben = combos.add(gift("b", { combo: "c2", combo_count: 1 }, { actorid: "ben" }));
    assert.deepEqual([ben.actor, ben.count, combos.size], ["ben", 1, 2]);
  });

  test("are bounded: the one tapped longest ago is forgotten", () => {
    const combos = new Combos();
    for (let n = 0; n < 1_500; n += 1) {
      combos.add(gift(`t${n}`, { combo: `c${n}`, combo_count: 1 }));
      combos.add(gift(`again${n}`, { combo: "c0", combo_count: n + 2 }));
    }
    assert.equal(combos.size, 1_000);
    assert.equal(combos.add(gift("last", { combo: "c0", combo_count: 1 })).count, 1_501);
  });
});
