/** The two clocks of a viewer: how far the server's is from ours, and media time on the server's. */
import type { Anchor } from "./frames.js";

/** A place on the media timeline: `ptsMs` of `epoch`. */
export interface MediaTime {
  epoch: number;
  ptsMs: number;
  /** The epoch is over and this is its last frame: media time stands still. */
  isEnd?: true;
}

/** 32 anchors are 160 s: the player that is furthest behind live still finds its own. */
const ANCHORS_MAX = 32;
/** No frame that comes by RTP is so late. A wrong epoch puts it hours away, as a rule. */
const RTP_AWAY_MS_MAX = 30_000;
/** Offsets are taken from the quickest of this many exchanges. */
const SAMPLES_MAX = 16;
/** 200 ppm between two clocks are 12 ms in a minute. */
const ONE_WAY_MS = 60_000;

/**
 * Server time, estimated. An exchange (ping, and pong with the server's time) tells it to half its
 * round trip; of the last 16 the quickest is believed. Where pongs carry no time, frames that were
 * dated by the server do: they can only be late, by half a round trip at least, so the largest
 * difference seen lately plus half the quickest round trip is the best there is.
 */
export class ServerClock {
  /** Round-trip time of the newest exchange, in ms. */
  roundTripMs: number | null = null;
  #exchanges: { roundTripMs: number; offsetMs: number | null }[] = [];
  #oneWay = { offsetMs: -Infinity, beforeMs: -Infinity, sinceMs: -Infinity };

  /** A ping left at `sentMs` of our clock and its pong came at `receivedMs`, dated or not. */
  exchanged(sentMs: number, serverMs: number | null, receivedMs: number): void {
    const roundTripMs = Math.max(0, receivedMs - sentMs);
    this.roundTripMs = roundTripMs;
    const offsetMs = serverMs === null ? null : serverMs - (sentMs + receivedMs) / 2;
    this.#exchanges.push({ roundTripMs, offsetMs });
    if (this.#exchanges.length > SAMPLES_MAX) this.#exchanges.shift();
  }

  /** Something that the server dated `serverMs` came at `receivedMs`. */
  received(serverMs: number, receivedMs: number): void {
    const oneWay = this.#oneWay;
    if (receivedMs - oneWay.sinceMs > ONE_WAY_MS) {
      // Two windows: clocks drift, so what was true long ago must be forgotten.
      this.#oneWay = {
        offsetMs: -Infinity, beforeMs: oneWay.offsetMs, sinceMs: receivedMs,
      };
    }
    this.#oneWay.offsetMs = Math.max(this.#oneWay.offsetMs, serverMs - receivedMs);
  }

  /** Server time minus our time, in ms; 0 while nothing is known. */
  get offsetMs(): number {
    const quickest = this.#exchanges.reduce(
      (best, one) => (one.roundTripMs <= best.roundTripMs ? one : best),
      { roundTripMs: Infinity, offsetMs: null as number | null },
    );
    if (quickest.offsetMs !== null) return quickest.offsetMs;
    const oneWayMs = Math.max(this.#oneWay.offsetMs, this.#oneWay.beforeMs);
    if (!Number.isFinite(oneWayMs)) return 0;
    return oneWayMs + (Number.isFinite(quickest.roundTripMs) ? quickest.roundTripMs / 2 : 0);
  }

  /** Server time, Unix ms, at this time of our clock. */
  at(localMs: number): number {
    return localMs + this.offsetMs;
  }
}

/** Media time on the server's clock: the room's recent anchors, in order. */
export class MediaClock {
  #anchors: Anchor[] = [];

  /** Take an anchor in. Repeats and late ones are harmless. False if it is not news. */
  observe(anchor: Anchor): boolean {
    const last = this.#anchors.at(-1);
    if (last !== undefined && !isLater(anchor, last)) return false;
    this.#anchors.push(anchor);
    if (this.#anchors.length > ANCHORS_MAX) this.#anchors.shift();
    return true;
  }

  /** The newest anchor. */
  get current(): Anchor | null {
    return this.#anchors.at(-1) ?? null;
  }

  /**
   * Media time of the newest frame at this server time, by the anchor that held then; before the
   * first anchor that is known, by that one. Null without a clock.
   */
  at(serverMs: number): MediaTime | null {
    const anchors = this.#anchors;
    let holding = anchors[0];
    for (const anchor of anchors) {
      if (heldFromMs(anchor) > serverMs) break;
      holding = anchor;
    }
    if (holding === undefined) return null;
    const { epoch, pts_ms: ptsMs } = holding;
    if (holding.ended === true) return { epoch, ptsMs, isEnd: true };
    return { epoch, ptsMs: ptsMs + (serverMs - frameMs(holding)) };
  }

  /**
   * Media time of the frame with this RTP timestamp (32 bits, wrapping: RFC 3550, section 5.1)
   * that was on air about `serverMs`. Publishers begin their timestamps anywhere, so the epoch is
   * the one in which the frame lies near that time; null when it does in none.
   */
  ofRtp(rtp: number, serverMs: number): MediaTime | null {
    let found: MediaTime | null = null;
    let awayMs = RTP_AWAY_MS_MAX;
    for (const anchor of this.#anchors) {
      const ptsMs = anchor.pts_ms + (((rtp - anchor.rtp) | 0) / anchor.rate) * 1000;
      const away = Math.abs(frameMs(anchor) + (ptsMs - anchor.pts_ms) - serverMs);
      // Of one epoch the nearest anchor counts, which is the last one here that is not later.
      const isBetter = found?.epoch === anchor.epoch ? anchor.pts_ms <= ptsMs : away < awayMs;
      if (!isBetter || away >= RTP_AWAY_MS_MAX) continue;
      found = { epoch: anchor.epoch, ptsMs };
      awayMs = away;
    }
    return found;
  }

  /**
   * Server time, Unix ms, at which a frame was the newest: the inverse of `at`. By the last anchor
   * of its epoch that is not after it; null when the epoch is not known here.
   */
  serverMs({ epoch, ptsMs }: MediaTime): number | null {
    const ofEpoch = this.#anchors.filter((anchor) => anchor.epoch === epoch);
    const anchor = ofEpoch.findLast((one) => one.pts_ms <= ptsMs) ?? ofEpoch[0];
    return anchor === undefined ? null : frameMs(anchor) + (ptsMs - anchor.pts_ms);
  }
}

/** Server time of the anchored frame, Unix ms. */
function frameMs(anchor: Anchor): number {
  return anchor.wall_ms + anchor.offset_ms;
}

function heldFromMs(anchor: Anchor): number {
  return anchor.at_us === undefined ? frameMs(anchor) : anchor.at_us / 1000;
}

function isLater(anchor: Anchor, last: Anchor): boolean {
  if (anchor.epoch !== last.epoch) return anchor.epoch > last.epoch;
  return heldFromMs(anchor) > heldFromMs(last);
}
