// The match threshold, and what it means.

import { checkbox, h, newId } from "./dom.js";
import { percent } from "./format.js";
import { calibration } from "./galleries.js";

const EVERYTHING = -1;

/** A slider for the cosine threshold, starting at the model's default. */
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
  const all = checkbox("Show the closest, even below the threshold");
  const back = h("button", { type: "button", class: "link" }, "Reset to the model’s default");
  let moved = !line;
  const draw = () => {
    slider.disabled = all.box.checked;
    shown.value = all.box.checked ? "off" : Number(slider.value).toFixed(2);
    meaning.textContent = all.box.checked
      ? "Everything counts as a match; best first."
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
      h("div", { class: "between" }, h("label", { for: slider.id }, "Minimum score"), shown),
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

/** The probability that two crops with this cosine show one identity, if matching and
 * non-matching pairs are equally likely. */
export function probabilityOf(score, { slope, intercept }) {
  return 1 / (1 + Math.exp(-(slope * score + intercept)));
}

function explain(score, line, moved) {
  if (!line) return "This model is not calibrated: higher is stricter.";
  const probable = line.slope !== null;
  if (moved && !probable) return "This model gives no probabilities: higher is stricter.";
  if (moved)
    return `At this score, two crops show the same person with probability ${percent(probabilityOf(score, line))}, if matching and non-matching pairs are equally likely.`;
  const wrong = Math.round(1 / Math.max(line.false_match_rate, 1e-9));
  const rest = probable ? `, and ${percent(line.true_match_rate)} of pairs of the same person` : "";
  return `Default threshold: about 1 in ${wrong.toLocaleString()} pairs of different people scores above it${rest}.`;
}
