// Sends the query and hands the answer on.

import { call } from "./api.js";
import { searchWithCrops, mountQuery, query, queryItems } from "./query.js";
import { addOptions, mountOptions } from "./options.js";
import { clearNotices, guarded, say, showError } from "./notices.js";
import { count } from "./format.js";
import { current, galleries } from "./galleries.js";
import { showNothing, showResults, showWaiting } from "./results.js";

const form = document.getElementById("search-form");
const submit = document.getElementById("search-button");
const place = document.getElementById("results");
let running = null;

/** Builds the view. */
export function mountSearch({ onGallery }) {
  mountQuery(document.getElementById("query"), onGallery);
  mountOptions(document.getElementById("options"));
  form.addEventListener("submit", (event) => { event.preventDefault(); guarded(search)(); });
  query.addEventListener("change", follow);
  galleries.addEventListener("change", follow);
  showNothing(place);
  follow();
}

/** Searches with crops of the gallery, at once. */
export function searchWith(crops) {
  searchWithCrops(crops);
  location.hash = "#search";
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
    showResults(place, answer, items, searchWith);
    say(summary(answer));
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
  return found ? `${count(found, "match", "matches")} found` : "Nobody reached the threshold";
}

function busy(on) {
  place.setAttribute("aria-busy", String(on));
  submit.classList.toggle("busy", on);
  submit.textContent = on ? "Searching…" : "Search";
}

function follow() {
  submit.disabled = !queryItems().length || !current();
}
