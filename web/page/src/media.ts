/** Where the media process is, and playing its video into a pane. */
import { HlsPlayhead, WebRtcPlayhead, WhepPlayer, type Room } from "@live-engagement/client";
import type { Pane } from "./pane.js";

const LOOK_AGAIN_MS = 3_000;
const REBUILD_MS = 300;
/** The first segment takes a moment. */
const LOOK_MS = [0, 1_000, 2_000, 4_000];
/** Behind the newest part: less stalls, more is late. */
const HLS_BEHIND_S = 1.0;

/** The base URL of the media process; null where the page was not told. */
export function mediaUrl(): string | null {
  const told = document.querySelector<HTMLMetaElement>('meta[name="engagement-media"]')?.content ?? "";
  if (told.startsWith(":")) return `${location.protocol}//${location.hostname}${told}`;
  return told.startsWith("http") ? told : null;
}

/**
 * Tell once when a room has video: the URL of its HLS playlist. Whoever begins to publish begins an
 * epoch, so it is looked for when we come and at every new one.
 */
export function whenOnVideo(room: Room, name: string, found: (playlistUrl: string) => void): void {
  const base = mediaUrl();
  if (base === null) return;
  const url = `${base}/v1/rooms/${encodeURIComponent(name)}/hls/index.m3u8`;
  let epoch = 0;
  let isFound = false;
  const look = async (of: number) => {
    for (const waitMs of LOOK_MS) {
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (isFound || of !== epoch) return;
      const answer = await fetch(url, { cache: "no-store" }).catch(() => null);
      if (!answer?.ok || isFound) continue;
      isFound = true;
      found(url);
    }
  };
  room.on("clock", (anchor) => {
    if (anchor.ended === true || anchor.epoch === epoch) return;
    epoch = anchor.epoch;
    void look(epoch);
  });
}

/** Play a room by WebRTC; where there is no room for one more viewer, by HLS instead. */
export function playWebRtc(pane: Pane, room: Room, name: string): void {
  const video = pane.showVideo("webrtc", "WebRTC");
  const playhead = new WebRtcPlayhead(video, room);
  pane.follow(room, playhead);
  const player = new WhepPlayer(`${mediaUrl()}/v1/rooms/${encodeURIComponent(name)}/whep`, video);
  player.onState = (state) => {
    pane.setPlaying(state);
    if (state !== "full" || player.alternateUrl === null) return;
    player.close();
    playhead.close();
    void playHls(pane, room, player.alternateUrl);
  };
}

/** Play a room by (low-latency) HLS. */
export async function playHls(pane: Pane, room: Room, playlistUrl: string): Promise<void> {
  const video = pane.showVideo("hls", "Low-latency HLS");
  const { default: Hls } = await import("hls.js/light");
  if (!Hls.isSupported()) {
    // Safari's own player: it keeps tags to itself, but dates.
    video.src = playlistUrl;
    pane.follow(room, new HlsPlayhead(video, null, room.media));
    return;
  }
  const begin = () => {
    // The pages' policy allows no scripts but files of ours, so no worker from a blob.
    const hls = new Hls({ lowLatencyMode: true, enableWorker: false, liveSyncDuration: HLS_BEHIND_S, maxLiveSyncPlaybackRate: 1.1 });
    hls.on(Hls.Events.ERROR, (_, { fatal, type }) => {
      if (!fatal) return;
      pane.setPlaying("waiting");
      // Where a host comes back with sound and was without, or with another codec, the browser's
      // buffers cannot go on: they are made anew, at the live end.
      const againMs = type === Hls.ErrorTypes.MEDIA_ERROR ? REBUILD_MS : LOOK_AGAIN_MS;
      hls.destroy();
      setTimeout(() => (playhead.player = begin()), againMs);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => void video.play().catch(() => undefined));
    hls.loadSource(playlistUrl);
    hls.attachMedia(video);
    return hls;
  };
  video.addEventListener("playing", () => pane.setPlaying("playing"));
  const playhead = new HlsPlayhead(video, begin(), room.media);
  pane.follow(room, playhead);
}
