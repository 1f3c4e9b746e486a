import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { backoffMs, mergeBackoff } from "../src/backoff.js";
import { Outbox } from "../src/outbox.js";
import type { WireRequest } from "../src/frames.js";

const request = (id: string, text = ""): WireRequest => ({ id, type: "comment.post", data: { text } });
const idsOf = (frame: WireRequest[] | null) => frame?.map((one) => one.id) ?? null;
const accepted = (...ids: string[]) => ids.map((id) => ({ id, status: "accepted" as const }));

describe("an outbox", () => {
  test("sends no more frames than it has credits", () => {
    const outbox = new Outbox();
    outbox.credits = 2;
    outbox.push(request("a"));
    assert.deepEqual(idsOf(outbox.next(0)), ["a"]);
    outbox.push(request("b"));
    assert.deepEqual(idsOf(outbox.next(0)), ["b"]);
    outbox.push(request("c"));
    outbox.push(request("d"));
    assert.equal(outbox.next(0), null);
    outbox.acknowledge(accepted("b"), 0);
    assert.deepEqual(idsOf(outbox.next(0)), ["c", "d"]);
    assert.equal(outbox.next(0), null);
  });

  test("frees a credit only when all requests of a frame have results", () => {
    const outbox = new Outbox();
    outbox.push(request("a"));
    outbox.push(request("b"));
    outbox.next(0);
    outbox.push(request("c"));
    outbox.acknowledge(accepted("a"), 0);
    assert.equal(outbox.next(0), null);
    outbox.acknowledge(accepted("b"), 0);
    assert.deepEqual(idsOf(outbox.next(0)), ["c"]);
  });

  test("keeps frames below the server's limits", () => {
    const outbox = new Outbox({ frameRequestsMax: 3, frameBytesMax: 300 });
    outbox.credits = 9;
    for (const id of ["a", "b", "c", "d"]) outbox.push(request(id));
    assert.deepEqual(idsOf(outbox.next(0)), ["a", "b", "c"]);
    assert.deepEqual(idsOf(outbox.next(0)), ["d"]);
    outbox.push(request("e", "é".repeat(120)));
    outbox.push(request("f", "x".repeat(200)));
    outbox.push(request("g", "x".repeat(999)));
    assert.deepEqual(idsOf(outbox.next(0)), ["e"]);
    assert.deepEqual(idsOf(outbox.next(0)), ["f"]);
    assert.deepEqual(idsOf(outbox.next(0)), ["g"]);
  });

  test("after a lost connection sends first, with the same ids, what had no answer", () => {
    const outbox = new Outbox();
    outbox.credits = 2;
    outbox.push(request("a"));
    outbox.push(request("b"));
    outbox.next(0);
    outbox.push(request("c"));
    outbox.next(0);
    outbox.push(request("d"));
    outbox.acknowledge(accepted("a"), 0);
    outbox.disconnected();
    assert.equal(outbox.inFlight, 0);
    assert.deepEqual(idsOf(outbox.next(0)), ["b", "c", "d"]);
  });

  test("sends a frame again whose acknowledgement is overdue, and gives up in the end", () => {
    const outbox = new Outbox({ ackTimeoutMs: 100, attemptsMax: 3 });
    outbox.push(request("a"));
    for (let attempt = 0; attempt < 3; attempt += 1) {
      assert.deepEqual(idsOf(outbox.next(attempt * 100)), ["a"]);
      assert.deepEqual(outbox.expire(attempt * 100 + 99), []);
      const givenUp = outbox.expire(attempt * 100 + 100);
      assert.equal(givenUp.length, attempt === 2 ? 1 : 0);
    }
    assert.equal(outbox.size, 0);
  });

  test("tries again later what the server could not take, and keeps the order", () => {
    const outbox = new Outbox();
    outbox.push(request("a"));
    outbox.next(0);
    outbox.push(request("b"));
    const busy = [{ id: "a", status: "rejected" as const, code: "log_unavailable" }];
    assert.deepEqual(outbox.acknowledge(busy, 0), []);
    assert.equal(outbox.next(999), null);
    assert.deepEqual(idsOf(outbox.next(1_000)), ["a", "b"]);
    outbox.retry(undefined, 1_000);
    assert.equal(outbox.next(1_999), null);
    assert.deepEqual(idsOf(outbox.next(2_000)), ["a", "b"]);
  });

  test("holds a bounded number of requests", () => {
    const outbox = new Outbox({ queuedMax: 2 });
    assert.equal(outbox.push(request("a")), true);
    outbox.next(0);
    assert.equal(outbox.push(request("b")), true);
    assert.equal(outbox.push(request("c")), false);
    assert.deepEqual(outbox.clear(), ["a", "b"]);
    assert.equal(outbox.size, 0);
  });
});

describe("the back-off", () => {
  test("has full jitter under a ceiling that grows and is capped", () => {
    const backoff = { base_ms: 100, max_ms: 1_000, factor: 2 };
    assert.equal(backoffMs(backoff, 0, 0), 0);
    assert.equal(backoffMs(backoff, 0, 0.999), 99.9);
    assert.equal(backoffMs(backoff, 2, 0.5), 200);
    assert.equal(backoffMs(backoff, 50, 0.5), 500);
  });

  test("follows the server where it makes sense", () => {
    assert.deepEqual(mergeBackoff({ base_ms: 7, max_ms: 8, factor: 1.5 }), { base_ms: 7, max_ms: 8, factor: 1.5 });
    assert.deepEqual(mergeBackoff({ base_ms: -1, max_ms: NaN, factor: 0 }), mergeBackoff(undefined));
  });
});
