// Who is using the page: a key, kept for this tab only, and what it allows.

const KEY = "hhcl-reid-key";
const SCOPES = ["open", "search", "write", "admin"];

/** Announces `refused` (the service wants a key) and `change` (another caller). */
export const session = new EventTarget();

let caller = null;

/** The key, or null. */
export function key() {
  return sessionStorage.getItem(KEY);
}

/** Keeps a key for as long as the tab is open. */
export function keep(value, told) {
  sessionStorage.setItem(KEY, value);
  describe(told);
}

/** Forgets the key. */
export function forget() {
  sessionStorage.removeItem(KEY);
  describe(null);
}

/** Remembers what the service said of the caller; null where it has not said. */
export function describe(told) {
  caller = told;
  session.dispatchEvent(new Event("change"));
}

/** What the service said of the caller. */
export function who() {
  return caller;
}

/** Whether the service asks for a key before it does anything. */
export function needsKey() {
  return caller?.scope === "open";
}

/** Whether the caller may do what needs a scope; the service has the last word. */
export function may(scope) {
  if (!caller || !SCOPES.includes(caller.scope)) return true;
  return SCOPES.indexOf(caller.scope) >= SCOPES.indexOf(scope);
}

/** Tells the page that the service wants a key. */
export function refuse(problem) {
  session.dispatchEvent(new CustomEvent("refused", { detail: problem }));
}
