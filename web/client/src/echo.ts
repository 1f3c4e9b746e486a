/** What our own comments and gifts are doing until everybody sees them. */
import type { RequestData, RequestType } from "./generated/requests.js";

/** What one of our own comments or gifts is doing, from the moment it is sent. */
export interface Echo {
  readonly id: string;
  readonly type: RequestType;
  readonly data: RequestData[RequestType];
  readonly sentMs: number;
  /**
   * `accepted`: it is on the log; `paid`: a gift's coins are taken; `shown`: the fact with this id
   * has arrived, and each track releases it at its own playhead.
   */
  status: "sending" | "accepted" | "paid" | "shown" | "refused";
  /** Why it was refused. */
  code?: string;
}

const ECHOES_MAX = 1_000;

export class Echoes {
  #echoes = new Map<string, Echo>();

  get(id: string): Echo | undefined {
    return this.#echoes.get(id);
  }

  /** Remember one; the oldest is forgotten beyond the bound. */
  add(echo: Echo): void {
    this.#echoes.set(echo.id, echo);
    if (this.#echoes.size > ECHOES_MAX) {
      const [oldest] = this.#echoes.keys();
      this.#echoes.delete(oldest as string);
    }
  }
}

/** Whether everybody's view of it has to be shown to its sender ahead of time. */
export function isEchoed(type: RequestType): boolean {
  return type === "comment.post" || type === "gift.send";
}
