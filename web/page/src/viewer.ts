/** The viewer page: one room on two screens that watch with different delays. */
import { Api, connect, SyntheticPlayhead, type Echo, type LiveEvent, type Room, type Snapshot } from "@live-engagement/client";
import { Board } from "./board.js";
import { Composer } from "./composer.js";
import { el } from "./dom.js";
import { identify } from "./identity.js";
import { playHls, playWebRtc, whenOnVideo } from "./media.js";
import { Pane } from "./pane.js";
import { everyFrame, shell, type Shell } from "./shell.js";
import { StatusPill } from "./status.js";
import { Tray } from "./tray.js";
import { closing, refusal } from "./words.js";

const SCREENS = [
  { delayMs: 200, title: "0.2 s behind the host", subtitle: "as over WebRTC" },
  { delayMs: 3_000, title: "3 s behind the host", subtitle: "as over low-latency HLS" },
];
const ROOM_NOT_FOUND = 3503;
const LOOK_AGAIN_MS = 2_000;
const PUBLIC_POLL_MS = 5_000;

export function showViewer(app: HTMLElement, name: string): void {
  const frame = shell(app, name, "viewer");
  const { user, token } = identify();
  const removed = new Set<string>();
  const api = new Api({ url: location.origin, token });
  const board = new Board(api, name, user);
  let room: Room | null = null;
  const panes = SCREENS.map(
    (screen, index) =>
      new Pane({
        ...screen,
        room: name,
        removed,
        comments: { label: `Comments, ${screen.title}`, isSpoken: index === 0 },
        isOwn: (id) => room?.isOwn(id) ?? false,
        serverMs: (position) => room?.media.serverMs(position) ?? null,
        behindMs: (position) => {
          const onAirMs = room?.media.serverMs(position) ?? null;
          return room === null || onAirMs === null ? null : room.server.at(room.now()) - onAirMs;
        },
        openBoard: () => board.open(),
      }),
  );
  const lead = el("p", { class: "lead" }, "One room, two screens. The same comment appears at the same ", el("b", {}, "media time"), " on both, ", el("b", {}, "2.8 s"), " apart on your watch.");
  const screens = el("div", { class: "screens" }, ...panes.map((pane) => pane.root));
  frame.main.append(lead, screens, board.root);
  screens.addEventListener("pointerover", (event) => {
    const item = event.target instanceof Element ? event.target.closest<HTMLElement>(".comment") : null;
    panes.forEach((pane) => pane.comments.highlight(item?.dataset["eventId"] ?? null));
  });
  if (token === null) {
    showPublic(frame, panes, api, name);
    return;
  }
  const watched = (room = watch(frame, panes, removed, api, name, user ?? "you", token));
  everyFrame(() => watched.now(), (nowMs) => panes.forEach((pane) => pane.draw(nowMs)));
}

function watch(
  frame: Shell, panes: Pane[], removed: Set<string>, api: Api, name: string, user: string, token: string,
): Room {
  const room = connect(name, { url: location.origin, token });
  panes.forEach((pane, index) => {
    const playhead = new SyntheticPlayhead(room, SCREENS[index]?.delayMs ?? 0);
    pane.attach(playhead, room.track(playhead, (release) => pane.release(release, room.now())));
  });
  whenOnVideo(room, name, (playlistUrl) => {
    const [first, second] = panes;
    if (first !== undefined) playWebRtc(first, room, name);
    if (second !== undefined) void playHls(second, room, playlistUrl);
    frame.main.querySelector(".lead")?.replaceChildren("One host, two ways to watch. The same comment appears with the same ", el("b", {}, "frame"), " on both.");
  });
  const tray = new Tray(room, api, user, (text) => composer.tell(text));
  const composer = new Composer(room, user, (taps) => panes.forEach((pane) => pane.cheerOwn(taps, room.now())), tray.opener);
  composer.root.prepend(tray.root);
  frame.head.append(new StatusPill(room).root);
  frame.main.append(composer.root);
  room.on("snapshot", (snapshot) => {
    frame.setTitle(snapshot.title, snapshot.host);
    frame.setLive(snapshot.status === "open");
    panes.forEach((pane) => pane.reset(snapshot));
  });
  room.on("echo", (echo) => {
    if (echo.type === "gift.send") echoGift(echo, user, panes, tray, room.now());
    else panes.forEach((pane) => pane.echo(echo, user));
  });
  room.on("arrival", (event) => arrived(event, frame, panes, removed));
  room.on("state", (state) => {
    if (state.state === "live") frame.cover(null);
    if (state.state !== "closed") return;
    if (state.code === ROOM_NOT_FOUND) void waitForRoom(frame, api, name);
    else if (state.code !== 1000) frame.cover(closing(state.code), "Reload the page to try again.", reload());
  });
  return room;
}

/** One of our own gifts, as far as it has got; a refusal is told where we look, and why. */
function echoGift(echo: Echo, user: string, panes: Pane[], tray: Tray, nowMs: number): void {
  const { gift } = echo.data as { gift: string };
  const sold = tray.gift(gift);
  const look = { user, name: sold?.name ?? gift, tier: sold?.tier ?? 1, animation: sold?.animation ?? gift };
  if (echo.status === "refused") tray.refuse(echo.id, gift, echo.code);
  panes.forEach((pane) => pane.echoGift(echo, look, refusal(echo.code), nowMs));
}

/** What does not wait for a playhead: a comment that was taken down, a room that ends or begins. */
function arrived(event: LiveEvent, frame: Shell, panes: Pane[], removed: Set<string>): void {
  if (event.type === "comment.removed") {
    removed.add(event.data.target);
    panes.forEach((pane) => pane.remove(event.data.target));
  }
  if (event.type === "room.closed") frame.setLive(false);
  if (event.type === "room.opened") {
    frame.setLive(true);
    frame.setTitle(event.data.title, event.data.host);
  }
}

async function waitForRoom(frame: Shell, api: Api, name: string): Promise<void> {
  frame.cover("Nobody is live here yet", `The room “${name}” opens on this page by itself.`);
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    try {
      await api.room(name);
      location.reload();
      return;
    } catch {
      // Not yet, or no gateway to ask: look again.
    }
  }
}

/** Nobody is signed in: what everybody may read. */
function showPublic(frame: Shell, panes: Pane[], api: Api, name: string): void {
  frame.main.append(el("p", { class: "signin", role: "status" }, "Sign in to watch live: open this page with #token=… at the end of its address. Until then it shows what is public, a few seconds late."));
  const seen = new Set<string>();
  const refresh = async () => {
    try {
      const snapshot: Snapshot = await api.room(name);
      frame.setTitle(snapshot.title, snapshot.host);
      frame.setLive(snapshot.status === "open");
      panes.forEach((pane) => pane.reset(snapshot));
      const { items } = await api.comments(name, 30);
      for (const event of items.reverse()) {
        if (seen.has(event.id)) continue;
        seen.add(event.id);
        const release = { event, reason: "wall", basis: "wall", position: null, errorMs: null } as const;
        panes.forEach((pane) => pane.release(release, performance.now()));
      }
    } catch {
      // The next round may do better; the notice above stands either way.
    }
  };
  void refresh();
  setInterval(() => void refresh(), PUBLIC_POLL_MS);
  everyFrame(() => performance.now(), (nowMs) => panes.forEach((pane) => pane.draw(nowMs)));
}

function reload(): HTMLElement {
  const button = el("button", { type: "button", class: "primary" }, "Reload");
  button.addEventListener("click", () => location.reload());
  return button;
}
