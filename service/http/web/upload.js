// Choosing what to add, and saying what is known of it.

import { button, field, h } from "./dom.js";
import { idOf, receive, pathOf } from "./files.js";
import { count, size, timestampOf } from "./format.js";
import { current, refresh } from "./galleries.js";
import { isManifest, isNoData, isPicture, LAYOUTS, readMarket } from "./naming.js";
import { clearNotices, guarded, say } from "./notices.js";
import { ARCHIVES, kindOf, sendArchive, sendPictures } from "./sending.js";

const PATTERN_HINT =
  "A regular expression with the groups identity, camera, crop_id, timestamp, or date and time. " +
  "Empty: its manifest is used, or names as 0002_c1s1_000451_03.jpg are understood.";

let archives = [];
let pictures = [];
let parts = null;

/** Builds the part of the view. */
export function mountUpload(place) {
  const files = chooser({
    multiple: true,
    accept: `image/jpeg,image/png,image/webp,image/bmp,image/tiff,.jfif,${Object.keys(ARCHIVES)}`,
  });
  const folder = chooser({ multiple: true, webkitdirectory: true });
  const zone = h(
    "div",
    { class: "drop large" },
    h("p", {}, h("strong", {}, "Drop an archive, a folder or pictures")),
    h("p", { class: "hint" }, "tar, tar.gz or zip; JPEG, PNG, WebP, BMP or TIFF. One crop shows one person."),
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
  const data = given.filter((file) => !isNoData(pathOf(file)));
  archives.push(...data.filter(kindOf));
  // In a folder other files are common; a file chosen by itself is meant.
  const taken = data.filter((file) => !kindOf(file) && (isPicture(file.name) || !pathOf(file).includes("/")));
  pictures.push(...taken);
  tell(given.filter((file) => !kindOf(file) && !taken.includes(file)).map(pathOf));
  draw();
}

/** Says what of a folder is left out, and that a manifest in it is not read here. */
function tell(paths) {
  const manifest = paths.find(isManifest);
  if (manifest) say(`${manifest} is not read here: pack the folder as tar or zip and add that`);
  else if (paths.length) say(`${count(paths.length, "file")} left out, such as ${paths[0]}`);
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
      archives.length
        ? h(
            "div",
            { class: "columns" },
            field("Or the names of a data set", about.layout),
            field("Encoding of its names", about.encoding, "If they are not UTF-8: cp437, gbk, ..."),
          )
        : null,
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
    layout: h(
      "select",
      {},
      ["", ...LAYOUTS].map((value) => h("option", { value }, value || "None")),
    ),
    encoding: h("input", { maxlength: "40", spellcheck: "false" }),
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
  const reading = Object.fromEntries(
    ["pattern", "layout", "encoding"].map((name) => [name, about[name].value.trim()]),
  );
  const entry = describer(about);
  unstage();
  for (const file of work.archives) await sendArchive(work.gallery, file, reading, parts.progress);
  if (work.pictures.length) await sendPictures(work.gallery, work.pictures, entry, parts.progress);
  await refresh();
}

function describer({ names, identity, camera, when }) {
  return (file) => {
    const path = pathOf(file);
    const found = names.value === "market" ? readMarket(path.split("/").at(-1)) : null;
    return {
      crop_id: idOf(path),
      identity: found?.identity ?? (identity.value.trim() || null),
      camera: found?.camera ?? (camera.value.trim() || null),
      timestamp: timestampOf(when.value),
    };
  };
}
