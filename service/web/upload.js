// Choosing what to add, and saying what is known of it.

import { button, field, h } from "./dom.js";
import { idOf, receive, pathOf } from "./files.js";
import { count, size, timestampOf } from "./format.js";
import { current, refresh } from "./galleries.js";
import { clearNotices, guarded } from "./notices.js";
import { ARCHIVES, kindOf, sendArchive, sendPictures } from "./sending.js";

const PICTURE = /\.(jpe?g|png|webp)$/i;
const MARKET = /^(?<identity>-1|\d+)_(?<camera>c\d+)(s\d+)?(_|\.)/; // 0002_c1s1_000451_03.jpg

const PATTERN_HINT =
  "A regular expression with the groups identity, camera, crop_id, timestamp, or date and time. " +
  "Empty: names as 0002_c1s1_000451_03.jpg are understood.";

let archives = [];
let pictures = [];
let parts = null;

/** Builds the part of the view. */
export function mountUpload(place) {
  const files = chooser({
    multiple: true,
    accept: `image/jpeg,image/png,image/webp,${Object.keys(ARCHIVES)}`,
  });
  const folder = chooser({ multiple: true, webkitdirectory: true });
  const zone = h(
    "div",
    { class: "drop large" },
    h("p", {}, h("strong", {}, "Drop an archive, a folder or pictures")),
    h("p", { class: "hint" }, "tar, tar.gz or zip; JPEG, PNG or WebP. One crop shows one person."),
    h(
      "div",
      { class: "row center" },
      button("Choose files", () => files.click(), "small"),
      button("Choose a folder", () => folder.click(), "small quiet"),
    ),
    files,
    folder,
  );
  parts = { staged: h("div", {}), progress: h("div", { "aria-live": "polite" }) };
  place.append(zone, parts.staged, parts.progress);
  receive(place.closest("section"), zone, stage);
}

function chooser(attributes) {
  const input = h("input", {
    type: "file",
    class: "unseen",
    tabindex: "-1",
    "aria-label": "Files to add",
    ...attributes,
  });
  input.addEventListener("change", () => {
    stage(input.files);
    input.value = "";
  });
  return input;
}

function stage(files) {
  const given = [...files];
  archives.push(...given.filter(kindOf));
  // In a folder other files are common; a file chosen by itself is meant.
  pictures.push(
    ...given.filter((file) => !kindOf(file) && (PICTURE.test(file.name) || !pathOf(file).includes("/"))),
  );
  draw();
}

function unstage() {
  archives = [];
  pictures = [];
  draw();
}

function draw() {
  if (!archives.length && !pictures.length) return parts.staged.replaceChildren();
  const about = controls();
  const submit = (event) => {
    event.preventDefault();
    guarded(send)(about);
  };
  return parts.staged.replaceChildren(
    h(
      "form",
      { class: "card", "aria-label": "Add", autocomplete: "off", on: { submit } },
      h("h2", {}, summary()),
      archives.length ? field("Pattern of the paths in the archive", about.pattern, PATTERN_HINT) : null,
      pictures.length
        ? h(
            "div",
            { class: "columns" },
            field("File names say", about.names, "As 0002_c1s1_000451_03.jpg does."),
            field("Identity of all", about.identity),
            field("Camera of all", about.camera),
            field("Time of all", about.when),
          )
        : null,
      h(
        "div",
        { class: "row" },
        h("button", { type: "submit", class: "primary" }, `Add to ${current()?.name ?? "gallery"}`),
        button("Discard", unstage, "quiet"),
      ),
    ),
  );
}

function summary() {
  const bytes = [...archives, ...pictures].reduce((sum, file) => sum + file.size, 0);
  const what = [
    archives.length && count(archives.length, "archive"),
    pictures.length && count(pictures.length, "picture"),
  ];
  return `${what.filter(Boolean).join(" and ")}, ${size(bytes)}`;
}

function controls() {
  const market = h("option", { value: "market" }, "Identity and camera");
  return {
    names: h("select", {}, market, h("option", { value: "none" }, "Nothing")),
    identity: h("input", { maxlength: "200" }),
    camera: h("input", { maxlength: "200" }),
    when: h("input", { type: "datetime-local", step: "1" }),
    pattern: h("input", { spellcheck: "false", placeholder: "(?P<camera>[^/]+)/(?P<identity>\\d+)" }),
  };
}

async function send(about) {
  const work = { gallery: current().name, archives, pictures };
  clearNotices();
  const pattern = about.pattern.value.trim();
  const entry = describer(about);
  unstage();
  for (const file of work.archives) await sendArchive(work.gallery, file, pattern, parts.progress);
  if (work.pictures.length) await sendPictures(work.gallery, work.pictures, entry, parts.progress);
  await refresh();
}

function describer({ names, identity, camera, when }) {
  return (file) => {
    const path = pathOf(file);
    const found = names.value === "market" ? MARKET.exec(path.split("/").at(-1))?.groups : null;
    const person = found && !/^(0+|-1)$/.test(found.identity) ? found.identity : null; // distractors and junk are nobody
    return {
      crop_id: idOf(path),
      identity: person ?? (identity.value.trim() || null),
      camera: found?.camera ?? (camera.value.trim() || null),
      timestamp: timestampOf(when.value),
    };
  };
}
