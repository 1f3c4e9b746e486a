import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect, type Echo, type Outcome, type Room } from "../src/index.js";
import { anchor, gift, settled, World } from "./world.js";

/** A connected room, and what its echoes and outcomes were. */
async function live(world: World) {
  const room = connect("r", {
    url: "https://live.example", token: "t", reportRate: 0, environment: world.environment,
  });
  const stages: string[] = [];
  const outcomes: Outcome[] = [];
  room.on("echo", (echo: Echo) => stages.push(echo.status));
  room.on("outcome", (outcome) => outcomes.push(outcome));
  await settled();
  world.socket.accept();
  hello(world);
  return { room, stages, outcomes };
}

function hello(world: World, recovered = false): void {
  world.socket.hello({ recovered, limits: { in_flight: 4 }, clock: [anchor()] });
  world.socket.pong(world.nowMs);
}

function send(world: World, room: Room): { id: string; outcome: Promise<Outcome> } {
  const outcome = room.send("gift.send", { gift: "rose" });
  return { id: world.socket.requestIds.at(-1) as string, outcome };
}

const ack = (world: World, id: string, result: Partial<Outcome> = {}) =>
  world.socket.tell({ t: "ack", results: [{ id, status: "accepted", ...result }] });
const decide = (world: World, id: string, status: "paid" | "refused", code?: string) =>
  world.socket.tell({ t: "outcome", results: [{ id, status, ...(code === undefined ? {} : { code }) }] });

/** Pass seconds on a connection that lives. */
async function pass(world: World, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 1_000) {
    await world.pass(Math.min(left, 1_000));
    world.socket.pong(world.nowMs);
  }
}

describe("sending a gift", () => {
  test("is answered by what the ledger decided, not by what the log took", async () => {
    const world = new World();
    const { room, stages } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id);
    let answer: Outcome | null = null;
    void outcome.then((one) => (answer = one));
    await settled();
    assert.equal(answer, null);
    decide(world, id, "paid");
    assert.deepEqual(await outcome, { id, status: "paid" });
    world.socket.tell({ t: "events", cursor: "0-1", events: [gift(id)] });
    assert.deepEqual(stages, ["sending", "accepted", "paid", "shown"]);
  });

  test("is refused with the reason, and stays refused", async () => {
    const world = new World();
    const { room, stages } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id);
    decide(world, id, "refused", "insufficient_funds");
    decide(world, id, "refused", "insufficient_funds");
    assert.deepEqual(await outcome, { id, status: "refused", code: "insufficient_funds" });
    assert.deepEqual(stages, ["sending", "accepted", "refused"]);
  });

  test("is refused at once where the gateway knows better", async () => {
    const world = new World();
    const { room, stages } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id, { status: "rejected", code: "unknown_gift" });
    assert.equal((await outcome).code, "unknown_gift");
    assert.deepEqual(stages, ["sending", "refused"]);
  });

  test("is paid when its fact says so, before or without an outcome", async () => {
    const world = new World();
    const { room, stages, outcomes } = await live(world);
    const { id, outcome } = send(world, room);
    world.socket.tell({ t: "events", cursor: "0-1", events: [gift(id)] });
    ack(world, id);
    decide(world, id, "paid");
    assert.equal((await outcome).status, "paid");
    assert.deepEqual(stages, ["sending", "shown"]);
    assert.equal(outcomes.length, 1);
  });

  test("is paid when a fact with another id names it as its cause", async () => {
    const world = new World();
    const { room } = await live(world);
    const { id, outcome } = send(world, room);
    const events = [gift("derived", {}, { causationid: id } as never)];
    world.socket.tell({ t: "events", cursor: "0-1", events });
    assert.equal((await outcome).status, "paid");
  });

  test("survives an outcome that comes before its acknowledgement", async () => {
    const world = new World();
    const { room, stages } = await live(world);
    const { id, outcome } = send(world, room);
    decide(world, id, "paid");
    ack(world, id);
    assert.equal((await outcome).status, "paid");
    assert.deepEqual(stages, ["sending", "paid"]);
  });
});

describe("a gift whose outcome was lost", () => {
  test("is asked about after a reconnect, with the same id and body", async () => {
    const world = new World();
    const { room } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id);
    const [first] = world.socket.frames("send");
    world.socket.drop(1006);
    await world.pass(20_000);
    hello(world, true);
    await pass(world, 1_000);
    assert.deepEqual(world.socket.frames("send"), [first]);
    ack(world, id, { status: "duplicate", outcome: "refused", code: "insufficient_funds" });
    assert.deepEqual((await outcome).status, "refused");
    assert.equal((await outcome).code, "insufficient_funds");
  });

  test("is asked about when nothing is heard for some seconds", async () => {
    const world = new World();
    const { room } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id);
    await pass(world, 3_000);
    assert.equal(world.socket.requestIds.length, 1);
    await pass(world, 2_000);
    assert.deepEqual(world.socket.requestIds, [id, id]);
    ack(world, id, { status: "duplicate", outcome: "paid" });
    assert.equal((await outcome).status, "paid");
  });

  test("is not taken for refused because asking was", async () => {
    const world = new World();
    const { room, stages } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id);
    await pass(world, 5_000);
    ack(world, id, { status: "rejected", code: "rate_limited" });
    assert.deepEqual(stages, ["sending", "accepted"]);
    await pass(world, 5_000);
    ack(world, id, { status: "duplicate", outcome: "paid" });
    assert.equal((await outcome).status, "paid");
  });

  test("is not asked about for ever: then it is accepted, and that is all that is known", async () => {
    const world = new World();
    const { room, stages } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id);
    for (let ask = 1; ask <= 5; ask += 1) {
      await pass(world, 5_000);
      assert.equal(world.socket.requestIds.length, 1 + ask);
      ack(world, id, { status: "duplicate" });
    }
    await pass(world, 10_000);
    assert.deepEqual(await outcome, { id, status: "accepted", code: "undecided" });
    assert.equal(world.socket.requestIds.length, 6);
    world.socket.tell({ t: "events", cursor: "0-1", events: [gift(id)] });
    assert.equal(stages.at(-1), "shown");
  });

  test("is answered when the room is closed for good", async () => {
    const world = new World();
    const { room } = await live(world);
    const { id, outcome } = send(world, room);
    ack(world, id);
    world.socket.drop(3501);
    assert.deepEqual(await outcome, { id, status: "accepted", code: "undecided" });
  });
});
