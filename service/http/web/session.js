// The current user: a key, kept for this tab only, and what it allows.

const KEY = "hhcl-reid-key";
const SCOPES = ["open", "search", "write", "admin"];

/** Fires `refused` (a key is required) and `change` (the caller changed). */
export const session = new EventTarget();

let caller = null;

/** The key, or null. */
export function key() {
  return sessionStorage.getItem(KEY);
}

/** Stores a key until the tab closes. */
export function keep(value, told) {
  sessionStorage.setItem(KEY, value);
  describe(told);
}

/** Forgets the key. */
export function forget() {
  sessionStorage.removeItem(KEY);
  describe(null);
}

/** Stores what the service reported about the caller; null if unknown. */
export function describe(told) {
  caller = told;
  session.dispatchEvent(new Event("change"));
}

/** What the service reported about the caller. */
export function who() {
  return caller;
}

/** Whether the service requires a key. */
export function needsKey() {
  return caller?.scope === "open";
}

/** Whether the caller has a scope; the service makes the final decision. */
export function may(scope) {
  if (!caller || !SCOPES.includes(caller.scope)) return true;
  return SCOPES.indexOf(caller.scope) >= SCOPES.indexOf(scope);
}

/** Tells the page that the service requires a key. */
export function refuse(problem) {
  session.dispatchEvent(new CustomEvent("refused", { detail: problem }));
}
