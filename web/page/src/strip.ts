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
const TICKS_MAX = 200;
const GHOSTS_MAX = 60;

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
  #ghosts = el("div", { class: "strip-ghosts" });
  #baseMs: number | null = null;
  #shiftMs = new Map<number, number>();
  #epoch = 0;
  #latestMs = 0;

  constructor() {
    const line = el("div", { class: "strip-line" });
    line.style.left = `${PAST_SHARE * 100}%`;
    this.root = el("div", { class: "strip" }, this.#ticks, this.#ghosts, line);
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
    const shift = `translateX(${(-this.#percent(this.#latestMs) + PAST_SHARE * 100).toFixed(3)}%)`;
    this.#ticks.style.transform = this.#ghosts.style.transform = shift;
    this.#drawGhosts(upcoming);
  }

  clear(): void {
    this.#ticks.replaceChildren();
    this.#ghosts.replaceChildren();
  }

  #drawGhosts(upcoming: Iterable<LiveEvent>): void {
    let index = 0;
    for (const event of upcoming) {
      if (index >= GHOSTS_MAX) break;
      if (event.mediaepoch === undefined || event.mediapts === undefined) continue;
      let ghost = this.#ghosts.children[index] as HTMLElement | undefined;
      if (ghost === undefined) this.#ghosts.append((ghost = el("span")));
      const kind = `tick ghost lane-${lane(event.type)}`;
      if (ghost.className !== kind) ghost.className = kind;
      const at = { epoch: event.mediaepoch, ptsMs: event.mediapts };
      const left = `${this.#percent(this.#stripMs(at)).toFixed(3)}%`;
      if (ghost.style.left !== left) ghost.style.left = left;
      index += 1;
    }
    while (this.#ghosts.childElementCount > index) this.#ghosts.lastElementChild?.remove();
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
