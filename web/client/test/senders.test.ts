import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Senders } from "../src/senders.js";
import { event, gift } from "./world.js";

const from = (actorid: string, id: string, count: number, mediapts = 0) =>
  gift(id, { count, unit_price: 10 }, { actorid, mediapts, mediaepoch: 1 });

describe("senders", () => {
  test("are ranked by their coins, by name where equal", () => {
    const senders = new Senders();
    senders.add(from("zoe", "1", 3));
    senders.add(from("ana", "2", 1));
    senders.add(from("ana", "3", 2));
    senders.add(from("ben", "4", 9));
    assert.deepEqual(senders.top(2), [{ actor: "ben", coins: 90 }, { actor: "ana", coins: 30 }]);
  });

  test("begin with the snapshot, and do not add what it holds already", () => {
    const senders = new Senders();
    senders.reset([{ actor: "ana", coins: 100 }], ["1"]);
    assert.equal(senders.add(from("ana", "1", 1)), false);
    assert.equal(senders.add(from("ana", "2", 1)), true);
    assert.deepEqual(senders.top(1), [{ actor: "ana", coins: 110 }]);
  });

  test("give back what is reversed, once", () => {
    const senders = new Senders();
    senders.add(from("ana", "1", 4));
    const taken = event("gift.reversed", { request: "1", coins: 40, earned: 0, to: "host", transfer: "0-2", session: "s", sent: "2026-01-01T00:00:00Z", reason: "" });
    senders.reverse(taken);
    senders.reverse(taken);
    assert.deepEqual(senders.top(5), []);
  });

  test("are bounded: the smallest are forgotten first", () => {
    const senders = new Senders();
    for (let n = 1; n <= 10_050; n += 1) senders.add(from(`v${n}`, String(n), n));
    assert.equal(senders.top(20_000).length < 10_001, true);
    assert.deepEqual(senders.top(1), [{ actor: "v10050", coins: 100_500 }]);
  });
});
