// Which galleries there are, the one in use, and what is known of the model.

import { call } from "./api.js";

const CHOSEN = "hhcl-reid-gallery";

/** Announces `change`: another gallery, or new counts. */
export const galleries = new EventTarget();

let records = [];
let chosen = null;
let about = null;

/** Asks the service again. */
export async function refresh() {
  const [listed, told] = await Promise.all([
    call("GET", "galleries"),
    about ?? call("GET", "info").catch(() => null),
  ]);
  records = listed.galleries;
  about = told;
  const wanted = chosen ?? sessionStorage.getItem(CHOSEN) ?? "default";
  chosen = records.find((record) => record.name === wanted)?.name ?? records[0]?.name ?? null;
  galleries.dispatchEvent(new Event("change"));
}

/** Takes another gallery. */
export function choose(name) {
  chosen = name;
  sessionStorage.setItem(CHOSEN, name);
  galleries.dispatchEvent(new Event("change"));
}

/** Forgets everything, when the caller changes. */
export function reset() {
  records = [];
  about = null;
  chosen = null;
  galleries.dispatchEvent(new Event("change"));
}

/** Every gallery the caller may see. */
export function all() {
  return records;
}

/** The gallery in use, or null. */
export function current() {
  return records.find((record) => record.name === chosen) ?? null;
}

/** The cameras of the gallery in use, in natural order. */
export function cameras() {
  return Object.keys(current()?.cameras ?? {}).sort((a, b) =>
    a.localeCompare(b, undefined, { numeric: true }),
  );
}

/** What the service says of itself, or null. */
export function info() {
  return about;
}

/** The calibration that belongs to the gallery in use, or null. */
export function calibration() {
  const same = about && current() && about.model.sha256 === current().model_sha256;
  return same ? about.model.calibration : null;
}
