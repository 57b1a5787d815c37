// Search results: one section per query, ranked crops, and a timeline if times are known.

import { cropCard } from "./crops.js";
import { button, h } from "./dom.js";
import { count, percent } from "./format.js";
import { calibration, current } from "./galleries.js";
import { needsKey } from "./session.js";
import { nameOf, pictureOf } from "./query.js";
import { hues, timeline } from "./timeline.js";
import { warningList } from "./warnings.js";

// A probability holds for one pair. Among more crops than this, somebody resembles the query by chance.
const FEW = 20;

/** Shown before the first search. */
export function showNothing(place) {
  if (needsKey())
    return place.replaceChildren(
      h(
        "div",
        { class: "empty" },
        h("h2", {}, "Sign in first"),
        h("p", {}, "This service requires a key. Ask your administrator for one."),
      ),
    );
  const empty = current()?.crops === 0;
  return place.replaceChildren(
    h(
      "div",
      { class: "empty" },
      h("h2", {}, empty ? "This gallery is empty" : "Find the same person again"),
      empty
        ? h(
            "p",
            {},
            h("a", { href: "#add" }, "Add crops"),
            " to begin: an archive, a folder or single pictures.",
          )
        : h(
            "p",
            {},
            "Search with a cropped picture of one person to see where else they appeared.",
          ),
    ),
  );
}

/** Shown while the service searches. */
export function showWaiting(place) {
  place.replaceChildren(
    h(
      "ul",
      { class: "crops", "aria-label": "Searching" },
      Array.from({ length: 8 }, () => h("li", { class: "crop skeleton" })),
    ),
  );
}

/** Shows an answer. `onPick` receives the crops for the next search; `onNearest` searches without
 * a threshold. */
export function showResults(place, answer, items, actions) {
  const parts = answer.results.map((entry) => part(entry, answer, items, actions));
  place.replaceChildren(...[warningList(answer.warnings), ...parts].filter(Boolean));
}

function part(entry, answer, items, actions) {
  const asked = askedBy(entry, items);
  return h(
    "section",
    { class: "answer" },
    h(
      "div",
      { class: "asked" },
      asked.slice(0, 4).map(pictureOf),
      h(
        "div",
        {},
        h("h2", {}, title(entry)),
        h("p", { class: "hint" }, asked.map(nameOf).join(", ")),
        entry.considered === null
          ? null
          : h("p", { class: "hint considered" }, `Compared with ${count(entry.considered, "crop")}`),
      ),
    ),
    body(entry, answer, actions),
  );
}

/** The pictures of a query: files are matched by position, gallery crops by ID. */
function askedBy(entry, items) {
  const files = items.filter(({ file }) => file);
  const crops = (entry.crop_ids ?? []).map((id) => items.find(({ crop }) => crop?.crop_id === id));
  return [...entry.images.map(({ index }) => files[index]), ...crops].filter(Boolean);
}

function title({ status, matches }) {
  if (status === "error") return "This picture cannot be read";
  return status === "unknown" ? "Unknown person" : count(matches.length, "match", "matches");
}

function body(entry, answer, { onPick, onNearest }) {
  if (entry.status === "error") return h("p", { class: "verdict" }, entry.error.detail);
  const long = entry.considered > FEW;
  if (entry.status === "unknown") return unknown(entry.nearest, answer.min_score, { long, onNearest });
  const colours = hues(entry.matches);
  const options = {
    line: long ? lineOf(answer) : null,
    onPick: (crop) => onPick([crop]),
    onGroup: ({ identity }) => {
      location.hash = `#gallery?identity=${encodeURIComponent(identity)}`;
    },
  };
  const cards = h(
    "ol",
    { class: "crops" },
    entry.matches.map((match) =>
      cropCard(long ? { ...match, probability: null } : match, {
        ...options,
        hue: colours.get(match.identity) ?? null,
      }),
    ),
  );
  const show = ({ crop_id: id }) => {
    const card = [...cards.children].find((one) => one.dataset.crop === id);
    card.querySelector("button").focus();
    card.scrollIntoView({ block: "nearest" });
  };
  return [timeline(entry.matches, colours, show), cards].filter(Boolean);
}

/** The threshold that was chosen, or the model's if everything was asked for. */
function lineOf({ min_score: chosen }) {
  return chosen > -1 ? chosen : (calibration()?.threshold ?? null);
}

function unknown(nearest, line, { long, onNearest }) {
  if (!nearest)
    return h("p", { class: "verdict" }, "No crops match the filters. Select more cameras or a longer time.");
  const sure = long || nearest.probability === null ? "" : ` (probability ${percent(nearest.probability)})`;
  const drawn = line === null ? "the threshold" : `the threshold of ${line.toFixed(2)}`;
  const text = `No match above ${drawn}. The closest crop scored ${nearest.score.toFixed(2)}${sure}.`;
  return h(
    "div",
    { class: "verdict between" },
    h("p", {}, text),
    button("Show the closest", onNearest, "small"),
  );
}
