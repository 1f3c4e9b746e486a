/** What the client needs of the world; tests and other runtimes bring their own. */

/** The part of the browser's WebSocket that is used. */
export interface Socket {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

export interface Environment {
  /** Unix ms that never jump: not the wall clock, which is set back and forth. */
  now(): number;
  random(): number;
  uuid(): string;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  openSocket(url: string, protocols: string[]): Socket;
}

/** The browser, or a runtime like it. */
export function browserEnvironment(): Environment {
  return {
    now: () => performance.timeOrigin + performance.now(),
    random: () => Math.random(),
    uuid,
    setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer as number),
    openSocket: (url, protocols) => {
      if (typeof WebSocket === "undefined") {
        throw new Error("no WebSocket here: pass openSocket in the options (for example from ws)");
      }
      return new WebSocket(url, protocols) as Socket;
    },
  };
}

/** A random UUID, also on pages without TLS, where `crypto.randomUUID` is missing. */
function uuid(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
