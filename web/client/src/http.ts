/** The HTTP calls of a room, a wallet, the gift catalogue and battles. */
import type { BattleSnapshot, SenderCoins, Snapshot } from "./frames.js";
import type { LiveEvent } from "./generated/events.js";

/** A gift as it is sold. */
export interface Gift {
  gift: string;
  name: string;
  coins: number;
  /** 1 small, 2 medium, 3 large: how much of the screen its animation takes. */
  tier: number;
  /** Whether taps in quick succession count up. */
  combo: boolean;
  /** What a client plays; by default named like the gift. */
  animation?: string;
  version?: number;
}

/** A wallet: what can be spent, and what is set aside. */
export interface Wallet {
  account: string;
  coins: number;
  held: number;
}

/** One row of a leaderboard. */
export interface Ranked extends SenderCoins {
  rank?: number;
  gifts?: number;
}

export type Period = "session" | "day" | "all";

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** An answer that is none: RFC 9457's `status`, `code` and `detail`. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

export interface ApiOptions {
  /** Where the gateway is. */
  url: string | URL;
  /** Who we are; `dev:<user>[:<role>]` where the server trusts names. */
  token?: string | null;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch;
}

/** Every call rejects with ApiError when the server says no, with what `fetch` throws otherwise. */
export class Api {
  #options: ApiOptions;

  constructor(options: ApiOptions) {
    this.#options = options;
  }

  room(room: string): Promise<Snapshot> {
    return this.#call("GET", `/v1/rooms/${part(room)}`);
  }

  openRoom(room: string, title: string): Promise<Snapshot> {
    return this.#call("PUT", `/v1/rooms/${part(room)}`, { title });
  }

  closeRoom(room: string): Promise<Snapshot> {
    return this.#call("DELETE", `/v1/rooms/${part(room)}`);
  }

  comments(room: string, limit: number): Promise<Page<LiveEvent>> {
    return this.#call("GET", `/v1/rooms/${part(room)}/comments?limit=${limit}`);
  }

  timeline(room: string, limit: number, after: string | null = null): Promise<Page<LiveEvent>> {
    const query = new URLSearchParams({ limit: String(limit) });
    if (after !== null) query.set("after", after);
    return this.#call("GET", `/v1/rooms/${part(room)}/timeline?${query.toString()}`);
  }

  /** Who gave most: in this session, today (UTC), or ever. */
  leaderboard(room: string, period: Period = "session", limit = 20): Promise<Page<Ranked>> {
    const query = new URLSearchParams({ period, limit: String(limit) });
    return this.#call("GET", `/v1/rooms/${part(room)}/leaderboard?${query.toString()}`);
  }

  /** What is sold, cheapest first. */
  async gifts(): Promise<Gift[]> {
    const { items } = await this.#call<Page<Gift>>("GET", "/v1/gifts");
    return [...items].sort((a, b) => a.coins - b.coins || (a.gift < b.gift ? -1 : 1));
  }

  /** One's own wallet (or any, for a service). */
  wallet(account: string): Promise<Wallet> {
    return this.#call("GET", `/v1/accounts/${part(account)}`);
  }

  /** What a host has earned ever, reversals taken off: for the host, or a service. */
  earnings(host: string): Promise<{ host: string; coins: number }> {
    return this.#call("GET", `/v1/hosts/${part(host)}/earnings`);
  }

  battle(battle: string): Promise<BattleSnapshot> {
    return this.#call("GET", `/v1/battles/${part(battle)}`);
  }

  /** Invite the hosts of the other rooms; the first room is one's own. */
  invite(
    battle: string,
    invitation: {
      rooms: string[];
      duration_s: number;
      windows?: { after_s: number; duration_s: number; multiplier: number }[];
      punish_s?: number;
    },
  ): Promise<BattleSnapshot> {
    return this.#call("PUT", `/v1/battles/${part(battle)}`, invitation);
  }

  answer(battle: string, answer: "accept" | "decline" | "cancel"): Promise<BattleSnapshot> {
    return this.#call("POST", `/v1/battles/${part(battle)}/${answer}`);
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const { url, token, fetch = globalThis.fetch } = this.#options;
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (token?.startsWith("dev:")) {
      const [, user, role] = token.split(":");
      headers["x-user"] = user ?? "";
      if (role) headers["x-role"] = role;
    } else if (token) {
      headers["authorization"] = `Bearer ${token}`;
    }
    const init: RequestInit = { method, headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    const response = await fetch(new URL(path, url), init);
    if (response.ok) return (await response.json()) as T;
    throw await problemOf(response);
  }
}

async function problemOf(response: Response): Promise<ApiError> {
  let problem: { code?: unknown; detail?: unknown } = {};
  try {
    problem = (await response.json()) as typeof problem;
  } catch {
    // A proxy's own error page: the status says enough.
  }
  const code = typeof problem?.code === "string" ? problem.code : "error";
  const detail = typeof problem?.detail === "string" ? problem.detail : response.statusText;
  return new ApiError(response.status, code, detail);
}

function part(name: string): string {
  return encodeURIComponent(name);
}
