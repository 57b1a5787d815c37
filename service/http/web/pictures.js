// Stored pictures, fetched with the key when scrolled into view; a placeholder if none is stored.

import { at, call, patiently } from "./api.js";
import { current } from "./galleries.js";
import { h, s } from "./dom.js";
import { session } from "./session.js";

const KEPT = 400;
const addresses = new Map(); // gallery and crop -> promise of a blob URL, oldest first
const waiting = new WeakMap(); // element -> function that loads its picture

const sight = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      sight.unobserve(target);
      waiting.get(target)?.();
    }
  },
  { rootMargin: "300px" },
);

session.addEventListener("change", () => {
  for (const address of addresses.values()) address.then(URL.revokeObjectURL, () => null);
  addresses.clear();
});

/** A crop's picture, or a placeholder if none is stored. Hidden from screen readers: callers name
 * the crop beside it. */
export function picture(cropId, gallery = current()) {
  const box = h("span", { class: "picture" }, placeholder());
  if (gallery?.pictures || gallery?.store_crops) {
    waiting.set(box, () => load(box, gallery.name, cropId));
    sight.observe(box);
  }
  return box;
}

/** A picture of a chosen file. */
export function preview(url) {
  return h("span", { class: "picture" }, h("img", { src: url, alt: "" }));
}

async function load(box, gallery, cropId) {
  try {
    const image = h("img", { alt: "", decoding: "async" });
    await shown(image, await addressOf(gallery, cropId));
    box.replaceChildren(image);
  } catch {
    box.title = "No picture stored";
  }
}

function shown(image, address) {
  return new Promise((resolve, reject) => {
    image.addEventListener("load", resolve);
    image.addEventListener("error", reject);
    image.src = address;
  });
}

function addressOf(gallery, cropId) {
  const name = `${gallery}/${cropId}`;
  if (!addresses.has(name)) {
    const path = at("galleries", gallery, "pictures", cropId);
    const address = patiently(() => call("GET", path, { as: "blob" }), 5).then(URL.createObjectURL);
    address.catch(() => addresses.delete(name));
    addresses.set(name, address);
    if (addresses.size > KEPT) drop();
  }
  return addresses.get(name);
}

function drop() {
  const [name, address] = addresses.entries().next().value;
  addresses.delete(name);
  address.then(URL.revokeObjectURL, () => null);
}

function placeholder() {
  return s(
    "svg",
    {
      viewBox: "0 0 40 80",
      class: "placeholder",
      "aria-hidden": "true",
      preserveAspectRatio: "xMidYMid slice",
    },
    s("circle", { cx: 20, cy: 21, r: 6.5 }),
    s("path", { d: "M9 53c0-14 4-22 11-22s11 8 11 22l-4 1v19h-14v-19z" }),
  );
}
