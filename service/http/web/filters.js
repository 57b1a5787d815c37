// Cameras and a time window: the same two fieldsets wherever crops are chosen.

import { field, h, newId } from "./dom.js";
import { timestampOf } from "./format.js";
import { cameras, current } from "./galleries.js";

/** Checkboxes, one a camera; none ticked means all. */
export function cameraChoice() {
  const counts = current()?.cameras ?? {};
  const boxes = cameras().map((name) => h("input", { type: "checkbox", id: newId("camera"), value: name }));
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "Cameras"),
    boxes.length
      ? h(
          "div",
          { class: "pills" },
          boxes.map((box) =>
            h(
              "span",
              { class: "pill" },
              box,
              h("label", { for: box.id, title: `${counts[box.value]} crops` }, box.value),
            ),
          ),
        )
      : h("p", { class: "hint" }, "No crop names a camera yet."),
    boxes.length ? h("p", { class: "hint" }, "None chosen means all of them.") : null,
  );
  return { element, values: () => boxes.filter((box) => box.checked).map((box) => box.value) };
}

/** From and until, in the reader's time zone. */
export function timeChoice() {
  const since = h("input", { type: "datetime-local", step: "1" });
  const until = h("input", { type: "datetime-local", step: "1" });
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "Time"),
    field("From", since),
    field("Until", until),
    h("p", { class: "hint" }, "Your local time. Crops without a time are left out once you set one."),
  );
  return { element, values: () => ({ since: timestampOf(since.value), until: timestampOf(until.value) }) };
}
