/** The host's part in PK battles: to challenge, to answer, and to watch how it goes. */
import { ApiError, battleOf, browserEnvironment, foldBattle, remainingMs, type Api, type Battle, type BattleEvent, type BattleSnapshot } from "@live-engagement/client";
import { BattleBar } from "./battle-bar.js";
import { el, icon, ICONS } from "./dom.js";
import { countdown } from "./format.js";
import { refusal } from "./words.js";

const DURATIONS_S = [60, 180, 300];
const PUNISH_S = 20;
/** The last part of a battle, in which points count more. */
const BOOST = { share: 0.25, multiplier: 3 };

export class BattleDesk {
  readonly root: HTMLElement;
  #api: Api;
  #room: string;
  #serverMs: () => number;
  #say: (text: string) => void;
  #battle: Battle | null = null;
  #expiresMs: number | null = null;
  #accepted = new Set<string>();
  #bar: BattleBar;
  #news = el("p", { class: "battle-news", role: "status" });
  #buttons = el("div", { class: "battle-buttons" });
  #challenge: HTMLFormElement;
  #shown = "";

  /** `serverMs` tells the server's time: a host sees the battle as it is, at no playhead. */
  constructor(api: Api, room: string, serverMs: () => number, say: (text: string) => void) {
    this.#api = api;
    this.#room = room;
    this.#serverMs = serverMs;
    this.#say = say;
    this.#bar = new BattleBar(room);
    this.#challenge = this.#form();
    this.root = el("section", { class: "card battle-desk" }, el("h2", {}, icon(ICONS.swords), "PK battle"), this.#bar.root, this.#news, this.#buttons, this.#challenge);
    this.#show();
  }

  reset(snapshot: BattleSnapshot | null | undefined): void {
    this.#become(battleOf(snapshot));
  }

  take(event: BattleEvent): void {
    if (event.type === "battle.invited") {
      this.#accepted = new Set();
      this.#expiresMs = Date.parse(event.data.expires);
    }
    if (event.type === "battle.accepted") this.#accepted.add(event.data.room);
    if (event.type === "battle.declined" && this.#battle?.battle === event.data.battle) {
      this.#say(`${event.data.by} declined.`);
    }
    if (event.type === "battle.expired" && this.#battle?.battle === event.data.battle) {
      this.#say("The invitation has run out.");
    }
    this.#become(foldBattle(this.#battle, event));
  }

  /** Let time pass: countdowns go on. */
  draw(nowMs: number): void {
    const serverMs = this.#serverMs();
    const wasShown = !this.#bar.root.hidden;
    this.#bar.draw(null, serverMs, nowMs);
    if (wasShown && this.#bar.root.hidden) this.#show();
    const battle = this.#battle;
    if (battle?.status !== "invited" || this.#expiresMs === null) return;
    this.#tell(battle, ` · ${countdown(remainingMs(battle, this.#expiresMs, null, serverMs) ?? 0)}`);
  }

  #become(battle: Battle | null): void {
    this.#battle = battle;
    this.#bar.show(battle);
    this.#show();
  }

  #show(): void {
    const battle = this.#battle;
    const isFree = battle === null || (battle.status === "ended" && this.#bar.root.hidden);
    this.#challenge.hidden = !isFree;
    const stage = isFree ? "free" : `${battle.battle} ${battle.status} ${this.#hasAnswered(battle)}`;
    if (stage === this.#shown) return;
    this.#shown = stage;
    this.#news.textContent = "";
    this.#buttons.replaceChildren();
    if (isFree || battle.status === "ended") return;
    if (battle.status !== "invited") {
      this.#buttons.append(this.#button("Call it off", "cancel", battle));
      return;
    }
    this.#tell(battle, "");
    if (this.#isOurs(battle)) this.#buttons.append(this.#button("Take it back", "cancel", battle));
    else if (!this.#hasAnswered(battle)) {
      this.#buttons.append(this.#button("Accept", "accept", battle), this.#button("Decline", "decline", battle));
    }
  }

  #tell(battle: Battle, left: string): void {
    const [first, ...others] = battle.sides;
    const text = this.#isOurs(battle)
      ? `Waiting for ${others.map((side) => side.host).join(", ")}`
      : `${first?.host ?? "Somebody"} challenges you`;
    if (this.#news.textContent !== text + left) this.#news.textContent = text + left;
  }

  #isOurs(battle: Battle): boolean {
    return battle.sides[0]?.room === this.#room;
  }

  #hasAnswered(battle: Battle): boolean {
    return this.#isOurs(battle) || this.#accepted.has(this.#room);
  }

  #button(text: string, answer: "accept" | "decline" | "cancel", battle: Battle): HTMLElement {
    const button = el("button", { type: "button", class: answer === "accept" ? "primary" : "quiet" }, text);
    button.addEventListener("click", () => {
      button.disabled = true;
      this.#api.answer(battle.battle, answer).catch((error: unknown) => {
        button.disabled = false;
        this.#say(explained(error));
      });
    });
    return button;
  }

  #form(): HTMLFormElement {
    const rival = el("input", { type: "text", name: "rival", maxlength: 64, placeholder: "Room to challenge", "aria-label": "Room to challenge", autocomplete: "off", required: true });
    const duration = el("select", { "aria-label": "How long" }, ...DURATIONS_S.map((seconds) => el("option", { value: seconds }, countdown(seconds * 1000))));
    const button = el("button", { type: "submit", class: "primary" }, "Challenge");
    const form = el("form", { class: "challenge" }, rival, duration, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      button.disabled = true;
      this.#invite(rival.value.trim(), Number(duration.value))
        .then(() => (rival.value = ""), (error: unknown) => this.#say(explained(error)))
        .finally(() => (button.disabled = false));
    });
    return form;
  }

  #invite(rival: string, durationS: number): Promise<unknown> {
    const boostS = Math.round(durationS * BOOST.share);
    const windows = [{ after_s: durationS - boostS, duration_s: boostS, multiplier: BOOST.multiplier }];
    const invitation = { rooms: [this.#room, rival], duration_s: durationS, windows, punish_s: PUNISH_S };
    return this.#api.invite(browserEnvironment().uuid(), invitation);
  }
}

function explained(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  const known = refusal(error.code);
  return known.includes(error.code) ? error.message : known;
}
