// A progress bar with text.

import { button, h, newId } from "./dom.js";

/** A progress bar with a title; `set(share, words)` updates it. */
export function bar(title, { onCancel = null } = {}) {
  const id = newId("progress");
  const meter = h("progress", { max: 1, id });
  const words = h("p", { class: "hint" });
  const element = h(
    "div",
    { class: "card job" },
    h(
      "div",
      { class: "between" },
      h("label", { for: id }, title),
      onCancel ? button("Cancel", onCancel, "quiet small") : null,
    ),
    meter,
    words,
  );
  const set = (share, said = `${Math.round(share * 100)} %`) => {
    meter.value = share;
    words.textContent = said;
  };
  return { element, set };
}
