// Messages: errors stay until dismissed, other messages disappear.

import { button, h } from "./dom.js";

const SECONDS = 6;
const alerts = document.getElementById("alerts");
const status = document.getElementById("status");
let timer = 0;

/** Shows an error, unless a request was cancelled or the key was refused (which has its own dialog). */
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

/** Announces a result; `seen` is false if the page shows it already and only screen readers
 * need words. */
export function say(text, { seen = true } = {}) {
  clearTimeout(timer);
  status.replaceChildren(h("div", { class: seen ? "notice" : "unseen" }, text));
  timer = setTimeout(() => status.replaceChildren(), SECONDS * 1000);
}

/** Removes all messages when something new starts. */
export function clearNotices() {
  alerts.replaceChildren();
}

/** Wraps a listener so that its errors are shown. */
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
