/** When to come back: exponential, with full jitter, so that a crowd does not return as one. */
import type { Backoff } from "./frames.js";

/** Until a server has said otherwise. */
export const DEFAULT_BACKOFF: Backoff = { base_ms: 500, max_ms: 20_000, factor: 2 };

/** The wait before attempt number `attempt` (0 is the first), in ms; `random` is in [0, 1). */
export function backoffMs(backoff: Backoff, attempt: number, random: number): number {
  const ceilingMs = Math.min(backoff.max_ms, backoff.base_ms * backoff.factor ** attempt);
  return random * ceilingMs;
}

/** The server's wishes where they make sense, ours elsewhere. */
export function mergeBackoff(wished: Partial<Backoff> | undefined): Backoff {
  const positive = (value: number | undefined, fallback: number, min: number) =>
    typeof value === "number" && Number.isFinite(value) && value >= min ? value : fallback;
  return {
    base_ms: positive(wished?.base_ms, DEFAULT_BACKOFF.base_ms, 1),
    max_ms: positive(wished?.max_ms, DEFAULT_BACKOFF.max_ms, 1),
    factor: positive(wished?.factor, DEFAULT_BACKOFF.factor, 1),
  };
}
