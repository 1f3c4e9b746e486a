import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect, SyntheticPlayhead, type Echo, type Room, type RoomOptions } from "../src/index.js";
import { anchor, comment, event, settled, World } from "./world.js";

const URL_OF_GATEWAY = "https://live.example";

function watch(world: World, options: Partial<RoomOptions> = {}): { room: Room; seen: string[] } {
  const room = connect("r", {
    url: URL_OF_GATEWAY, token: "t", reportRate: 0, environment: world.environment, ...options,
  });
  const seen: string[] = [];
  room.on("event", (event) => seen.push(event.id));
  return { room, seen };
}

/** A room that has said hello and knows the server's clock. */
async function live(world: World, options: Partial<RoomOptions> = {}, limits = {}) {
  const watched = watch(world, options);
  await settled();
  world.socket.accept();
  world.socket.hello({ limits: { in_flight: 2, ...limits }, clock: [anchor()] });
  world.socket.pong(world.nowMs);
  return watched;
}

describe("connecting", () => {
  test("asks for the subprotocol and sends the token in the first frame, not in the address", async () => {
    const world = new World();
    watch(world, { token: async () => "secret" });
    await settled();
    assert.equal(world.socket.url.href, "wss://live.example/v1/rooms/r/live");
    assert.deepEqual(world.socket.protocols, ["engagement.v1"]);
    world.socket.accept();
    assert.deepEqual(world.socket.sent, [{ t: "auth", token: "secret" }]);
  });

  test("resumes behind a cursor that was kept", async () => {
    const world = new World();
    watch(world, { cursor: "3-17" });
    await settled();
    assert.equal(world.socket.url.searchParams.get("cursor"), "3-17");
  });

  test("shows the snapshot's comments once the server's clock is known", async () => {
    const world = new World();
    const { room, seen } = watch(world);
    const snapshots: [string, boolean][] = [];
    room.on("snapshot", (snapshot, gap) => snapshots.push([snapshot.title, gap]));
    await settled();
    world.socket.hello({ snapshot: { title: "T", comments: [comment("a"), comment("b")] } });
    assert.deepEqual(snapshots, [["T", false]]);
    assert.deepEqual(seen, []);
    world.socket.pong(world.nowMs);
    assert.deepEqual(seen, ["a", "b"]);
  });

  test("does not wait for a pong for ever", async () => {
    const world = new World();
    const { seen } = watch(world);
    await settled();
    world.socket.hello({ snapshot: { comments: [comment("a")] } });
    await world.pass(1_000);
    assert.deepEqual(seen, ["a"]);
  });
});

describe("reconnecting", () => {
  for (const code of [1001, 1006, 1012, 3000, 3499, 4000, 4499]) {
    test(`comes back after close code ${code}, behind the last event`, async () => {
      const world = new World();
      const { room } = await live(world);
      world.socket.tell({ t: "events", cursor: "0-5", events: [comment("a")] });
      world.socket.drop(code);
      assert.equal(room.state.state, "waiting");
      await world.pass(20_000);
      assert.equal(world.sockets.length, 2);
      assert.equal(world.socket.url.searchParams.get("cursor"), "0-5");
    });
  }

  for (const code of [3500, 3999, 4500, 4999]) {
    test(`stays away after close code ${code}`, async () => {
      const world = new World();
      const { room } = await live(world);
      world.socket.drop(code);
      await world.pass(600_000);
      assert.deepEqual(room.state, { state: "closed", code, reason: "" });
      assert.equal(world.sockets.length, 1);
    });
  }

  test("waits longer each time, as the server says, with full jitter", async () => {
    const world = new World();
    const { room } = await live(world, {}, { backoff: { base_ms: 1_000, max_ms: 4_000, factor: 2 } });
    const waits: number[] = [];
    room.on("state", (state) => state.state === "waiting" && waits.push(state.retryInMs));
    world.chance = 0.5;
    for (let n = 0; n < 4; n += 1) {
      world.socket.drop(1006);
      await world.pass(5_000);
    }
    assert.deepEqual(waits, [500, 1_000, 2_000, 2_000]);
    world.chance = 0;
    world.socket.drop(1006);
    assert.equal(waits.at(-1), 0);
  });

  test("begins anew with short waits after a connection that held", async () => {
    const world = new World();
    const { room } = await live(world, {}, { backoff: { base_ms: 1_000, max_ms: 64_000, factor: 2 } });
    for (let n = 0; n < 5; n += 1) {
      world.socket.drop(1006);
      await world.pass(64_000);
    }
    world.socket.hello({ limits: { backoff: { base_ms: 1_000 } } });
    world.socket.pong();
    await world.pass(6_000);
    world.socket.pong();
    world.socket.drop(1006);
    assert.equal(room.state.state === "waiting" && room.state.retryInMs, 500);
  });

  test("comes back no sooner than an error frame asked", async () => {
    const world = new World();
    const { room } = watch(world);
    await settled();
    world.chance = 0;
    world.socket.tell({ t: "error", code: "overloaded", retry_after_s: 7 });
    world.socket.drop(3002);
    assert.deepEqual(room.state, { state: "waiting", code: 3002, retryInMs: 7_000 });
  });

  test("shows no event twice, whether the server resumes or starts over", async () => {
    const world = new World();
    const { room, seen } = await live(world);
    const gaps: boolean[] = [];
    room.on("snapshot", (_, gap) => gaps.push(gap));
    world.socket.tell({ t: "events", cursor: "0-2", events: [comment("a"), comment("b")] });
    world.socket.drop(1006);
    await world.pass(20_000);
    world.socket.hello({ recovered: true, cursor: "0-2" });
    world.socket.tell({ t: "events", cursor: "0-3", events: [comment("b"), comment("c")] });
    assert.deepEqual(seen, ["a", "b", "c"]);
    world.socket.drop(3001);
    await world.pass(20_000);
    world.socket.hello({ recovered: false, cursor: "0-9", snapshot: { comments: [comment("c"), comment("z")] } });
    assert.deepEqual(seen, ["a", "b", "c", "z"]);
    assert.equal(room.cursor, "0-9");
  });

  test("tells a snapshot after the first as a gap", async () => {
    const world = new World();
    const { room } = watch(world);
    const gaps: boolean[] = [];
    room.on("snapshot", (_, gap) => gaps.push(gap));
    await settled();
    world.socket.hello({ snapshot: {} });
    world.socket.drop(1006);
    await world.pass(20_000);
    world.socket.hello({ snapshot: {} });
    assert.deepEqual(gaps, [false, true]);
  });

  test("gives a connection up that does not answer pings", async () => {
    const world = new World();
    const { room } = await live(world);
    const first = world.socket;
    await world.pass(45_000);
    assert.ok(first.isClosedByUs);
    assert.ok(world.sockets.length > 1);
    assert.notEqual(room.state.state, "closed");
  });

  test("passes over frames that it does not understand", async () => {
    const world = new World();
    const { room, seen } = await live(world);
    const junk = ["", "{", "null", "[]", "42", '{"t":"party"}', '{"t":"events"}', '{"t":"clock"}', '{"t":"ack"}'];
    for (const text of junk) world.socket.tellText(text);
    world.socket.tell({ t: "events", cursor: "0-1", events: [comment("a")] });
    assert.deepEqual(seen, ["a"]);
    assert.equal(room.state.state, "live");
  });
});

describe("sending", () => {
  test("keeps to the credit and resolves with the server's answers", async () => {
    const world = new World();
    const { room } = await live(world, {}, { in_flight: 1 });
    const first = room.send("comment.post", { text: "one" });
    const second = room.send("comment.post", { text: "two" });
    assert.equal(world.socket.frames("send").length, 1);
    const [id] = world.socket.requestIds;
    world.socket.tell({ t: "ack", results: [{ id, status: "accepted" }] });
    assert.deepEqual(await first, { id, status: "accepted" });
    assert.equal(world.socket.frames("send").length, 2);
    const results = [{ id: world.socket.requestIds[1], status: "rejected", code: "muted" }];
    world.socket.tell({ t: "ack", results });
    assert.equal((await second).code, "muted");
  });

  test("sends again after a reconnect, with the same ids, what was not acknowledged", async () => {
    const world = new World();
    const { room } = await live(world);
    const answer = room.send("comment.post", { text: "one" });
    void room.send("comment.post", { text: "two" });
    const ids = world.socket.requestIds;
    world.socket.tell({ t: "ack", results: [{ id: ids[1], status: "accepted" }] });
    world.socket.drop(1006);
    void room.send("comment.post", { text: "three" });
    await world.pass(20_000);
    assert.deepEqual(world.socket.requestIds, []);
    world.socket.hello({ recovered: true, limits: { in_flight: 2 } });
    assert.equal(world.socket.requestIds[0], ids[0]);
    assert.equal(world.socket.requestIds.length, 2);
    world.socket.tell({ t: "ack", results: [{ id: ids[0], status: "duplicate" }] });
    assert.equal((await answer).status, "duplicate");
  });

  test("echoes a comment at once and knows its fact by the id", async () => {
    const world = new World();
    const { room } = await live(world);
    const stages: Echo["status"][] = [];
    room.on("echo", (echo) => stages.push(echo.status));
    void room.send("comment.post", { text: "hi" });
    assert.deepEqual(stages, ["sending"]);
    const id = world.socket.requestIds[0] as string;
    world.socket.tell({ t: "ack", results: [{ id, status: "accepted" }] });
    world.socket.tell({ t: "events", cursor: "0-1", events: [comment(id)] });
    assert.deepEqual(stages, ["sending", "accepted", "shown"]);
    assert.ok(room.isOwn(id));
  });

  test("an echo whose fact comes before its acknowledgement stays shown", async () => {
    const world = new World();
    const { room } = await live(world);
    const stages: Echo["status"][] = [];
    room.on("echo", (echo) => stages.push(echo.status));
    void room.send("comment.post", { text: "hi" });
    const id = world.socket.requestIds[0] as string;
    world.socket.tell({ t: "events", cursor: "0-1", events: [comment(id)] });
    world.socket.tell({ t: "ack", results: [{ id, status: "accepted" }] });
    assert.deepEqual(stages, ["sending", "shown"]);
  });

  test("hears of a refusal by the room after the request was accepted", async () => {
    const world = new World();
    const { room } = await live(world);
    const echoes: Echo[] = [];
    room.on("echo", (echo) => echoes.push({ ...echo }));
    void room.send("comment.post", { text: "hi" });
    const id = world.socket.requestIds[0] as string;
    world.socket.tell({ t: "ack", results: [{ id, status: "accepted" }] });
    world.socket.tell({ t: "error", code: "moderated", detail: "the room refused", id });
    assert.equal(echoes.at(-1)?.status, "refused");
    assert.equal(echoes.at(-1)?.code, "moderated");
  });

  test("sends again what the log did not acknowledge", async () => {
    const world = new World();
    const { room } = await live(world);
    void room.send("comment.post", { text: "hi" });
    const id = world.socket.requestIds[0];
    world.socket.tell({ t: "error", code: "log_unavailable", ids: [id] });
    await world.pass(2_100);
    assert.deepEqual(world.socket.requestIds, [id, id]);
  });

  test("answers what is unsent when the room is closed for good", async () => {
    const world = new World();
    const { room } = await live(world);
    const sent = room.send("comment.post", { text: "hi" });
    world.socket.drop(3501);
    assert.equal((await sent).code, "closed");
    assert.equal((await room.send("comment.post", { text: "hi" })).code, "closed");
  });
});

describe("releasing", () => {
  test("shows an event when the room's own playhead reaches its stamp", async () => {
    const world = new World();
    const { seen } = await live(world, {
      playhead: (room) => new SyntheticPlayhead(room, 200),
    });
    // The anchor says: media time 0 at 1,000,000, which is now.
    world.socket.tell({ t: "events", cursor: "0-1", events: [comment("a", { mediaepoch: 1, mediapts: 50 })] });
    await world.pass(249);
    assert.deepEqual(seen, []);
    await world.pass(2);
    assert.deepEqual(seen, ["a"]);
  });

  test("shows the same event in each track at that track's playhead", async () => {
    const world = new World();
    const { room } = await live(world);
    const shown: [string, number][] = [];
    for (const delayMs of [200, 3_000]) {
      room.track(new SyntheticPlayhead(room, delayMs), ({ event, position }) => {
        shown.push([event.id, Math.round((position?.ptsMs ?? NaN) / 10) * 10]);
        assert.ok(Math.abs(world.nowMs - 1_000_000 - delayMs - 40) <= 1);
      });
    }
    world.socket.tell({ t: "events", cursor: "0-1", events: [comment("a", { mediaepoch: 1, mediapts: 40 })] });
    await world.pass(5_000);
    assert.deepEqual(shown, [["a", 40], ["a", 40]]);
  });

  test("follows a step of the clock while it waits", async () => {
    const world = new World();
    const { seen } = await live(world, { playhead: (room) => new SyntheticPlayhead(room, 0) });
    world.socket.tell({ t: "events", cursor: "0-1", events: [comment("a", { mediaepoch: 1, mediapts: 900 })] });
    await world.pass(100);
    world.socket.tell({ t: "clock", anchor: anchor({ wall_ms: world.nowMs, pts_ms: 890 }) });
    assert.deepEqual(seen, []);
    await world.pass(11);
    assert.deepEqual(seen, ["a"]);
  });

  test("reports a sample of its signed release errors, at most one a second", async () => {
    const world = new World();
    await live(world, { reportRate: 1, playhead: (room) => new SyntheticPlayhead(room, 0) });
    const show = async (id: string) => {
      const time = new Date(world.nowMs + 10).toISOString();
      const mediapts = world.nowMs - 1_000_000 + 10;
      const event = comment(id, { time, mediaepoch: 1, mediapts });
      world.socket.tell({ t: "events", cursor: "0-1", events: [event] });
      await world.pass(50);
      const results = world.socket.requestIds.map((id) => ({ id, status: "accepted" }));
      world.socket.tell({ t: "ack", results });
    };
    await show("a");
    await show("b");
    await world.pass(1_000);
    await show("c");
    const sent = world.socket.frames("send") as unknown as { events: { type: string; data: unknown }[] }[];
    assert.deepEqual(
      sent.flatMap((frame) => frame.events.map(({ type, data }) => ({ type, data }))),
      ["a", "c"].map((event) => ({
        type: "release.report", data: { event, error_ms: 0, basis: "synthetic" },
      })),
    );
  });

  test("does not report what was on air before it came", async () => {
    const world = new World();
    await live(world, { reportRate: 1, playhead: (room) => new SyntheticPlayhead(room, 0) });
    const time = new Date(world.nowMs - 60_000).toISOString();
    const events = [comment("old", { time, mediaepoch: 1, mediapts: -60_000 })];
    world.socket.tell({ t: "events", cursor: "0-1", events });
    await world.pass(50);
    assert.deepEqual(world.socket.frames("send"), []);
  });

  test("a comment that waits for a moderator is told apart, and shown once it is let through", async () => {
    const world = new World();
    const { room, seen } = await live(world);
    const held: string[] = [];
    room.on("held", (event) => held.push(event.data.text));
    const data = { text: "perhaps", reason: "word list" };
    world.socket.tell({ t: "events", cursor: "0-1", events: [event("comment.held", data, { id: "a" })] });
    assert.deepEqual([held, seen], [["perhaps"], []]);
    world.socket.tell({ t: "events", cursor: "0-2", events: [comment("a")] });
    assert.deepEqual(seen, ["a"]);
  });

  test("a listener that throws does not stop the others", async () => {
    const world = new World();
    const { room } = await live(world);
    const errors: unknown[] = [];
    globalThis.reportError = (error) => errors.push(error);
    room.on("arrival", () => {
      throw new Error("mine");
    });
    const after: string[] = [];
    room.on("arrival", (event) => after.push(event.id));
    world.socket.tell({ t: "events", cursor: "0-1", events: [comment("a")] });
    assert.deepEqual(after, ["a"]);
    assert.equal((errors[0] as Error).message, "mine");
  });
});
