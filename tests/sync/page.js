// The page of `make sync`: a room watched over WebRTC, LL-HLS or as a recording, by the client
// library. What is released is written down with the picture that was on screen at that moment.
import { connect, HlsPlayhead, MediaClock, ReleaseScheduler, WebRtcPlayhead } from "@live-engagement/client";

const CELLS = 40, TIME_BITS = 25, CLOCK_Y = 8;
const canvas = new OffscreenCanvas(640, 16);
const context = canvas.getContext("2d", { willReadFrequently: true });

/** What is burned into the frame on screen; null where it cannot be read. */
function burned(video) {
  context.drawImage(video, 0, 0, video.videoWidth, 16, 0, 0, 640, 16);
  const row = context.getImageData(0, CLOCK_Y, 640, 1).data;
  const lumas = Array.from({ length: CELLS }, (_, cell) => row[(cell * 16 + 8) * 4]);
  const threshold = (Math.max(...lumas) + Math.min(...lumas)) / 2;
  const bits = lumas.map((luma) => (luma > threshold ? 1 : 0));
  const number = (from, count) => bits.slice(from, from + count).reduce((sum, bit) => sum * 2 + bit, 0);
  let remainder = 0xff;
  for (let byte = 0; byte < 4; byte++) {
    remainder ^= number(byte * 8, 8);
    for (let bit = 0; bit < 8; bit++) remainder = ((remainder << 1) & 0xff) ^ (remainder & 0x80 ? 7 : 0);
  }
  if (remainder !== number(32, 8)) return null;
  return { take: number(0, 6), isReacting: bits[6] === 1, atMs: number(7, TIME_BITS) };
}

/** Remembers where a playhead was a frame ago. */
class Watched {
  constructor(playhead, moved) {
    this.place = null;
    this.before = null;
    playhead.onFrame = () => {
      this.before = this.place;
      this.place = playhead.position();
      moved();
    };
  }
}

/** Whether the frame before the one on screen was not yet where the event belongs. */
function isFirst({ before }, { mediaepoch, mediapts }) {
  return before === null || before.epoch < mediaepoch || before.ptsMs < mediapts;
}

function screen(transport) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, autoplay: true, playsInline: true });
  video.dataset.transport = transport;
  document.body.append(video);
  return video;
}

function eachFrame(video, seen) {
  const next = (now, frame) => {
    seen(now, frame);
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}

async function playOverWebRtc(video, url, delayMs) {
  const connection = (window.connection = new RTCPeerConnection());
  const stream = new MediaStream();
  connection.ontrack = ({ track }) => {
    stream.addTrack(track);
    video.srcObject = stream;
  };
  for (const kind of ["video", "audio"]) {
    const { receiver } = connection.addTransceiver(kind, { direction: "recvonly" });
    receiver.jitterBufferTarget = delayMs;
  }
  await connection.setLocalDescription(await connection.createOffer());
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: connection.localDescription.sdp,
  });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
}

function playOverHls(video, url, options) {
  const hls = new window.Hls({ lowLatencyMode: true, ...options });
  hls.on(window.Hls.Events.ERROR, (_, data) => {
    window.problems.push(data.details);
    if (data.details === "bufferStalledError") window.stalls += 1;
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  void video.play();
  return hls;
}

/** hls.js starts where the live edge was when it began to load. */
function catchUpOnce(video, hls) {
  const seek = () => {
    if (hls.latency > hls.targetLatency + 0.1) video.currentTime = hls.liveSyncPosition;
  };
  video.addEventListener("playing", () => setTimeout(seek, 1_000), { once: true });
}

window.releases = [];
window.frames_ = [];
window.problems = [];
window.stalls = 0;

/** How long after their capture frames are on screen, and how often the picture stood still. */
window.watchGlass = () => {
  window.frames_.length = 0;
  window.stalls = 0;
  window.frozen = 0;
  document.querySelector("video").addEventListener("waiting", () => { window.frozen += 1; });
};
window.freezes = async () => {
  if (!window.connection) return window.frozen;
  for (const each of (await window.connection.getStats()).values()) {
    if (each.type === "inbound-rtp" && each.kind === "video") return each.freezeCount;
  }
  return 0;
};

/** Watch a room: `transport` webrtc or hls. */
window.watch = async ({ gateway, media, room, user, transport, delayMs }) => {
  const video = screen(transport);
  const isHls = transport === "hls";
  const hls = isHls ? playOverHls(video, `${media}/v1/rooms/${room}/hls/index.m3u8`) : null;
  if (hls) catchUpOnce(video, hls);
  const live = (window.live = connect(room, { url: gateway, token: `dev:${user}` }));
  const clocks = { media: live.media, server: live.server, now: () => live.now() };
  const playhead = hls ? new HlsPlayhead(video, hls, live.media) : new WebRtcPlayhead(video, clocks);
  const watched = new Watched(playhead, () => track.wake());
  const track = live.track(playhead, ({ event, reason }) => {
    if (event.type !== "comment.posted") return;
    window.releases.push({
      id: event.id, epoch: event.mediaepoch, stamp: event.mediapts, reason,
      isFirst: isFirst(watched, event), burned: burned(video),
    });
  });
  let count = 0;
  eachFrame(video, (now, frame) => {
    count += 1;
    if (count % 5 !== 0) return;
    const shown = burned(video);
    if (shown === null || watched.place === null) return;
    window.frames_.push({
      ...shown, ...watched.place,
      glassMs: performance.timeOrigin + frame.expectedDisplayTime,
    });
  });
  if (!isHls) await playOverWebRtc(video, `${media}/v1/rooms/${room}/whep`, delayMs);
};

/** Play a recording with its events; `seekTo` moves it, and shows again what comes after. */
window.replay = async ({ url, events }) => {
  const video = screen("vod");
  const hls = playOverHls(video, url, { lowLatencyMode: false });
  const playhead = new HlsPlayhead(video, hls, new MediaClock(), "vod");
  let scheduler = new ReleaseScheduler(playhead);
  let isMoved = true;
  const note = (releases) => {
    for (const { event, reason } of releases) {
      window.releases.push({
        id: event.id, epoch: event.mediaepoch, stamp: event.mediapts, reason,
        isFirst: isFirst(watched, event), burned: burned(video),
      });
    }
  };
  window.seekTo = (seconds) => {
    scheduler = new ReleaseScheduler(playhead);
    isMoved = true;
    video.currentTime = seconds;
    return video.play();
  };
  window.pauseFor = () => video.pause();
  video.addEventListener("seeking", () => { isMoved = true; });
  const watched = new Watched(playhead, () => {
    const { place } = watched;
    if (video.seeking || place === null) return;
    const now = performance.now();
    if (isMoved) {
      isMoved = false;
      // What lies behind is state, not news.
      const isAhead = (one) =>
        one.mediaepoch > place.epoch || (one.mediaepoch === place.epoch && one.mediapts > place.ptsMs);
      for (const event of events.filter(isAhead)) note(scheduler.offer(event, now));
    }
    note(scheduler.due(now));
  });
  window.video = video;
};
