/** Numbers, times and names as people read them. */

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 1,234 and 56.7K. */
export function count(value: number): string {
  return Math.abs(value) < 10_000 ? whole.format(value) : short.format(value);
}

/** 1,234,567: where every coin counts. */
export function exact(value: number): string {
  return whole.format(value);
}

/** Media time: `1:02:03.4`, `2:03.4`, and `-0:00.5` before the first frame. */
export function mediaTime(ms: number, digits = 1): string {
  const unit = 10 ** digits;
  const total = Math.floor((Math.abs(ms) / 1000) * unit + 1e-6);
  const fraction = digits === 0 ? "" : `.${String(total % unit).padStart(digits, "0")}`;
  const seconds = Math.floor(total / unit);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const clock = h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
  return `${ms < 0 && total > 0 ? "-" : ""}${clock}${fraction}`;
}

/** The time of day to a tenth: `21:04:09.3`. */
export function clockTime(date: Date): string {
  const [h, m, s] = [date.getHours(), date.getMinutes(), date.getSeconds()];
  return `${pad(h)}:${pad(m)}:${pad(s)}.${Math.floor(date.getMilliseconds() / 100)}`;
}

/** What is left: `1:05`, `0:09`. Zero only when nothing is. */
export function countdown(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${pad(seconds % 60)}`;
}

/** 0.8 ms, 24 ms, 1.3 s. */
export function duration(ms: number): string {
  if (Math.abs(ms) >= 1_000) return `${(ms / 1000).toFixed(1)} s`;
  return Math.abs(ms) < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** A hue for a name, always the same. */
export function hue(name: string): number {
  let hash = 2_166_136_261;
  for (let index = 0; index < name.length; index += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 16_777_619);
  }
  return (hash >>> 0) % 360;
}

/** The first letter or digit of a name, for an avatar. */
export function initial(name: string): string {
  const match = /[\p{L}\p{N}]/u.exec(name);
  return (match?.[0] ?? "?").toUpperCase();
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
