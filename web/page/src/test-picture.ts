/** A host without a camera: a picture with a clock, and a flash when a gift arrives. */
import { clockTime } from "./format.js";

const WIDTH = 640;
const HEIGHT = 360;
const FPS = 30;
const FLASH_MS = 900;
const TURN_MS = 12_000;

export class TestPicture {
  readonly stream: MediaStream;
  #canvas: HTMLCanvasElement;
  #title: string;
  #timer: ReturnType<typeof setInterval>;
  #flash = { text: "", atMs: -Infinity };

  constructor(title: string) {
    this.#title = title;
    this.#canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    this.#draw();
    // Not by animation frames: a host looks at other tabs too.
    this.#timer = setInterval(() => this.#draw(), 1000 / FPS);
    this.stream = this.#canvas.captureStream(FPS);
  }

  /** Show that we have seen it. */
  react(text: string): void {
    this.#flash = { text, atMs: performance.now() };
  }

  close(): void {
    clearInterval(this.#timer);
    for (const track of this.stream.getTracks()) track.stop();
  }

  #draw(): void {
    const context = this.#canvas.getContext("2d");
    if (context === null) return;
    const nowMs = performance.now();
    const turn = (nowMs % TURN_MS) / TURN_MS;
    const sky = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
    sky.addColorStop(0, `hsl(${Math.round(turn * 360)} 55% 22%)`);
    sky.addColorStop(1, `hsl(${Math.round(turn * 360) + 70} 60% 34%)`);
    context.fillStyle = sky;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    const flash = Math.max(0, 1 - (nowMs - this.#flash.atMs) / FLASH_MS);
    this.#drawOrbit(context, turn, flash);
    context.textAlign = "center";
    context.fillStyle = "#fff";
    context.font = "700 64px ui-monospace, monospace";
    context.fillText(clockTime(new Date()), WIDTH / 2, HEIGHT / 2 + 20);
    context.font = "600 20px system-ui, sans-serif";
    context.fillText(flash > 0 ? this.#flash.text : this.#title, WIDTH / 2, HEIGHT / 2 + 64, WIDTH - 60);
    if (flash === 0) return;
    context.fillStyle = `rgb(255 255 255 / ${flash * 0.5})`;
    context.fillRect(0, 0, WIDTH, HEIGHT);
  }

  #drawOrbit(context: CanvasRenderingContext2D, turn: number, flash: number): void {
    const angle = turn * 6 * Math.PI;
    context.fillStyle = flash > 0 ? "#ffd76a" : "rgb(255 255 255 / 0.85)";
    context.beginPath();
    context.arc(WIDTH / 2 + Math.cos(angle) * 230, HEIGHT / 2 - 62 + Math.sin(angle) * 54, 14 + 22 * flash, 0, 2 * Math.PI);
    context.fill();
  }
}
