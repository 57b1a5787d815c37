// Wires the page: the views, the current gallery, the caller.

import { count } from "./format.js";
import { all, choose, current, galleries, info, refresh, reset } from "./galleries.js";
import { eraseCrops } from "./erase.js";
import { stayOnDrop } from "./files.js";
import { h } from "./dom.js";
import { identify, mountSession, signIn } from "./signin.js";
import { labelCrops } from "./labels.js";
import { load, mountBrowse, openBrowse } from "./browse.js";
import { closeEvents, mountEvents, openEvents } from "./events.js";
import { mountJobs, refreshJobs } from "./jobs.js";
import { mountSearch, searchWith } from "./search.js";
import { mountUpload } from "./upload.js";
import { clearSelection, offer } from "./selection.js";
import { guarded } from "./notices.js";
import { key, may, needsKey, session } from "./session.js";

const VIEWS = { search: "Search", gallery: "Gallery", events: "Events", add: "Add" };
const gallery = document.getElementById("gallery-picker");

function mount() {
  mountSearch({
    onGallery: () => {
      location.hash = "#gallery";
    },
  });
  mountBrowse(searchWith);
  mountEvents(searchWith);
  mountUpload(document.getElementById("upload"));
  mountJobs();
  mountSession(guarded(enter));
  offer([
    {
      label: "Search with these",
      scope: "search",
      kind: "primary small",
      run: (crops) => {
        clearSelection();
        searchWith(crops);
      },
    },
    { label: "Name person…", scope: "write", kind: "small", run: (crops) => labelCrops(crops, changed) },
    {
      label: "Erase…",
      scope: "write",
      kind: "small danger-quiet",
      run: (crops) => eraseCrops(crops, changed),
    },
  ]);
  gallery.addEventListener("change", () => choose(gallery.value));
  galleries.addEventListener("change", drawPicker);
  session.addEventListener("change", () => {
    document.querySelector("[data-view=add]").hidden = !may("write");
  });
  stayOnDrop();
  addEventListener("hashchange", () => route(true));
  route(false);
}

async function enter() {
  await identify();
  reset();
  if (needsKey()) return;
  await refresh();
}

function changed() {
  if (!document.getElementById("view-gallery").hidden) load();
}

/** Shows the view named in the address; the view itself reads what follows the question mark. */
function route(moved) {
  const [name] = location.hash.slice(1).split("?");
  if (moved && !(name in VIEWS)) return; // the skip link
  const view = name in VIEWS ? name : "search";
  for (const one of Object.keys(VIEWS)) document.getElementById(`view-${one}`).hidden = one !== view;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[view]} · HHCL-ReID`;
  if (view === "gallery") openBrowse();
  if (view === "events") openEvents();
  else closeEvents();
  if (view === "add") guarded(refreshJobs)();
  if (moved) {
    clearSelection();
    document.getElementById("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function drawPicker() {
  gallery.replaceChildren(
    ...all().map((one) => h("option", { value: one.name }, `${one.name} (${one.crops.toLocaleString()})`)),
  );
  gallery.disabled = all().length === 0;
  if (current()) gallery.value = current().name;
  const model = info()?.model;
  const words = [
    info() && `version ${info().version}`,
    model?.name,
    current() && count(current().crops, "crop"),
  ];
  document.getElementById("about").textContent = words.filter(Boolean).join(" · ");
}

async function start() {
  await enter();
  if (needsKey() && !key()) signIn(guarded(enter));
}

mount();
guarded(start)();
