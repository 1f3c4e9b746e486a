/** Who gave most in this session, at a playhead: a snapshot, and the gifts after it. Pure. */
import type { SenderCoins } from "./frames.js";
import type { EventOf } from "./generated/events.js";

/** Beyond it those with the fewest coins are forgotten, by half. */
const SENDERS_MAX = 10_000;
const GIFTS_MAX = 20_000;

export class Senders {
  #coins = new Map<string, number>();
  /** Sender and coins by gift, for those that are taken back. */
  #gifts = new Map<string, { actor: string; coins: number }>();
  #included = new Set<string>();

  /** Begin with these; `included` are gifts in it that will be added all the same. */
  reset(senders: readonly SenderCoins[], included: Iterable<string> = []): void {
    this.#coins = new Map(senders.map(({ actor, coins }) => [actor, coins]));
    this.#gifts.clear();
    this.#included = new Set(included);
  }

  /** Add a gift; false when the snapshot holds it already. */
  add(event: EventOf<"gift.sent">): boolean {
    const actor = event.actorid ?? "";
    if (this.#included.delete(event.id)) return false;
    this.#coins.set(actor, (this.#coins.get(actor) ?? 0) + event.data.coins);
    this.#gifts.set(event.id, { actor, coins: event.data.coins });
    if (this.#gifts.size > GIFTS_MAX) this.#gifts.delete(this.#gifts.keys().next().value as string);
    if (this.#coins.size > SENDERS_MAX) this.#coins = new Map(this.#sorted().slice(0, SENDERS_MAX / 2));
    return true;
  }

  /** A gift was taken back. */
  reverse({ data }: EventOf<"gift.reversed">): void {
    const gift = this.#gifts.get(data.request);
    if (gift === undefined) return;
    this.#gifts.delete(data.request);
    const coins = (this.#coins.get(gift.actor) ?? 0) - gift.coins;
    if (coins > 0) this.#coins.set(gift.actor, coins);
    else this.#coins.delete(gift.actor);
  }

  /** The first `max`, most coins first. */
  top(max: number): SenderCoins[] {
    return this.#sorted().slice(0, max).map(([actor, coins]) => ({ actor, coins }));
  }

  #sorted(): [string, number][] {
    return [...this.#coins].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  }
}
