// Cameras and a time window: two fieldsets shared by all views that select crops.

import { field, h, newId } from "./dom.js";
import { timestampOf } from "./format.js";
import { cameras, current } from "./galleries.js";

/** One checkbox per camera; none checked means all cameras. */
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
      : h("p", { class: "hint" }, "No crop has a camera yet."),
    boxes.length ? h("p", { class: "hint" }, "None selected means all cameras.") : null,
  );
  return { element, values: () => boxes.filter((box) => box.checked).map((box) => box.value) };
}

/** From and until, in the browser's time zone. */
export function timeChoice() {
  const since = h("input", { type: "datetime-local", step: "1" });
  const until = h("input", { type: "datetime-local", step: "1" });
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "Time"),
    field("From", since),
    field("Until", until),
    h("p", { class: "hint" }, "In your local time. Crops without a time are excluded if you set either."),
  );
  return { element, values: () => ({ since: timestampOf(since.value), until: timestampOf(until.value) }) };
}
