/** One viewer's screen: a player, and the events that its playhead has released. */
import { battleOf, foldBattle, isBattleEvent, verdict, type Battle, type Echo, type LiveEvent, type MediaTime, type Playhead, type Release, type Room, type SenderCoins, type Snapshot, type Track } from "@live-engagement/client";
import { giftImage } from "./art.js";
import type { GiftLook } from "./banners.js";
import { BattleBar } from "./battle-bar.js";
import { CommentList, type CommentListOptions } from "./comments.js";
import { el, icon, ICONS } from "./dom.js";
import { count, duration } from "./format.js";
import { GiftLayer, type GiftEvent, type GiftNote } from "./gift-layer.js";
import { labelOf, noteOf } from "./labels.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";

const STATS_EVERY_MS = 250;
const VICTORY_CONFETTI = 80;

export interface PaneOptions {
  room: string;
  title: string;
  subtitle: string;
  delayMs: number;
  comments: CommentListOptions;
  /** Ids of comments that moderators took down, of all panes. */
  removed: Set<string>;
  isOwn?: (id: string) => boolean;
  /** Server time at which the frame on screen was the newest; null where nobody knows. */
  serverMs?: (position: MediaTime) => number | null;
  /** How long ago the frame on screen was the newest, in ms; null where nobody knows. */
  behindMs?: (position: MediaTime) => number | null;
  openBoard?: () => void;
}

/** What a player is doing that shows no picture yet. */
const STATES: Record<string, string> = {
  connecting: "connecting…",
  waiting: "waiting for the host…",
  full: "no room here, trying HLS…",
};

/** The room at a moment, for the playhead that gets there. */
interface Arriving {
  battle: Battle | null;
  asOf: MediaTime | null;
}

export class Pane {
  readonly root: HTMLElement;
  readonly comments: CommentList;
  #player: HTMLCanvasElement;
  #video: HTMLVideoElement | null = null;
  #title = el("h2");
  #subtitle = el("p");
  #sound = el("button", { type: "button", class: "sound", hidden: true, "aria-pressed": "false" }, "Sound off");
  #stage: Stage;
  #gifts: GiftLayer;
  #battleBar: BattleBar;
  #strip = new Strip();
  #online = el("b", {}, "–");
  #likes = el("b", {}, "–");
  #waiting = el("b", {}, "0");
  #error = el("b", {}, "–");
  #options: PaneOptions;
  #playhead: Playhead | null = null;
  #track: Track | null = null;
  #battle: Battle | null = null;
  #arriving: Arriving | null = null;
  #likesTotal = 0;
  #viewersWindow = -1;
  #ownTaps = 0;
  #statsMs = -Infinity;

  constructor(options: PaneOptions) {
    this.#options = options;
    this.#player = el("canvas", { class: "player", "data-transport": "synthetic", "data-delay-ms": options.delayMs, role: "img", "aria-label": "The host's clock" });
    this.#stage = new Stage(this.#player);
    this.#gifts = new GiftLayer(this.#stage, options.openBoard ?? (() => undefined));
    this.#battleBar = new BattleBar(options.room);
    this.comments = new CommentList(options.comments);
    this.root = el(
      "section",
      { class: "pane", "data-pane": "synthetic", "data-delay-ms": options.delayMs, "aria-label": options.title },
      el("div", { class: "backdrop", "aria-hidden": "true" }, el("i"), el("i")),
      this.#player,
      this.#head(options),
      this.#battleBar.root,
      el("div", { class: "scrim" }),
      el("div", { class: "lower" }, this.#gifts.banners.root, this.comments.root),
      this.#foot(),
      this.#gifts.spectacle.root,
    );
  }

  /** Which playhead this pane shows, and the track that feeds it. */
  attach(playhead: Playhead, track: Track): void {
    this.#playhead = playhead;
    this.#track = track;
  }

  /** Show real video in the place of the drawn host; the element that plays it. */
  showVideo(transport: "webrtc" | "hls" | "vod", title: string): HTMLVideoElement {
    this.#video?.remove();
    const video = (this.#video = el("video", { class: "video", "data-transport": transport, autoplay: true, playsinline: true }));
    video.muted = true; // Or no browser lets it begin by itself.
    this.#player.before(video);
    this.#player.removeAttribute("data-transport");
    this.#stage.isOverVideo = true;
    this.root.dataset["pane"] = transport;
    this.root.classList.add("with-video");
    this.#title.textContent = title;
    this.setPlaying("connecting");
    this.#sound.hidden = false;
    return video;
  }

  /** Follow another playhead from now on; what waits for the old one waits for this one. */
  follow(room: Room, playhead: Playhead & { onFrame: () => void; before: Playhead | null }): void {
    playhead.before = this.#playhead;
    const waiting = [...(this.#track?.upcoming() ?? [])];
    this.#track?.close();
    const track = room.track(playhead, (release) => this.release(release, room.now()));
    this.attach(playhead, track);
    for (const event of waiting) track.offer(event);
    playhead.onFrame = () => track.wake();
  }

  /** How the player is doing, in words. */
  setPlaying(state: string): void {
    this.root.dataset["playing"] = state;
    // While it plays the subtitle tells the delay, where there is a host to be behind.
    if (state !== "playing") this.#subtitle.textContent = STATES[state] ?? state;
    else if (this.#options.behindMs === undefined) this.#subtitle.textContent = this.#options.subtitle;
  }

  /** The room as it was when we came, or came back. */
  reset(snapshot: Partial<Snapshot> & Pick<Snapshot, "online" | "likes">): void {
    this.#setOnline(snapshot.online);
    this.#setLikes(snapshot.likes);
    this.#stage.setHost(snapshot.host ?? "");
    const { media } = snapshot;
    this.begin(battleOf(snapshot.battle), snapshot.top_senders ?? [], media ? { epoch: media.epoch, ptsMs: media.pts_ms } : null);
  }

  /** A battle and senders as of a moment, shown when this playhead gets there. */
  begin(battle: Battle | null, senders: readonly SenderCoins[], asOf: MediaTime | null): void {
    this.#arriving = { battle, asOf };
    // What is held came before the snapshot, which has counted it.
    this.#gifts.begin(senders, [...(this.#track?.upcoming() ?? [])].map((event) => event.id));
  }

  /** Show an event: its moment has come. */
  release(release: Release<LiveEvent>, nowMs: number): void {
    const { event, position } = release;
    // Before the event: a tab in the background draws nothing, and this may be our first moment.
    if (position !== null) this.#arrive(position, nowMs);
    const isOwn = this.#options.isOwn?.(event.id) ?? false;
    const isComment = event.type === "comment.posted";
    if (isComment) this.comments.add(event, release, isOwn, this.#options.removed.has(event.id));
    if (isBattleEvent(event)) this.#setBattle(foldBattle(this.#battle, event), nowMs);
    if (event.type === "room.opened") {
      this.#gifts.begin([], []);
      this.#gifts.arrive();
    }
    const gift = isGiftEvent(event) ? this.#gifts.release(event, release, isOwn, nowMs) : null;
    const note = gift?.text ?? noteOf(event, this.#battle);
    if (note !== null) this.#note(note, gift, release);
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
    this.comments.echo(echo, user, this.#onAir());
  }

  /** One of our own gifts, before its moment on this screen. */
  echoGift(echo: Echo, look: GiftLook, refused: string, nowMs: number): void {
    const stage = echo.status === "refused" ? refused : echo.status === "sending" ? "sending…" : this.#onAir();
    this.#gifts.echo(echo, look, stage, nowMs);
  }

  /** A moderator took a comment down: at once, whatever the playhead. */
  remove(id: string): void {
    this.comments.remove(id);
  }

  /** Empty the pane: the player was moved. */
  clear(): void {
    this.comments.clear();
    this.#strip.clear();
    this.#gifts.clear();
    this.#viewersWindow = -1;
    this.#likesTotal = 0;
  }

  draw(nowMs: number): void {
    const position = this.#playhead?.position(nowMs) ?? null;
    this.#arrive(position, nowMs);
    const serverMs = position === null ? null : (this.#options.serverMs?.(position) ?? null);
    const isFighting = this.#battleBar.draw(position, serverMs, nowMs);
    this.root.classList.toggle("fighting", isFighting);
    const rivals = isFighting ? (this.#battle?.sides ?? []) : [];
    this.#stage.setRivals(rivals.filter((side) => side.room !== this.#options.room).map((side) => side.host));
    this.#stage.draw(position, nowMs);
    this.#gifts.draw(nowMs);
    this.#strip.draw(position, this.#track?.upcoming() ?? []);
    if (nowMs - this.#statsMs >= STATS_EVERY_MS) this.#drawStats(position, nowMs);
  }

  #drawStats(position: MediaTime | null, nowMs: number): void {
    this.#statsMs = nowMs;
    if (position !== null) {
      const { dataset } = this.#video ?? this.#player;
      dataset["epoch"] = String(position.epoch);
      dataset["playhead"] = String(Math.round(position.ptsMs));
      this.#drawDelay(position);
    }
    const stats = this.#track?.stats();
    if (stats === undefined) return;
    this.#waiting.textContent = String(stats.held);
    this.#error.textContent = stats.errorP50Ms === null ? "–" : duration(stats.errorP50Ms);
  }

  /** How far behind the host this screen is. */
  #drawDelay(position: MediaTime): void {
    if (this.#video === null || this.root.dataset["playing"] !== "playing") return;
    const behindMs = this.#options.behindMs?.(position) ?? null;
    if (behindMs !== null) this.#subtitle.textContent = `${(Math.max(0, behindMs) / 1000).toFixed(1)} s behind the host`;
  }

  #head({ title, subtitle }: PaneOptions): HTMLElement {
    this.#title.textContent = title;
    this.#subtitle.textContent = subtitle;
    this.#sound.addEventListener("click", () => {
      if (this.#video === null) return;
      this.#video.muted = !this.#video.muted;
      this.#sound.setAttribute("aria-pressed", String(!this.#video.muted));
      this.#sound.textContent = this.#video.muted ? "Sound off" : "Sound on";
    });
    return el(
      "header",
      { class: "pane-head" },
      el("div", { class: "delay" }, this.#title, this.#subtitle, this.#sound),
      el(
        "div",
        { class: "counters" },
        this.#gifts.supporters.root,
        el("span", { class: "counter", title: "viewers" }, icon(ICONS.eye), this.#online, el("span", { class: "visually-hidden" }, " watching")),
        el("span", { class: "counter likes", title: "likes" }, icon(ICONS.heart, "fill"), this.#likes, el("span", { class: "visually-hidden" }, " likes")),
      ),
    );
  }

  #foot(): HTMLElement {
    const keys = (["comment", "gift", "like", "viewer", "battle"] as const).map((name) =>
      el("span", { class: `key lane-${name}` }, name === "battle" ? "PK" : `${name}s`),
    );
    const legend = el(
      "div",
      { class: "legend" },
      ...keys,
      el("span", { class: "figure" }, "waiting ", this.#waiting),
      el("span", { class: "figure", title: "median distance from the stamp" }, "release error ", this.#error),
    );
    return el("footer", { class: "pane-foot" }, legend, this.#strip.root);
  }

  #note(text: string, gift: GiftNote | null, release: Release<LiveEvent>): void {
    this.comments.note(text, release, gift === null ? null : giftImage(gift.animation));
  }

  /** The playhead has come to the moment of the snapshot: what it says holds from here on. */
  #arrive(position: MediaTime | null, nowMs: number): void {
    const arriving = this.#arriving;
    if (arriving === null || (position !== null && isBefore(position, arriving.asOf))) return;
    this.#arriving = null;
    this.#gifts.arrive();
    const { battle } = arriving;
    const isKnown = battle !== null && this.#battle?.battle === battle.battle && this.#battle.revision >= battle.revision;
    // The end of a battle is told to those who were there.
    const isOver = battle?.status === "ended" && battle.punishUntilMs === null && this.#battle?.battle !== battle.battle;
    if (!isKnown) this.#setBattle(isOver ? null : battle, nowMs);
  }

  #setBattle(battle: Battle | null, nowMs: number): void {
    const before = this.#battle;
    this.#battle = battle;
    if (battle === before) return;
    this.#battleBar.show(battle);
    const room = this.#options.room;
    const hasWon = battle !== null && verdict(battle, room) === "win";
    if (hasWon && before?.battle === battle.battle && before.result === null) this.#stage.celebrate(VICTORY_CONFETTI, nowMs);
  }

  #onAir(): string {
    const { delayMs } = this.#options;
    return delayMs > 1_000 ? `on air here in ${duration(delayMs)}` : "on air";
  }

  #setOnline(online: number): void {
    this.#online.textContent = count(online);
  }

  #setLikes(total: number): void {
    this.#likesTotal = Math.max(this.#likesTotal, total);
    this.#likes.textContent = count(this.#likesTotal);
  }
}

function isGiftEvent(event: LiveEvent): event is GiftEvent {
  return event.type === "gift.sent" || event.type === "gift.combo.ended" || event.type === "gift.reversed";
}

function isBefore(position: MediaTime, moment: MediaTime | null): boolean {
  if (moment === null) return false;
  return position.epoch !== moment.epoch ? position.epoch < moment.epoch : position.ptsMs < moment.ptsMs;
}
