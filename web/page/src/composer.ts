/** Where a viewer speaks: a comment box and a heart. */
import type { Room } from "@live-engagement/client";
import { el, icon, ICONS } from "./dom.js";
import { refusal } from "./words.js";

const COMMENT_CHARS_MAX = 500;
/** Taps are summed for so long and sent as one request. */
const TAPS_MS = 300;
const NOTICE_MS = 5_000;

export class Composer {
  readonly root: HTMLElement;
  #room: Room;
  #input = el("input", { type: "text", name: "text", maxlength: COMMENT_CHARS_MAX, placeholder: "Say something…", autocomplete: "off", enterkeyhint: "send", "aria-label": "Comment" });
  #send = el("button", { type: "submit", class: "send", "aria-label": "Send the comment" }, icon(ICONS.send));
  #heart = el("button", { type: "button", class: "heart", "aria-label": "Send a heart" }, icon(ICONS.heart, "fill"));
  #notice = el("p", { class: "notice", role: "alert" });
  #noticeTimer = 0;
  #taps = 0;
  #tapped: (taps: number) => void;

  /** `beside`: a control that stands next to the box. */
  constructor(room: Room, user: string, tapped: (taps: number) => void, beside: HTMLElement | null = null) {
    this.#room = room;
    this.#tapped = tapped;
    const form = el("form", { class: "composer" }, el("span", { class: "me", title: `You are ${user}` }, user), this.#input, this.#send, beside, this.#heart);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#heart.addEventListener("click", () => this.#tap());
    this.root = el("div", { class: "dock" }, this.#notice, form);
    room.on("state", ({ state }) => this.#enable(state !== "closed"));
  }

  async #submit(): Promise<void> {
    const text = this.#input.value.trim();
    if (text === "") return;
    this.#input.value = "";
    const outcome = await this.#room.send("comment.post", { text });
    if (outcome.status === "rejected") this.tell(refusal(outcome.code));
  }

  #tap(): void {
    this.#heart.classList.remove("beat");
    // Reading the layout lets the animation start anew.
    void this.#heart.offsetWidth;
    this.#heart.classList.add("beat");
    this.#tapped(1);
    this.#taps += 1;
    if (this.#taps === 1) setTimeout(() => void this.#sendTaps(), TAPS_MS);
  }

  async #sendTaps(): Promise<void> {
    const taps = this.#taps;
    this.#taps = 0;
    const outcome = await this.#room.send("like.tap", { count: taps });
    if (outcome.status === "rejected") this.tell(refusal(outcome.code));
  }

  /** Say something to the viewer, for a moment. */
  tell(text: string): void {
    clearTimeout(this.#noticeTimer);
    this.#notice.textContent = text;
    this.#noticeTimer = window.setTimeout(() => (this.#notice.textContent = ""), NOTICE_MS);
  }

  #enable(isEnabled: boolean): void {
    for (const control of [this.#input, this.#send, this.#heart]) control.disabled = !isEnabled;
  }
}
