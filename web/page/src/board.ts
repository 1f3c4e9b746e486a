/** The leaderboard as a dialogue: this session, today, ever. */
import type { Api, Period, Ranked } from "@live-engagement/client";
import { avatar } from "./avatar.js";
import { el, icon, ICONS } from "./dom.js";
import { count } from "./format.js";

const ROWS = 20;
const REFRESH_MS = 4_000;
const PERIODS: [Period, string][] = [["session", "This live"], ["day", "Today"], ["all", "All time"]];

export class Board {
  readonly root: HTMLDialogElement;
  #api: Api;
  #room: string;
  #user: string | null;
  #period: Period = "session";
  #rows = el("ol", { class: "ranks" });
  #empty = el("p", { class: "empty" });
  #tabs = new Map<Period, HTMLButtonElement>();
  #timer = 0;

  constructor(api: Api, room: string, user: string | null) {
    this.#api = api;
    this.#room = room;
    this.#user = user;
    const close = el("button", { type: "button", class: "close", "aria-label": "Close" }, icon(ICONS.cross));
    const tabs = el("div", { class: "tabs", role: "group", "aria-label": "Period" });
    for (const [period, name] of PERIODS) {
      const tab = el("button", { type: "button", "aria-pressed": String(period === this.#period) }, name);
      tab.addEventListener("click", () => this.#choose(period));
      this.#tabs.set(period, tab);
      tabs.append(tab);
    }
    this.root = el("dialog", { class: "sheet board", "aria-label": "Leaderboard" }, el("header", {}, el("h2", {}, icon(ICONS.crown, "fill"), "Top senders"), close), tabs, this.#rows, this.#empty);
    close.addEventListener("click", () => this.root.close());
    this.root.addEventListener("click", (event) => event.target === this.root && this.root.close());
    this.root.addEventListener("close", () => clearInterval(this.#timer));
  }

  open(): void {
    if (this.root.open) return;
    this.root.showModal();
    void this.#refresh();
    this.#timer = window.setInterval(() => void this.#refresh(), REFRESH_MS);
  }

  #choose(period: Period): void {
    this.#period = period;
    for (const [one, tab] of this.#tabs) tab.setAttribute("aria-pressed", String(one === period));
    this.#rows.replaceChildren();
    this.#empty.textContent = "";
    void this.#refresh();
  }

  async #refresh(): Promise<void> {
    const period = this.#period;
    try {
      const { items } = await this.#api.leaderboard(this.#room, period, ROWS);
      if (period === this.#period) this.#show(items);
    } catch {
      if (period === this.#period) this.#empty.textContent = "The leaderboard cannot be read right now.";
    }
  }

  #show(items: readonly Ranked[]): void {
    this.#empty.textContent = items.length === 0 ? "Nobody has sent a gift yet. Be the first." : "";
    const most = items[0]?.coins ?? 1;
    this.#rows.replaceChildren(...items.map((row, index) => {
      const item = el(
        "li",
        { class: row.actor === this.#user ? "own" : null, "data-actor": row.actor },
        el("span", { class: "rank" }, String(row.rank ?? index + 1)),
        avatar(row.actor),
        el("span", { class: "name", dir: "auto" }, row.actor),
        el("span", { class: "coins" }, el("i", { class: "coin" }), count(row.coins)),
      );
      item.style.setProperty("--share", String(row.coins / most));
      return item;
    }));
  }
}
