// The query pictures: dropped, pasted or chosen files, people on frames, crops from the gallery.

import { anyDialog } from "./dialogs.js";
import { button, h, newId } from "./dom.js";
import { receive } from "./files.js";
import { choosePerson, peopleOn } from "./frames.js";
import { galleries, info } from "./galleries.js";
import { guarded, say } from "./notices.js";
import { picture, preview } from "./pictures.js";

const IMAGES = "image/jpeg,image/png,image/webp";

/** Fires `change` when the set of pictures changes, `chosen` when somebody on a frame is to be
 * searched for. */
export const query = new EventTarget();

let items = []; // {file, url, frame: {file, people} or undefined} or {crop}
let list = null;
let zone = null;

/** The query pictures, in order. */
export function queryItems() {
  return items;
}

/** Adds files, even ones that are not pictures: the service explains what is wrong with them. */
export function addFiles(files) {
  const added = [...files].map((file) => ({ file, url: URL.createObjectURL(file) }));
  set([...items, ...added]);
  for (const item of added) guarded(lookAt)(item);
}

/** Offers the people on a picture that may be a whole frame. */
async function lookAt(item) {
  const people = await peopleOn(item.file);
  if (!people.length || !items.includes(item)) return;
  item.frame = { file: item.file, people };
  set(items);
  if (anyDialog()) say("People were found on another picture too");
  else choose(item);
}

function choose(item) {
  const { frame } = item;
  choosePerson(frame.file, frame.people, (cut) => {
    const file = cut ?? frame.file;
    const next = { file, url: URL.createObjectURL(file), frame };
    set(items.map((one) => (one === item ? next : one)));
    query.dispatchEvent(new Event("chosen"));
  });
}

/** Replaces the query with crops from the gallery. */
export function searchWithCrops(crops) {
  set(crops.map((crop) => ({ crop })));
}

/** Removes gallery crops when the gallery changes. */
export function dropCrops() {
  if (items.some(({ crop }) => crop)) set(items.filter(({ file }) => file));
}

/** Builds this part of the form. */
export function mountQuery(place, onGallery) {
  const input = h("input", {
    type: "file",
    accept: IMAGES,
    multiple: true,
    class: "unseen",
    id: newId("file"),
    tabindex: "-1",
    "aria-label": "Pictures",
    on: {
      change: () => {
        addFiles(input.files);
        input.value = "";
      },
    },
  });
  const words = h("p", {}, "Drop or paste pictures of a person");
  galleries.addEventListener("change", () => {
    words.textContent = `Drop or paste pictures of a person${info()?.detector ? ", or whole frames" : ""}`;
  });
  list = h("ul", { class: "query-list", "aria-label": "Pictures to search with" });
  zone = h(
    "div",
    { class: "drop" },
    words,
    h(
      "div",
      { class: "row" },
      button("Choose files", () => input.click(), "small", { "data-choose": "" }),
      button("From the gallery", onGallery, "small quiet"),
    ),
    input,
  );
  place.append(list, zone);
  receive(place.closest("section"), zone, addFiles);
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length && !place.closest("section").hidden) {
      event.preventDefault();
      addFiles(files);
    }
  });
}

function set(next) {
  for (const item of items) if (item.url && !next.includes(item)) URL.revokeObjectURL(item.url);
  items = next;
  list.replaceChildren(...items.map(entry));
  list.hidden = items.length === 0;
  zone.classList.toggle("slim", items.length > 0);
  query.dispatchEvent(new Event("change"));
}

function entry(item) {
  const name = nameOf(item);
  const shown = item.crop ? picture(item.crop.crop_id) : preview(item.url);
  return h(
    "li",
    {},
    shown,
    button("×", () => remove(item), "remove", { "aria-label": `Remove ${name}` }),
    h("span", { class: "name", title: name }, name),
    item.frame && peopleButton(item),
  );
}

function peopleButton(item) {
  const label = `People on ${item.frame.file.name || "pasted picture"}`;
  return button("People", () => choose(item), "small quiet", { "aria-label": label });
}

function remove(item) {
  const place = items.indexOf(item);
  set(items.filter((one) => one !== item));
  const buttons = list.querySelectorAll("button");
  (buttons[Math.min(place, buttons.length - 1)] ?? zone.querySelector("[data-choose]")).focus();
}

/** The name of a picture. */
export function nameOf(item) {
  return item.crop ? item.crop.crop_id : item.file.name || "pasted picture";
}

/** A thumbnail of an item, for headings. */
export function pictureOf(item) {
  return item.crop ? picture(item.crop.crop_id) : preview(item.url);
}
