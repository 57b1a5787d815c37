// Sends the query and shows the answer.

import { call } from "./api.js";
import { dropCrops, searchWithCrops, mountQuery, query, queryItems } from "./query.js";
import { addOptions, mountOptions, showEverything } from "./options.js";
import { clearNotices, guarded, say, showError } from "./notices.js";
import { count } from "./format.js";
import { current, galleries } from "./galleries.js";
import { showNothing, showResults, showWaiting } from "./results.js";

const form = document.getElementById("search-form");
const submit = document.getElementById("search-button");
const place = document.getElementById("results");
let running = null;
let shown = null; // the gallery of the results

/** Builds the view. */
export function mountSearch({ onGallery }) {
  mountQuery(document.getElementById("query"), onGallery);
  mountOptions(document.getElementById("options"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(search)();
  });
  query.addEventListener("change", follow);
  query.addEventListener("chosen", guarded(search));
  galleries.addEventListener("change", anotherGallery);
  follow();
}

/** Searches immediately with crops from the gallery. */
export function searchWith(crops) {
  searchWithCrops(crops);
  location.hash = "#search";
  return guarded(search)();
}

function nearest() {
  showEverything();
  return guarded(search)();
}

async function search() {
  const items = queryItems();
  const gallery = current();
  if (!items.length || !gallery) return;
  running?.abort();
  const mine = new AbortController();
  running = mine;
  clearNotices();
  busy(true);
  showWaiting(place);
  try {
    const answer = await call("POST", "search", { form: formOf(items, gallery), signal: mine.signal });
    showResults(place, answer, items, { onPick: searchWith, onNearest: nearest });
    say(summary(answer), { seen: false });
    reveal();
  } catch (error) {
    if (running === mine) showNothing(place);
    showError(error);
  } finally {
    if (running === mine) busy(false);
  }
}

function formOf(items, gallery) {
  const body = new FormData();
  for (const { file, crop } of items) {
    if (file) body.append("images", file, file.name || "pasted.png");
    else body.append("crop_ids", crop.crop_id);
  }
  body.append("gallery", gallery.name);
  addOptions(body);
  return body;
}

function summary(answer) {
  const found = answer.results.reduce((sum, entry) => sum + entry.matches.length, 0);
  const outcome = found ? `${count(found, "match", "matches")} found` : "No match above the threshold";
  return [outcome, ...answer.warnings.map(({ detail }) => detail)].join(". ");
}

/** Moves focus to the results, and scrolls to them if they are below the form. */
function reveal() {
  place.focus({ preventScroll: true });
  const { top } = place.getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.6) place.scrollIntoView();
}

function busy(on) {
  place.setAttribute("aria-busy", String(on));
  submit.classList.toggle("busy", on);
  submit.textContent = on ? "Searching…" : "Search";
}

/** Clears the results when the gallery changes, but not when only its counts change. */
function anotherGallery() {
  const name = current()?.name ?? null;
  if (name !== shown || !name) {
    shown = name;
    dropCrops();
    showNothing(place);
  }
  follow();
}

function follow() {
  submit.disabled = !queryItems().length || !current();
}
