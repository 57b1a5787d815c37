// Signing in with a key, and out again.

import { call, Problem } from "./api.js";
import { anyDialog, openDialog } from "./dialogs.js";
import { field, h } from "./dom.js";
import { say } from "./notices.js";
import { describe, forget, keep, key, needsKey, session, who } from "./session.js";

const toggle = document.getElementById("session");

/** Wires the button in the header; `onChange` runs when the caller is another one. */
export function mountSession(onChange) {
  toggle.addEventListener("click", () => (key() ? signOut(onChange) : signIn(onChange)));
  session.addEventListener("refused", (event) => {
    if (!anyDialog()) signIn(onChange, event.detail);
  });
  session.addEventListener("change", draw);
  draw();
}

/** Asks the service who is calling; a service without keys has nobody to name. */
export async function identify() {
  try {
    describe(await call("GET", "whoami"));
  } catch (error) {
    if (!(error instanceof Problem) || error.status === 401) throw error;
    describe(null);
  }
}

/** Asks for a key; `problem` says why the last one was refused. */
export function signIn(onChange, problem = null) {
  const input = h("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false" });
  const why = problem ? h("p", { class: "verdict" }, problem.detail) : null;
  const body = [
    why,
    field(
      "Key",
      input,
      "Kept in this tab only, and forgotten when it closes. Whoever runs the service gives you one.",
    ),
  ];
  openDialog({
    title: "Sign in",
    body,
    submit: "Sign in",
    onSubmit: async () => {
      keep(input.value, await call("GET", "whoami", { token: input.value, quiet: true }));
      say("Signed in");
      onChange();
    },
  });
  input.focus();
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
