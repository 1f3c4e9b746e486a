/** Comments that wait for the host: shown to nobody else until they are let through. */
import type { EventOf, LiveEvent } from "@live-engagement/client";
import { el, trim } from "./dom.js";

const HELD_MAX = 100;

export type Decision = "comment.release" | "comment.remove";

export class HeldComments {
  readonly root: HTMLElement;
  #list = el("ol", { class: "held" });
  #decide: (decision: Decision, target: string) => void;

  constructor(decide: (decision: Decision, target: string) => void) {
    this.#decide = decide;
    this.root = el("section", { class: "card", hidden: true }, el("h2", {}, "Waiting for you"), this.#list);
  }

  add(event: EventOf<"comment.held">): void {
    if (this.#find(event.id) !== undefined) return;
    const author = event.actorid ?? "someone";
    const item = el(
      "li",
      { "data-held-id": event.id },
      el("p", {}, el("b", {}, author), " ", el("span", { dir: "auto" }, event.data.text)),
      el("span", { class: "actions" }, this.#button("Let through", "comment.release", event.id), this.#button("Remove", "comment.remove", event.id)),
    );
    item.title = event.data.reason;
    this.#list.append(item);
    trim(this.#list, HELD_MAX);
    this.root.hidden = false;
  }

  /** Whatever decides about a comment takes it off the list, whoever it was. */
  decided(event: LiveEvent): void {
    const isDecision = event.type === "comment.released" || event.type === "comment.removed";
    const id = isDecision ? event.data.target : event.type === "comment.posted" ? event.id : null;
    if (id === null) return;
    this.#find(id)?.remove();
    this.root.hidden = this.#list.childElementCount === 0;
  }

  #find(id: string): HTMLElement | undefined {
    return [...this.#list.children].find((item) => (item as HTMLElement).dataset["heldId"] === id) as HTMLElement | undefined;
  }

  #button(text: string, decision: Decision, target: string): HTMLElement {
    const button = el("button", { type: "button" }, text);
    button.addEventListener("click", () => this.#decide(decision, target));
    return button;
  }
}
