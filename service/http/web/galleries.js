// The galleries, the current one, and what is known about the model.

import { call } from "./api.js";

const CHOSEN = "hhcl-reid-gallery";

/** Fires `change` when the current gallery or its counts change. */
export const galleries = new EventTarget();

let records = [];
let chosen = null;
let about = null;

/** Reloads the list from the service. */
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

/** Switches to another gallery. */
export function choose(name) {
  chosen = name;
  sessionStorage.setItem(CHOSEN, name);
  galleries.dispatchEvent(new Event("change"));
}

/** Clears everything when the caller changes. */
export function reset() {
  records = [];
  about = null;
  chosen = null;
  galleries.dispatchEvent(new Event("change"));
}

/** Every gallery the caller may access. */
export function all() {
  return records;
}

/** The current gallery, or null. */
export function current() {
  return records.find((record) => record.name === chosen) ?? null;
}

/** The cameras of the current gallery, in natural order. */
export function cameras() {
  return Object.keys(current()?.cameras ?? {}).sort((a, b) =>
    a.localeCompare(b, undefined, { numeric: true }),
  );
}

/** The service's `/info`, or null. */
export function info() {
  return about;
}

/** The calibration for the current gallery, or null. */
export function calibration() {
  const same = about && current() && about.model.sha256 === current().model_sha256;
  return same ? about.model.calibration : null;
}
