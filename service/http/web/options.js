// How to search: what takes part, where the line is, how results are ordered.

import { checkbox, field, h, select } from "./dom.js";
import { cameraChoice, timeChoice } from "./filters.js";
import { cameras, galleries } from "./galleries.js";
import { query, queryItems } from "./query.js";
import { thresholdChoice } from "./threshold.js";

let parts = null;

/** Builds the part of the form, anew for each gallery. */
export function mountOptions(place) {
  let shown = null;
  const draw = () => {
    const state = JSON.stringify([cameras(), thresholdChoice().value()]);
    if (state === shown) return; // new counts alone shall not undo what was chosen
    shown = state;
    parts = build();
    place.replaceChildren(...parts.elements);
    follow();
  };
  galleries.addEventListener("change", draw);
  query.addEventListener("change", follow);
  draw();
}

/** Chooses that everything counts as a match. */
export function showEverything() {
  parts.threshold.everything();
}

/** Adds what was chosen to a search's form. */
export function addOptions(form) {
  const { since, until } = parts.time.values();
  const chosen = {
    since,
    until,
    min_score: parts.threshold.value(),
    top_k: parts.many.value,
    rerank: parts.rerank.box.checked || null,
    standardise: parts.standardise.value,
    combine: (parts.combine.box.checked && queryItems().length > 1) || null,
    group_by: parts.group.value ? "identity" : null,
    identity_score: parts.group.value,
    camera: parts.camera.value,
    exclude_same_camera: (parts.exclude.box.checked && !parts.exclude.box.disabled) || null,
  };
  for (const camera of parts.where.values()) form.append("cameras", camera);
  for (const [name, value] of Object.entries(chosen)) {
    if (value !== null && value !== "") form.append(name, value);
  }
}

function build() {
  const where = cameraChoice();
  const time = timeChoice();
  const threshold = thresholdChoice();
  const many = h("input", { type: "number", min: "1", max: "1000", value: 24, inputmode: "numeric" });
  const rerank = checkbox("Re-rank", { hint: "Order by shared neighbours as well; slower, often better." });
  const standardise = select({ "": "As the service does", true: "Yes", false: "No" });
  const group = select({
    "": "No",
    best: "Yes, by the best crop",
    mean: "Yes, by the mean crop",
    top3: "Yes, by the best three",
  });
  const combine = checkbox("All pictures show one person", { hint: "They make one query together." });
  const camera = select({ "": "Unknown", ...Object.fromEntries(cameras().map((name) => [name, name])) });
  const exclude = checkbox("Leave out crops of that camera");
  const how = h(
    "fieldset",
    {},
    h("legend", {}, "How to search"),
    combine.row,
    field("Group by identity", group),
    rerank.row,
    field(
      "Even out the cameras",
      standardise,
      "Standardise embeddings per camera, so that colour and light differ less.",
    ),
    field("Camera of the pictures", camera, "Crops of the gallery bring their own."),
    exclude.row,
    field("Most results", many),
  );
  camera.addEventListener("change", () => follow());
  const first = [where.element, threshold.element];
  const narrow = matchMedia("(max-width: 56rem)").matches; // results come soon after the button
  const more = h(
    "details",
    { class: "more" },
    h("summary", {}, narrow ? "Options" : "Time and more options"),
    narrow ? first : null,
    time.element,
    how,
  );
  return {
    elements: narrow ? [more] : [...first, more],
    where,
    time,
    threshold,
    many,
    rerank,
    standardise,
    group,
    combine,
    camera,
    exclude,
  };
}

function follow() {
  const items = queryItems();
  parts.combine.box.disabled = items.length < 2;
  parts.exclude.box.disabled = !parts.camera.value && items.some(({ file }) => file);
}
