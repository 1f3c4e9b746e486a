/** What can be given: the catalogue with its prices, our wallet, and taps that count up. */
import type { Api, Gift, Outcome, Room } from "@live-engagement/client";
import { giftImage } from "./art.js";
import { el, icon, ICONS } from "./dom.js";
import { count, exact } from "./format.js";
import { Wallet } from "./wallet.js";
import { refusal } from "./words.js";

/** Taps so close together are one request: a hand is slower, a script is not. */
const GATHER_MS = 90;
/** The server's combo window: a tap within it goes on counting. */
const COMBO_MS = 5_000;
const CATALOGUE_AGAIN_MS = 2_000;
/** A gift may be added, or its price changed, at any time. */
const CATALOGUE_MS = 30_000;

interface Card {
  gift: Gift;
  button: HTMLButtonElement;
  taps: HTMLElement;
  gathered: number;
  combo: number;
  comboTimer: number;
}

export class Tray {
  /** The row of gifts. */
  readonly root: HTMLElement;
  /** Opens the row where there is no room for it. */
  readonly opener: HTMLButtonElement;
  #room: Room;
  #api: Api;
  #wallet: Wallet;
  #tell: (text: string) => void;
  #balance = el("b", {}, "–");
  #row = el("div", { class: "gifts", role: "group", "aria-label": "Gifts" });
  #cards = new Map<string, Card>();
  #offered = "";

  constructor(room: Room, api: Api, user: string, tell: (text: string) => void) {
    this.#room = room;
    this.#api = api;
    this.#tell = tell;
    const wallet = el("div", { class: "wallet", title: "Your coins" }, el("i", { class: "coin" }), this.#balance, el("span", { class: "visually-hidden" }, " coins"));
    this.root = el("div", { class: "tray" }, wallet, this.#row);
    this.opener = el("button", { type: "button", class: "gift-opener", "aria-label": "Gifts", "aria-expanded": "false" }, icon(ICONS.gift));
    this.opener.addEventListener("click", () => this.#toggle());
    this.#wallet = new Wallet(api, user, (coins) => this.#showBalance(coins));
    room.on("outcome", (outcome) => this.#decided(outcome));
    room.on("state", ({ state }) => this.#enable(state !== "closed"));
    void this.#follow();
  }

  /** A gift of the catalogue; undefined when it is not (yet) there. */
  gift(name: string): Gift | undefined {
    return this.#cards.get(name)?.gift;
  }

  #toggle(): void {
    const isOpen = this.root.classList.toggle("open");
    this.opener.setAttribute("aria-expanded", String(isOpen));
  }

  async #follow(): Promise<void> {
    for (;;) {
      let waitMs = CATALOGUE_MS;
      try {
        this.#offer(await this.#api.gifts());
      } catch {
        waitMs = CATALOGUE_AGAIN_MS;
      }
      if (this.#cards.size === 0) waitMs = CATALOGUE_AGAIN_MS;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  #offer(gifts: readonly Gift[]): void {
    const offered = JSON.stringify(gifts);
    if (offered === this.#offered) return;
    this.#offered = offered;
    const before = this.#cards;
    this.#cards = new Map();
    this.#row.replaceChildren(...gifts.map((gift) => {
      const card = this.#card(gift);
      const old = before.get(gift.gift);
      // Taps that are being gathered belong to the gift, not to its card.
      if (old !== undefined) [card.gathered, card.combo] = [old.gathered, old.combo];
      this.#cards.set(gift.gift, card);
      return card.button;
    }));
    this.#showBalance(this.#wallet.available);
  }

  #card(gift: Gift): Card {
    const taps = el("span", { class: "taps", hidden: true });
    const price = el("span", { class: "price" }, el("i", { class: "coin" }), count(gift.coins));
    const button = el(
      "button",
      { type: "button", class: "gift", "data-gift": gift.gift, "data-tier": gift.tier, title: gift.name },
      giftImage(gift.animation ?? gift.gift),
      el("span", { class: "name" }, gift.name),
      price,
      taps,
    );
    const card: Card = { gift, button, taps, gathered: 0, combo: 0, comboTimer: 0 };
    button.addEventListener("click", () => this.#tap(gift.gift));
    return card;
  }

  #tap(name: string): void {
    const card = this.#cards.get(name);
    if (card === undefined) return;
    card.button.classList.remove("tapped");
    // Reading the layout lets the animation start anew.
    void card.button.offsetWidth;
    card.button.classList.add("tapped");
    if (card.gift.combo) this.#countTap(card);
    card.gathered += 1;
    if (card.gathered > 1) return;
    setTimeout(() => this.#send(name), card.gift.combo ? GATHER_MS : 0);
  }

  /** The count on the card, and the ring that shows how long a tap goes on counting. */
  #countTap(card: Card): void {
    card.combo += 1;
    clearTimeout(card.comboTimer);
    card.comboTimer = window.setTimeout(() => this.#endCombo(card.gift.gift), COMBO_MS);
    card.taps.hidden = false;
    card.taps.textContent = `×${count(card.combo)}`;
    card.button.classList.remove("counting");
    void card.button.offsetWidth;
    card.button.classList.add("counting");
  }

  #endCombo(name: string): void {
    const card = this.#cards.get(name);
    if (card === undefined) return;
    card.combo = 0;
    card.taps.hidden = true;
    card.button.classList.remove("counting");
  }

  #send(name: string): void {
    const card = this.#cards.get(name);
    if (card === undefined || card.gathered === 0) return;
    const taps = card.gathered;
    card.gathered = 0;
    const stop = this.#room.on("echo", (echo) => {
      if (echo.status === "sending") this.#wallet.reserve(echo.id, taps * card.gift.coins);
    });
    void this.#room.send("gift.send", { gift: name, count: taps });
    stop();
  }

  #decided(outcome: Outcome): void {
    const isRefused = outcome.status === "rejected" || outcome.status === "refused";
    this.#wallet.settle(outcome.id, !isRefused);
  }

  /** A gift of ours was refused: say why, and that nothing was taken. */
  refuse(id: string, gift: string, code: string | undefined): void {
    this.#wallet.settle(id, false);
    const card = this.#cards.get(gift);
    this.#endCombo(gift);
    const name = card?.gift.name ?? gift;
    const available = this.#wallet.available;
    if (code === "insufficient_funds" && card !== undefined && available !== null) {
      this.#tell(`Not enough coins: ${name} costs ${exact(card.gift.coins)}, you have ${exact(available)}.`);
    } else {
      this.#tell(`${name} was not sent. ${refusal(code)}`);
    }
  }

  #showBalance(coins: number | null): void {
    this.#balance.textContent = coins === null ? "–" : exact(coins);
    this.#balance.dataset["coins"] = coins === null ? "" : String(coins);
    for (const { gift, button } of this.#cards.values()) {
      button.classList.toggle("dear", coins !== null && gift.coins > coins);
    }
  }

  #enable(isEnabled: boolean): void {
    for (const { button } of this.#cards.values()) button.disabled = !isEnabled;
    this.opener.disabled = !isEnabled;
  }
}
