// Signs in with a key, and out again.

import { call, Problem } from "./api.js";
import { anyDialog, openDialog } from "./dialogs.js";
import { field, h } from "./dom.js";
import { say } from "./notices.js";
import { describe, forget, keep, key, needsKey, session, who } from "./session.js";

const toggle = document.getElementById("session");

/** Wires the button in the header; `onChange` runs when the caller changes. */
export function mountSession(onChange) {
  toggle.addEventListener("click", () => (key() ? signOut(onChange) : signIn(onChange)));
  session.addEventListener("refused", (event) => {
    if (!anyDialog()) signIn(onChange, event.detail);
  });
  session.addEventListener("change", draw);
  draw();
}

/** Asks the service who is calling; without keys there is no caller to name. */
export async function identify() {
  try {
    describe(await call("GET", "whoami"));
  } catch (error) {
    if (!(error instanceof Problem) || error.status === 401) throw error;
    describe(null);
  }
}

/** Asks for a key; `problem` explains why the last one was refused. */
export function signIn(onChange, problem = null) {
  const input = h("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false" });
  const why = problem ? h("p", { class: "verdict" }, problem.detail) : null;
  const body = [
    why,
    field("Key", input, "Kept in this tab until it closes. Ask your administrator for a key."),
  ];
  openDialog({
    title: "Sign in",
    body,
    submit: "Sign in",
    onSubmit: async () => {
      keep(input.value, await introduce(input.value));
      say("Signed in");
      onChange();
    },
  });
  input.focus();
}

/** Asks the service whose key this is. */
async function introduce(token) {
  try {
    return await call("GET", "whoami", { token, quiet: true });
  } catch (error) {
    if (error.status === 401) error.title = "This key is not valid";
    throw error;
  }
}

function signOut(onChange) {
  forget();
  say("Signed out");
  onChange();
}

function draw() {
  toggle.hidden = !key() && !needsKey();
  toggle.textContent = key() ? "Sign out" : "Sign in";
  const caller = who();
  toggle.title = key() && caller ? [caller.label, `scope ${caller.scope}`].filter(Boolean).join(", ") : "";
}
