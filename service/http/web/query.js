// The query pictures: dropped, pasted or chosen files, and crops from the gallery.

import { button, h, newId } from "./dom.js";
import { receive } from "./files.js";
import { picture, preview } from "./pictures.js";

const IMAGES = "image/jpeg,image/png,image/webp";

/** Fires `change` when the set of pictures changes. */
export const query = new EventTarget();

let items = []; // {file, url} or {crop}
let list = null;
let zone = null;

/** The query pictures, in order. */
export function queryItems() {
  return items;
}

/** Adds files, even ones that are not pictures: the service explains what is wrong with them. */
export function addFiles(files) {
  set([...items, ...[...files].map((file) => ({ file, url: URL.createObjectURL(file) }))]);
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
  list = h("ul", { class: "query-list", "aria-label": "Pictures to search with" });
  zone = h(
    "div",
    { class: "drop" },
    h("p", {}, "Drop or paste pictures of a person"),
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
  );
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
