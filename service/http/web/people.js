// The identities of a gallery: one card per person.

import { at, call } from "./api.js";
import { openDialog } from "./dialogs.js";
import { button, field, h, select, unseen } from "./dom.js";
import { count, time } from "./format.js";
import { current } from "./galleries.js";
import { guarded, say } from "./notices.js";
import { picture } from "./pictures.js";

const PAGE = 60;

/** Lists all identities in an element. */
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
  if (!grid.isConnected) return; // the user has asked for something else since
  about.textContent = `${count(page.total, "identity", "identities")}; ${count(page.unnamed, "crop")} without an identity.`;
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

/** Asks how to group unnamed crops, and starts the job. */
export function groupCrops() {
  const eps = h("input", {
    type: "number",
    min: "0.05",
    max: "0.95",
    step: "0.05",
    placeholder: "default",
  });
  const least = h("input", { type: "number", min: "1", max: "1000", placeholder: "default" });
  const standardise = select({ "": "Default", true: "Yes", false: "No" });
  openDialog({
    title: `Group ${current().name} by person`,
    body: [
      h(
        "p",
        { class: "hint" },
        "Groups unnamed crops by similarity. Names given on import or set by hand stay unchanged.",
      ),
      field("Neighbour distance", eps, "0 to 1. Larger values make larger groups."),
      field("Minimum crops per group", least),
      field("Camera compensation", standardise, "Standardises embeddings per camera first."),
    ],
    submit: "Start",
    onSubmit: async () => {
      const json = {};
      if (standardise.value) json.standardise = standardise.value === "true";
      if (eps.value) json.eps = eps.valueAsNumber;
      if (least.value) json.min_samples = least.valueAsNumber;
      await call("POST", at("galleries", current().name, "cluster"), { json });
      say("Grouping started");
      location.hash = "#add";
    },
  });
}
