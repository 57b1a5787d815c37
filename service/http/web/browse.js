// Browses a gallery: its crops, page by page, or its people.

import { at, call } from "./api.js";
import { cropCard } from "./crops.js";
import { button, field, h, select } from "./dom.js";
import { cameraChoice, timeChoice } from "./filters.js";
import { drawAbout } from "./gallery_about.js";
import { current, galleries } from "./galleries.js";
import { guarded } from "./notices.js";
import { listPeople } from "./people.js";
import { session } from "./session.js";
import { warningList } from "./warnings.js";

const PAGE = 48;
const place = document.getElementById("browse");
const view = document.getElementById("view-gallery");
let searchWith = null;
let filters = null;
let shown = null; // the gallery the filters belong to
let limited = null; // the identity named in the address
let people = false;

/** Builds the view. */
export function mountBrowse(onSearch) {
  searchWith = onSearch;
  const about = () => drawAbout({ identity: filters?.name.value, onDone: load });
  galleries.addEventListener("change", () => {
    about();
    if (shown === current()?.name) return;
    if (view.hidden) forget();
    else openBrowse();
  });
  session.addEventListener("change", about);
  about();
}

/** Shows what the address names: the gallery's people, all its crops, or those of one identity. */
export function openBrowse() {
  if (!current()) return forget();
  const query = new URLSearchParams(location.hash.split("?")[1]);
  const identity = query.get("identity");
  people = query.get("show") === "people";
  if (shown !== current().name || identity !== limited) build(identity ?? "");
  limited = identity;
  for (const link of place.querySelectorAll(".tabs a")) {
    if (link.hash.includes("people") === people) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  filters.element.hidden = people;
  return load();
}

/** Clears the view when the gallery changes or the caller signs out. */
function forget() {
  shown = null;
  place.replaceChildren(h("p", { class: "empty" }, "There is no gallery to show."));
}

/** Reloads the first page. */
export const load = guarded(async () => {
  if (!shown) return undefined;
  if (people) return listPeople(filters.list);
  const grid = h("ul", { class: "crops", "aria-label": "Crops" });
  filters.list.replaceChildren(h("h2", { class: "unseen" }, "Crops"), grid);
  return more(grid, null);
});

function build(identity) {
  shown = current().name;
  const name = h("input", { maxlength: "200", value: identity, placeholder: "any" });
  const named = select({ "": "All crops", true: "With an identity", false: "Without an identity" });
  const prefix = h("input", { maxlength: "200", placeholder: "any" });
  const where = cameraChoice();
  const when = timeChoice();
  const list = h("div", {});
  const form = h(
    "form",
    {
      class: "filters",
      "aria-label": "Filter",
      on: {
        submit: (event) => {
          event.preventDefault();
          load();
        },
      },
    },
    h(
      "fieldset",
      {},
      h("legend", {}, "Person"),
      field("Identity", name),
      field("Show", named),
      field("Crop ID starts with", prefix),
    ),
    where.element,
    when.element,
    h(
      "div",
      { class: "row" },
      h("button", { type: "submit", class: "primary small" }, "Show"),
      button(
        "Reset",
        () => {
          build("");
          load();
        },
        "quiet small",
      ),
    ),
  );
  const element = h("details", { class: "more", open: identity !== "" }, h("summary", {}, "Filter"), form);
  const tabs = h(
    "nav",
    { class: "tabs", "aria-label": "What to show" },
    h("a", { href: "#gallery" }, "Crops"),
    h("a", { href: "#gallery?show=people" }, "People"),
  );
  filters = { name, named, prefix, where, when, list, element };
  place.replaceChildren(tabs, element, list);
}

async function more(grid, cursor) {
  const { since, until } = filters.when.values();
  const query = {
    limit: PAGE,
    cursor,
    since,
    until,
    identities: filters.name.value.trim(),
    has_identity: filters.named.value,
    id_prefix: filters.prefix.value,
    cameras: filters.where.values(),
  };
  const { list } = filters;
  list.setAttribute("aria-busy", "true");
  try {
    const page = await call("GET", at("galleries", current().name, "crops"), { query });
    if (!grid.isConnected) return; // the user has asked for something else since
    const first = grid.children.length;
    grid.append(...page.crops.map((crop) => cropCard(crop, { onPick: (one) => searchWith([one]) })));
    const next = page.cursor
      ? button(
          "Show more",
          guarded(() => {
            next.remove();
            return more(grid, page.cursor);
          }),
        )
      : null;
    if (next) list.append(next);
    const odd = cursor ? null : warningList(page.warnings);
    if (cursor) grid.children[first]?.querySelector("button").focus();
    if (!grid.children.length)
      list.replaceChildren(h("p", { class: "empty" }, "No crops match this filter."));
    if (odd) list.prepend(odd);
  } finally {
    list.removeAttribute("aria-busy");
  }
}
