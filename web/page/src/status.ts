/** The pill that says how we are connected. */
import type { ConnectionState, LiveEvent, Room } from "@live-engagement/client";
import { el } from "./dom.js";
import { duration } from "./format.js";
import { closing } from "./words.js";

const SAMPLES = 40;

export class StatusPill {
  readonly root: HTMLElement;
  #room: Room;
  #text = el("span", { role: "status" }, "Connecting…");
  #figures = el("span", { class: "figures", "aria-hidden": "true" });
  #latenciesMs: number[] = [];
  #retryAtMs = 0;

  constructor(room: Room) {
    this.#room = room;
    this.root = el("div", { class: "pill", "data-state": "connecting" }, el("i", { class: "dot" }), this.#text, this.#figures);
    room.on("state", (state) => this.#become(state));
    room.on("arrival", (event) => this.#arrived(event));
    setInterval(() => this.#tick(), 500);
  }

  #become(state: ConnectionState): void {
    this.root.dataset["state"] = state.state;
    if (state.state === "connecting") this.#text.textContent = "Connecting…";
    if (state.state === "live") this.#text.textContent = "Connected";
    if (state.state === "closed") this.#text.textContent = closing(state.code);
    if (state.state === "waiting") {
      this.#retryAtMs = this.#room.now() + state.retryInMs;
      this.#text.textContent = "Reconnecting";
    }
    this.#tick();
  }

  #arrived(event: LiveEvent): void {
    const latencyMs = this.#room.server.at(this.#room.now()) - Date.parse(event.time);
    // Events that were missed or came with the snapshot say nothing about now.
    if (!(latencyMs < 2_000)) return;
    this.#latenciesMs.push(Math.max(0, latencyMs));
    if (this.#latenciesMs.length > SAMPLES) this.#latenciesMs.shift();
  }

  #tick(): void {
    const state = this.#room.state.state;
    const parts: string[] = [];
    if (state === "waiting") {
      parts.push(`in ${Math.max(0, (this.#retryAtMs - this.#room.now()) / 1000).toFixed(0)} s`);
    }
    if (state === "live") {
      const sorted = [...this.#latenciesMs].sort((a, b) => a - b);
      const median = sorted[Math.floor(sorted.length / 2)];
      const { roundTripMs } = this.#room.server;
      if (roundTripMs !== null) parts.push(`rtt ${duration(roundTripMs)}`);
      if (median !== undefined) parts.push(`events ${duration(median)}`);
    }
    this.#figures.textContent = parts.join(" · ");
  }
}
