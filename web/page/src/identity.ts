/** Who is watching: a token from the embedding site, or a made-up name where the server trusts it. */

const USER_KEY = "engagement.user";
const TOKEN_KEY = "engagement.token";

export interface Identity {
  /** What a token says about us, for marking our own comments; null when unknown. */
  user: string | null;
  /** null: nobody is signed in. */
  token: string | null;
}

declare global {
  /** A page that embeds this one may say who is watching. */
  // eslint-disable-next-line no-var
  var ENGAGEMENT_TOKEN: string | undefined;
}

/** Whether the server trusts made-up names (`ENGAGEMENT_AUTH=dev`). */
export function isDevelopment(): boolean {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="engagement-auth"]');
  return meta?.content === "dev";
}

/** A token from the address's fragment (which never leaves the browser), the page, or this tab. */
export function identify(): Identity {
  const token = tokenFromAddress() ?? globalThis.ENGAGEMENT_TOKEN ?? sessionStorage.getItem(TOKEN_KEY);
  if (token !== null) return { token, user: subjectOf(token) };
  if (!isDevelopment()) return { token: null, user: null };
  const user = developmentUser();
  return { user, token: `dev:${user}` };
}

/** In development mode: somebody else, with a role. */
export function developmentToken(user: string, role: string): string {
  return `dev:${user}:${role}`;
}

function tokenFromAddress(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return null;
  sessionStorage.setItem(TOKEN_KEY, token);
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** `sub` of a JWT, unverified: only to show whose page this is. */
function subjectOf(token: string): string | null {
  if (token.startsWith("dev:")) return token.split(":")[1] ?? null;
  try {
    const payload = token.split(".")[1] ?? "";
    const claims: unknown = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    const subject = (claims as { sub?: unknown }).sub;
    return typeof subject === "string" ? subject : null;
  } catch {
    return null;
  }
}

const MOODS = ["amber", "bold", "calm", "deft", "fond", "glad", "jade", "keen", "lunar", "mellow", "noble", "quick", "solar", "vivid", "wild"];
const ANIMALS = ["crane", "dingo", "finch", "gecko", "heron", "ibis", "koala", "lemur", "lynx", "otter", "panda", "raven", "seal", "tapir", "wren"];

function developmentUser(): string {
  const kept = localStorage.getItem(USER_KEY);
  if (kept !== null && /^[A-Za-z0-9_.~@+=|-]{1,128}$/.test(kept)) return kept;
  const pick = (words: string[]) => words[Math.floor(Math.random() * words.length)] as string;
  const user = `${pick(MOODS)}-${pick(ANIMALS)}-${Math.floor(Math.random() * 1_000)}`;
  localStorage.setItem(USER_KEY, user);
  return user;
}
