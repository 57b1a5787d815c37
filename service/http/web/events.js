// What watches have seen in the current gallery, newest first, live.

import { at, call, listen } from "./api.js";
import { cropCard } from "./crops.js";
import { h } from "./dom.js";
import { current, galleries } from "./galleries.js";
import { say, showError } from "./notices.js";
import { may, session } from "./session.js";

const SHOWN = 60;
const AGAIN = 5000; // milliseconds after which a lost service is asked again
const place = document.getElementById("events");
const view = document.getElementById("view-events");
let searchWith = null;
let listening = null; // ends the stream that is open

/** Follows the current gallery. */
export function mountEvents(onSearch) {
  searchWith = onSearch;
  galleries.addEventListener("change", () => {
    if (!view.hidden && listening?.gallery !== current()?.name) openEvents();
  });
  session.addEventListener("change", closeEvents);
}

/** Shows the events of the current gallery, and goes on as new ones come. */
export function openEvents() {
  closeEvents();
  const gallery = current();
  if (!gallery || !may("search")) return;
  const ending = new AbortController();
  listening = { gallery: gallery.name, ending };
  follow(gallery.name, ending.signal);
}

/** Ends the stream when the view is left. */
export function closeEvents() {
  listening?.ending.abort();
  listening = null;
  place.replaceChildren();
}

async function follow(gallery, signal) {
  const path = at("galleries", gallery, "events");
  const grid = h("ul", { class: "crops", "aria-label": "Events" });
  const cards = new Set(); // event_id
  const show = (event) => {
    if (signal.aborted || cards.has(event.event_id)) return;
    const card = cropCard(seen(event), { onPick: (crop) => searchWith([crop]), nobody: "Unknown" });
    cards.add(event.event_id);
    grid.prepend(card);
    if (cards.size > SHOWN) grid.lastElementChild.remove();
    if (!grid.isConnected) place.replaceChildren(h("h2", { class: "unseen" }, "Newest first"), grid);
  };
  const load = async () => {
    const page = await call("GET", path, { query: { limit: SHOWN }, signal });
    page.events.reverse().forEach(show);
    if (!cards.size) place.replaceChildren(nothing());
  };
  const hear = (event) => {
    show(event);
    say(`${event.identity ?? "Somebody unknown"}, ${event.camera ?? "camera unknown"}`, { seen: false });
  };
  while (!signal.aborted) {
    try {
      // What is stored before the stream opens is in the list that is loaded afterwards.
      await listen(`${path}/stream`, { signal, onOpen: load, onEvent: hear });
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      showError(error);
      await pause((error.wait ?? 0) * 1000 || AGAIN);
    }
  }
}

/** An event as the crop that it is about. */
function seen(event) {
  return {
    crop_id: event.crop_id,
    identity: event.identity,
    origin: "given",
    camera: event.camera,
    track: event.track,
    timestamp: event.time,
    score: event.score ?? undefined,
  };
}

function nothing() {
  return h(
    "p",
    { class: "empty" },
    "No events yet. Watches look for people among new crops: ",
    h("a", { href: "docs#/alerts/create_watch_galleries__gallery__watches_post" }, "create one"),
    ".",
  );
}

function pause(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}
