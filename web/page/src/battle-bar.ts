/**
 * The PK bar of one pane: the sides and their points, the time that is left as seen at this pane's
 * playhead, the multiplier, who helps most, and how it ended.
 */
import { remainingMs, shares, verdict, type Battle, type MediaTime } from "@live-engagement/client";
import { avatar } from "./avatar.js";
import { el } from "./dom.js";
import { count, countdown } from "./format.js";

/** The last seconds of a battle are counted loudly. */
const HURRY_MS = 10_000;
/** How long the end of a battle stands, where nobody is punished. */
const OVER_MS = 8_000;
const SUPPORTERS_MAX = 3;
/** A side without points is still seen. */
const SHARE_MIN = 0.08;
/** Colours of the sides in the order in which this room sees them: one's own first. */
const SIDE_HUES = [345, 212, 150, 36, 278, 186, 12, 96, 318];

interface SideElements {
  root: HTMLElement;
  score: HTMLElement;
  supporters: HTMLElement;
  segment: HTMLElement;
  shown: number;
}

export class BattleBar {
  readonly root = el("section", { class: "pk", hidden: true, "aria-label": "PK battle" });
  #room: string;
  #battle: Battle | null = null;
  #sides = new Map<string, SideElements>();
  #clock = el("b", { class: "pk-clock" });
  #state = el("span", { class: "pk-state" });
  #badge = el("span", { class: "pk-badge", hidden: true });
  #bar = el("div", { class: "pk-bar" });
  #overAtMs: number | null = null;

  constructor(room: string) {
    this.#room = room;
  }

  get battle(): Battle | null {
    return this.#battle;
  }

  /** Show a battle as it is now; null when there is none. */
  show(battle: Battle | null): void {
    const isNew = battle !== null && battle.battle !== this.#battle?.battle;
    const hasBegun = battle !== null && battle.status !== "invited";
    this.#battle = battle;
    if (battle === null || !hasBegun) {
      this.root.hidden = true;
      return;
    }
    if (isNew || this.#sides.size === 0) this.#build(battle);
    this.root.hidden = false;
    this.root.dataset["battle"] = battle.battle;
    this.root.dataset["status"] = battle.status;
    this.root.dataset["revision"] = String(battle.revision);
    this.#showScores(battle);
    this.#showBadge(battle);
    if (battle.result === null) this.#overAtMs = null;
  }

  /** Show the time that is left at this playhead; true while a battle is on screen. */
  draw(position: MediaTime | null, serverMs: number | null, nowMs: number): boolean {
    const battle = this.#battle;
    if (battle === null || this.root.hidden) return false;
    if (battle.status === "ended") return this.#drawEnd(battle, position, serverMs, nowMs);
    const leftMs = battle.deadlineMs === null ? null : remainingMs(battle, battle.deadlineMs, position, serverMs);
    const isOver = leftMs === 0;
    setText(this.#clock, leftMs === null ? "–:––" : countdown(leftMs));
    setText(this.#state, isOver ? "counting" : "PK");
    this.root.classList.toggle("hurry", leftMs !== null && leftMs <= HURRY_MS && !isOver);
    return true;
  }

  #drawEnd(battle: Battle, position: MediaTime | null, serverMs: number | null, nowMs: number): boolean {
    this.root.classList.remove("hurry");
    this.#overAtMs ??= nowMs;
    const { punishUntilMs } = battle;
    const leftMs = punishUntilMs === null ? null : remainingMs(battle, punishUntilMs, position, serverMs);
    setText(this.#clock, leftMs === null ? "END" : countdown(leftMs));
    setText(this.#state, leftMs === null ? "" : "punish");
    if (punishUntilMs !== null || nowMs - this.#overAtMs < OVER_MS) return true;
    this.root.hidden = true;
    return false;
  }

  #build(battle: Battle): void {
    this.#sides.clear();
    this.root.classList.toggle("many", battle.sides.length > 2);
    const own = battle.sides.find((side) => side.room === this.#room);
    const sides = own === undefined ? battle.sides : [own, ...battle.sides.filter((side) => side !== own)];
    const heads = el("div", { class: "pk-sides" });
    this.#bar.replaceChildren();
    sides.forEach((side, index) => {
      const score = el("b", { class: "pk-score" }, "0");
      const supporters = el("span", { class: "pk-top" });
      const root = el("div", { class: "pk-side", "data-room": side.room }, el("span", { class: "pk-host", dir: "auto" }, side.host), score, supporters);
      const segment = el("i", { "data-room": side.room });
      // The first side lies on top.
      segment.style.zIndex = String(sides.length - index);
      for (const element of [root, segment]) element.style.setProperty("--side", String(SIDE_HUES[index % SIDE_HUES.length]));
      this.#sides.set(side.room, { root, score, supporters, segment, shown: -1 });
      heads.append(root);
      this.#bar.append(segment);
    });
    const middle = el("div", { class: "pk-middle" }, this.#state, this.#clock, this.#badge);
    this.root.replaceChildren(heads, this.#bar, middle);
  }

  #showScores(battle: Battle): void {
    const shareOf = shares(battle);
    this.#moveSegments(battle, shareOf);
    battle.sides.forEach((side) => {
      const elements = this.#sides.get(side.room);
      if (elements === undefined) return;
      elements.root.dataset["score"] = String(side.score);
      if (elements.shown === side.score) return;
      const fresh = el("b", { class: "pk-score" }, count(side.score));
      // A new element pops; the first one just stands there.
      if (elements.shown >= 0) fresh.classList.add("pop");
      elements.shown = side.score;
      elements.score.replaceWith(fresh);
      elements.score = fresh;
    });
    for (const [room, { supporters, root }] of this.#sides) {
      const best = battle.top.filter((one) => one.room === room && one.points > 0).slice(0, SUPPORTERS_MAX);
      const names = best.map((one) => one.actor).join(", ");
      if (supporters.title !== names) {
        supporters.title = names;
        supporters.replaceChildren(...best.map((one) => avatar(one.actor)));
      }
      root.dataset["verdict"] = verdict(battle, room) ?? "";
    }
  }

  /** Each segment ends where its side's share does, counted from the left. */
  #moveSegments(battle: Battle, shareOf: readonly number[]): void {
    const wide = new Map(battle.sides.map((side, index) => [side.room, Math.max(SHARE_MIN, shareOf[index] as number)]));
    const total = [...wide.values()].reduce((sum, one) => sum + one, 0);
    let end = 0;
    for (const [room, { segment }] of this.#sides) {
      end += (wide.get(room) ?? 0) / total;
      segment.dataset["end"] = end.toFixed(3);
      segment.style.transform = `translateX(${((end - 1) * 100).toFixed(2)}%)`;
    }
  }

  #showBadge(battle: Battle): void {
    const result = verdict(battle, this.#room);
    const words = { win: "Victory", lose: "Defeat", draw: "Draw", aborted: "Called off" } as const;
    const text = result !== null ? words[result] : battle.multiplier > 1 ? `×${battle.multiplier}` : "";
    this.#badge.hidden = text === "";
    this.#badge.dataset["kind"] = result ?? "multiplier";
    if (this.#badge.textContent !== text) this.#badge.textContent = text;
    this.root.classList.toggle("boosted", result === null && battle.multiplier > 1);
  }
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
