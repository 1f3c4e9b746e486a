/**
 * What stands in for the host's video: a picture that is a function of media time alone, so two
 * players at the same playhead show the same frame. The time is burned in, a mark runs round once
 * a second, and every five seconds the host "claps": a ring that is easy to see arrive twice.
 * In a battle the rivals stand beside the host. Hearts, gifts and confetti fly over it. What does not
 * move, the room behind the host, is the stylesheet's: it is painted once.
 */
import type { MediaTime } from "@live-engagement/client";
import { hue, initial, mediaTime } from "./format.js";
import { Particles } from "./particles.js";

const BARS = 72;
const RIVAL_BARS = 48;
const CLAP_EVERY_MS = 5_000;
const CLAP_MS = 1_100;
/** The rivals come and go within this. */
const DUEL_MS = 700;
const TAU = Math.PI * 2;

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export class Stage {
  readonly canvas: HTMLCanvasElement;
  /** The host is on video below: only what flies over it is drawn. */
  isOverVideo = false;
  #context: CanvasRenderingContext2D;
  #width = 0;
  #height = 0;
  #particles = new Particles();
  #host = "";
  #rivals: readonly string[] = [];
  #duel = 0;
  #isDuel = false;
  #drawnMs = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: true }) as CanvasRenderingContext2D;
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Whose room it is. */
  setHost(host: string): void {
    this.#host = host;
  }

  /** Whom the host fights; nobody. */
  setRivals(rivals: readonly string[]): void {
    this.#isDuel = rivals.length > 0;
    if (this.#isDuel) this.#rivals = rivals;
  }

  /** Let hearts rise. */
  cheer(hearts: number, nowMs: number): void {
    if (!stillness.matches) this.#particles.hearts(hearts, nowMs);
  }

  /** Let pictures of a gift rise where the hearts do. */
  toss(image: CanvasImageSource, pieces: number, nowMs: number): void {
    if (!stillness.matches) this.#particles.toss(image, pieces, nowMs);
  }

  /** Let it rain. */
  celebrate(pieces: number, nowMs: number): void {
    if (!stillness.matches) this.#particles.confetti(pieces, nowMs);
  }

  /** Draw the frame at this media time; null shows that there is none. */
  draw(position: MediaTime | null, nowMs: number): void {
    const passedMs = Math.min(100, nowMs - this.#drawnMs);
    this.#drawnMs = nowMs;
    if (this.#width === 0) return;
    const step = stillness.matches ? 1 : passedMs / DUEL_MS;
    this.#duel = Math.min(1, Math.max(0, this.#duel + (this.#isDuel ? step : -step)));
    this.#context.clearRect(0, 0, this.#width, this.#height);
    const eased = this.#duel * this.#duel * (3 - 2 * this.#duel);
    if (!this.isOverVideo) this.#drawPicture(position, nowMs, eased);
    this.#particles.draw(this.#context, this.#width, this.#height, nowMs);
  }

  #drawPicture(position: MediaTime | null, nowMs: number, duel: number): void {
    const [width, height] = [this.#width, this.#height];
    // Beside the comments where there is room, else above them; in a battle always above.
    const isWide = width > height * 1.1;
    const between = (alone: number, fighting: number) => alone + (fighting - alone) * duel;
    const middle = width * between(isWide ? 0.72 : 0.5, 0.5);
    const y = height * (isWide ? between(0.47, 0.4) : between(0.335, 0.36));
    const alone = Math.min(width * (isWide ? 0.14 : 0.18), height * (isWide ? 0.2 : 0.155));
    const radius = alone * between(1, isWide ? 0.74 : 0.8);
    const reach = width * 0.245;
    if (position === null) return this.#waiting(middle, y, alone, nowMs);
    const base = (232 + position.epoch * 47) % 360;
    this.#drawHost(middle - reach * duel, y, radius, position, base, duel);
    if (duel > 0) this.#drawRivals(middle + reach, y, radius, position.ptsMs / 1000, duel);
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

  #drawHost(x: number, y: number, radius: number, { epoch, ptsMs }: MediaTime, base: number, duel: number): void {
    this.#clap(x, y, radius, ptsMs, base);
    this.#voice(x, y, radius, ptsMs / 1000, BARS, (angle) => base + 70 * Math.sin(angle));
    this.#disc(x, y, radius, `hsl(${base} ${46 + 20 * duel}% ${20 + 16 * duel}%)`, `hsl(${base + 45} 55% ${12 + 10 * duel}%)`);
    this.#second(x, y, radius * 0.93, ptsMs);
    this.#clock(x, y, radius, epoch, ptsMs);
  }

  #drawRivals(x: number, y: number, radius: number, seconds: number, duel: number): void {
    const context = this.#context;
    const rivals = this.#rivals;
    context.globalAlpha = duel;
    const columns = Math.ceil(Math.sqrt(rivals.length));
    const rows = Math.ceil(rivals.length / columns);
    const each = radius / Math.max(columns, rows);
    rivals.forEach((rival, index) => {
      const spread = radius * 2.6;
      const dx = columns === 1 ? 0 : (((index % columns) + 0.5) / columns - 0.5) * spread;
      const dy = rows === 1 ? 0 : ((Math.floor(index / columns) + 0.5) / rows - 0.5) * spread;
      this.#drawRival(x + dx + radius * (1 - duel), y + dy, each, rival, seconds + 3.7 * (index + 1));
    });
    context.globalAlpha = 1;
  }

  #drawRival(x: number, y: number, radius: number, name: string, seconds: number): void {
    const context = this.#context;
    const base = hue(name);
    this.#voice(x, y, radius, seconds, RIVAL_BARS, () => 212);
    this.#disc(x, y, radius, `hsl(${base} 60% 46%)`, `hsl(${(base + 50) % 360} 60% 26%)`);
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#ffffff";
    context.font = `700 ${radius * 0.8}px ${SANS}`;
    context.fillText(initial(name), x, y - radius * 0.08);
    context.font = `600 ${Math.max(9, radius * 0.17)}px ${SANS}`;
    context.fillStyle = "rgb(255 255 255 / 0.8)";
    context.fillText(name, x, y + radius * 0.56, radius * 1.5);
  }

  /** How loud somebody is, as bars round them. */
  #voice(x: number, y: number, radius: number, seconds: number, bars: number, hueAt: (angle: number) => number): void {
    const context = this.#context;
    context.lineCap = "round";
    context.lineWidth = Math.max(1.5, radius * 0.034 * (BARS / bars));
    for (let bar = 0; bar < bars; bar += 1) {
      const angle = (bar / bars) * TAU - TAU / 4;
      const voice = loudness(seconds, bar, bars);
      const inner = radius * 1.1;
      const outer = inner + radius * (0.05 + 0.42 * voice);
      context.strokeStyle = `hsl(${hueAt(angle)} 85% ${58 + voice * 18}% / ${0.35 + voice * 0.6})`;
      context.beginPath();
      context.moveTo(x + Math.cos(angle) * inner, y + Math.sin(angle) * inner);
      context.lineTo(x + Math.cos(angle) * outer, y + Math.sin(angle) * outer);
      context.stroke();
    }
  }

  #disc(x: number, y: number, radius: number, from: string, to: string): void {
    const context = this.#context;
    const disc = context.createLinearGradient(x - radius, y - radius, x + radius, y + radius);
    disc.addColorStop(0, from);
    disc.addColorStop(1, to);
    context.fillStyle = disc;
    context.beginPath();
    context.arc(x, y, radius, 0, TAU);
    context.fill();
  }

  /** A mark that goes round once a second. */
  #second(x: number, y: number, radius: number, ptsMs: number): void {
    const context = this.#context;
    const turn = ((((ptsMs % 1000) + 1000) % 1000) / 1000) * TAU;
    context.lineWidth = Math.max(1.5, radius * 0.024);
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
    context.fillStyle = "rgb(255 255 255 / 0.7)";
    context.font = `600 ${Math.max(9, radius * 0.15)}px ${SANS}`;
    context.fillText(this.#host || "host", x, y - radius * 0.42, radius * 1.4);
    context.fillStyle = "rgb(255 255 255 / 0.6)";
    context.font = `500 ${Math.max(8.5, radius * 0.115)}px ${SANS}`;
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
}

const SANS = 'Inter, "SF Pro Text", "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif';
const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "Roboto Mono", "Liberation Mono", monospace';

/** How loud somebody is at this second in this direction, 0 to 1: smooth, and the same for all. */
function loudness(seconds: number, bar: number, bars: number): number {
  const speech = 0.5 + 0.5 * Math.sin(seconds * 2.3 + Math.sin(seconds * 0.71) * 2);
  const mirrored = (Math.abs(bar - bars / 2) / bars) * BARS;
  const ripple =
    Math.sin(mirrored * 0.55 + seconds * 5.1) * 0.5 +
    Math.sin(mirrored * 0.21 - seconds * 3.3) * 0.32 +
    Math.sin(mirrored * 1.31 + seconds * 8.7) * 0.18;
  return Math.max(0, Math.min(1, (0.35 + 0.65 * speech) * (0.5 + 0.5 * ripple)));
}
