/** One viewer's screen: a player, and the events that its playhead has released. */
import type { Echo, LiveEvent, Playhead, Release, Snapshot, Track } from "@live-engagement/client";
import { CommentList, type CommentListOptions } from "./comments.js";
import { el, icon, ICONS } from "./dom.js";
import { count, duration, mediaTime } from "./format.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";

const STATS_EVERY_MS = 250;

export interface PaneOptions {
  title: string;
  subtitle: string;
  delayMs: number;
  comments: CommentListOptions;
  /** Ids of comments that moderators took down, of all panes. */
  removed: Set<string>;
  isOwn?: (id: string) => boolean;
}

export class Pane {
  readonly root: HTMLElement;
  readonly comments: CommentList;
  #player: HTMLCanvasElement;
  #stage: Stage;
  #strip = new Strip();
  #online = el("b", {}, "–");
  #likes = el("b", {}, "–");
  #waiting = el("b", {}, "0");
  #error = el("b", {}, "–");
  #options: PaneOptions;
  #playhead: Playhead | null = null;
  #track: Track | null = null;
  #likesTotal = 0;
  #viewersWindow = -1;
  #ownTaps = 0;
  #statsMs = -Infinity;

  constructor(options: PaneOptions) {
    this.#options = options;
    this.#player = el("canvas", { class: "player", "data-transport": "synthetic", "data-delay-ms": options.delayMs, role: "img", "aria-label": "The host's clock" });
    this.#stage = new Stage(this.#player);
    this.comments = new CommentList(options.comments);
    this.root = el(
      "section",
      { class: "pane", "data-pane": "synthetic", "data-delay-ms": options.delayMs, "aria-label": options.title },
      this.#player,
      el(
        "header",
        { class: "pane-head" },
        el("div", { class: "delay" }, el("h2", {}, options.title), el("p", {}, options.subtitle)),
        el(
          "div",
          { class: "counters" },
          el("span", { class: "counter", title: "viewers" }, icon(ICONS.eye), this.#online, el("span", { class: "visually-hidden" }, " watching")),
          el("span", { class: "counter likes", title: "likes" }, icon(ICONS.heart, "fill"), this.#likes, el("span", { class: "visually-hidden" }, " likes")),
        ),
      ),
      el("div", { class: "scrim" }),
      this.comments.root,
      el(
        "footer",
        { class: "pane-foot" },
        el(
          "div",
          { class: "legend" },
          el("span", { class: "key lane-comment" }, "comments"),
          el("span", { class: "key lane-like" }, "likes"),
          el("span", { class: "key lane-viewer" }, "viewers"),
          el("span", { class: "figure" }, "waiting ", this.#waiting),
          el("span", { class: "figure", title: "median distance from the stamp" }, "release error ", this.#error),
        ),
        this.#strip.root,
      ),
    );
  }

  /** Which playhead this pane shows, and the track that feeds it. */
  attach(playhead: Playhead, track: Track): void {
    this.#playhead = playhead;
    this.#track = track;
  }

  /** The room's figures as they were when we came, or came back. */
  reset(snapshot: Pick<Snapshot, "online" | "likes">): void {
    this.#setOnline(snapshot.online);
    this.#setLikes(snapshot.likes);
  }

  /** Show an event: its moment has come. */
  release(release: Release<LiveEvent>, nowMs: number): void {
    const { event } = release;
    const isComment = event.type === "comment.posted";
    if (isComment) {
      const isOwn = this.#options.isOwn?.(event.id) ?? false;
      this.comments.add(event, release, isOwn, this.#options.removed.has(event.id));
    }
    const note = noteOf(event);
    if (note !== null) this.comments.note(note, release);
    if (event.type === "likes.counted" && event.data.room_total > this.#likesTotal) {
      const others = Math.max(0, event.data.count - this.#ownTaps);
      this.#ownTaps = Math.max(0, this.#ownTaps - event.data.count);
      this.#stage.cheer(others, nowMs);
      this.#setLikes(event.data.room_total);
    }
    if (event.type === "viewers.counted" && event.data.window > this.#viewersWindow) {
      this.#viewersWindow = event.data.window;
      this.#setOnline(event.data.online);
    }
    this.#strip.add(release, !isComment && note === null, labelOf(event));
  }

  /** Hearts of our own, before anyone has confirmed them. */
  cheerOwn(taps: number, nowMs: number): void {
    this.#ownTaps += taps;
    this.#stage.cheer(taps, nowMs);
  }

  echo(echo: Echo, user: string): void {
    const waiting = this.#options.delayMs > 1_000 ? `on air here in ${duration(this.#options.delayMs)}` : "on air";
    this.comments.echo(echo, user, waiting);
  }

  /** A moderator took a comment down: at once, whatever the playhead. */
  remove(id: string): void {
    this.comments.remove(id);
  }

  /** Empty the pane: the player was moved. */
  clear(): void {
    this.comments.clear();
    this.#strip.clear();
    this.#viewersWindow = -1;
    this.#likesTotal = 0;
  }

  draw(nowMs: number): void {
    const position = this.#playhead?.position(nowMs) ?? null;
    this.#stage.draw(position, nowMs);
    this.#strip.draw(position, this.#track?.upcoming() ?? []);
    if (nowMs - this.#statsMs < STATS_EVERY_MS) return;
    this.#statsMs = nowMs;
    if (position !== null) {
      this.#player.dataset["epoch"] = String(position.epoch);
      this.#player.dataset["playhead"] = String(Math.round(position.ptsMs));
    }
    const stats = this.#track?.stats();
    if (stats === undefined) return;
    this.#waiting.textContent = String(stats.held);
    this.#error.textContent = stats.errorP50Ms === null ? "–" : duration(stats.errorP50Ms);
  }

  #setOnline(online: number): void {
    this.#online.textContent = count(online);
  }

  #setLikes(total: number): void {
    this.#likesTotal = Math.max(this.#likesTotal, total);
    this.#likes.textContent = count(this.#likesTotal);
  }
}

/** Events that are told in words among the comments. */
function noteOf(event: LiveEvent): string | null {
  switch (event.type) {
    case "room.opened":
      return `${event.data.host} went live: ${event.data.title}`;
    case "room.closed":
      return "The host has ended this live";
    case "viewer.muted":
      return `${event.data.target} was muted`;
    case "viewer.banned":
      return `${event.data.target} was banned`;
    case "viewer.unbanned":
      return `${event.data.target} may speak again`;
    default:
      return null;
  }
}

function labelOf(event: LiveEvent): string {
  const at = event.mediapts === undefined ? "" : ` at ${mediaTime(event.mediapts)}`;
  switch (event.type) {
    case "likes.counted":
      return `${event.data.count} likes${at}`;
    case "viewers.counted":
      return `${event.data.online} watching${at}`;
    default:
      return event.type + at;
  }
}
