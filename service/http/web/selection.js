// The selected crops, and the bar of actions on them.

import { button, checkbox, h, unseen } from "./dom.js";
import { count } from "./format.js";
import { galleries } from "./galleries.js";
import { may } from "./session.js";

const bar = document.getElementById("selection");
const picked = new Map(); // crop_id -> crop
let actions = [];

galleries.addEventListener("change", () => {
  const gone = picked.size > 0;
  if (gone) clearSelection();
});

/** Sets the actions, each `{label, scope, kind, run(crops)}`. */
export function offer(offered) {
  actions = offered;
}

/** The selected crops. */
export function selected() {
  return [...picked.values()];
}

/** Clears the selection. */
export function clearSelection() {
  picked.clear();
  for (const box of document.querySelectorAll("input[data-pick]")) box.checked = false;
  draw();
}

/** A checkbox that selects a crop. */
export function picker(crop) {
  const { row, box } = checkbox(unseen(`Select ${crop.crop_id}`), { "data-pick": crop.crop_id });
  box.checked = picked.has(crop.crop_id);
  box.addEventListener("change", () => {
    if (box.checked) picked.set(crop.crop_id, crop);
    else picked.delete(crop.crop_id);
    draw();
  });
  row.classList.add("pick");
  return row;
}

function draw() {
  bar.hidden = picked.size === 0;
  bar.replaceChildren(
    h("span", { class: "many", role: "status" }, `${count(picked.size, "crop")} selected`),
    ...actions
      .filter(({ scope }) => may(scope))
      .map(({ label, kind, run }) => button(label, () => run(selected()), kind)),
    button("Clear", clearSelection, "quiet"),
  );
}
