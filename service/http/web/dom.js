// Builds elements. Text is always set as text, so nothing from a server or a file becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element.
 * @param {string} tag
 * @param {Object} attributes Strings become attributes, booleans properties; `on` maps events to
 *   listeners; `value` is set as a property.
 * @param {...(Node|string|number|Array|null|undefined|false)} children
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element; arguments as for `h`. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "value" || typeof value === "boolean") {
      element[name] = value;
    } else {
      element.setAttribute(name, value);
    }
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

let ids = 0;

/** A unique element id, for labels and descriptions. */
export function newId(word) {
  ids += 1;
  return `${word}-${ids}`;
}

/** A labelled control: label above, optional hint below. */
export function field(label, control, hint = null) {
  control.id ||= newId("field");
  if (!hint) return h("div", { class: "field" }, h("label", { for: control.id }, label), control);
  const hintId = `${control.id}-hint`;
  control.setAttribute("aria-describedby", hintId);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    h("p", { class: "hint", id: hintId }, hint),
  );
}

/** A checkbox with its label on the right and an optional hint below. */
export function checkbox(label, { hint = null, ...attributes } = {}) {
  const id = newId("check");
  const box = h("input", { type: "checkbox", id, ...attributes });
  if (hint) box.setAttribute("aria-describedby", `${id}-hint`);
  const row = h(
    "div",
    { class: "check" },
    box,
    h("div", {}, h("label", { for: id }, label), hint && h("p", { class: "hint", id: `${id}-hint` }, hint)),
  );
  return { row, box };
}

/** A drop-down list of `{value: label}`. */
export function select(options) {
  return h(
    "select",
    {},
    Object.entries(options).map(([value, label]) => h("option", { value }, label)),
  );
}

/** A button; `kind` is one or more of primary, quiet, danger, small. */
export function button(label, onclick, kind = "", attributes = {}) {
  return h("button", { type: "button", class: kind, on: { click: onclick }, ...attributes }, label);
}

/** Text for screen readers only. */
export function unseen(text) {
  return h("span", { class: "unseen" }, text);
}
