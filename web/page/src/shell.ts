/** What all pages share: the head with the room's name, and the frame loop. */
import { el, icon, ICONS } from "./dom.js";
import { mark } from "./mark.js";

export interface Shell {
  head: HTMLElement;
  main: HTMLElement;
  setTitle(title: string, host: string): void;
  setLive(isLive: boolean): void;
  /** Cover the page with a message; null takes it away. */
  cover(title: string | null, text?: string, ...extra: HTMLElement[]): void;
}

export function shell(app: HTMLElement, room: string, current: "viewer" | "replay" | "host"): Shell {
  const title = el("h1", {}, room);
  const host = el("span");
  const badge = el("span", { class: "badge", hidden: true }, "Live");
  const link = (view: string, name: string, path: string) =>
    el("a", { href: view === "viewer" ? `/rooms/${encodeURIComponent(room)}` : `/rooms/${encodeURIComponent(room)}/${view}`, class: "nav", "aria-current": view === current ? "page" : null, title: name }, icon(path), el("span", {}, name));
  const head = el(
    "header",
    { class: "top" },
    el("a", { href: "/", class: "brand", "aria-label": "The demo room" }, mark()),
    el("div", { class: "names" }, title, el("p", { class: "by" }, badge, host)),
    el("nav", { "aria-label": "This room" }, link("viewer", "Watch", ICONS.eye), link("replay", "Replay", ICONS.replay), link("host", "Host", ICONS.shield)),
  );
  const main = el("main", { class: current });
  const heading = el("h2");
  const message = el("p");
  const extras = el("div", { class: "extras" });
  const cover = el("div", { class: "cover", role: "alertdialog", "aria-live": "assertive", hidden: true }, el("div", { class: "card" }, mark(), heading, message, extras));
  app.replaceChildren(head, main, cover);
  document.title = `${room} · live`;
  return {
    head,
    main,
    setTitle(text, by) {
      title.textContent = text || room;
      host.textContent = by ? `with ${by}` : "";
      document.title = `${text || room} · live`;
    },
    setLive(isLive) {
      badge.hidden = !isLive;
    },
    cover(text, detail = "", ...extra) {
      cover.hidden = text === null;
      heading.textContent = text ?? "";
      message.textContent = detail;
      extras.replaceChildren(...extra);
    },
  };
}

const FRAME_MS = 1000 / 30;
/** Two frames are at least so far apart on most screens, whatever drawing costs. */
const VSYNC_MS = 17;
/** Of every frame so much time is left for events: where drawing is slow, fewer frames are drawn. */
const REST_FACTOR = 3;
const PAUSE_MS_MAX = 250;

/**
 * Call `draw` before frames, 30 a second where the machine can, with the time of the clock that
 * playheads use. The picture gives way to events: releases must not wait for paint.
 */
export function everyFrame(now: () => number, draw: (nowMs: number) => void): void {
  const frame = () => {
    const startMs = now();
    draw(startMs);
    // What a frame costs shows in when the next may begin: most of it is paint, not script.
    requestAnimationFrame(() => {
      const costMs = Math.max(0, now() - startMs - VSYNC_MS);
      const pauseMs = Math.min(Math.max(FRAME_MS - VSYNC_MS, costMs * REST_FACTOR), PAUSE_MS_MAX);
      // Asleep by a timer: a frame that was asked for costs, even if it draws nothing.
      setTimeout(() => requestAnimationFrame(frame), pauseMs - 4);
    });
  };
  requestAnimationFrame(frame);
}
