/**
 * Gifts as they are counted up on a screen: one entry per combo, one per gift that does not combo.
 *
 * Pure, and display only. A tap carries the combo's count so far, so the greatest one is right:
 * repeats, gaps and reorder are harmless. Who sums money sums `count` and `coins` of each
 * `gift.sent`, never these.
 */
import type { EventOf } from "./generated/events.js";

export interface Combo {
  /** Of the combo; of the gift itself when it does not combo. */
  readonly key: string;
  readonly actor: string;
  readonly gift: string;
  readonly name: string;
  readonly tier: number;
  readonly animation: string;
  readonly unitPrice: number;
  readonly to: string;
  /** Gifts so far. */
  count: number;
  /** No more taps will follow. */
  isEnded: boolean;
  /** Taps that were counted here. */
  taps: number;
}

/** Combos that are open at once are few; this bounds what a forgotten end costs. */
const COMBOS_MAX = 1_000;

export class Combos {
  #combos = new Map<string, Combo>();

  /** Combos that are known. */
  get size(): number {
    return this.#combos.size;
  }

  /** Count a tap; returns its combo as it is now. */
  add({ id, actorid, data }: EventOf<"gift.sent">): Combo {
    const key = data.combo ?? id;
    const combo = this.#combos.get(key) ?? {
      key,
      actor: actorid ?? "",
      gift: data.gift,
      name: data.name,
      tier: data.tier,
      animation: data.animation,
      unitPrice: data.unit_price,
      to: data.to,
      count: 0,
      isEnded: data.combo === undefined,
      taps: 0,
    };
    combo.count = Math.max(combo.count, data.combo_count ?? data.count);
    combo.taps += 1;
    if (data.combo === undefined) return combo;
    // Whichever was tapped last is last: the first is the one to forget.
    this.#combos.delete(key);
    this.#combos.set(key, combo);
    if (this.#combos.size > COMBOS_MAX) this.#combos.delete(this.#combos.keys().next().value as string);
    return combo;
  }

  /** A combo is over; null when it is not known. It is forgotten here. */
  end({ data }: EventOf<"gift.combo.ended">): Combo | null {
    const combo = this.#combos.get(data.combo);
    if (combo === undefined) return null;
    this.#combos.delete(data.combo);
    combo.count = Math.max(combo.count, data.total_count);
    combo.isEnded = true;
    return combo;
  }

  /** Forget all: the player was moved. */
  clear(): void {
    this.#combos.clear();
  }
}
