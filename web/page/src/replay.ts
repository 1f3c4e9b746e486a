/** The replay page: a room's timeline, released by a playhead that can be paused and moved. */
import { Api, ApiError, browserEnvironment, foldBattle, isBattleEvent, RecordedPlayhead, Senders, Track, type Battle, type LiveEvent } from "@live-engagement/client";
import { Board } from "./board.js";
import { Density } from "./density.js";
import { el, icon, ICONS } from "./dom.js";
import { mediaTime } from "./format.js";
import { Pane } from "./pane.js";
import { everyFrame, shell } from "./shell.js";
import { identify } from "./identity.js";
import { RecordedVideo, recordingsOf, type Reel } from "./recorded-video.js";
import { Timeline } from "./timeline.js";

/** Events are given to the scheduler so long before they are due, in media ms. */
const AHEAD_MS = 20_000;
/** After a seek the newest so many earlier events are shown as what came before. */
const BEFORE_EVENTS = 40;
/** Of the senders before a seek so many are known; three are shown. */
const SENDERS_MAX = 100;
const SPEEDS = [0.5, 1, 2, 5, 10];
const SCRUB_STEPS = 10_000;

export function showReplay(app: HTMLElement, name: string): void {
  const frame = shell(app, name, "replay");
  const { user, token } = identify();
  const api = new Api({ url: location.origin, token });
  const board = new Board(api, name, user);
  const player = new Player(name, () => board.open());
  frame.main.append(player.root, board.root);
  api.room(name).then(
    (room) => frame.setTitle(room.title, room.host),
    () => undefined,
  );
  player.load(api, name).catch((error: unknown) => {
    const isMissing = error instanceof ApiError && error.status === 404;
    frame.cover(
      isMissing ? "There is no such room" : "The timeline cannot be read",
      isMissing ? `Nothing was ever live in “${name}”.` : String(error),
    );
  });
  everyFrame(() => player.now(), (nowMs) => player.draw(nowMs));
}

class Player {
  readonly root: HTMLElement;
  #environment = browserEnvironment();
  #timeline = new Timeline();
  #recorded = new RecordedPlayhead();
  #reel: Reel = this.#recorded;
  #density = new Density();
  #pane: Pane;
  #track: Track;
  #next = 0;
  #isPlaying = false;
  #isScrubbing = false;
  #speed = 1;
  #drawnSecond = -1;
  #playButton = el("button", { type: "button", class: "round", "aria-label": "Play" });
  #scrubber = el("input", { type: "range", min: 0, max: SCRUB_STEPS, value: 0, "aria-label": "Position" });
  #time = el("span", { class: "time" }, "0:00");
  #progress = el("p", { class: "progress", role: "status" }, "Reading the timeline…");

  constructor(room: string, openBoard: () => void) {
    this.#pane = new Pane({
      room, openBoard,
      title: "Replay", subtitle: "at its own playhead", delayMs: 0, removed: this.#timeline.removed,
      comments: { label: "Comments", isSpoken: true },
    });
    this.#track = this.#follow(this.#recorded);
    const speeds = SPEEDS.map((speed) => this.#speedButton(speed));
    this.root = el(
      "div",
      { class: "recording" },
      this.#pane.root,
      el(
        "div",
        { class: "controls" },
        el("div", { class: "scrub" }, this.#density.canvas, this.#scrubber),
        el("div", { class: "buttons" }, this.#playButton, this.#time, el("div", { class: "speeds", role: "group", "aria-label": "Speed" }, ...speeds)),
        this.#progress,
      ),
    );
    this.#showPlaying();
    this.#playButton.addEventListener("click", () => this.#toggle());
    this.#scrubber.addEventListener("pointerdown", () => (this.#isScrubbing = true));
    this.#scrubber.addEventListener("change", () => (this.#isScrubbing = false));
    this.#scrubber.addEventListener("input", () => {
      this.#seek((Number(this.#scrubber.value) / SCRUB_STEPS) * this.#reel.durationMs);
    });
  }

  now(): number {
    return this.#environment.now();
  }

  async load(api: Api, room: string): Promise<void> {
    const timeline = this.#timeline;
    await this.#loadVideo(room);
    await timeline.load(api, room, () => {
      this.#recorded.setSpans(timeline.spans);
      this.#density.draw(timeline.events, (time) => {
        const elapsedMs = this.#reel.elapsedAt(time);
        return elapsedMs === null ? null : elapsedMs / Math.max(1, this.#reel.durationMs);
      });
      timeline.removed.forEach((id) => this.#pane.remove(id));
      this.#progress.textContent = `${timeline.events.length.toLocaleString("en")} events so far…`;
      if (!this.#isPlaying && this.#next === 0) this.#toggle();
    });
    const events = timeline.events.length.toLocaleString("en");
    const told = timeline.isTruncated
      ? `The first ${events} events of a longer timeline`
      : `${events} events · ${mediaTime(this.#reel.durationMs, 0)}`;
    const unseen = timeline.events.filter((event) => this.#elapsedOf(event) === null).length;
    this.#progress.textContent = unseen === 0 ? told : `${told} · ${unseen.toLocaleString("en")} more where nothing was recorded`;
  }

  /** Play what was recorded of the room, where there is any. */
  async #loadVideo(room: string): Promise<void> {
    const recordings = await recordingsOf(room);
    if (recordings.length === 0) return;
    const video = this.#pane.showVideo("vod", "Replay");
    const recorded = await RecordedVideo.load(video, room, recordings, (why) => this.#pane.setPlaying(why));
    video.addEventListener("playing", () => this.#pane.setPlaying("playing"));
    this.#reel = recorded;
    this.#track = this.#follow(recorded);
    recorded.playhead.onFrame = () => this.#track.wake();
  }

  #follow(reel: Reel): Track {
    const track = new Track(reel, (release) => this.#pane.release(release, this.now()), this.#environment);
    this.#pane.attach(reel, track);
    return track;
  }

  draw(nowMs: number): void {
    this.#feed(nowMs);
    this.#pane.draw(nowMs);
    const elapsedMs = this.#reel.elapsedMs(nowMs);
    const { durationMs } = this.#reel;
    if (this.#isPlaying && durationMs > 0 && elapsedMs >= durationMs) this.#toggle();
    const second = Math.floor(elapsedMs / 100);
    if (second === this.#drawnSecond) return;
    this.#drawnSecond = second;
    this.#time.textContent = `${mediaTime(elapsedMs, 0)} / ${mediaTime(durationMs, 0)}`;
    if (this.#isScrubbing) return;
    this.#scrubber.value = String(Math.round((elapsedMs / Math.max(1, durationMs)) * SCRUB_STEPS));
    this.#scrubber.setAttribute("aria-valuetext", mediaTime(elapsedMs, 0));
  }

  /** Give the scheduler what comes next. */
  #feed(nowMs: number): void {
    const untilMs = this.#reel.elapsedMs(nowMs) + AHEAD_MS * Math.max(1, this.#speed);
    const { events } = this.#timeline;
    while (this.#next < events.length) {
      const event = events[this.#next] as LiveEvent;
      const dueMs = this.#elapsedOf(event);
      if (dueMs !== null && dueMs > untilMs) return;
      this.#next += 1;
      if (dueMs !== null) this.#track.offer(event);
    }
  }

  #toggle(): void {
    const nowMs = this.now();
    this.#isPlaying = !this.#isPlaying;
    if (!this.#isPlaying) this.#reel.pause(nowMs);
    else {
      const isAtEnd = this.#reel.elapsedMs(nowMs) >= this.#reel.durationMs;
      if (isAtEnd && this.#next > 0) this.#seek(0);
      this.#reel.play(nowMs, this.#speed);
    }
    this.#track.wake();
    this.#showPlaying();
  }

  #seek(toMs: number): void {
    const nowMs = this.now();
    this.#reel.seek(toMs, nowMs);
    this.#track.reset();
    this.#pane.clear();
    const position = this.#reel.position(nowMs);
    if (position === null) return;
    const timeline = this.#timeline;
    const index = timeline.indexAt(position.epoch, position.ptsMs);
    const first = Math.max(0, index - BEFORE_EVENTS);
    this.#restore(first);
    const before = timeline.latest(first, ["viewers.counted", "likes.counted"]);
    for (const event of [...before.reverse(), ...timeline.events.slice(first, index)]) {
      this.#track.offer(event);
    }
    this.#next = index;
    this.#drawnSecond = -1;
  }

  /** The battle and the senders as they were before this event. */
  #restore(index: number): void {
    let battle: Battle | null = null;
    const senders = new Senders();
    for (const event of this.#timeline.events.slice(0, index)) {
      if (isBattleEvent(event)) battle = foldBattle(battle, event);
      else if (event.type === "room.opened") senders.reset([]);
      else if (event.type === "gift.sent") senders.add(event);
      else if (event.type === "gift.reversed") senders.reverse(event);
    }
    this.#pane.begin(battle, senders.top(SENDERS_MAX), null);
  }

  /** When in the replay an event is due; null where there is nothing to see. */
  #elapsedOf(event: LiveEvent): number | null {
    return this.#reel.elapsedAt({ epoch: event.mediaepoch ?? 0, ptsMs: event.mediapts ?? 0 });
  }

  #speedButton(speed: number): HTMLElement {
    const button = el("button", { type: "button", "aria-pressed": String(speed === this.#speed) }, `${speed}×`);
    button.addEventListener("click", () => {
      this.#speed = speed;
      if (this.#isPlaying) this.#reel.play(this.now(), speed);
      this.#track.wake();
      for (const other of button.parentElement?.children ?? []) {
        other.setAttribute("aria-pressed", String(other === button));
      }
    });
    return button;
  }

  #showPlaying(): void {
    this.#playButton.replaceChildren(icon(this.#isPlaying ? ICONS.pause : ICONS.play, "fill"));
    this.#playButton.setAttribute("aria-label", this.#isPlaying ? "Pause" : "Play");
  }
}
