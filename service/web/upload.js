// Adding crops: an archive becomes an import the service works off, pictures go up in batches.

import { at, call, patiently, upload } from "./api.js";
import { button, field, h } from "./dom.js";
import { receive, pathOf } from "./files.js";
import { count, size, timestampOf } from "./format.js";
import { current, info, refresh } from "./galleries.js";
import { clearNotices, guarded, say } from "./notices.js";
import { refreshJobs } from "./jobs.js";
import { bar } from "./progress.js";

const ARCHIVES = { ".tar.gz": "application/gzip", ".tgz": "application/gzip", ".tar": "application/x-tar", ".zip": "application/zip" };
const PICTURE = /\.(jpe?g|png|webp)$/i;
const MARKET = /^(?<identity>-1|\d+)_(?<camera>c\d+)(s\d+)?(_|\.)/; // 0002_c1s1_000451_03.jpg
const BATCH = 16;
const BATCH_BYTES = 16e6;

let archives = [];
let pictures = [];
let parts = null;

/** Builds the part of the view. */
export function mountUpload(place) {
  const files = chooser({ multiple: true, accept: `image/jpeg,image/png,image/webp,${Object.keys(ARCHIVES)}` });
  const folder = chooser({ multiple: true, webkitdirectory: true });
  const zone = h(
    "div",
    { class: "drop large" },
    h("p", {}, h("strong", {}, "Drop an archive, a folder or pictures")),
    h("p", { class: "hint" }, "tar, tar.gz or zip; JPEG, PNG or WebP. One crop shows one person."),
    h("div", { class: "row center" }, button("Choose files", () => files.click(), "small"), button("Choose a folder", () => folder.click(), "small quiet")),
    files, folder,
  );
  parts = { staged: h("div", {}), progress: h("div", { "aria-live": "polite" }) };
  place.append(zone, parts.staged, parts.progress);
  receive(place.closest("section"), zone, stage);
}

function chooser(attributes) {
  const input = h("input", { type: "file", class: "unseen", tabindex: "-1", "aria-label": "Files to add", ...attributes });
  input.addEventListener("change", () => { stage(input.files); input.value = ""; });
  return input;
}

function kindOf(file) {
  return Object.keys(ARCHIVES).find((suffix) => file.name.toLowerCase().endsWith(suffix));
}

function stage(files) {
  const given = [...files];
  archives.push(...given.filter(kindOf));
  // In a folder other files are common; a file chosen by itself is meant.
  pictures.push(...given.filter((file) => !kindOf(file) && (PICTURE.test(file.name) || !pathOf(file).includes("/"))));
  draw();
}

function unstage() {
  archives = [];
  pictures = [];
  draw();
}

function draw() {
  if (!archives.length && !pictures.length) return parts.staged.replaceChildren();
  const bytes = [...archives, ...pictures].reduce((sum, file) => sum + file.size, 0);
  const what = [archives.length && count(archives.length, "archive"), pictures.length && count(pictures.length, "picture")].filter(Boolean).join(" and ");
  const names = h("select", {}, h("option", { value: "market" }, "Identity and camera"), h("option", { value: "none" }, "Nothing"));
  const identity = h("input", { maxlength: "200" });
  const camera = h("input", { maxlength: "200" });
  const when = h("input", { type: "datetime-local", step: "1" });
  const pattern = h("input", { spellcheck: "false", placeholder: "(?P<camera>[^/]+)/(?P<identity>\\d+)" });
  const about = { names, identity, camera, when, pattern };
  const form = h(
    "form",
    { class: "card", "aria-label": "Add", autocomplete: "off", on: { submit: (event) => { event.preventDefault(); guarded(send)(about); } } },
    h("h2", {}, `${what}, ${size(bytes)}`),
    archives.length ? field("Pattern of the paths in the archive", pattern, "A regular expression with the groups identity, camera, timestamp, crop_id. Empty: names as 0002_c1s1_000451_03.jpg are understood.") : null,
    pictures.length ? h("div", { class: "columns" }, field("File names say", names, "As 0002_c1s1_000451_03.jpg does."), field("Identity of all", identity), field("Camera of all", camera), field("Time of all", when)) : null,
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, `Add to ${current()?.name ?? "gallery"}`), button("Discard", unstage, "quiet")),
  );
  return parts.staged.replaceChildren(form);
}

async function send(about) {
  const work = { gallery: current().name, archives, pictures };
  clearNotices();
  const pattern = about.pattern.value.trim();
  const entry = describer(about);
  unstage();
  for (const file of work.archives) await sendArchive(work.gallery, file, pattern);
  if (work.pictures.length) await sendPictures(work.gallery, work.pictures, entry);
  await refresh();
}

async function sendArchive(gallery, file, pattern) {
  const control = new AbortController();
  const shown = bar(`Uploading ${file.name}`, { onCancel: () => control.abort() });
  parts.progress.append(shown.element);
  try {
    const headers = { "Content-Type": ARCHIVES[kindOf(file)] };
    await upload(at("galleries", gallery, "imports"), file, { query: { pattern }, headers, progress: shown.set, signal: control.signal });
  } finally {
    shown.element.remove();
  }
  await refreshJobs();
}

async function sendPictures(gallery, files, entry) {
  const control = new AbortController();
  const shown = bar(`Adding ${count(files.length, "picture")}`, { onCancel: () => control.abort() });
  parts.progress.append(shown.element);
  const failures = [];
  let done = 0;
  try {
    for (const batch of batches(files)) {
      const body = new FormData();
      for (const file of batch) body.append("images", file);
      body.append("crops", JSON.stringify(batch.map(entry)));
      const answer = await patiently(() => call("POST", at("galleries", gallery, "crops"), { form: body, signal: control.signal }));
      failures.push(...answer.results.filter(({ status }) => status === "error"));
      done += batch.length;
      shown.set(done / files.length, `${done} of ${files.length}`);
    }
    say(`${count(done - failures.length, "crop")} added`);
  } finally {
    shown.element.remove();
  }
  if (failures.length) parts.progress.append(failed(failures));
}

function* batches(files) {
  const most = Math.min(BATCH, info()?.limits?.max_images ?? BATCH);
  let batch = [];
  let bytes = 0;
  for (const file of files) {
    if (batch.length === most || (batch.length && bytes + file.size > BATCH_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(file);
    bytes += file.size;
  }
  yield batch;
}

function describer({ names, identity, camera, when }) {
  return (file) => {
    const path = pathOf(file);
    const found = names.value === "market" ? MARKET.exec(path.split("/").at(-1))?.groups : null;
    const person = found && !/^(0+|-1)$/.test(found.identity) ? found.identity : null; // distractors and junk are nobody
    return {
      crop_id: path.slice(-200),
      identity: person ?? (identity.value.trim() || null),
      camera: found?.camera ?? (camera.value.trim() || null),
      timestamp: timestampOf(when.value),
    };
  };
}

function failed(failures) {
  const element = h(
    "div",
    { class: "card" },
    h("h2", {}, `${count(failures.length, "picture")} could not be added`),
    h("ul", { class: "plain" }, failures.slice(0, 20).map(({ crop_id: id, error }) => h("li", {}, h("strong", {}, id), " ", error.detail))),
    failures.length > 20 ? h("p", { class: "hint" }, `and ${failures.length - 20} more`) : null,
    button("Dismiss", () => element.remove(), "quiet small"),
  );
  return element;
}
