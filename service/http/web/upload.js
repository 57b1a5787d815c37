// Chooses files to add and describes them.

import { button, field, h } from "./dom.js";
import { idOf, receive, pathOf } from "./files.js";
import { count, size, timestampOf } from "./format.js";
import { current, refresh } from "./galleries.js";
import { isManifest, isNoData, isPicture, LAYOUTS, readMarket } from "./naming.js";
import { clearNotices, guarded, say } from "./notices.js";
import { ARCHIVES, kindOf, sendArchive, sendPictures } from "./sending.js";

const PATTERN_HINT =
  "A regular expression with the groups identity, camera, crop_id, timestamp, or date and time. " +
  "If empty, the archive's manifest is used, or names such as 0002_c1s1_000451_03.jpg.";

let archives = [];
let pictures = [];
let parts = null;

/** Builds this part of the view. */
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
    h("p", { class: "hint" }, "tar, tar.gz or zip; JPEG, PNG, WebP, BMP or TIFF. One person per crop."),
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
  // Folders often hold other files; a file chosen on its own is taken as intended.
  const taken = data.filter((file) => !kindOf(file) && (isPicture(file.name) || !pathOf(file).includes("/")));
  pictures.push(...taken);
  tell(given.filter((file) => !kindOf(file) && !taken.includes(file)).map(pathOf));
  draw();
}

/** Reports which files of a folder are skipped, and that manifests are not read here. */
function tell(paths) {
  const manifest = paths.find(isManifest);
  if (manifest) say(`${manifest} is not read from a folder; pack the folder as tar or zip and add that`);
  else if (paths.length) say(`${count(paths.length, "file")} skipped, such as ${paths[0]}`);
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
      archives.length ? field("Pattern for paths in the archive", about.pattern, PATTERN_HINT) : null,
      archives.length
        ? h(
            "div",
            { class: "columns" },
            field("Or a built-in layout", about.layout),
            field("Encoding of file names", about.encoding, "If not UTF-8, for example cp437 or gbk."),
          )
        : null,
      pictures.length
        ? h(
            "div",
            { class: "columns" },
            field("Read from file names", about.names, "As in 0002_c1s1_000451_03.jpg."),
            field("Identity for all", about.identity),
            field("Camera for all", about.camera),
            field("Time for all", about.when),
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
