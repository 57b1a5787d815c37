// What a gallery holds: its counts, its crops by page, and what can be done with them.

import { at, call } from "./api.js";
import { cropCard } from "./crops.js";
import { button, field, h } from "./dom.js";
import { eraseCrops } from "./erase.js";
import { cameraChoice, timeChoice } from "./filters.js";
import { count, duration, size, time } from "./format.js";
import { changeGallery, newGallery } from "./gallery_form.js";
import { current, galleries } from "./galleries.js";
import { guarded } from "./notices.js";
import { groupCrops, listPeople } from "./people.js";
import { may, session } from "./session.js";

const PAGE = 48;
const place = document.getElementById("browse");
const view = document.getElementById("view-gallery");
let searchWith = null;
let filters = null;
let shown = null; // the gallery the filters belong to
let people = false;

/** Builds the view. */
export function mountBrowse(onSearch) {
  searchWith = onSearch;
  galleries.addEventListener("change", () => { drawAbout(); if (!view.hidden && shown !== current()?.name) openBrowse(); });
  session.addEventListener("change", drawAbout);
  drawAbout();
}

/** Shows what the address asks for: the gallery's people, its crops, or those of one identity. */
export function openBrowse() {
  if (!current()) return place.replaceChildren(h("p", { class: "empty" }, "There is no gallery to show."));
  const query = new URLSearchParams(location.hash.split("?")[1]);
  const identity = query.get("identity");
  people = query.get("show") === "people";
  if (shown !== current().name || identity !== null) build(identity ?? "");
  for (const link of place.querySelectorAll(".tabs a")) {
    if (link.hash.includes("people") === people) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  filters.element.hidden = people;
  return load();
}

/** Reads the first page again. */
export const load = guarded(async () => {
  if (people) return listPeople(filters.list);
  const grid = h("ul", { class: "crops", "aria-label": "Crops" });
  filters.list.replaceChildren(h("h2", { class: "unseen" }, "Crops"), grid);
  return more(grid, null);
});

function build(identity) {
  shown = current().name;
  const name = h("input", { maxlength: "200", value: identity, placeholder: "any" });
  const where = cameraChoice();
  const when = timeChoice();
  const list = h("div", {});
  const form = h(
    "form",
    { class: "filters", "aria-label": "Filter", on: { submit: (event) => { event.preventDefault(); load(); } } },
    h("fieldset", {}, h("legend", {}, "Person"), field("Identity", name)),
    where.element,
    when.element,
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary small" }, "Show"), button("Reset", () => { build(""); load(); }, "quiet small")),
  );
  const element = h("details", { class: "more", open: identity !== "" }, h("summary", {}, "Filter"), form);
  const tabs = h("nav", { class: "tabs", "aria-label": "What to show" }, h("a", { href: "#gallery" }, "Crops"), h("a", { href: "#gallery?show=people" }, "People"));
  filters = { name, where, when, list, element };
  place.replaceChildren(tabs, element, list);
}

async function more(grid, cursor) {
  const { since, until } = filters.when.values();
  const query = { limit: PAGE, cursor, since, until, identities: filters.name.value.trim(), cameras: filters.where.values() };
  const { list } = filters;
  list.setAttribute("aria-busy", "true");
  try {
    const page = await call("GET", at("galleries", current().name, "crops"), { query });
    if (!grid.isConnected) return; // something else was asked for meanwhile
    const first = grid.children.length;
    grid.append(...page.crops.map((crop) => cropCard(crop, { onPick: (one) => searchWith([one]) })));
    const next = page.cursor ? button("Show more", guarded(() => { next.remove(); return more(grid, page.cursor); })) : null;
    if (next) list.append(next);
    if (cursor) grid.children[first]?.querySelector("button").focus();
    if (!grid.children.length) list.replaceChildren(h("p", { class: "empty" }, "No crop is meant by this filter."));
  } finally {
    list.removeAttribute("aria-busy");
  }
}

function drawAbout() {
  const gallery = current();
  document.getElementById("gallery-actions").replaceChildren(
    ...[
      may("admin") && button("New gallery…", newGallery, "small"),
      gallery && may("admin") && "store_crops" in gallery && button("Settings…", () => changeGallery(current()), "small"),
      gallery && may("write") && button("Group into persons…", groupCrops, "small"),
      gallery && may("write") && button("Erase…", () => eraseCrops([], () => load(), { identity: filters?.name.value }), "small danger-quiet"),
    ].filter(Boolean),
  );
  document.getElementById("gallery-title").textContent = gallery ? gallery.name : "Gallery";
  document.getElementById("gallery-stats").replaceChildren(gallery ? stats(gallery) : "");
}

function stats(gallery) {
  const rows = [
    ["Crops", gallery.crops.toLocaleString()],
    ["Identities", gallery.identities.toLocaleString()],
    ["Cameras", Object.keys(gallery.cameras).length],
    ["On disk", size(gallery.bytes_on_disk)],
    "pictures" in gallery && ["Pictures", gallery.store_crops || gallery.pictures ? gallery.pictures.toLocaleString() : "not kept"],
    gallery.keep_for && ["Erased after", duration(gallery.keep_for)],
    gallery.oldest && ["Oldest", time(gallery.oldest)],
    gallery.damaged && ["Damaged", count(gallery.damaged, "crop")],
  ].filter(Boolean);
  return h("dl", { class: "stats" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
