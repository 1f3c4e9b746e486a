/** The HTTP calls that pages make. */
import type { LiveEvent, Snapshot } from "@live-engagement/client";

export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

export function getRoom(room: string): Promise<Snapshot> {
  return call("GET", `/v1/rooms/${encodeURIComponent(room)}`);
}

export function openRoom(room: string, title: string, token: string): Promise<Snapshot> {
  return call("PUT", `/v1/rooms/${encodeURIComponent(room)}`, { token, body: { title } });
}

export function closeRoom(room: string, token: string): Promise<Snapshot> {
  return call("DELETE", `/v1/rooms/${encodeURIComponent(room)}`, { token });
}

export function getComments(room: string, limit: number): Promise<Page<LiveEvent>> {
  return call("GET", `/v1/rooms/${encodeURIComponent(room)}/comments?limit=${limit}`);
}

export function getTimeline(room: string, after: string | null, limit: number): Promise<Page<LiveEvent>> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (after !== null) query.set("after", after);
  return call("GET", `/v1/rooms/${encodeURIComponent(room)}/timeline?${query.toString()}`);
}

async function call<T>(method: string, path: string, { token, body }: { token?: string; body?: unknown } = {}): Promise<T> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token?.startsWith("dev:")) {
    const [, user, role] = token.split(":");
    headers["x-user"] = user ?? "";
    if (role) headers["x-role"] = role;
  } else if (token !== undefined) {
    headers["authorization"] = `Bearer ${token}`;
  }
  const init: RequestInit = { method, headers };
  if (body !== undefined) init.body = JSON.stringify(body);
  const response = await fetch(path, init);
  if (response.ok) return (await response.json()) as T;
  let problem: { code?: string; detail?: string } = {};
  try {
    problem = (await response.json()) as typeof problem;
  } catch {
    // A proxy's own error page: the status says enough.
  }
  throw new ApiError(response.status, problem.code ?? "error", problem.detail ?? response.statusText);
}
