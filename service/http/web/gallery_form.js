// Creates a gallery and changes the settings of an existing one.

import { at, call } from "./api.js";
import { openDialog } from "./dialogs.js";
import { checkbox, field, h } from "./dom.js";
import { count, time } from "./format.js";
import { choose, refresh } from "./galleries.js";
import { say } from "./notices.js";

const DAY = 86400;

/** Asks for a name and settings, then creates the gallery. */
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
    body: [field("Name", name, "1 to 64 characters: a–z, 0–9, _ and -."), settings.elements],
    submit: "Create",
    onSubmit: async () => {
      await call("POST", "galleries", { json: { name: name.value, ...settings.values() } });
      choose(name.value);
      await refresh();
      say(`Gallery ${name.value} created`);
    },
  });
}

/** Changes a gallery's settings; asks first if that erases crops. */
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
      asked = null; // more crops may have expired by the next attempt
      await call("PATCH", path, { json: { ...wanted, confirm: crops } });
      await refresh();
      say("Saved");
      return true;
    },
  });
}

/** A sentence on what a change would erase; empty if nothing. */
function warned(doomed) {
  const going = [];
  if (doomed.deleted) {
    going.push(`${count(doomed.deleted, "crop")} from ${time(doomed.oldest)} to ${time(doomed.newest)}`);
  }
  if (doomed.pictures) going.push(count(doomed.pictures, "stored picture"));
  return going.length ? `This permanently erases ${going.join(" and ")}.` : "";
}

function optionFields(given) {
  const store = checkbox("Store pictures", {
    hint: "If off, only embeddings are stored and results show a placeholder.",
  });
  const join = checkbox("Assign new crops to the nearest person", {
    hint: "Applies to crops added without an identity.",
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
      field("Erase crops after (days)", days, "Older crops are erased within about a minute. Leave empty to keep them."),
    ],
    values: () => ({
      store_crops: store.box.checked,
      join: join.box.checked,
      keep_for: days.value ? Number(days.value) * DAY : null,
    }),
  };
}
