// Warnings of the service about a filter, shown with the answer.

import { h } from "./dom.js";

/** A list of warnings, or null if there are none. */
export function warningList(warnings = []) {
  if (!warnings.length) return null;
  return h(
    "ul",
    { class: "verdict warnings", "aria-label": "Warnings" },
    warnings.map(({ detail }) => h("li", {}, detail)),
  );
}
