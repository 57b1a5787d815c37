// What the page has to say: errors stay until dismissed, news goes by itself.

import { button, h } from "./dom.js";

const SECONDS = 6;
const alerts = document.getElementById("alerts");
const status = document.getElementById("status");
let timer = 0;

/** Shows an error; a request somebody cancelled is none, and a refused key has its own dialog. */
export function showError(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  const [title, detail] = error.title ? [error.title, error.detail] : ["Something went wrong", error.message];
  const notice = h(
    "div",
    { class: "notice error" },
    h(
      "div",
      {},
      h("strong", {}, title),
      detail && h("p", {}, detail),
      error.wait && h("p", {}, `Try again in ${error.wait} s.`),
    ),
    button("×", () => notice.remove(), "quiet small", { "aria-label": "Dismiss" }),
  );
  alerts.replaceChildren(notice);
}

/** Says that something is done; `seen` is false where the page shows it anyway and only screen
 * readers need words. */
export function say(text, { seen = true } = {}) {
  clearTimeout(timer);
  status.replaceChildren(h("div", { class: seen ? "notice" : "unseen" }, text));
  timer = setTimeout(() => status.replaceChildren(), SECONDS * 1000);
}

/** Takes back what was said, when something new begins. */
export function clearNotices() {
  alerts.replaceChildren();
}

/** Runs a listener's work and shows what goes wrong. */
export function guarded(work) {
  return async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      showError(error);
      if (!("status" in error) && error.name !== "AbortError") console.error(error);
      return undefined;
    }
  };
}
