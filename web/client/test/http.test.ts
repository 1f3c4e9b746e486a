import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Api, ApiError } from "../src/http.js";

interface Asked {
  url: string;
  init: RequestInit;
}

function server(body: unknown, status = 200): { asked: Asked[]; fetch: typeof globalThis.fetch } {
  const asked: Asked[] = [];
  const fetch = (async (url: URL, init: RequestInit) => {
    asked.push({ url: url.href, init });
    return new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
  }) as typeof globalThis.fetch;
  return { asked, fetch };
}

const url = "https://live.example";

describe("HTTP calls", () => {
  test("sign in by a token, or by name where the server trusts names", async () => {
    const { asked, fetch } = server({ account: "ana", coins: 5, held: 0 });
    assert.equal((await new Api({ url, token: "ey.J.x", fetch }).wallet("ana/b")).coins, 5);
    await new Api({ url, token: "dev:ana:host", fetch }).answer("b", "accept");
    await new Api({ url, fetch }).room("r");
    assert.deepEqual(asked.map((one) => [one.init.method, one.url, one.init.headers]), [
      ["GET", "https://live.example/v1/accounts/ana%2Fb", { authorization: "Bearer ey.J.x" }],
      ["POST", "https://live.example/v1/battles/b/accept", { "x-user": "ana", "x-role": "host" }],
      ["GET", "https://live.example/v1/rooms/r", {}],
    ]);
  });

  test("sell gifts cheapest first", async () => {
    const items = [["b", 5], ["a", 5], ["z", 1]].map(([gift, coins]) => ({ gift, coins }));
    const { fetch } = server({ items, next: null });
    assert.deepEqual((await new Api({ url, fetch }).gifts()).map((one) => one.gift), ["z", "a", "b"]);
  });

  test("ask for a leaderboard's period, and for the rest of a timeline", async () => {
    const { asked, fetch } = server({ items: [], next: null });
    const api = new Api({ url, fetch });
    await api.leaderboard("r", "day", 3);
    await api.timeline("r", 10, "a b");
    await api.comments("r", 7);
    await api.earnings("ana");
    assert.deepEqual(asked.map((one) => one.url.slice(url.length)), [
      "/v1/rooms/r/leaderboard?period=day&limit=3",
      "/v1/rooms/r/timeline?limit=10&after=a+b",
      "/v1/rooms/r/comments?limit=7",
      "/v1/hosts/ana/earnings",
    ]);
  });

  test("send what is asked as JSON", async () => {
    const { asked, fetch } = server({});
    const api = new Api({ url, fetch });
    await api.invite("b", { rooms: ["r", "s"], duration_s: 60 });
    await api.openRoom("r", "Title");
    await api.closeRoom("r");
    await api.battle("b");
    assert.deepEqual(asked.map((one) => [one.init.method, one.init.body]), [
      ["PUT", '{"rooms":["r","s"],"duration_s":60}'],
      ["PUT", '{"title":"Title"}'],
      ["DELETE", undefined],
      ["GET", undefined],
    ]);
  });

  test("reject with the server's problem", async () => {
    const { fetch } = server({ code: "room_in_battle", detail: "s fights already" }, 409);
    await assert.rejects(new Api({ url, fetch }).battle("b"), (error: ApiError) => {
      assert.deepEqual([error.status, error.code, error.message], [409, "room_in_battle", "s fights already"]);
      return error instanceof ApiError;
    });
  });

  test("reject with the status where a proxy answers", async () => {
    const { fetch } = server("<html>", 502);
    await assert.rejects(new Api({ url, fetch }).gifts(), { status: 502, code: "error" });
  });
});
