// Sends crops: an archive becomes an import job, pictures are uploaded in batches.

import { at, call, patiently, upload } from "./api.js";
import { button, h } from "./dom.js";
import { count } from "./format.js";
import { info } from "./galleries.js";
import { refreshJobs } from "./jobs.js";
import { say } from "./notices.js";
import { bar } from "./progress.js";

/** Archive types that the service reads, by suffix. */
export const ARCHIVES = {
  ".tar.gz": "application/gzip",
  ".tgz": "application/gzip",
  ".tar": "application/x-tar",
  ".zip": "application/zip",
};
const BATCH = 16;
const BATCH_BYTES = 16e6;

/** The archive suffix of a file, or undefined. */
export function kindOf(file) {
  return Object.keys(ARCHIVES).find((suffix) => file.name.toLowerCase().endsWith(suffix));
}

/** Uploads an archive and shows its job; `reading` sets how names are read, `place` shows progress. */
export async function sendArchive(gallery, file, reading, place) {
  const control = new AbortController();
  const shown = bar(`Uploading ${file.name}`, { onCancel: () => control.abort() });
  place.append(shown.element);
  try {
    const headers = { "Content-Type": ARCHIVES[kindOf(file)] };
    await upload(at("galleries", gallery, "imports"), file, {
      query: reading,
      headers,
      progress: shown.set,
      signal: control.signal,
    });
  } finally {
    shown.element.remove();
  }
  await refreshJobs();
}

/** Adds pictures; `entry` describes a file, `place` shows progress and failures. */
export async function sendPictures(gallery, files, entry, place) {
  const control = new AbortController();
  const shown = bar(`Adding ${count(files.length, "picture")}`, { onCancel: () => control.abort() });
  place.append(shown.element);
  const failures = [];
  let done = 0;
  try {
    for (const batch of batches(files)) {
      const body = new FormData();
      for (const file of batch) body.append("images", file);
      body.append("crops", JSON.stringify(batch.map(entry)));
      const answer = await patiently(() =>
        call("POST", at("galleries", gallery, "crops"), { form: body, signal: control.signal }),
      );
      failures.push(...answer.results.filter(({ status }) => status === "error"));
      done += batch.length;
      shown.set(done / files.length, `${done} of ${files.length}`);
    }
    say(`${count(done - failures.length, "crop")} added`);
  } finally {
    shown.element.remove();
  }
  if (failures.length) place.append(failed(failures));
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

function failed(failures) {
  const element = h(
    "div",
    { class: "card" },
    h("h2", {}, `${count(failures.length, "picture")} could not be added`),
    h(
      "ul",
      { class: "plain" },
      failures
        .slice(0, 20)
        .map(({ crop_id: id, error }) => h("li", {}, h("strong", {}, id), " ", error.detail)),
    ),
    failures.length > 20 ? h("p", { class: "hint" }, `and ${failures.length - 20} more`) : null,
    button("Dismiss", () => element.remove(), "quiet small"),
  );
  return element;
}
