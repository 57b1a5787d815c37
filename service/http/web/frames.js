// Whole frames: finds the people on a picture, and lets one click the person to search for.

import { call, patiently } from "./api.js";
import { openDialog } from "./dialogs.js";
import { button, h } from "./dom.js";
import { info } from "./galleries.js";

const SLIM = 1.5; // a crop of somebody upright is higher than this for each pixel of its width

/**
 * Finds the people on a picture that may be a whole frame.
 * @param {File} file
 * @returns {Promise<Array>} Their boxes in pixels, the most certain first; empty for a crop, for a
 *   file that is no picture, and if the service has no detector.
 */
export async function peopleOn(file) {
  if (!info()?.detector || !(await isBroad(file))) return [];
  const form = new FormData();
  form.append("images", file, file.name || "pasted.png");
  const answer = await patiently(() => call("POST", "detect", { form }), 5);
  const [{ width, height, persons }] = answer.results;
  const boxes = persons.map((person) => person.box);
  const fills = (box) => box.width * box.height > (width * height) / 2;
  return boxes.length === 1 && fills(boxes[0]) ? [] : boxes;
}

/**
 * Shows a frame with a button around each person.
 * @param {File} file
 * @param {Array} boxes From `peopleOn`.
 * @param {(cut: File | null) => void} onChosen Receives the person's picture, or null for the whole
 *   frame.
 */
export function choosePerson(file, boxes, onChosen) {
  const url = URL.createObjectURL(file);
  const image = h("img", { src: url, alt: "" });
  const frame = h("div", { class: "frame" }, image);
  const { close, form } = openDialog({
    title: "Who are you looking for?",
    body: [h("p", { class: "hint" }, "Select a person on the picture."), frame],
    submit: "Search with the whole picture",
    kind: "",
    onSubmit: async () => onChosen(null),
  });
  const dialog = form.closest("dialog");
  dialog.classList.add("wide");
  dialog.addEventListener("close", () => URL.revokeObjectURL(url));
  image.addEventListener("load", () => {
    const pick = async (box, number) => {
      close();
      onChosen(await cut(file, box, number));
    };
    frame.append(...boxes.map((box, place) => marker(box, place + 1, image, pick)));
    frame.querySelector("button")?.focus();
  });
}

/** A button where a person is, in parts of the picture so that it follows the picture's size. */
function marker(box, number, image, pick) {
  const label = `Person ${number}, ${Math.round(box.width)} × ${Math.round(box.height)} pixels`;
  const shown = button(String(number), () => pick(box, number), "marker", { "aria-label": label });
  const part = (pixels, of) => `${(100 * pixels) / of}%`;
  Object.assign(shown.style, {
    left: part(box.x, image.naturalWidth),
    top: part(box.y, image.naturalHeight),
    width: part(box.width, image.naturalWidth),
    height: part(box.height, image.naturalHeight),
  });
  return shown;
}

async function isBroad(file) {
  try {
    const { width, height } = await upright(file);
    return height < SLIM * width;
  } catch {
    return false; // the search says what is wrong with the file
  }
}

function upright(file) {
  return createImageBitmap(file, { imageOrientation: "from-image" });
}

/** The whole pixels that a box touches, as the service cuts a crop. */
async function cut(file, box, number) {
  const picture = await upright(file);
  const [left, top] = [Math.floor(box.x), Math.floor(box.y)].map((edge) => Math.max(0, edge));
  const right = Math.min(picture.width, Math.ceil(box.x + box.width));
  const bottom = Math.min(picture.height, Math.ceil(box.y + box.height));
  const canvas = h("canvas", { width: right - left, height: bottom - top });
  canvas.getContext("2d").drawImage(picture, -left, -top);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], `${file.name || "pasted picture"}, person ${number}`, { type: "image/png" });
}
