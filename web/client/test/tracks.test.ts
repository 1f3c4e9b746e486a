import assert from "node:assert/strict";
import { test } from "node:test";
import { Track } from "../src/track.js";

test("a track that is closed says so, and keeps nothing", () => {
  const closed: Track[] = [];
  const environment = {
    now: () => 0, random: () => 0, uuid: () => "", setTimeout: () => 1, clearTimeout: () => undefined,
    openSocket: () => { throw new Error("none"); },
  };
  const playhead = { basis: "webrtc" as const, position: () => ({ epoch: 1, ptsMs: 0 }) };
  const track = new Track(playhead, () => assert.fail("not yet"), environment, {}, (one) => closed.push(one));
  track.offer({ id: "a", mediaepoch: 1, mediapts: 100 } as never);
  track.close();
  assert.deepEqual(closed, [track]);
  assert.deepEqual([...track.upcoming()], []);
});
