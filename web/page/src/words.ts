/** What codes of the server mean to a person. */

const REFUSALS: Record<string, string> = {
  muted: "You are muted in this room for now.",
  banned: "You are banned from this room.",
  moderated: "The word list of this room does not allow that.",
  rate_limited: "Slow down a little.",
  room_closed: "The host has ended this live.",
  room_not_found: "This room is not open.",
  insufficient_funds: "Not enough coins.",
  unknown_gift: "This gift is not sold any more.",
  gift_not_found: "This gift is not sold any more.",
  self_gift: "You cannot send gifts to yourself.",
  undecided: "Nobody could say yet whether it was paid.",
  room_in_battle: "That room is in another battle.",
  battle_expired: "The invitation has run out.",
  battle_exists: "There is such a battle already.",
  same_host: "A host cannot fight alone.",
  bad_sides: "A battle needs two to nine different rooms.",
  forbidden: "You may not do that here.",
  too_large: "That is too long.",
  log_unavailable: "The server cannot take it right now.",
  unavailable: "The server cannot take it right now.",
  unacknowledged: "The server did not confirm it.",
  outbox_full: "Too much is waiting to be sent.",
  closed: "You are not connected.",
};

const CLOSINGS: Record<number, string> = {
  3500: "Your sign-in was not accepted.",
  3501: "You are banned from this room.",
  3502: "This page and the server do not understand each other: reload it.",
  3503: "This room is not open.",
  3504: "The server did not hear who you are: reload the page.",
};

export function refusal(code: string | undefined): string {
  return REFUSALS[code ?? ""] ?? `The server refused it (${code ?? "no reason given"}).`;
}

export function closing(code: number): string {
  return CLOSINGS[code] ?? "The connection was closed for good.";
}

const TRANSPORTS: Record<string, string> = {
  synthetic: "no video in this demo: the host's clock itself is shown",
};

export function transport(kind: string): string {
  return TRANSPORTS[kind] ?? kind;
}
