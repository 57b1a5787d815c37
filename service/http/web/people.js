// The identities of a gallery: one card a person.

import { at, call } from "./api.js";
import { openDialog } from "./dialogs.js";
import { button, field, h, select, unseen } from "./dom.js";
import { count, time } from "./format.js";
import { current } from "./galleries.js";
import { guarded, say } from "./notices.js";
import { picture } from "./pictures.js";

const PAGE = 60;

/** Lists everybody into an element. */
export async function listPeople(place) {
  const grid = h("ul", { class: "crops", "aria-label": "People" });
  const about = h("p", { class: "hint" });
  place.replaceChildren(h("h2", { class: "unseen" }, "People"), about, grid);
  await more(place, grid, about, null);
}

async function more(place, grid, about, cursor) {
  const page = await call("GET", at("galleries", current().name, "identities"), {
    query: { limit: PAGE, cursor },
  });
  if (!grid.isConnected) return; // something else was asked for meanwhile
  about.textContent = `${count(page.total, "identity", "identities")}; ${count(page.unnamed, "crop")} without one.`;
  const first = grid.children.length;
  grid.append(...page.identities.map(card));
  const next = page.cursor
    ? button(
        "Show more",
        guarded(() => {
          next.remove();
          return more(place, grid, about, page.cursor);
        }),
      )
    : null;
  if (next) place.append(next);
  if (cursor) grid.children[first]?.querySelector("a").focus();
}

function card(person) {
  const cameras = Object.keys(person.cameras);
  const seen = [person.first, person.last].filter((moment) => moment !== null).map(time);
  return h(
    "li",
    { class: "crop" },
    h(
      "a",
      { class: "open", href: `#gallery?identity=${encodeURIComponent(person.identity)}` },
      picture(person.example),
      unseen(`Crops of ${person.identity}`),
    ),
    h(
      "div",
      { class: "facts" },
      h("h3", {}, person.identity),
      h("p", {}, `${count(person.crops, "crop")} on ${count(cameras.length, "camera")}`),
      seen.length ? h("p", {}, [...new Set(seen)].join(" – ")) : null,
    ),
  );
}

/** Asks how crops without a name shall be grouped, and starts it. */
export function groupCrops() {
  const eps = h("input", {
    type: "number",
    min: "0.05",
    max: "0.95",
    step: "0.05",
    placeholder: "as the service does",
  });
  const least = h("input", { type: "number", min: "1", max: "1000", placeholder: "as the service does" });
  const standardise = select({ "": "As the service does", true: "Yes", false: "No" });
  openDialog({
    title: `Group ${current().name} into persons`,
    body: [
      h(
        "p",
        { class: "hint" },
        "Crops that nobody named are grouped by how alike they look. Names that were given or set by hand stay as they are.",
      ),
      field("Distance of neighbours", eps, "0 to 1; a larger one groups more."),
      field("Least crops of a group", least),
      field("Even out the cameras first", standardise, "Standardise embeddings per camera."),
    ],
    submit: "Start",
    onSubmit: async () => {
      const json = {};
      if (standardise.value) json.standardise = standardise.value === "true";
      if (eps.value) json.eps = eps.valueAsNumber;
      if (least.value) json.min_samples = least.valueAsNumber;
      await call("POST", at("galleries", current().name, "cluster"), { json });
      say("Grouping has begun");
      location.hash = "#add";
    },
  });
}
