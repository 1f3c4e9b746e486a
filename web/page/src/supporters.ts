/** The three who gave most, in the head of a pane; pressing them opens the leaderboard. */
import type { SenderCoins } from "@live-engagement/client";
import { avatar } from "./avatar.js";
import { el, icon, ICONS } from "./dom.js";
import { count } from "./format.js";

export const SUPPORTERS_SHOWN = 3;

export class Supporters {
  readonly root = el("button", { type: "button", class: "counter supporters", title: "top senders", "aria-label": "Leaderboard" });
  #faces = el("span", { class: "faces" });
  #names = "";

  constructor(opened: () => void) {
    this.root.append(icon(ICONS.crown, "fill"), this.#faces);
    this.root.addEventListener("click", opened);
  }

  show(top: readonly SenderCoins[]): void {
    const names = top.map(({ actor }) => actor).join(" ");
    this.root.title = top.length === 0 ? "top senders" : top.map(({ actor, coins }) => `${actor} ${count(coins)}`).join(", ");
    if (names === this.#names) return;
    this.#names = names;
    this.#faces.replaceChildren(...top.map(({ actor }) => {
      const face = avatar(actor);
      face.dataset["actor"] = actor;
      return face;
    }));
  }
}
