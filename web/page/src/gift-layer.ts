/** The gifts of one pane: banners, animations by tier, who gave most, and our own on their way. */
import { Combos, Senders, type Combo, type Echo, type EventOf, type LiveEvent, type Release, type SenderCoins } from "@live-engagement/client";
import { artOf } from "./art.js";
import { Banners, type GiftLook } from "./banners.js";
import { Spectacle } from "./spectacle.js";
import type { Stage } from "./stage.js";
import { Supporters, SUPPORTERS_SHOWN } from "./supporters.js";

/** What is shown later than this (after a seek or a lost connection) is counted and not played. */
const STALE_MS = 2_500;
/** Combos of fewer gifts end without a word. */
const TOLD_COUNT_MIN = 5;
/** However many give at once: so often something is thrown into the air. */
const TOSS_EVERY_MS = 150;
const CONFETTI = { 2: 26, 3: 90 } as const;

export type GiftEvent = EventOf<"gift.sent" | "gift.combo.ended" | "gift.reversed">;

/** What is said of a gift among the comments. */
export interface GiftNote {
  text: string;
  animation: string;
}

export class GiftLayer {
  readonly banners = new Banners();
  readonly spectacle = new Spectacle();
  readonly supporters: Supporters;
  #stage: Stage;
  #combos = new Combos();
  #senders = new Senders();
  /** What a snapshot says, and the gifts since, until the playhead is there. */
  #next: Senders | null = null;
  #images = new Map<string, HTMLImageElement>();
  #tossedMs = -Infinity;

  constructor(stage: Stage, openBoard: () => void) {
    this.#stage = stage;
    this.supporters = new Supporters(openBoard);
  }

  /** Who gave most as of a moment that `arrive` will tell has come; `included` are gifts in it. */
  begin(senders: readonly SenderCoins[], included: Iterable<string>): void {
    this.#next = new Senders();
    this.#next.reset(senders, included);
  }

  arrive(): void {
    if (this.#next === null) return;
    this.#senders = this.#next;
    this.#next = null;
    this.#showSenders();
  }

  /** An event's moment has come; what is to be said of it among the comments. */
  release(event: GiftEvent, release: Release<LiveEvent>, isOwn: boolean, nowMs: number): GiftNote | null {
    switch (event.type) {
      case "gift.sent":
        return this.#sent(event, isStale(release), isOwn, nowMs);
      case "gift.combo.ended":
        return this.#ended(event, nowMs);
      case "gift.reversed":
        this.#next?.reverse(event);
        this.#senders.reverse(event);
        this.#showSenders();
        return null;
    }
  }

  /** Show one of our own taps as far as it has got. */
  echo(echo: Echo, look: GiftLook, stage: string, nowMs: number): void {
    const { gift, count = 1 } = echo.data as { gift: string; count?: number };
    this.banners.echo(echo, gift, count, look, stage, nowMs);
  }

  draw(nowMs: number): void {
    this.banners.draw(nowMs);
    this.spectacle.draw(nowMs);
  }

  clear(): void {
    this.#combos.clear();
    this.banners.clear();
    this.spectacle.clear();
  }

  #sent(event: EventOf<"gift.sent">, stale: boolean, isOwn: boolean, nowMs: number): GiftNote | null {
    if (isOwn) this.banners.dropEcho(event.causationid ?? event.id, event.data.gift);
    const combo = this.#combos.add(event);
    this.#next?.add(event);
    if (this.#senders.add(event)) this.#showSenders();
    const { tier, name, count, animation } = event.data;
    if (!stale) this.#play(combo, event.data.count, isOwn, nowMs);
    if (tier < 2 || event.data.combo !== undefined) return null;
    return { text: `${event.actorid} sent ${count > 1 ? `${count} × ` : ""}${name}`, animation };
  }

  #play(combo: Combo, taps: number, isOwn: boolean, nowMs: number): void {
    this.banners.add(combo, isOwn, nowMs);
    this.spectacle.play(combo, isOwn, nowMs);
    if (combo.tier === 2 || combo.tier === 3) this.#stage.celebrate(CONFETTI[combo.tier], nowMs);
    const image = this.#image(combo.animation);
    if (combo.tier > 1 || nowMs - this.#tossedMs < TOSS_EVERY_MS) return;
    this.#tossedMs = nowMs;
    if (image.complete && image.naturalWidth > 0) this.#stage.toss(image, taps, nowMs);
  }

  #ended(event: EventOf<"gift.combo.ended">, nowMs: number): GiftNote | null {
    const combo = this.#combos.end(event);
    if (combo === null) return null;
    this.banners.end(combo, nowMs);
    if (combo.count < TOLD_COUNT_MIN) return null;
    return { text: `${combo.actor} sent ${combo.count} × ${combo.name}`, animation: combo.animation };
  }

  #showSenders(): void {
    this.supporters.show(this.#senders.top(SUPPORTERS_SHOWN));
  }

  #image(animation: string): HTMLImageElement {
    const address = artOf(animation).address;
    let image = this.#images.get(address);
    if (image === undefined) {
      image = new Image();
      image.src = address;
      this.#images.set(address, image);
    }
    return image;
  }
}

function isStale({ reason, errorMs }: Release<LiveEvent>): boolean {
  return reason === "epoch" || (errorMs !== null && errorMs > STALE_MS);
}
