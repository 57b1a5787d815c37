// A new gallery, and the settings of one that is there.

import { at, call } from "./api.js";
import { openDialog } from "./dialogs.js";
import { checkbox, field, h } from "./dom.js";
import { count, time } from "./format.js";
import { choose, refresh } from "./galleries.js";
import { say } from "./notices.js";

const DAY = 86400;

/** Asks for a gallery's name and settings, and makes it. */
export function newGallery() {
  const name = h("input", {
    required: true,
    maxlength: "64",
    pattern: "[a-z0-9][a-z0-9_\\-]*",
    autocapitalize: "none",
    spellcheck: "false",
  });
  const settings = optionFields({ store_crops: true });
  openDialog({
    title: "New gallery",
    body: [field("Name", name, "1 to 64 of a–z, 0–9, _ and -."), settings.elements],
    submit: "Create",
    onSubmit: async () => {
      await call("POST", "galleries", { json: { name: name.value, ...settings.values() } });
      choose(name.value);
      await refresh();
      say(`Gallery ${name.value} is there`);
    },
  });
}

/** Asks for a gallery's settings, and changes them; nothing is erased unasked. */
export function changeGallery(gallery) {
  const settings = optionFields(gallery);
  const warning = h("p", { class: "verdict", role: "status" });
  let asked = null;
  const { confirm } = openDialog({
    title: `Settings of ${gallery.name}`,
    body: [settings.elements, warning],
    submit: "Save",
    onSubmit: async () => {
      const wanted = settings.values();
      const path = at("galleries", gallery.name);
      if (asked === null || asked.wanted !== JSON.stringify(wanted)) {
        const doomed = await call("PATCH", path, { json: { ...wanted, dry_run: true } });
        asked = { wanted: JSON.stringify(wanted), crops: doomed.deleted };
        warning.textContent = warned(doomed);
        confirm.textContent = warning.textContent === "" ? "Save" : "Erase and save";
        confirm.className = warning.textContent === "" ? "primary" : "danger";
        if (warning.textContent !== "") return false;
      }
      const { crops } = asked;
      asked = null; // more may be past its time when it is asked again
      await call("PATCH", path, { json: { ...wanted, confirm: crops } });
      await refresh();
      say("Saved");
      return true;
    },
  });
}

/** What a change would erase, as a sentence; empty where it erases nothing. */
function warned(doomed) {
  const going = [];
  if (doomed.deleted) {
    going.push(`${count(doomed.deleted, "crop")} from ${time(doomed.oldest)} to ${time(doomed.newest)}`);
  }
  if (doomed.pictures) going.push(count(doomed.pictures, "stored picture"));
  return going.length ? `This erases ${going.join(" and ")} for good.` : "";
}

function optionFields(given) {
  const store = checkbox("Keep the pictures", {
    hint: "Off: only embeddings are stored, and results show a drawing instead.",
  });
  const join = checkbox("Let new crops join the nearest person", {
    hint: "Crops that come without an identity.",
  });
  const days = h("input", {
    type: "number",
    min: "0",
    step: "any",
    value: given.keep_for ? String(given.keep_for / DAY) : "",
  });
  store.box.checked = Boolean(given.store_crops);
  join.box.checked = Boolean(given.join);
  return {
    elements: [
      store.row,
      join.row,
      field("Erase crops after, in days", days, "Older ones go within a minute or so. Empty means never."),
    ],
    values: () => ({
      store_crops: store.box.checked,
      join: join.box.checked,
      keep_for: days.value ? Number(days.value) * DAY : null,
    }),
  };
}
