/**
 * The strip below a pane: media time from left to right, the playhead a fixed line. Events that
 * wait come towards the line as hollow marks; each becomes solid when the line reaches it. An
 * event that is no comment lives here as the element that says it was released.
 */
import type { LiveEvent, MediaTime, Release } from "@live-engagement/client";
import { el, trim } from "./dom.js";

const SPAN_MS = 20_000;
/** How much of the strip lies before the playhead: the rest is what is to come. */
const PAST_SHARE = 0.82;
const TICKS_MAX = 160;
const GHOSTS_MAX = 60;

/** Where the marks of each lane lie (as in the stylesheet), in parts of the strip's height. */
const GHOSTS: Record<Lane, { color: string; top: number; height: number }> = {
  comment: { color: "#5ee6d0", top: 0.1, height: 0.34 },
  gift: { color: "#ffc66b", top: 0.08, height: 0.42 },
  like: { color: "#ff5c7c", top: 0.5, height: 0.18 },
  viewer: { color: "#8b8cff", top: 0.74, height: 0.12 },
  battle: { color: "#4da3ff", top: 0.8, height: 0.12 },
  room: { color: "#ffffff", top: 0.08, height: 0.78 },
};

export type Lane = "comment" | "gift" | "like" | "viewer" | "battle" | "room";

export function lane(type: string): Lane {
  if (type.startsWith("comment.")) return "comment";
  if (type.startsWith("gift.")) return "gift";
  if (type.startsWith("battle.")) return "battle";
  if (type.startsWith("like")) return "like";
  return type.startsWith("viewers.") ? "viewer" : "room";
}

export class Strip {
  readonly root: HTMLElement;
  #ticks = el("div", { class: "strip-ticks" });
  #ghosts = el("canvas", { class: "strip-ghosts", "aria-hidden": "true" });
  #width = 0;
  #height = 0;
  #isBlank = true;
  #baseMs: number | null = null;
  #shiftMs = new Map<number, number>();
  #epoch = 0;
  #latestMs = 0;

  constructor() {
    const line = el("div", { class: "strip-line" });
    line.style.left = `${PAST_SHARE * 100}%`;
    this.root = el("div", { class: "strip" }, this.#ticks, this.#ghosts, line);
    new ResizeObserver(() => this.#resize()).observe(this.root);
  }

  /** Mark a released event; with `isHome` the mark is the event's own element in the page. */
  add(release: Release<LiveEvent>, isHome: boolean, label: string): void {
    const { event, position } = release;
    const tier = event.type === "gift.sent" ? ` tier-${event.data.tier}` : "";
    const mark = el("span", { class: `tick lane-${lane(event.type)}${tier}` });
    if (isHome) setIdentity(mark, release);
    mark.title = label;
    const isSameEpoch = position !== null && event.mediaepoch === position.epoch;
    const at = isSameEpoch ? { epoch: position.epoch, ptsMs: event.mediapts ?? 0 } : position;
    mark.style.left = `${this.#percent(at === null ? this.#latestMs : this.#stripMs(at))}%`;
    this.#ticks.append(mark);
    trim(this.#ticks, TICKS_MAX);
  }

  /** Move on to this position, with these events to come. */
  draw(position: MediaTime | null, upcoming: Iterable<LiveEvent>): void {
    if (position === null) return;
    this.#latestMs = this.#stripMs(position);
    this.#ticks.style.transform = `translateX(${(-this.#percent(this.#latestMs) + PAST_SHARE * 100).toFixed(3)}%)`;
    this.#drawGhosts(upcoming);
  }

  clear(): void {
    this.#ticks.replaceChildren();
  }

  /** Drawn, not elements: all of them move with every one that is released. */
  #drawGhosts(upcoming: Iterable<LiveEvent>): void {
    const context = this.#ghosts.getContext("2d");
    if (context === null || this.#width === 0) return;
    if (!this.#isBlank) context.clearRect(0, 0, this.#width, this.#height);
    this.#isBlank = true;
    let drawn = 0;
    context.lineWidth = 1;
    for (const event of upcoming) {
      if (drawn >= GHOSTS_MAX) break;
      if (event.mediaepoch === undefined || event.mediapts === undefined) continue;
      const look = GHOSTS[lane(event.type)];
      const stripMs = this.#stripMs({ epoch: event.mediaepoch, ptsMs: event.mediapts });
      const x = this.#width * (PAST_SHARE + (stripMs - this.#latestMs) / SPAN_MS);
      if (x > this.#width) break;
      context.strokeStyle = look.color;
      context.strokeRect(Math.round(x) + 0.5, this.#height * look.top + 0.5, 2, this.#height * look.height);
      this.#isBlank = false;
      drawn += 1;
    }
  }

  #resize(): void {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    [this.#width, this.#height] = [this.root.clientWidth, this.root.clientHeight];
    this.#ghosts.width = Math.round(this.#width * ratio);
    this.#ghosts.height = Math.round(this.#height * ratio);
    this.#ghosts.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /** Place on the strip: media time, with epochs laid end to end as they were met. */
  #stripMs({ epoch, ptsMs }: MediaTime): number {
    let shiftMs = this.#shiftMs.get(epoch);
    if (shiftMs === undefined) {
      shiftMs = epoch > this.#epoch ? this.#latestMs - ptsMs : 0;
      this.#shiftMs.set(epoch, shiftMs);
      this.#epoch = Math.max(this.#epoch, epoch);
    }
    return ptsMs + shiftMs;
  }

  #percent(stripMs: number): number {
    this.#baseMs ??= stripMs;
    return ((stripMs - this.#baseMs) / SPAN_MS) * 100;
  }
}

/** Say in the page that this event was released, and where. */
export function setIdentity(element: HTMLElement, { event, position, errorMs, reason }: Release<LiveEvent>): void {
  element.dataset["eventId"] = event.id;
  element.dataset["eventType"] = event.type;
  element.dataset["reason"] = reason;
  if (event.mediaepoch !== undefined) element.dataset["mediaEpoch"] = String(event.mediaepoch);
  if (event.mediapts !== undefined) element.dataset["mediaPts"] = String(event.mediapts);
  if (position !== null) element.dataset["playhead"] = String(Math.round(position.ptsMs));
  if (errorMs !== null) element.dataset["errorMs"] = errorMs.toFixed(1);
}
