// Where the line between a match and none is drawn, and what that means.

import { checkbox, h, newId } from "./dom.js";
import { percent } from "./format.js";
import { calibration } from "./galleries.js";

const EVERYTHING = -1;

/** A slider on the cosine, starting at the model's own line. */
export function thresholdChoice() {
  const line = calibration();
  const start = line ? line.threshold : 0.5;
  const slider = h("input", {
    type: "range",
    min: "0",
    max: "1",
    step: "0.01",
    value: start,
    id: newId("threshold"),
  });
  const shown = h("output", { for: slider.id });
  const meaning = h("p", { class: "hint", id: `${slider.id}-meaning` });
  const all = checkbox("Show the nearest, however far");
  const back = h("button", { type: "button", class: "link" }, "Back to the model’s line");
  let moved = !line;
  const draw = () => {
    slider.disabled = all.box.checked;
    shown.value = all.box.checked ? "off" : Number(slider.value).toFixed(2);
    meaning.textContent = all.box.checked
      ? "Everything counts as a match, best first."
      : explain(Number(slider.value), line, moved);
    back.hidden = !line || !moved || all.box.checked;
  };
  slider.setAttribute("aria-describedby", meaning.id);
  slider.addEventListener("input", () => {
    moved = true;
    draw();
  });
  all.box.addEventListener("change", draw);
  back.addEventListener("click", () => {
    slider.value = start;
    moved = false;
    draw();
    slider.focus();
  });
  draw();
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "Threshold"),
    h(
      "div",
      { class: "field" },
      h("div", { class: "between" }, h("label", { for: slider.id }, "Least score of a match"), shown),
      slider,
      meaning,
      back,
    ),
    all.row,
  );
  const value = () => (all.box.checked ? EVERYTHING : moved ? Number(slider.value) : null);
  const everything = () => {
    all.box.checked = true;
    draw();
  };
  return { element, value, everything };
}

/** A cosine's probability: that both crops show one identity, if right and wrong pairs were equally
 * frequent. */
export function probabilityOf(score, { slope, intercept }) {
  return 1 / (1 + Math.exp(-(slope * score + intercept)));
}

function explain(score, line, moved) {
  if (!line) return "This model is not calibrated: higher is stricter.";
  if (moved)
    return `A pair at this score shows one person with probability ${percent(probabilityOf(score, line))}, if right and wrong pairs were equally frequent.`;
  const wrong = Math.round(1 / Math.max(line.false_match_rate, 1e-9));
  return `The model’s own line: of pairs that show two people about 1 in ${wrong.toLocaleString()} passes, of pairs that show one person ${percent(line.true_match_rate)}.`;
}
