/**
 * Gifts of one pane as banners: who sent what, and a count that goes up with every tap. Our own
 * taps stand there at once, marked as on their way, until this pane's playhead has released them
 * or the ledger has refused them.
 */
import type { Combo, Echo } from "@live-engagement/client";
import { giftImage } from "./art.js";
import { avatar } from "./avatar.js";
import { el } from "./dom.js";
import { count } from "./format.js";

const BANNERS_MAX = 3;
/** A combo without a tap for so long makes room; its next tap brings it back. */
const QUIET_MS = 4_000;
/** After its end the total stands for a moment. */
const ENDED_MS = 1_600;
const REFUSED_MS = 5_000;
const LEAVE_MS = 260;
/** Counts from which a combo glows. */
const HOT = 10;
const BLAZING = 50;

interface Banner {
  element: HTMLElement;
  combo: Combo;
  untilMs: number;
}

interface OwnTaps {
  element: HTMLElement;
  name: string;
  /** Taps on their way, by request. */
  counts: Map<string, number>;
  /** When a refusal has been read; Infinity while taps are on their way. */
  untilMs: number;
}

/** What a banner has to know of a gift that is only asked for. */
export interface GiftLook {
  /** Who sends it. */
  user: string;
  name: string;
  tier: number;
  animation: string;
}

export class Banners {
  readonly root = el("div", { class: "banners", "aria-live": "off" });
  #banners = new Map<string, Banner>();
  #own = new Map<string, OwnTaps>();

  /** Show a tap that was released. */
  add(combo: Combo, isOwn: boolean, nowMs: number): void {
    let banner = this.#banners.get(combo.key);
    if (banner === undefined) {
      this.#makeRoom();
      const element = bannerElement(combo.actor, `sent ${combo.name}`, combo.animation, combo.tier);
      element.dataset["combo"] = combo.key;
      element.classList.toggle("own", isOwn);
      banner = { element, combo, untilMs: 0 };
      this.#banners.set(combo.key, banner);
      this.root.append(element);
    }
    banner.untilMs = nowMs + QUIET_MS;
    // Of a gift that does not combo one is just one.
    if (combo.count > 1 || !combo.isEnded) showCount(banner.element, combo.count);
  }

  /** A combo is over: its total stands for a moment. */
  end(combo: Combo, nowMs: number): void {
    const banner = this.#banners.get(combo.key);
    if (banner === undefined) return;
    banner.untilMs = Math.min(banner.untilMs, nowMs + ENDED_MS);
    banner.element.classList.add("ended");
    if (Number(banner.element.dataset["count"]) !== combo.count) showCount(banner.element, combo.count);
  }

  /** Show one of our own taps as far as it has got. */
  echo(echo: Echo, gift: string, taps: number, look: GiftLook, stage: string, nowMs: number): void {
    let own = this.#own.get(gift);
    if (own === undefined) {
      if (echo.status !== "sending") return;
      const element = bannerElement(look.user, look.name, look.animation, look.tier);
      element.classList.add("echo");
      (element.querySelector(".who b") as HTMLElement).textContent = "You";
      element.dataset["echo"] = gift;
      own = { element, name: look.name, counts: new Map(), untilMs: Infinity };
      this.#own.set(gift, own);
      this.root.append(element);
    }
    if (echo.status === "sending") own.counts.set(echo.id, taps);
    if (!own.counts.has(echo.id)) return;
    if (echo.status === "refused") own.counts.delete(echo.id);
    const isWithdrawn = echo.status === "refused" && own.counts.size === 0;
    own.element.dataset["status"] = isWithdrawn ? "refused" : echo.status === "refused" ? "sending" : echo.status;
    own.untilMs = isWithdrawn ? nowMs + REFUSED_MS : Infinity;
    setStage(own.element, stage);
    this.#countOwn(own);
  }

  /** The fact of one of our own taps is shown: its echo gives way. */
  dropEcho(id: string, gift: string): void {
    const own = this.#own.get(gift);
    if (own === undefined || !own.counts.delete(id)) return;
    if (own.counts.size > 0) return this.#countOwn(own);
    own.element.remove();
    this.#own.delete(gift);
  }

  /** Take away what has been there long enough. */
  draw(nowMs: number): void {
    for (const [key, banner] of this.#banners) {
      if (nowMs < banner.untilMs) continue;
      this.#banners.delete(key);
      leave(banner.element);
    }
    for (const [gift, own] of this.#own) {
      if (nowMs < own.untilMs) continue;
      this.#own.delete(gift);
      leave(own.element);
    }
  }

  clear(): void {
    this.root.replaceChildren();
    this.#banners.clear();
    this.#own.clear();
  }

  #countOwn(own: OwnTaps): void {
    const taps = [...own.counts.values()].reduce((sum, one) => sum + one, 0);
    if (taps > 0) showCount(own.element, taps);
  }

  /** The combo that was tapped longest ago gives its place up. */
  #makeRoom(): void {
    while (this.#banners.size >= BANNERS_MAX) {
      const all = [...this.#banners.values()];
      const oldest = all.reduce((one, other) => (other.untilMs < one.untilMs ? other : one));
      this.#banners.delete(oldest.combo.key);
      oldest.element.remove();
    }
  }
}

function bannerElement(who: string, what: string, animation: string, tier: number): HTMLElement {
  return el(
    "div",
    { class: "banner", "data-tier": tier },
    avatar(who),
    el("span", { class: "who" }, el("b", { dir: "auto" }, who), el("span", { class: "what" }, what)),
    giftImage(animation),
    el("span", { class: "times" }),
  );
}

/** The count is a new element every time, so that it pops every time. */
function showCount(element: HTMLElement, value: number): void {
  const times = element.lastElementChild as HTMLElement;
  element.dataset["count"] = String(value);
  element.classList.toggle("hot", value >= HOT);
  element.classList.toggle("blazing", value >= BLAZING);
  times.replaceChildren(el("i", {}, "×"), el("b", {}, count(value)));
}

function setStage(element: HTMLElement, text: string): void {
  let stage = element.querySelector(".what .stage");
  if (stage === null) {
    stage = el("span", { class: "stage" });
    element.querySelector(".what")?.append(" ", stage);
  }
  stage.textContent = text;
}

function leave(element: HTMLElement): void {
  element.classList.add("leaving");
  setTimeout(() => element.remove(), LEAVE_MS);
}
