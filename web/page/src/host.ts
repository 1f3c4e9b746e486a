/** The host's page: the room as it happens, and the means to keep it friendly. */
import { Api, ApiError, Combos, connect, isBattleEvent, type Combo, type EventOf, type LiveEvent, type Outcome, type Release, type RequestData, type RequestType, type Room, type Snapshot } from "@live-engagement/client";
import { giftImage } from "./art.js";
import { BattleDesk } from "./battle-desk.js";
import { Broadcast } from "./broadcast.js";
import { CommentList } from "./comments.js";
import { HeldComments } from "./held.js";
import { el } from "./dom.js";
import { count } from "./format.js";
import { developmentToken, identify, isDevelopment } from "./identity.js";
import { shell, type Shell } from "./shell.js";
import { StatusPill } from "./status.js";
import { closing, refusal } from "./words.js";

const MUTE_S = 300;
const RATE_WINDOW_MS = 60_000;
const SILENCED_MAX = 100;
const NOTICE_MS = 5_000;
const BATTLE_DRAW_MS = 250;
const EARNINGS_MS = 5_000;

export function showHost(app: HTMLElement, name: string): void {
  const frame = shell(app, name, "host");
  void enter(frame, name);
}

async function enter(frame: Shell, name: string): Promise<void> {
  const identity = identify();
  let snapshot: Snapshot | null = null;
  try {
    snapshot = await new Api({ url: location.origin }).room(name);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) {
      frame.cover("The room cannot be read", String(error));
      return;
    }
  }
  const user = isDevelopment() && snapshot !== null ? snapshot.host : identity.user;
  const token = isDevelopment() && user !== null ? developmentToken(user, "host") : identity.token;
  if (token === null) {
    frame.cover("Sign in to host", "Open this page with #token=… at the end of its address.");
    return;
  }
  if (snapshot === null || snapshot.status !== "open") {
    offerToOpen(frame, name, token, snapshot?.title ?? "");
    return;
  }
  frame.setTitle(snapshot.title, snapshot.host);
  new HostDesk(frame, name, token, snapshot);
}

function offerToOpen(frame: Shell, name: string, token: string, title: string): void {
  const input = el("input", { type: "text", value: title, maxlength: 200, placeholder: "What is it about?", "aria-label": "Title", required: true });
  const button = el("button", { type: "submit", class: "primary" }, "Go live");
  const form = el("form", { class: "open" }, input, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    button.disabled = true;
    new Api({ url: location.origin, token }).openRoom(name, input.value.trim()).then(
      () => location.reload(),
      (error: unknown) => {
        button.disabled = false;
        frame.cover("The room did not open", String((error as Error).message), form);
      },
    );
  });
  frame.cover("This room is not open", `Open “${name}” and be its host.`, form);
}

class HostDesk {
  #room: Room;
  #api: Api;
  #battles: BattleDesk;
  #broadcast: Broadcast;
  #combos = new Combos();
  #held: HeldComments;
  #frame: Shell;
  #comments: CommentList;
  #removed = new Set<string>();
  #silenced = el("ul", { class: "silenced" });
  #nobody = el("p", { class: "empty" }, "Nobody is muted or banned since this page was opened.");
  #notice = el("p", { class: "notice", role: "alert" });
  #online = el("b", {}, "–");
  #likes = el("b", {}, "–");
  #rate = el("b", {}, "0");
  #earned = el("b", {}, "–");
  #commentsMs: number[] = [];
  #host: string;

  constructor(frame: Shell, name: string, token: string, snapshot: Snapshot) {
    this.#frame = frame;
    this.#host = snapshot.host;
    this.#comments = new CommentList({
      label: "Comments", isSpoken: true, actions: (event) => this.#actions(event),
    });
    // No playhead: the host is where the media time comes from, so everything is shown at once.
    this.#room = connect(name, { url: location.origin, token });
    this.#api = new Api({ url: location.origin, token });
    this.#held = new HeldComments((type, target) => void this.#room.send(type, { target }).then((outcome) => this.#tell(outcome)));
    const serverMs = () => this.#room.server.at(this.#room.now());
    this.#battles = new BattleDesk(this.#api, name, serverMs, (text) => this.#say(text));
    this.#broadcast = new Broadcast(name, token);
    frame.head.append(new StatusPill(this.#room).root);
    const figure = (value: HTMLElement, label: string) => el("div", { class: "figure-card" }, value, el("span", {}, label));
    frame.main.append(
      el(
        "aside",
        { class: "desk" },
        el("div", { class: "figure-cards" }, figure(this.#online, "watching"), figure(this.#likes, "likes"), figure(this.#rate, "comments a minute"), figure(this.#earned, "coins earned")),
        this.#broadcast.root,
        this.#battles.root,
        this.#held.root,
        el("section", { class: "card" }, el("h2", {}, "Muted and banned"), this.#nobody, this.#silenced),
        this.#endButton(name),
        this.#notice,
      ),
      el("section", { class: "card stream", "aria-label": "Comments" }, el("h2", {}, "Comments"), this.#comments.root),
    );
    this.#listen();
    setInterval(() => this.#countRate(), 1_000);
    void this.#countEarnings();
    setInterval(() => void this.#countEarnings(), EARNINGS_MS);
    setInterval(() => this.#battles.draw(performance.now()), BATTLE_DRAW_MS);
  }

  #listen(): void {
    this.#room.on("snapshot", (snapshot) => {
      this.#frame.setTitle(snapshot.title, snapshot.host);
      this.#frame.setLive(snapshot.status === "open");
      this.#online.textContent = count(snapshot.online);
      this.#likes.textContent = count(snapshot.likes);
      this.#battles.reset(snapshot.battle);
    });
    this.#room.on("arrival", (event) => {
      if (event.type === "gift.sent") this.#broadcast.react(`${event.actorid ?? "Somebody"} sent ${event.data.name}`);
    });
    this.#room.on("held", (event) => this.#held.add(event));
    this.#room.on("event", (event, release) => {
      this.#held.decided(event);
      if (event.type === "comment.posted") {
        this.#commentsMs.push(Date.parse(event.time));
        this.#comments.add(event, release, event.actorid === this.#host, this.#removed.has(event.id));
      } else if (event.type === "gift.sent" || event.type === "gift.combo.ended") this.#thank(event, release);
      else if (isBattleEvent(event)) this.#battles.take(event);
      else this.#take(event);
    });
    this.#room.on("state", (state) => {
      if (state.state === "closed" && state.code !== 1000) this.#frame.cover(closing(state.code));
    });
  }

  /** Gifts are told when they are whole: at the end of a combo, or at once without one. */
  #thank(event: EventOf<"gift.sent" | "gift.combo.ended">, release: Release<LiveEvent>): void {
    let combo: Combo | null;
    if (event.type === "gift.sent") {
      const begun = this.#combos.add(event);
      combo = begun.isEnded ? begun : null;
    } else combo = this.#combos.end(event);
    if (combo === null) return;
    const text = `${combo.actor} sent ${combo.count > 1 ? `${count(combo.count)} × ` : ""}${combo.name}`;
    this.#comments.note(text, release, giftImage(combo.animation));
  }

  #take(event: LiveEvent): void {
    switch (event.type) {
      case "comment.removed":
        this.#removed.add(event.data.target);
        return this.#comments.remove(event.data.target);
      case "viewers.counted":
        this.#online.textContent = count(event.data.online);
        return;
      case "likes.counted":
        this.#likes.textContent = count(event.data.room_total);
        return;
      case "viewer.muted":
        return this.#silence(event.data.target, "muted");
      case "viewer.banned":
        return this.#silence(event.data.target, "banned");
      case "viewer.unbanned":
        return this.#unsilence(event.data.target);
      case "room.closed":
        this.#frame.setLive(false);
        this.#frame.cover("The live has ended", "Open the room again whenever you like.", this.#again());
    }
  }

  #actions(event: EventOf<"comment.posted">): HTMLElement {
    const author = event.actorid ?? "";
    const about = (verb: string) => `${verb} (${author}: ${event.data.text.slice(0, 40)})`;
    const actions = el("span", { class: "actions" });
    actions.append(
      this.#action("Remove", about("Remove the comment"), "comment.remove", { target: event.id }),
      this.#action("Mute 5 min", about("Mute for five minutes"), "viewer.mute", { target: author, seconds: MUTE_S }),
      this.#action("Ban", about("Ban the viewer"), "viewer.ban", { target: author }),
    );
    return actions;
  }

  #action<T extends RequestType>(text: string, label: string, type: T, data: RequestData[T]): HTMLElement {
    const button = el("button", { type: "button", "aria-label": label }, text);
    button.addEventListener("click", () => void this.#room.send(type, data).then((outcome) => this.#tell(outcome)));
    return button;
  }

  #silence(target: string, how: string): void {
    this.#unsilence(target);
    const lift = this.#action("Lift", `Let ${target} speak again`, "viewer.unban", { target });
    const item = el("li", {}, el("span", {}, target), el("em", {}, how), lift);
    item.dataset["target"] = target;
    this.#silenced.append(item);
    if (this.#silenced.childElementCount > SILENCED_MAX) this.#silenced.firstElementChild?.remove();
    this.#nobody.hidden = true;
  }

  #unsilence(target: string): void {
    for (const item of this.#silenced.querySelectorAll("li")) {
      if (item.dataset["target"] === target) item.remove();
    }
    this.#nobody.hidden = this.#silenced.childElementCount > 0;
  }

  #countRate(): void {
    const sinceMs = this.#room.server.at(this.#room.now()) - RATE_WINDOW_MS;
    this.#commentsMs = this.#commentsMs.filter((ms) => ms > sinceMs);
    this.#rate.textContent = count(this.#commentsMs.length);
  }

  async #countEarnings(): Promise<void> {
    try {
      const { coins } = await this.#api.earnings(this.#host);
      this.#earned.textContent = count(coins);
    } catch {
      // Of an earlier look, until the next one.
    }
  }

  #endButton(name: string): HTMLElement {
    const button = el("button", { type: "button", class: "danger" }, "End this live");
    let isArmed = false;
    button.addEventListener("click", () => {
      if (!isArmed) {
        isArmed = true;
        button.textContent = "Press again to end it for everyone";
        return;
      }
      button.disabled = true;
      this.#api.closeRoom(name).catch((error: unknown) => {
        button.disabled = false;
        this.#say(String((error as Error).message));
      });
    });
    return button;
  }

  #again(): HTMLElement {
    const button = el("button", { type: "button", class: "primary" }, "Open again");
    button.addEventListener("click", () => location.reload());
    return button;
  }

  #tell(outcome: Outcome): void {
    if (outcome.status === "rejected" || outcome.status === "refused") this.#say(refusal(outcome.code));
  }

  #say(text: string): void {
    this.#notice.textContent = text;
    setTimeout(() => (this.#notice.textContent = ""), NOTICE_MS);
  }
}
