// Erasing for good: the service first counts what would be erased, then erases it.

import { at, call } from "./api.js";
import { openDialog } from "./dialogs.js";
import { field, h, newId } from "./dom.js";
import { cameraChoice, timeChoice } from "./filters.js";
import { count } from "./format.js";
import { current, refresh } from "./galleries.js";
import { say } from "./notices.js";
import { clearSelection } from "./selection.js";
import { warningList } from "./warnings.js";

/** Asks what to erase, starting with the selected crops; `onDone` runs afterwards. */
export function eraseCrops(crops, onDone, start = {}) {
  const gallery = current().name;
  const choice = targets(crops, start);
  const receipt = h("div", { class: "receipt", role: "status" });
  const path = at("galleries", gallery, "crops", "delete");
  let agreed = null;
  const opened = openDialog({
    title: `Erase from ${gallery}`,
    body: [choice.element, receipt],
    submit: "Preview",
    onSubmit: async () => {
      const wanted = JSON.stringify(choice.filter());
      if (agreed !== wanted) {
        const counted = await call("POST", path, { json: { ...choice.filter(), dry_run: true } });
        receipt.replaceChildren(list(counted));
        agreed = counted.deleted ? wanted : null;
        describe();
        return false;
      }
      const gone = await call("POST", path, { json: choice.filter() });
      say(`${count(gone.deleted, "crop")} erased at ${gone.time}, request ${gone.request_id}`);
      clearSelection();
      await refresh();
      onDone();
      return true;
    },
  });
  const describe = () => {
    opened.confirm.textContent = agreed ? "Erase permanently" : "Preview";
    opened.confirm.className = agreed ? "danger" : "primary";
  };
  opened.form.addEventListener("input", () => {
    agreed = null;
    receipt.replaceChildren();
    describe();
  });
}

function list(receipt) {
  const { deleted, pictures, identities, cameras = {}, snapshots = [], jobs = [], warnings = [] } = receipt;
  const { lists = [], copies = [], hidden_copies: hidden = 0 } = receipt;
  if (!deleted)
    return h("div", {}, h("p", {}, "Nothing to erase: no crops match."), warningList(warnings));
  const rows = [
    ["Crops", deleted],
    ["Stored pictures", pictures],
    ["Identities", identities],
    [
      "By camera",
      Object.entries(cameras)
        .map(([name, number]) => `${name}: ${number}`)
        .join(", "),
    ],
  ].filter(([, value]) => value !== undefined && value !== "");
  return [
    h("h3", {}, "This will be erased permanently"),
    h(
      "dl",
      {},
      rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))),
    ),
    snapshots.length
      ? h("p", { class: "verdict" }, `Snapshots still contain them: ${snapshots.join(", ")}. Delete those as well.`)
      : null,
    jobs.length
      ? h("p", { class: "verdict" }, `Jobs may still contain them: ${jobs.join(", ")}. Cancel those as well.`)
      : null,
    lists.length
      ? h("p", { class: "verdict" }, `Error lists of these jobs may name them: ${lists.join(", ")}.`)
      : null,
    copies.length
      ? h("p", { class: "verdict" }, `Other galleries contain the same pictures: ${copies.join(", ")}.`)
      : null,
    hidden
      ? h("p", { class: "verdict" }, `So do ${count(hidden, "gallery", "galleries")} that your key cannot access.`)
      : null,
    warningList(warnings),
  ].reduce((part, child) => {
    if (child) part.append(child);
    return part;
  }, document.createDocumentFragment());
}

function targets(crops, start) {
  const time = timeChoice();
  const where = cameraChoice();
  const identity = h("input", { maxlength: "200", value: start.identity ?? "" });
  const kinds = [
    crops.length && {
      label: `The ${count(crops.length, "selected crop")}`,
      part: null,
      filter: () => ({ crop_ids: crops.map((crop) => crop.crop_id) }),
    },
    {
      label: "All crops of one identity",
      part: field("Identity", identity),
      filter: () => ({ identities: [identity.value.trim()] }),
    },
    { label: "All crops from some cameras", part: where.element, filter: () => ({ cameras: where.values() }) },
    { label: "All crops in a time window", part: time.element, filter: () => dropEmpty(time.values()) },
  ].filter(Boolean);
  const group = newId("target");
  const rows = kinds.map((kind, place) => {
    const radio = h("input", { type: "radio", name: group, id: `${group}-${place}`, checked: place === 0 });
    const part = h("div", { class: "nested", hidden: place !== 0 }, kind.part);
    return {
      kind,
      radio,
      part,
      row: h(
        "div",
        {},
        h("div", { class: "check" }, radio, h("label", { for: radio.id }, kind.label)),
        kind.part ? part : null,
      ),
    };
  });
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "What do you want to erase?"),
    rows.map(({ row }) => row),
  );
  element.addEventListener("change", () => {
    for (const { radio, part } of rows) part.hidden = !radio.checked;
  });
  return { element, filter: () => rows.find(({ radio }) => radio.checked).kind.filter() };
}

function dropEmpty(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}
