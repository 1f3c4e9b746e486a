import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MediaClock, ServerClock } from "../src/clock.js";
import { RecordedPlayhead, SyntheticPlayhead } from "../src/playhead.js";
import { anchor } from "./world.js";

describe("the server's clock", () => {
  test("is known to half of the quickest round trip", () => {
    const clock = new ServerClock();
    // The server is 5,000 ms ahead. A slow, lopsided exchange, then a quick one.
    clock.exchanged(0, 5_180, 200);
    assert.equal(clock.offsetMs, 5_080);
    clock.exchanged(1_000, 6_002, 1_010);
    assert.equal(clock.offsetMs, 4_997);
    clock.exchanged(2_000, 7_390, 2_400);
    assert.equal(clock.offsetMs, 4_997);
    assert.equal(clock.roundTripMs, 400);
  });

  test("forgets exchanges that are long past: clocks drift", () => {
    const clock = new ServerClock();
    clock.exchanged(0, 100, 1);
    for (let n = 1; n <= 16; n += 1) clock.exchanged(n * 1_000, n * 1_000 + 505, n * 1_000 + 10);
    assert.equal(clock.offsetMs, 500);
  });

  test("without dated pongs is taken from the least delayed frame and half a round trip", () => {
    const clock = new ServerClock();
    assert.equal(clock.offsetMs, 0);
    clock.received(900, 1_000);
    clock.received(1_080, 1_100);
    clock.received(1_050, 1_200);
    assert.equal(clock.offsetMs, -20);
    clock.exchanged(1_300, null, 1_340);
    assert.equal(clock.offsetMs, 0);
  });

  test("without dated pongs follows a clock that falls behind", () => {
    const clock = new ServerClock();
    for (let minute = 0; minute < 4; minute += 1) {
      const nowMs = minute * 61_000;
      clock.received(nowMs - minute * 10, nowMs);
    }
    assert.equal(clock.offsetMs, -20);
  });
});

describe("the media time of an RTP timestamp", () => {
  test("runs from the anchor, also over the end of 32 bits and back", () => {
    const clock = new MediaClock();
    assert.equal(clock.ofRtp(0, 0), null);
    clock.observe(anchor({ rtp: 2 ** 32 - 90, pts_ms: 500, wall_ms: 10_000 }));
    assert.deepEqual(clock.ofRtp(90 * 99, 10_100), { epoch: 1, ptsMs: 600 });
    assert.deepEqual(clock.ofRtp(2 ** 32 - 90 * 101, 9_900), { epoch: 1, ptsMs: 400 });
  });

  test("is of the epoch in which the frame was on air about then", () => {
    const clock = new MediaClock();
    clock.observe(anchor({ epoch: 1, rtp: 1_000_000, pts_ms: 60_000, wall_ms: 60_000 }));
    clock.observe(anchor({ epoch: 2, rtp: 3_000_000_000, pts_ms: 0, wall_ms: 62_000 }));
    assert.deepEqual(clock.ofRtp(1_000_000 + 90 * 1_500, 62_100), { epoch: 1, ptsMs: 61_500 });
    assert.deepEqual(clock.ofRtp(3_000_000_000 + 90 * 40, 62_100), { epoch: 2, ptsMs: 40 });
    assert.equal(clock.ofRtp(2_000_000_000, 62_100), null, "of no publisher that is known");
  });

  test("goes by the nearest anchor of an epoch, so a drift does not add up", () => {
    const clock = new MediaClock();
    clock.observe(anchor({ rtp: 0, pts_ms: 0, wall_ms: 0 }));
    clock.observe(anchor({ rtp: 90 * 5_000, pts_ms: 5_001, wall_ms: 5_000 }));
    assert.deepEqual(clock.ofRtp(90 * 5_010, 5_020), { epoch: 1, ptsMs: 5_011 });
    assert.deepEqual(clock.ofRtp(90 * 4_000, 5_020), { epoch: 1, ptsMs: 4_000 });
  });
});

describe("the media clock", () => {
  test("runs from its anchor", () => {
    const clock = new MediaClock();
    assert.equal(clock.at(0), null);
    clock.observe(anchor({ pts_ms: 500, wall_ms: 10_000, offset_ms: 250 }));
    assert.deepEqual(clock.at(10_250), { epoch: 1, ptsMs: 500 });
    assert.deepEqual(clock.at(11_250), { epoch: 1, ptsMs: 1_500 });
    assert.deepEqual(clock.at(9_250), { epoch: 1, ptsMs: -500 });
  });

  test("uses the anchor that held then, so a step is seen late by those who watch late", () => {
    const clock = new MediaClock();
    clock.observe(anchor({ pts_ms: 0, wall_ms: 0 }));
    clock.observe(anchor({ pts_ms: 8_000, wall_ms: 10_000 }));
    assert.deepEqual(clock.at(9_999), { epoch: 1, ptsMs: 9_999 });
    assert.deepEqual(clock.at(10_000), { epoch: 1, ptsMs: 8_000 });
  });

  test("holds an anchor from when it was taken, where that is told", () => {
    const clock = new MediaClock();
    clock.observe(anchor({ pts_ms: 0, wall_ms: 0, at_us: 0 }));
    clock.observe(anchor({ pts_ms: 8_000, wall_ms: 10_000, at_us: 10_300_000 }));
    assert.deepEqual(clock.at(10_299), { epoch: 1, ptsMs: 10_299 });
    assert.deepEqual(clock.at(10_300), { epoch: 1, ptsMs: 8_300 });
  });

  test("stands still from where an epoch has ended, until the next one begins", () => {
    const clock = new MediaClock();
    clock.observe(anchor({ pts_ms: 0, wall_ms: 0, at_us: 0 }));
    clock.observe(anchor({ pts_ms: 9_960, wall_ms: 9_960, at_us: 12_000_000, ended: true }));
    assert.deepEqual(clock.at(11_999), { epoch: 1, ptsMs: 11_999 });
    assert.deepEqual(clock.at(12_000), { epoch: 1, ptsMs: 9_960, isEnd: true });
    assert.deepEqual(clock.at(60_000), { epoch: 1, ptsMs: 9_960, isEnd: true });
    clock.observe(anchor({ epoch: 2, pts_ms: 0, wall_ms: 61_000, at_us: 61_000_000 }));
    assert.deepEqual(clock.at(60_999), { epoch: 1, ptsMs: 9_960, isEnd: true });
    assert.deepEqual(clock.at(61_500), { epoch: 2, ptsMs: 500 });
  });

  test("says when a frame was the newest, by the anchor of its own time", () => {
    const clock = new MediaClock();
    assert.equal(clock.serverMs({ epoch: 1, ptsMs: 0 }), null);
    clock.observe(anchor({ pts_ms: 0, wall_ms: 1_000 }));
    clock.observe(anchor({ pts_ms: 5_000, wall_ms: 6_020 }));
    clock.observe(anchor({ epoch: 2, pts_ms: 0, wall_ms: 20_000, offset_ms: 7 }));
    assert.equal(clock.serverMs({ epoch: 1, ptsMs: -10 }), 990);
    assert.equal(clock.serverMs({ epoch: 1, ptsMs: 4_999 }), 5_999);
    assert.equal(clock.serverMs({ epoch: 1, ptsMs: 5_500 }), 6_520);
    assert.equal(clock.serverMs({ epoch: 2, ptsMs: 100 }), 20_107);
    assert.equal(clock.serverMs({ epoch: 3, ptsMs: 0 }), null);
  });

  test("passes over repeats, late arrivals and older epochs", () => {
    const clock = new MediaClock();
    assert.equal(clock.observe(anchor({ epoch: 2, wall_ms: 100 })), true);
    assert.equal(clock.observe(anchor({ epoch: 2, wall_ms: 100 })), false);
    assert.equal(clock.observe(anchor({ epoch: 2, wall_ms: 50 })), false);
    assert.equal(clock.observe(anchor({ epoch: 1, wall_ms: 9_000 })), false);
    assert.equal(clock.observe(anchor({ epoch: 3, wall_ms: 50 })), true);
  });

  test("keeps a bounded number of anchors", () => {
    const clock = new MediaClock();
    for (let n = 0; n < 1_000; n += 1) clock.observe(anchor({ wall_ms: n * 5_000, pts_ms: n }));
    assert.deepEqual(clock.at(999 * 5_000), { epoch: 1, ptsMs: 999 });
    assert.deepEqual(clock.at(0), { epoch: 1, ptsMs: 968 - 968 * 5_000 });
  });
});

describe("playheads", () => {
  test("a synthetic one shows the server's media clock late", () => {
    const media = new MediaClock();
    const server = new ServerClock();
    server.exchanged(0, 1_000, 0);
    const playhead = new SyntheticPlayhead({ media, server }, 200);
    assert.equal(playhead.position(0), null);
    media.observe(anchor({ wall_ms: 0, pts_ms: 0 }));
    assert.deepEqual(playhead.position(500), { epoch: 1, ptsMs: 1_300 });
  });

  test("a recorded one plays, pauses, seeks and runs through epochs", () => {
    const playhead = new RecordedPlayhead();
    assert.equal(playhead.position(0), null);
    playhead.setSpans([
      { epoch: 1, fromMs: 500, toMs: 1_500 },
      { epoch: 2, fromMs: 0, toMs: 2_000 },
    ]);
    assert.equal(playhead.durationMs, 3_000);
    playhead.play(0, 2);
    assert.deepEqual(playhead.position(250), { epoch: 1, ptsMs: 1_000 });
    assert.deepEqual(playhead.position(750), { epoch: 2, ptsMs: 500 });
    playhead.pause(750);
    assert.deepEqual(playhead.position(9_000), { epoch: 2, ptsMs: 500 });
    playhead.seek(100, 9_000);
    assert.deepEqual(playhead.position(9_999), { epoch: 1, ptsMs: 600 });
    assert.equal(playhead.elapsedAt({ epoch: 2, ptsMs: 100 }), 1_100);
    playhead.play(10_000, 1);
    assert.deepEqual(playhead.position(99_999), { epoch: 2, ptsMs: 2_000 });
  });
});
