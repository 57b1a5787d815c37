// A crop as a card: picture, identity, camera, time and score.

import { h, unseen } from "./dom.js";
import { count, percent, time } from "./format.js";
import { picture } from "./pictures.js";
import { picker } from "./selection.js";

/**
 * @param {Object} crop A crop or match record.
 * @param {{onPick: (crop: Object) => void, hue?: number|null, onGroup?: (crop: Object) => void}} options
 *   `onPick` searches with the crop, `hue` is its identity's colour on the timeline, `nobody` names a
 *   person without identity, `line` is the threshold to compare the score with.
 */
export function cropCard(
  crop,
  { onPick, hue = null, onGroup = null, nobody = "No identity", line = null },
) {
  const name = crop.identity ?? nobody;
  const dot = hue === null ? null : h("span", { class: `dot hue-${hue}`, "aria-hidden": "true" });
  return h(
    "li",
    { class: "crop", "data-crop": crop.crop_id },
    h(
      "button",
      { type: "button", class: "open", title: crop.crop_id, on: { click: () => onPick(crop) } },
      picture(crop.crop_id),
      crop.rank ? h("span", { class: "rank" }, unseen("Rank "), crop.rank) : null,
      unseen(`Search with ${crop.crop_id}: ${describe(crop)}`),
      h("span", { class: "hover", "aria-hidden": "true" }, "Search with this crop"),
    ),
    h(
      "div",
      { class: "facts" },
      h("h3", { class: crop.identity ? "" : "none" }, dot, name, origin(crop)),
      h("p", {}, [crop.camera ?? "camera unknown", track(crop)].filter(Boolean).join(", ")),
      crop.timestamp === null ? null : h("p", { class: "when" }, time(crop.timestamp)),
      crop.score === undefined ? null : certainty(crop, line),
      crop.group_size > 1 && onGroup
        ? h(
            "button",
            { type: "button", class: "link", on: { click: () => onGroup(crop) } },
            `All ${count(crop.group_size, "crop")}`,
          )
        : null,
    ),
    picker(crop),
  );
}

const track = (crop) => (crop.track ? `track ${crop.track}` : null);

/** Describes a crop in one line. */
export function describe(crop) {
  const who = crop.identity === null ? "no identity" : `identity ${crop.identity}`;
  const where = crop.camera === null ? "camera unknown" : `camera ${crop.camera}`;
  const sure =
    crop.probability === null || crop.probability === undefined
      ? null
      : `probability ${percent(crop.probability)}`;
  return [who, where, track(crop), time(crop.timestamp), sure].filter(Boolean).join(", ");
}

function origin(crop) {
  const words = { cluster: "found by clustering", hand: "set by hand", join: "joined on arrival" };
  const word = crop.identity !== null && words[crop.origin];
  return word
    ? h(
        "span",
        { class: "origin", title: `Identity ${word}` },
        { hand: "by hand", cluster: "clustered", join: "joined" }[crop.origin],
      )
    : null;
}

function certainty(match, line) {
  const { score: own, identity_score: group, standardised_score: even, probability } = match;
  const score = group ?? own;
  const title =
    even === null || even === undefined
      ? "Cosine"
      : `Cosine; ${even.toFixed(2)} with camera compensation; results are ranked by it`;
  const cosine = h("span", { class: "score", title }, unseen("score "), score.toFixed(2));
  if (line !== null)
    return h("div", { class: "certainty" }, h("p", {}, passes(score, line), cosine));
  if (probability === null || probability === undefined) return h("p", { class: "certainty" }, cosine);
  const bar = h("span", { class: "fill" });
  bar.style.inlineSize = `${probability * 100}%`;
  return h(
    "div",
    { class: "certainty" },
    h("span", { class: "bar", "aria-hidden": "true" }, bar),
    h(
      "p",
      {},
      h(
        "strong",
        { title: "Probability of the same person, if matching and non-matching pairs are equally likely" },
        unseen("probability "),
        percent(probability),
      ),
      cosine,
    ),
  );
}

function passes(score, line) {
  const title = `The threshold is ${line.toFixed(2)}`;
  return h("strong", { title }, score >= line ? "match" : "below threshold");
}
