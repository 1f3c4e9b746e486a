/**
 * Animations over a pane: a gift of tier 2 flies over a part of it, one of tier 3 takes all of it,
 * one after the other. What nobody could still see is not queued: the banner has told it.
 */
import type { Combo } from "@live-engagement/client";
import { artOf, giftImage } from "./art.js";
import { avatar } from "./avatar.js";
import { el } from "./dom.js";
import { count } from "./format.js";

const FLIGHT_MS = 3_400;
const FLIGHTS_MAX = 3;
const GRAND_MS = 4_600;
const QUEUED_MAX = 4;
const RAYS = 12;

interface Queued {
  combo: Combo;
  isOwn: boolean;
}

export class Spectacle {
  readonly root = el("div", { class: "spectacle", "aria-hidden": "true" });
  #queue: Queued[] = [];
  #grandUntilMs = -Infinity;
  #flights: { element: HTMLElement; untilMs: number }[] = [];
  #grand: HTMLElement | null = null;

  /** Play the animation of a gift, as its tier says. */
  play(combo: Combo, isOwn: boolean, nowMs: number): void {
    if (combo.tier === 2) this.#fly(combo, nowMs);
    if (combo.tier < 3) return;
    const waiting = { combo, isOwn };
    // Our own goes first: we wait for it.
    if (isOwn) this.#queue.unshift(waiting);
    else this.#queue.push(waiting);
    this.#queue.length = Math.min(this.#queue.length, QUEUED_MAX);
    this.draw(nowMs);
  }

  /** Take away what is over, begin what waits. */
  draw(nowMs: number): void {
    while (this.#flights[0] !== undefined && nowMs >= this.#flights[0].untilMs) {
      this.#flights.shift()?.element.remove();
    }
    if (this.#grand !== null && nowMs >= this.#grandUntilMs) {
      this.#grand.remove();
      this.#grand = null;
    }
    if (this.#grand !== null) return;
    const next = this.#queue.shift();
    if (next !== undefined) this.#begin(next, nowMs);
  }

  clear(): void {
    this.#queue = [];
    this.#flights = [];
    this.#grand = null;
    this.root.replaceChildren();
  }

  #fly(combo: Combo, nowMs: number): void {
    while (this.#flights.length >= FLIGHTS_MAX) this.#flights.shift()?.element.remove();
    const art = artOf(combo.animation);
    const element = el(
      "div",
      { class: `flight ${art.motion}`, "data-gift": combo.gift },
      giftImage(combo.animation),
      el("span", { class: "tag" }, avatar(combo.actor), el("b", { dir: "auto" }, combo.actor)),
    );
    element.style.setProperty("--hue", String(art.hue));
    element.style.setProperty("--lane", String(this.#flights.length));
    this.#flights.push({ element, untilMs: nowMs + FLIGHT_MS });
    this.root.append(element);
  }

  #begin({ combo, isOwn }: Queued, nowMs: number): void {
    const art = artOf(combo.animation);
    const rays = Array.from({ length: RAYS }, (_, index) => {
      const ray = el("i", {});
      ray.style.setProperty("--turn", `${(index / RAYS) * 360}deg`);
      return ray;
    });
    const times = combo.count > 1 ? ` × ${count(combo.count)}` : "";
    this.#grand = el(
      "div",
      { class: `grand ${art.motion}${isOwn ? " own" : ""}`, "data-gift": combo.gift },
      el("div", { class: "rays" }, ...rays),
      giftImage(combo.animation),
      el(
        "p",
        { class: "caption" },
        avatar(combo.actor),
        el("span", {}, el("b", { dir: "auto" }, combo.actor), el("span", {}, `sent ${combo.name}${times}`)),
      ),
    );
    this.#grand.style.setProperty("--hue", String(art.hue));
    this.#grandUntilMs = nowMs + GRAND_MS;
    this.root.append(this.#grand);
  }
}
