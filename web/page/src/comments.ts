/** The comments of one pane: what was released, and our own that are on their way. */
import type { Echo, EventOf, LiveEvent, Release } from "@live-engagement/client";
import { avatar } from "./avatar.js";
import { el, trim } from "./dom.js";
import { hue, mediaTime } from "./format.js";
import { setIdentity } from "./strip.js";
import { refusal } from "./words.js";

/** What is above them has been read, or scrolled by. */
const COMMENTS_MAX = 200;
const REMOVED_TEXT = "Comment removed";

export interface CommentListOptions {
  label: string;
  /** Whether screen readers read new comments out. */
  isSpoken: boolean;
  /** Buttons beside a comment. */
  actions?: (event: EventOf<"comment.posted">) => HTMLElement | null;
}

export class CommentList {
  readonly root: HTMLElement;
  #list: HTMLElement;
  #echoes = new Map<string, HTMLElement>();
  #actions: CommentListOptions["actions"];

  constructor({ label, isSpoken, actions }: CommentListOptions) {
    this.#list = el("ol", { role: "log", "aria-label": label, "aria-live": isSpoken ? "polite" : "off" });
    this.root = el("div", { class: "comments", tabindex: 0 }, this.#list);
    this.#actions = actions;
  }

  /** Show a comment; its echo, if it is our own, gives way to it. */
  add(event: EventOf<"comment.posted">, release: Release<LiveEvent>, isOwn: boolean, isRemoved: boolean): void {
    this.dropEcho(event.id);
    const item = commentItem(event.actorid ?? "someone", event.data.text, isOwn ? "own" : "");
    setIdentity(item, release);
    if (event.mediapts !== undefined) {
      lineOf(item).append(stamp(mediaTime(event.mediapts)));
    }
    const actions = this.#actions?.(event) ?? null;
    if (actions !== null) item.append(actions);
    if (isRemoved) redact(item);
    this.#append(item);
  }

  /** A line that is not a comment; with a picture it stands out. */
  note(text: string, release: Release<LiveEvent>, picture: HTMLElement | null = null): void {
    const kind = picture === null ? "note" : "note gift-note";
    const item = el("li", { class: kind }, picture, el("span", { dir: "auto" }, text));
    setIdentity(item, release);
    this.#append(item);
  }

  /** Point at a comment, or at none. */
  highlight(id: string | null): void {
    for (const item of this.#list.querySelectorAll<HTMLElement>(".comment")) {
      item.classList.toggle("linked", id !== null && item.dataset["eventId"] === id);
    }
  }

  /** Take the text of a comment away, wherever it is shown. */
  remove(id: string): void {
    for (const item of this.#list.querySelectorAll<HTMLElement>("[data-event-id]")) {
      if (item.dataset["eventId"] === id) redact(item);
    }
  }

  /** Show one of our own comments as far as it has got. */
  echo(echo: Echo, user: string, waiting: string): void {
    let item = this.#echoes.get(echo.id);
    if (item === undefined) {
      if (echo.status !== "sending") return;
      item = commentItem(user, (echo.data as { text: string }).text, "own echo");
      item.dataset["echoId"] = echo.id;
      lineOf(item).append(stamp(""));
      this.#echoes.set(echo.id, item);
      this.#append(item);
    }
    const stage = lineOf(item).lastElementChild as HTMLElement;
    item.dataset["status"] = echo.status;
    if (echo.status === "sending") stage.textContent = "sending…";
    else if (echo.status === "refused") stage.textContent = refusal(echo.code);
    else stage.textContent = waiting;
  }

  dropEcho(id: string): void {
    this.#echoes.get(id)?.remove();
    this.#echoes.delete(id);
  }

  clear(): void {
    this.#list.replaceChildren();
    this.#echoes.clear();
  }

  #append(item: HTMLElement): void {
    this.#list.append(item);
    trim(this.#list, COMMENTS_MAX);
  }
}

function commentItem(author: string, text: string, kind: string): HTMLElement {
  const name = el("span", { class: "author" }, author);
  name.style.color = `hsl(${hue(author)} 85% 78%)`;
  const body = el("span", { class: "text", dir: "auto" }, text);
  return el("li", { class: `comment ${kind}` }, avatar(author), el("span", { class: "line" }, name, " ", body));
}

function lineOf(item: HTMLElement): HTMLElement {
  return item.querySelector(".line") as HTMLElement;
}

function stamp(text: string): HTMLElement {
  return el("span", { class: "stamp" }, text);
}

function redact(item: HTMLElement): void {
  item.classList.add("removed");
  const text = item.querySelector(".text");
  if (text !== null) text.textContent = REMOVED_TEXT;
  item.querySelector(".actions")?.remove();
}
