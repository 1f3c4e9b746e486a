/** Listeners by event name. A listener that throws does not keep others from hearing. */
export class Emitter<Events extends Record<string, unknown[]>> {
  #listeners: { [Name in keyof Events]?: Set<(...args: Events[Name]) => void> } = {};

  /** Call `listener` on every `name`; the returned function takes it away again. */
  on<Name extends keyof Events>(name: Name, listener: (...args: Events[Name]) => void): () => void {
    const listeners = (this.#listeners[name] ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  protected emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): void {
    for (const listener of this.#listeners[name] ?? []) {
      try {
        listener(...args);
      } catch (error) {
        reportLate(error);
      }
    }
  }
}

/** As an unhandled error of its own, where the page's error reporting sees it. */
function reportLate(error: unknown): void {
  if (typeof globalThis.reportError === "function") {
    globalThis.reportError(error);
    return;
  }
  queueMicrotask(() => {
    throw error;
  });
}
