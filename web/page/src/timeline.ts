/** A room's whole timeline, read page by page, and what a seek needs to know of it. */
import type { Api, LiveEvent } from "@live-engagement/client";

const PAGE_EVENTS = 1_000;
/** Some 40 MB; a longer timeline is played up to here and says so. */
const EVENTS_MAX = 50_000;

/** First and last media time of one epoch, and its first event. */
export interface Span {
  epoch: number;
  fromMs: number;
  toMs: number;
}

export class Timeline {
  /** In media order: by epoch, then by time. */
  readonly events: LiveEvent[] = [];
  readonly spans: Span[] = [];
  readonly removed = new Set<string>();
  isTruncated = false;

  /** Read on to the end; `loaded` is called after every page. Raises ApiError. */
  async load(api: Api, room: string, loaded: () => void): Promise<void> {
    let after: string | null = null;
    do {
      const page: { items: LiveEvent[]; next: string | null } = await api.timeline(room, PAGE_EVENTS, after);
      for (const event of page.items) this.add(event);
      after = page.next;
      this.isTruncated = after !== null && this.events.length >= EVENTS_MAX;
      loaded();
    } while (after !== null && !this.isTruncated);
  }

  /** Take the next event in. One without a stamp has no place in a replay. */
  add(event: LiveEvent): void {
    const { mediaepoch: epoch, mediapts: ptsMs } = event;
    if (epoch === undefined || ptsMs === undefined) return;
    if (event.type === "comment.removed") this.removed.add(event.data.target);
    this.events.push(event);
    const last = this.spans.at(-1);
    if (last === undefined || last.epoch !== epoch) {
      this.spans.push({ epoch, fromMs: ptsMs, toMs: ptsMs });
      return;
    }
    last.fromMs = Math.min(last.fromMs, ptsMs);
    last.toMs = Math.max(last.toMs, ptsMs);
  }

  /** How many events come before this media time: the index of the first that does not. */
  indexAt(epoch: number, ptsMs: number): number {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.events[middle] as LiveEvent, epoch, ptsMs)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The newest of these types before `index`, each. */
  latest(index: number, types: readonly string[]): LiveEvent[] {
    const missing = new Set(types);
    const found: LiveEvent[] = [];
    for (let at = index - 1; at >= 0 && missing.size > 0; at -= 1) {
      const event = this.events[at] as LiveEvent;
      if (missing.delete(event.type)) found.push(event);
    }
    return found;
  }
}

function isBefore(event: LiveEvent, epoch: number, ptsMs: number): boolean {
  const eventEpoch = event.mediaepoch ?? 0;
  return eventEpoch !== epoch ? eventEpoch < epoch : (event.mediapts ?? 0) < ptsMs;
}
