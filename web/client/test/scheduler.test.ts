import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { MediaTime } from "../src/clock.js";
import type { Playhead } from "../src/playhead.js";
import { ReleaseScheduler, type Stamped } from "../src/scheduler.js";

class Player implements Playhead {
  readonly basis = "synthetic";
  rate = 1;
  at: MediaTime | null;

  constructor(at: MediaTime | null) {
    this.at = at;
  }

  position(): MediaTime | null {
    return this.at;
  }
}

function stamped(id: string, mediaepoch: number, mediapts: number): Stamped {
  return { id, mediaepoch, mediapts };
}

const ids = (releases: { event: Stamped }[]) => releases.map((release) => release.event.id);

describe("a release scheduler", () => {
  test("holds an event until the playhead reaches its stamp", () => {
    const player = new Player({ epoch: 1, ptsMs: 900 });
    const scheduler = new ReleaseScheduler(player);
    assert.deepEqual(scheduler.offer(stamped("a", 1, 1_000), 0), []);
    assert.equal(scheduler.waitMs(0), 100);
    player.at = { epoch: 1, ptsMs: 999.9 };
    assert.deepEqual(scheduler.due(0), []);
    player.at = { epoch: 1, ptsMs: 1_002 };
    const [release] = scheduler.due(0);
    assert.equal(release?.event.id, "a");
    assert.equal(release?.reason, "playhead");
    assert.equal(release?.errorMs, 2);
    assert.equal(scheduler.held, 0);
    assert.equal(scheduler.waitMs(0), Infinity);
  });

  test("releases what the player is past at once, and says how late", () => {
    const scheduler = new ReleaseScheduler(new Player({ epoch: 1, ptsMs: 1_500 }));
    const [release] = scheduler.offer(stamped("a", 1, 1_000), 0);
    assert.equal(release?.reason, "late");
    assert.equal(release?.errorMs, 500);
  });

  test("releases what was stamped beyond the end of an epoch when the player stands at it", () => {
    const player = new Player({ epoch: 1, ptsMs: 9_900 });
    const scheduler = new ReleaseScheduler(player);
    scheduler.offer(stamped("before", 1, 9_950), 0);
    scheduler.offer(stamped("beyond", 1, 10_400), 0);
    scheduler.offer(stamped("next", 2, 0), 0);
    player.at = { epoch: 1, ptsMs: 9_960, isEnd: true };
    assert.equal(scheduler.waitMs(0), 0);
    const releases = scheduler.due(0);
    assert.deepEqual(ids(releases), ["before", "beyond"]);
    assert.deepEqual(releases.map((one) => [one.reason, one.errorMs]), [["playhead", 10], ["end", -440]]);
    assert.deepEqual(ids(scheduler.offer(stamped("later", 1, 10_500), 0)), ["later"]);
    assert.equal(scheduler.held, 1, "the next epoch is still to come");
  });

  test("releases in the order of the stamps, whatever the order of arrival", () => {
    const player = new Player({ epoch: 1, ptsMs: 0 });
    const scheduler = new ReleaseScheduler(player);
    for (const [id, pts] of [["c", 30], ["a", 10], ["b1", 20], ["b2", 20]] as const) {
      scheduler.offer(stamped(id, 1, pts), 0);
    }
    player.at = { epoch: 1, ptsMs: 100 };
    assert.deepEqual(ids(scheduler.due(0)), ["a", "b1", "b2", "c"]);
  });

  test("a late event does not overtake one that is due", () => {
    const player = new Player({ epoch: 1, ptsMs: 0 });
    const scheduler = new ReleaseScheduler(player);
    scheduler.offer(stamped("first", 1, 10), 0);
    player.at = { epoch: 1, ptsMs: 50 };
    assert.deepEqual(ids(scheduler.offer(stamped("second", 1, 20), 0)), ["first", "second"]);
  });

  test("releases an older epoch than the player's at once", () => {
    const scheduler = new ReleaseScheduler(new Player({ epoch: 2, ptsMs: 0 }));
    const [release] = scheduler.offer(stamped("a", 1, 99_999), 0);
    assert.equal(release?.reason, "epoch");
    assert.equal(release?.errorMs, null);
  });

  test("releases what is held when the player goes on to a newer epoch", () => {
    const player = new Player({ epoch: 1, ptsMs: 0 });
    const scheduler = new ReleaseScheduler(player);
    scheduler.offer(stamped("a", 1, 5_000), 0);
    player.at = { epoch: 2, ptsMs: -100 };
    const [release] = scheduler.due(0);
    assert.equal(release?.reason, "epoch");
  });

  test("holds a newer epoch until the player gets there", () => {
    const player = new Player({ epoch: 1, ptsMs: 60_000 });
    const scheduler = new ReleaseScheduler(player);
    assert.deepEqual(scheduler.offer(stamped("a", 2, 100), 0), []);
    assert.deepEqual(scheduler.due(1_000), []);
    player.at = { epoch: 2, ptsMs: 50 };
    assert.deepEqual(scheduler.due(2_000), []);
    player.at = { epoch: 2, ptsMs: 100 };
    assert.equal(scheduler.due(2_050)[0]?.reason, "playhead");
  });

  test("holds a newer epoch no longer than the latency budget", () => {
    const scheduler = new ReleaseScheduler(new Player({ epoch: 1, ptsMs: 0 }));
    scheduler.offer(stamped("a", 2, 100), 1_000);
    scheduler.offer(stamped("b", 2, 50), 2_000);
    assert.deepEqual(scheduler.due(15_999), []);
    assert.deepEqual(ids(scheduler.due(16_000)), ["a"]);
    const [release] = scheduler.due(17_000);
    assert.equal(release?.event.id, "b");
    assert.equal(release?.reason, "budget");
    assert.equal(scheduler.held, 0);
  });

  test("holds the player's own epoch as long as the player takes", () => {
    const player = new Player({ epoch: 1, ptsMs: 0 });
    player.rate = 0;
    const scheduler = new ReleaseScheduler(player);
    scheduler.offer(stamped("a", 1, 100), 0);
    assert.deepEqual(scheduler.due(3_600_000), []);
    assert.ok(scheduler.waitMs(3_600_000) > 0);
  });

  test("releases by wall time without a stamp, without a clock and without a player", () => {
    const withPlayer = new ReleaseScheduler<Stamped>(new Player({ epoch: 1, ptsMs: 0 }));
    assert.equal(withPlayer.offer({ id: "a" }, 0)[0]?.reason, "wall");
    assert.equal(withPlayer.offer(stamped("b", 0, 9_999), 0)[0]?.reason, "wall");
    const waiting = new ReleaseScheduler(new Player(null));
    assert.equal(waiting.offer(stamped("c", 1, 9_999), 0)[0]?.basis, "wall");
    const without = new ReleaseScheduler(null);
    assert.equal(without.offer(stamped("d", 1, 9_999), 0)[0]?.errorMs, null);
    assert.equal(withPlayer.counts.wall, 2);
  });

  test("plays the recording of a room without a media clock by its wall time", () => {
    const player = new Player({ epoch: 0, ptsMs: 0 });
    const scheduler = new ReleaseScheduler(player);
    assert.deepEqual(scheduler.offer(stamped("a", 0, 100), 0), []);
    assert.deepEqual([...scheduler.upcoming()].map((event) => event.id), ["a"]);
    player.at = { epoch: 0, ptsMs: 100 };
    assert.equal(scheduler.due(0)[0]?.reason, "playhead");
  });

  test("releases what is held when the player goes away", () => {
    const player = new Player({ epoch: 1, ptsMs: 0 });
    const scheduler = new ReleaseScheduler(player);
    scheduler.offer(stamped("a", 1, 100), 0);
    player.at = null;
    assert.equal(scheduler.due(0)[0]?.reason, "wall");
  });

  test("drops an event that was offered before, held or released", () => {
    const player = new Player({ epoch: 1, ptsMs: 0 });
    const scheduler = new ReleaseScheduler(player);
    scheduler.offer(stamped("a", 1, 100), 0);
    assert.deepEqual(scheduler.offer(stamped("a", 1, 100), 0), []);
    player.at = { epoch: 1, ptsMs: 100 };
    assert.equal(scheduler.due(0).length, 1);
    assert.deepEqual(scheduler.offer(stamped("a", 1, 100), 0), []);
    assert.equal(scheduler.counts.duplicate, 2);
  });

  test("holds a bounded number of events and loses none", () => {
    const player = new Player({ epoch: 1, ptsMs: 0 });
    const scheduler = new ReleaseScheduler(player, { heldMax: 10 });
    const early = [];
    for (let n = 0; n < 25; n += 1) early.push(...scheduler.offer(stamped(`e${n}`, 1, 100 + n), 0));
    assert.equal(scheduler.held, 10);
    assert.equal(early.length, 15);
    assert.ok(early.every((release) => release.reason === "overflow" && release.errorMs! < 0));
    player.at = { epoch: 1, ptsMs: 1_000 };
    assert.equal(early.length + scheduler.due(0).length, 25);
  });

  test("remembers a bounded number of ids", () => {
    const scheduler = new ReleaseScheduler(null, { idsMax: 4 });
    for (let n = 0; n < 100; n += 1) scheduler.offer(stamped(`e${n}`, 1, 0), 0);
    assert.deepEqual(scheduler.offer(stamped("e99", 1, 0), 0), []);
    assert.equal(scheduler.offer(stamped("e0", 1, 0), 0).length, 1);
  });

  test("over any schedule, releases each event once, never early, and in stamp order", () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const random = mulberry(seed);
      const player = new Player({ epoch: 1, ptsMs: 0 });
      const scheduler = new ReleaseScheduler<Stamped>(player);
      const offered: string[] = [];
      const released: string[] = [];
      let last: MediaTime = { epoch: 0, ptsMs: -Infinity };
      let nowMs = 0;
      for (let step = 0; step < 200; step += 1) {
        nowMs += random() * 40;
        const at = player.at as MediaTime;
        const isNewEpoch = random() < 0.01;
        player.at = isNewEpoch
          ? { epoch: at.epoch + 1, ptsMs: -50 }
          : { epoch: at.epoch, ptsMs: at.ptsMs + random() * 40 };
        const out = scheduler.due(nowMs);
        if (random() < 0.7) {
          const event = stamped(`e${step}`, player.at.epoch, player.at.ptsMs + random() * 400 - 100);
          offered.push(event.id);
          out.push(...scheduler.offer(event, nowMs));
        }
        for (const { event, reason, position } of out) {
          released.push(event.id);
          const stamp = { epoch: event.mediaepoch as number, ptsMs: event.mediapts as number };
          if (reason === "playhead") {
            assert.ok(stamp.epoch === position?.epoch && stamp.ptsMs <= position.ptsMs);
            const isLater = stamp.epoch > last.epoch || stamp.ptsMs >= last.ptsMs;
            assert.ok(isLater, `seed ${seed}: ${event.id} came after a later stamp`);
            last = stamp;
          }
        }
      }
      player.at = { epoch: 99, ptsMs: 0 };
      released.push(...ids(scheduler.due(nowMs)));
      assert.deepEqual([...released].sort(), [...offered].sort(), `seed ${seed}`);
    }
  });
});

/** A seeded generator of numbers in [0, 1). */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
