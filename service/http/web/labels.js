// Names the person on crops: labels some crops, or merges identities of one person.

import { at, call } from "./api.js";
import { openDialog } from "./dialogs.js";
import { field, h, newId } from "./dom.js";
import { count } from "./format.js";
import { current, refresh } from "./galleries.js";
import { say } from "./notices.js";
import { clearSelection } from "./selection.js";

/** Asks who some crops show and tells the service; `onDone` runs afterwards. */
export function labelCrops(crops, onDone) {
  const known = [...new Set(crops.map((crop) => crop.identity).filter((name) => name !== null))];
  const listId = newId("identities");
  const name = h("input", { maxlength: "200", list: listId, value: known[0] ?? "" });
  const choice = scopeChoice(crops, known);
  openDialog({
    title: `Who is shown on ${crops.length === 1 ? "this crop" : `these ${crops.length} crops`}?`,
    body: [
      field("Identity", name, "Leave empty for an unknown person."),
      h(
        "datalist",
        { id: listId },
        known.map((one) => h("option", { value: one })),
      ),
      choice.element,
    ],
    submit: "Save",
    onSubmit: async () => {
      const identity = name.value.trim() || null;
      const answer =
        choice.merges() && identity ? await merge(known, identity) : await label(crops, identity);
      say(done(answer, identity));
      clearSelection();
      await refresh();
      onDone();
    },
  });
  name.select();
}

/** Lets the user choose between the selected crops and whole identities. */
function scopeChoice(crops, known) {
  if (!known.length) return { element: null, merges: () => false };
  const group = newId("scope");
  const whole = h("input", { type: "radio", name: group, id: `${group}-all` });
  const only = h("input", { type: "radio", name: group, id: `${group}-only`, checked: true });
  const all =
    known.length === 1
      ? `All crops of identity ${known[0]}`
      : `All crops of identities ${known.join(", ")} (they are one person)`;
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "Apply to"),
    h("div", { class: "check" }, only, h("label", { for: only.id }, count(crops.length, "selected crop"))),
    h("div", { class: "check" }, whole, h("label", { for: whole.id }, all)),
  );
  return { element, merges: () => whole.checked };
}

function label(crops, identity) {
  const ids = crops.map((crop) => crop.crop_id);
  return call("POST", at("galleries", current().name, "identities", "label"), {
    json: { crop_ids: ids, identity },
  });
}

function merge(identities, into) {
  return call("POST", at("galleries", current().name, "identities", "merge"), { json: { identities, into } });
}

function done(answer, identity) {
  const number = answer.changed ?? answer.crops ?? 0;
  return identity === null
    ? `${count(number, "crop")} now without an identity`
    : `${count(number, "crop")} labelled ${identity}`;
}
