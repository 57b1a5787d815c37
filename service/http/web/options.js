// Search options: filters, threshold and order of results.

import { checkbox, field, h, select } from "./dom.js";
import { cameraChoice, timeChoice } from "./filters.js";
import { cameras, galleries } from "./galleries.js";
import { query, queryItems } from "./query.js";
import { thresholdChoice } from "./threshold.js";

let parts = null;

/** Builds this part of the form; rebuilt for each gallery. */
export function mountOptions(place) {
  let shown = null;
  const draw = () => {
    const state = JSON.stringify([cameras(), thresholdChoice().value()]);
    if (state === shown) return; // new counts alone must not reset the choices
    shown = state;
    parts = build();
    place.replaceChildren(...parts.elements);
    follow();
  };
  galleries.addEventListener("change", draw);
  query.addEventListener("change", follow);
  draw();
}

/** Selects that everything counts as a match. */
export function showEverything() {
  parts.threshold.everything();
}

/** Adds the choices to a search form. */
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
  const rerank = checkbox("Re-rank", { hint: "Also compare shared neighbours. Slower, often better." });
  const standardise = select({ "": "Default", true: "Yes", false: "No" });
  const group = select({
    "": "No",
    best: "Yes, by best crop",
    mean: "Yes, by mean crop",
    top3: "Yes, by best three crops",
  });
  const combine = checkbox("All pictures show one person", { hint: "They are combined into one query." });
  const camera = select({ "": "Unknown", ...Object.fromEntries(cameras().map((name) => [name, name])) });
  const exclude = checkbox("Exclude crops from this camera");
  const how = h(
    "fieldset",
    {},
    h("legend", {}, "Search options"),
    combine.row,
    field("Group by identity", group),
    rerank.row,
    field(
      "Camera compensation",
      standardise,
      "Standardises embeddings per camera to reduce differences in colour and light.",
    ),
    field("Camera of the pictures", camera, "Gallery crops use their own camera."),
    exclude.row,
    field("Maximum results", many),
  );
  camera.addEventListener("change", () => follow());
  const first = [where.element, threshold.element];
  const narrow = matchMedia("(max-width: 56rem)").matches; // keeps the results close to the button
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
