import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { MediaClock, ServerClock, type MediaTime } from "../src/clock.js";
import { HlsPlayhead, WebRtcPlayhead, type HlsPlayer } from "../src/video-playhead.js";
import { anchor } from "./world.js";

type Shown = Partial<VideoFrameCallbackMetadata> & { mediaTime: number };

/** A `<video>` that shows the frames it is told to. */
class Video extends EventTarget {
  currentTime = 0;
  paused = false;
  seeking = false;
  ended = false;
  playbackRate = 1;
  #waiting: ((nowMs: number, frame: Shown) => void) | null = null;

  requestVideoFrameCallback(callback: (nowMs: number, frame: Shown) => void): number {
    this.#waiting = callback;
    return 1;
  }

  cancelVideoFrameCallback(): void {
    this.#waiting = null;
  }

  show(frame: Shown): void {
    this.currentTime = frame.mediaTime;
    this.#waiting?.(0, frame);
  }

  get element(): HTMLVideoElement {
    return this as unknown as HTMLVideoElement;
  }
}

/** Safari: no frames are told of, but the date at which the stream began. */
class SafariVideo extends EventTarget {
  currentTime = 0;
  paused = false;
  seeking = false;
  ended = false;
  playbackRate = 1;
  startDate = new Date(Number.NaN);

  getStartDate(): Date {
    return this.startDate;
  }

  get element(): HTMLVideoElement {
    return this as unknown as HTMLVideoElement;
  }
}

const BEGAN_MS = 1_700_000_000_000;

function clock(): MediaClock {
  const media = new MediaClock();
  media.observe(anchor({ epoch: 2, pts_ms: 0, wall_ms: BEGAN_MS, rtp: 4_294_967_000 }));
  return media;
}

function player(tags: string[][], playingDate: Date | null = null): HlsPlayer {
  const fragments = tags.map((tag, index) => ({ start: index * 2, tagList: tag.length === 0 ? [] : [tag] }));
  return { playingDate, currentLevel: -1, levels: [{ details: { fragments } }] };
}

const tag = (epoch: number, pts: number) => ["EXT-X-LIVE-MEDIA-TIME", `EPOCH=${epoch},PTS=${pts}`];

describe("the playhead of an HLS player", () => {
  test("is the media time of the segment and what of it has been played", () => {
    const video = new Video();
    const playhead = new HlsPlayhead(video.element, player([tag(1, 500), tag(1, 2_500), tag(2, 0)]), clock());
    assert.equal(playhead.position(0), null);
    video.show({ mediaTime: 3.5 });
    assert.deepEqual(playhead.position(0), { epoch: 1, ptsMs: 4_000 });
    video.show({ mediaTime: 4.04 });
    assert.equal(playhead.position(0)?.epoch, 2);
    assert.ok(Math.abs((playhead.position(0)?.ptsMs ?? 0) - 40) < 1e-6);
  });

  test("goes by the date of the frame where the playlist is somebody else's", () => {
    const video = new Video();
    const playhead = new HlsPlayhead(video.element, player([[]], new Date(BEGAN_MS + 1_000)), clock());
    video.show({ mediaTime: 0.4 });
    assert.deepEqual(playhead.position(0), { epoch: 2, ptsMs: 1_000 });
  });

  test("tells every frame", () => {
    const video = new Video();
    const playhead = new HlsPlayhead(video.element, player([tag(1, 0)]), clock(), "vod");
    let frames = 0;
    playhead.onFrame = () => (frames += 1);
    video.show({ mediaTime: 0 });
    video.show({ mediaTime: 0.033 });
    playhead.close();
    video.show({ mediaTime: 0.066 });
    assert.equal(frames, 2);
  });

  test("is where it was sent to, whatever frame still stands on screen", () => {
    const video = new Video();
    const playhead = new HlsPlayhead(video.element, player([tag(1, 0)]), clock(), "vod");
    video.show({ mediaTime: 1.9 });
    video.seeking = true;
    playhead.moved({ epoch: 1, ptsMs: 500 });
    video.show({ mediaTime: 1.933 });
    assert.deepEqual(playhead.position(0), { epoch: 1, ptsMs: 500 });
    video.seeking = false;
    video.show({ mediaTime: 0.48 });
    assert.deepEqual(playhead.position(0), { epoch: 1, ptsMs: 480 });
  });

  test("stands at the last frame when a recording ends, and says so", () => {
    const video = new Video();
    const playhead = new HlsPlayhead(video.element, player([tag(1, 0)]), clock(), "vod");
    let frames = 0;
    playhead.onFrame = () => (frames += 1);
    video.show({ mediaTime: 1.5 });
    video.ended = true;
    video.dispatchEvent(new Event("ended"));
    assert.deepEqual(playhead.position(0), { epoch: 1, ptsMs: 1_500, isEnd: true });
    assert.equal(frames, 2);
  });

  test("is told by who was there before, until the first frame", () => {
    const video = new Video();
    video.paused = true;
    const playhead = new HlsPlayhead(video.element, player([tag(1, 0)]), clock());
    const before: MediaTime = { epoch: 1, ptsMs: 77 };
    playhead.before = { basis: "synthetic", position: () => before };
    assert.deepEqual(playhead.position(0), before);
    assert.equal(playhead.rate, 1);
    video.show({ mediaTime: 0.1 });
    assert.deepEqual(playhead.position(0), { epoch: 1, ptsMs: 100 });
    assert.equal(playhead.rate, 0);
  });
});

describe("the playhead of Safari's own HLS player", () => {
  beforeEach(() => mock.timers.enable({ apis: ["setInterval"] }));
  afterEach(() => mock.timers.reset());

  test("goes by the date at which the stream began and the time of the element", () => {
    const video = new SafariVideo();
    video.startDate = new Date(BEGAN_MS + 10_000);
    const playhead = new HlsPlayhead(video.element, null, clock());
    video.currentTime = 2.5;
    mock.timers.tick(40);
    assert.deepEqual(playhead.position(0), { epoch: 2, ptsMs: 12_500 });
    playhead.close();
    video.currentTime = 9;
    mock.timers.tick(400);
    assert.deepEqual(playhead.position(0), { epoch: 2, ptsMs: 12_500 });
  });

  test("is unknown as long as the stream has no date", () => {
    const playhead = new HlsPlayhead(new SafariVideo().element, null, clock());
    mock.timers.tick(400);
    assert.equal(playhead.position(0), null);
    playhead.close();
  });
});

describe("the playhead of a WebRTC player", () => {
  const clocks = () => {
    const server = new ServerClock();
    server.exchanged(BEGAN_MS, BEGAN_MS, BEGAN_MS);
    return { media: clock(), server, now: () => BEGAN_MS + 3_000 };
  };

  test("is the RTP timestamp of the frame on the room's clock, also where it wraps around", () => {
    const video = new Video();
    const playhead = new WebRtcPlayhead(video.element, clocks());
    video.show({ mediaTime: 0, rtpTimestamp: (4_294_967_000 + 2_950 * 90) % 2 ** 32 });
    assert.deepEqual(playhead.position(0), { epoch: 2, ptsMs: 2_950 });
  });

  test("is when the frame was captured, or else received, where browsers tell no timestamp", () => {
    const video = new Video();
    const playhead = new WebRtcPlayhead(video.element, clocks());
    const near = (ptsMs: number) => assert.ok(Math.abs((playhead.position(0)?.ptsMs ?? 0) - ptsMs) < 20);
    video.show({ mediaTime: 0, captureTime: performance.now() - 120, receiveTime: performance.now() });
    near(2_880);
    video.show({ mediaTime: 0, receiveTime: performance.now() - 40 });
    near(2_960);
  });
});
