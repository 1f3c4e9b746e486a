/** Watch a live room: every event released when your own playhead reaches it. */
export { connect, Room } from "./room.js";
export type { ConnectionState, Echo, RoomEvents, RoomOptions } from "./room.js";
export { RecordedPlayhead, SyntheticPlayhead } from "./playhead.js";
export type { Basis, Playhead } from "./playhead.js";
export { ReleaseScheduler } from "./scheduler.js";
export type { Release, ReleaseReason, SchedulerOptions, Stamped } from "./scheduler.js";
export { Track } from "./track.js";
export type { TrackStats } from "./track.js";
export { MediaClock, ServerClock } from "./clock.js";
export type { MediaTime } from "./clock.js";
export { browserEnvironment } from "./environment.js";
export type { Environment, Socket } from "./environment.js";
export { backoffMs } from "./backoff.js";
export { mayReconnect } from "./frames.js";
export type { Anchor, Backoff, Limits, Outcome, Snapshot } from "./frames.js";
export type * from "./generated/events.js";
export type * from "./generated/requests.js";
