// What the service finds odd about a filter: sentences, shown where the answer is.

import { h } from "./dom.js";

/** A list of sentences, or null if there is nothing to say. */
export function warningList(warnings = []) {
  if (!warnings.length) return null;
  return h(
    "ul",
    { class: "verdict warnings", "aria-label": "Warnings" },
    warnings.map(({ detail }) => h("li", {}, detail)),
  );
}
