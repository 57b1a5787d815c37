// A gallery's counts and the actions on the whole gallery.

import { h, button } from "./dom.js";
import { eraseCrops } from "./erase.js";
import { count, duration, size, time } from "./format.js";
import { changeGallery, newGallery } from "./gallery_form.js";
import { current } from "./galleries.js";
import { groupCrops } from "./people.js";
import { may } from "./session.js";

/** Shows them; `identity` is the filtered identity, `onDone` runs after erasing. */
export function drawAbout({ identity, onDone }) {
  const gallery = current();
  document.getElementById("gallery-title").textContent = gallery ? gallery.name : "Gallery";
  document.getElementById("gallery-stats").replaceChildren(gallery ? stats(gallery) : "");
  document.getElementById("gallery-actions").replaceChildren(...actions(gallery, identity, onDone));
}

function actions(gallery, identity, onDone) {
  const offered = may("admin") ? [button("New gallery…", newGallery, "small")] : [];
  if (!gallery) return offered;
  if (may("admin")) offered.push(button("Settings…", () => changeGallery(gallery), "small"));
  if (!may("write")) return offered;
  const erase = () => eraseCrops([], onDone, { identity });
  return [
    ...offered,
    button("Group by person…", groupCrops, "small"),
    button("Erase…", erase, "small danger-quiet"),
  ];
}

function stats(gallery) {
  const rows = [
    ["Crops", gallery.crops.toLocaleString()],
    ["Identities", gallery.identities.toLocaleString()],
    ["Cameras", Object.keys(gallery.cameras).length],
    ["On disk", size(gallery.bytes_on_disk)],
    ["Pictures", gallery.store_crops || gallery.pictures ? gallery.pictures.toLocaleString() : "not stored"],
    gallery.keep_for && ["Erased after", duration(gallery.keep_for)],
    gallery.oldest && ["Oldest", time(gallery.oldest)],
    gallery.damaged && ["Damaged", count(gallery.damaged, "crop")],
  ].filter(Boolean);
  return h(
    "dl",
    { class: "stats" },
    rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}
