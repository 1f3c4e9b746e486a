/** Our own wallet: what the server says, less what our taps on their way will cost. */
import type { Api } from "@live-engagement/client";

/** After an outcome the server is asked once, when taps have calmed down. */
const SETTLE_MS = 700;
/** A welcome, a refund, another tab: what else moves coins is seen within this. */
const REFRESH_MS = 10_000;
/** A new viewer's first coins are on their way: look more often for a while. */
const EAGER_MS = 1_500;
const EAGER_LOOKS = 12;

export class Wallet {
  #api: Api;
  #user: string;
  #coins: number | null = null;
  #pending = new Map<string, number>();
  #changed: (available: number | null) => void;
  #timer = 0;
  #looks = 0;

  constructor(api: Api, user: string, changed: (available: number | null) => void) {
    this.#api = api;
    this.#user = user;
    this.#changed = changed;
    void this.#refresh();
  }

  /** What can be spent now; null while it is not known. */
  get available(): number | null {
    if (this.#coins === null) return null;
    const onTheWay = [...this.#pending.values()].reduce((sum, one) => sum + one, 0);
    return Math.max(0, this.#coins - onTheWay);
  }

  /** A tap is sent. */
  reserve(id: string, coins: number): void {
    this.#pending.set(id, coins);
    this.#changed(this.available);
  }

  /** It is decided. */
  settle(id: string, isPaid: boolean): void {
    const coins = this.#pending.get(id);
    if (coins === undefined) return;
    this.#pending.delete(id);
    if (isPaid && this.#coins !== null) this.#coins -= coins;
    this.#changed(this.available);
    this.#lookIn(SETTLE_MS);
  }

  async #refresh(): Promise<void> {
    if (document.visibilityState === "visible") {
      try {
        const { coins } = await this.#api.wallet(this.#user);
        this.#coins = coins;
      } catch {
        // A wallet that nothing was ever put into, or no gateway right now: look again.
      }
      this.#changed(this.available);
    }
    this.#looks += 1;
    const isNew = (this.#coins ?? 0) === 0 && this.#looks < EAGER_LOOKS;
    this.#lookIn(isNew ? EAGER_MS : REFRESH_MS);
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#refresh(), ms);
  }
}
