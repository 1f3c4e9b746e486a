/**
 * What stands in for the host's video: a picture that is a function of media time alone, so two
 * players at the same playhead show the same frame. The time is burned in, a mark runs round once
 * a second, and every five seconds the host "claps": a ring that is easy to see arrive twice.
 * Hearts float over it.
 */
import type { MediaTime } from "@live-engagement/client";
import { mediaTime } from "./format.js";

const BARS = 72;
const CLAP_EVERY_MS = 5_000;
const CLAP_MS = 1_100;
const HEARTS_MAX = 60;
const HEART_LIFE_MS = 2_600;
const TAU = Math.PI * 2;

interface Heart {
  bornMs: number;
  x: number;
  drift: number;
  size: number;
  hue: number;
}

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export class Stage {
  readonly canvas: HTMLCanvasElement;
  #context: CanvasRenderingContext2D;
  #width = 0;
  #height = 0;
  #hearts: Heart[] = [];

  constructor(canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: true }) as CanvasRenderingContext2D;
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Let hearts rise; more than can be told apart are not drawn. */
  cheer(hearts: number, nowMs: number): void {
    if (stillness.matches) return;
    for (let n = 0; n < Math.min(hearts, 14); n += 1) {
      if (this.#hearts.length >= HEARTS_MAX) this.#hearts.shift();
      this.#hearts.push({
        bornMs: nowMs + n * 45,
        x: 0.9 + (Math.random() - 0.5) * 0.1,
        drift: (Math.random() - 0.5) * 0.12,
        size: 9 + Math.random() * 11,
        hue: 335 + Math.random() * 35,
      });
    }
  }

  /** Draw the frame at this media time; null shows that there is none. */
  draw(position: MediaTime | null, nowMs: number): void {
    if (this.#width === 0) return;
    const context = this.#context;
    context.clearRect(0, 0, this.#width, this.#height);
    // Beside the comments where there is room, else above them.
    const isWide = this.#width > this.#height * 1.1;
    const x = this.#width * (isWide ? 0.76 : 0.5);
    const y = this.#height * (isWide ? 0.5 : 0.315);
    const radius = Math.min(this.#width * (isWide ? 0.14 : 0.18), this.#height * (isWide ? 0.19 : 0.155));
    if (position === null) this.#waiting(x, y, radius, nowMs);
    else this.#host(x, y, radius, position);
    this.#drawHearts(nowMs);
  }

  #resize(): void {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    this.#width = box.width;
    this.#height = box.height;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  #host(x: number, y: number, radius: number, { epoch, ptsMs }: MediaTime): void {
    const context = this.#context;
    const base = (232 + epoch * 47) % 360;
    this.#clap(x, y, radius, ptsMs, base);
    const seconds = ptsMs / 1000;
    context.lineCap = "round";
    context.lineWidth = Math.max(2, radius * 0.034);
    for (let bar = 0; bar < BARS; bar += 1) {
      const angle = (bar / BARS) * TAU - TAU / 4;
      const voice = loudness(seconds, bar);
      const inner = radius * 1.1;
      const outer = inner + radius * (0.05 + 0.42 * voice);
      context.strokeStyle = `hsl(${base + 70 * Math.sin(angle)} 85% ${58 + voice * 18}% / ${0.35 + voice * 0.6})`;
      context.beginPath();
      context.moveTo(x + Math.cos(angle) * inner, y + Math.sin(angle) * inner);
      context.lineTo(x + Math.cos(angle) * outer, y + Math.sin(angle) * outer);
      context.stroke();
    }
    const disc = context.createLinearGradient(x - radius, y - radius, x + radius, y + radius);
    disc.addColorStop(0, `hsl(${base} 46% 20%)`);
    disc.addColorStop(1, `hsl(${base + 45} 55% 12%)`);
    context.fillStyle = disc;
    context.beginPath();
    context.arc(x, y, radius, 0, TAU);
    context.fill();
    this.#second(x, y, radius * 0.93, ptsMs);
    this.#clock(x, y, radius, epoch, ptsMs);
  }

  /** A mark that goes round once a second. */
  #second(x: number, y: number, radius: number, ptsMs: number): void {
    const context = this.#context;
    const turn = ((((ptsMs % 1000) + 1000) % 1000) / 1000) * TAU;
    context.lineWidth = Math.max(1.500, radius * 0.024);
    context.strokeStyle = "rgb(255 255 255 / 0.14)";
    context.beginPath();
    context.arc(x, y, radius, 0, TAU);
    context.stroke();
    context.strokeStyle = "#ffffff";
    context.beginPath();
    context.arc(x, y, radius, turn - TAU / 4 - Math.min(turn, 0.9), turn - TAU / 4);
    context.stroke();
  }

  #clock(x: number, y: number, radius: number, epoch: number, ptsMs: number): void {
    const context = this.#context;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#ffffff";
    context.font = `650 ${radius * 0.36}px ${MONO}`;
    context.fillText(mediaTime(ptsMs, 1), x, y - radius * 0.02, radius * 1.7);
    context.fillStyle = "rgb(255 255 255 / 0.62)";
    context.font = `500 ${Math.max(9, radius * 0.125)}px ${SANS}`;
    context.fillText("HOST CLOCK", x, y - radius * 0.4);
    const frame = Math.floor((ptsMs * 30) / 1000);
    context.fillText(`epoch ${epoch} · frame ${frame}`, x, y + radius * 0.36, radius * 1.6);
  }

  #clap(x: number, y: number, radius: number, ptsMs: number, base: number): void {
    const since = ((ptsMs % CLAP_EVERY_MS) + CLAP_EVERY_MS) % CLAP_EVERY_MS;
    if (since > CLAP_MS || stillness.matches) return;
    const context = this.#context;
    const part = since / CLAP_MS;
    const eased = 1 - (1 - part) ** 3;
    for (const lag of [0, 0.16]) {
      const reach = Math.max(0, eased - lag);
      context.strokeStyle = `hsl(${base + 40} 95% 78% / ${0.55 * (1 - part)})`;
      context.lineWidth = radius * 0.07 * (1 - part) + 0.5;
      context.beginPath();
      context.arc(x, y, radius * (1 + reach * 2.1), 0, TAU);
      context.stroke();
    }
  }

  #waiting(x: number, y: number, radius: number, nowMs: number): void {
    const context = this.#context;
    const turn = stillness.matches ? 0 : (nowMs / 1400) % TAU;
    context.lineWidth = 2;
    context.strokeStyle = "rgb(255 255 255 / 0.12)";
    context.beginPath();
    context.arc(x, y, radius, 0, TAU);
    context.stroke();
    context.strokeStyle = "rgb(255 255 255 / 0.5)";
    context.beginPath();
    context.arc(x, y, radius, turn, turn + 1.2);
    context.stroke();
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "rgb(255 255 255 / 0.6)";
    context.font = `500 ${Math.max(11, radius * 0.15)}px ${SANS}`;
    context.fillText("no media clock", x, y);
  }

  #drawHearts(nowMs: number): void {
    const context = this.#context;
    this.#hearts = this.#hearts.filter((heart) => nowMs - heart.bornMs < HEART_LIFE_MS);
    for (const heart of this.#hearts) {
      const age = (nowMs - heart.bornMs) / HEART_LIFE_MS;
      if (age < 0) continue;
      const sway = Math.sin(age * 7 + heart.hue) * 0.015;
      const x = this.#width * (heart.x + heart.drift * age + sway);
      const y = this.#height * (0.86 - 0.66 * (1 - (1 - age) ** 1.7));
      const size = heart.size * Math.min(1, 0.3 + age * 6);
      context.fillStyle = `hsl(${heart.hue} 95% 66% / ${age > 0.55 ? (1 - age) / 0.45 : 1})`;
      context.beginPath();
      context.moveTo(x, y + size * 0.45);
      context.bezierCurveTo(x - size, y - size * 0.2, x - size * 0.5, y - size * 0.8, x, y - size * 0.3);
      context.bezierCurveTo(x + size * 0.5, y - size * 0.8, x + size, y - size * 0.2, x, y + size * 0.45);
      context.fill();
    }
  }
}

const SANS = 'Inter, "SF Pro Text", "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif';
const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "Roboto Mono", "Liberation Mono", monospace';

/** How loud the host is at this second in this direction, 0 to 1: smooth, and the same for all. */
function loudness(seconds: number, bar: number): number {
  const speech = 0.5 + 0.5 * Math.sin(seconds * 2.3 + Math.sin(seconds * 0.71) * 2);
  const mirrored = Math.abs(bar - BARS / 2);
  const ripple =
    Math.sin(mirrored * 0.55 + seconds * 5.1) * 0.5 +
    Math.sin(mirrored * 0.21 - seconds * 3.3) * 0.32 +
    Math.sin(mirrored * 1.31 + seconds * 8.7) * 0.18;
  return Math.max(0, Math.min(1, (0.35 + 0.65 * speech) * (0.5 + 0.5 * ripple)));
}
