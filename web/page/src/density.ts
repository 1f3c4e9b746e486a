/** How much happened when: the picture above the scrubber. */
import type { LiveEvent, MediaTime } from "@live-engagement/client";
import { el } from "./dom.js";
import { lane } from "./strip.js";

const BINS = 240;
const COLORS = {
  like: "#ff5c7c", viewer: "#8b8cff", comment: "#5ee6d0", gift: "#ffc66b", battle: "#4da3ff", room: "#ffffff",
} as const;
const LANES = ["comment", "gift", "like", "viewer", "battle", "room"] as const;

export class Density {
  readonly canvas = el("canvas", { class: "density", "aria-hidden": "true" });

  /** Draw all events; `place` maps a media time to 0 … 1 of the whole. */
  draw(events: readonly LiveEvent[], place: (time: MediaTime) => number | null): void {
    const bins = LANES.map(() => new Float32Array(BINS));
    for (const event of events) {
      const at = place({ epoch: event.mediaepoch ?? 0, ptsMs: event.mediapts ?? 0 });
      if (at === null) continue;
      const bin = Math.min(BINS - 1, Math.floor(at * BINS));
      const row = bins[LANES.indexOf(lane(event.type))] as Float32Array;
      row[bin] = (row[bin] as number) + 1;
    }
    const { canvas } = this;
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    canvas.width = BINS * 4;
    canvas.height = 120;
    const most = Math.max(1, ...Array.from({ length: BINS }, (_, bin) => total(bins, bin)));
    for (let bin = 0; bin < BINS; bin += 1) {
      let bottom = canvas.height;
      // The root keeps quiet stretches visible beside a burst.
      const scale = (canvas.height * Math.sqrt(total(bins, bin) / most)) / Math.max(1, total(bins, bin));
      LANES.forEach((name, row) => {
        const height = ((bins[row] as Float32Array)[bin] as number) * scale;
        context.fillStyle = COLORS[name];
        context.fillRect(bin * 4, bottom - height, 3, height);
        bottom -= height;
      });
    }
  }
}

function total(bins: readonly Float32Array[], bin: number): number {
  return bins.reduce((sum, row) => sum + (row[bin] as number), 0);
}
