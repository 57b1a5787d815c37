// Matches over time, one lane per camera.

import { describe } from "./crops.js";
import { h, s } from "./dom.js";
import { tick } from "./format.js";

const LANE = 34;
const TOP = 8;
const AXIS = 26;
const RIGHT = 18;
const HUES = 6;
const STEPS = [1, 5, 15, 60, 300, 900, 3600, 10800, 21600, 43200, 86400, 604800, 2592000, 31536000];

/** Colours of the top-ranked identities; all others are grey. */
export function hues(matches) {
  const names = [...new Set(matches.map((match) => match.identity).filter((name) => name !== null))];
  return new Map(names.slice(0, HUES).map((name, place) => [name, place]));
}

/** The timeline, or null if fewer than two matches have a time. */
export function timeline(matches, colours, onPick) {
  const seen = matches.filter((match) => match.timestamp !== null);
  if (seen.length < 2) return null;
  const holder = h("div", { class: "chart" });
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const draw = () =>
    holder.replaceChildren(drawing(seen, colours, Math.max(holder.clientWidth, 240), { onPick, tip }), tip);
  new ResizeObserver(draw).observe(holder);
  return h(
    "figure",
    { class: "timeline" },
    h(
      "figcaption",
      {},
      h("h3", {}, "Across cameras"),
      h(
        "p",
        { class: "hint" },
        "One lane per camera, one mark per match. Use the arrow keys to move and Enter to open a crop.",
      ),
    ),
    holder,
  );
}

function drawing(seen, colours, width, { onPick, tip }) {
  const lanes = [...new Set(seen.map(laneOf))].sort((a, b) =>
    a.localeCompare(b, undefined, { numeric: true }),
  );
  const left = Math.min(110, 22 + 8 * Math.max(...lanes.map((lane) => lane.length)));
  const scale = scaleOf(seen, left, width - RIGHT);
  const height = TOP + lanes.length * LANE;
  const y = (match) => TOP + (lanes.indexOf(laneOf(match)) + 0.5) * LANE;
  const marks = [...seen]
    .sort((a, b) => a.timestamp - b.timestamp)
    .map((match) => mark(match, scale.x(match.timestamp), y(match), colours));
  rove(marks, { onPick, tip });
  return s(
    "svg",
    {
      width,
      height: height + AXIS,
      viewBox: `0 0 ${width} ${height + AXIS}`,
      role: "group",
      "aria-label": `Timeline of ${seen.length} matches on ${lanes.length} cameras`,
    },
    lanes.map((lane, row) => laneLine(lane, TOP + (row + 0.5) * LANE, left, width)),
    scale.ticks.map(({ at, label }) => tickLine(at, label, height)),
    paths(seen, colours, scale, y),
    marks.map(({ element }) => element),
  );
}

function laneOf(match) {
  return match.camera ?? "unknown";
}

function laneLine(lane, y, left, width) {
  const name = lane.length > 11 ? `${lane.slice(0, 10)}…` : lane;
  return s(
    "g",
    { class: "lane", "aria-hidden": "true" },
    s("text", { x: 0, y: y + 4 }, name),
    s("line", { x1: left - 10, x2: width, y1: y, y2: y }),
  );
}

function tickLine(x, label, height) {
  return s(
    "g",
    { class: "tick", "aria-hidden": "true" },
    s("line", { x1: x, x2: x, y1: TOP, y2: height }),
    s("text", { x, y: height + 18, "text-anchor": "middle" }, label),
  );
}

function paths(seen, colours, scale, y) {
  return [...colours].map(([identity, hue]) => {
    const steps = seen
      .filter((match) => match.identity === identity)
      .sort((a, b) => a.timestamp - b.timestamp);
    const points = steps.map((match) => `${scale.x(match.timestamp)},${y(match)}`).join(" ");
    return steps.length > 1
      ? s("polyline", { class: `way hue-${hue}`, points, "aria-hidden": "true" })
      : null;
  });
}

function mark(match, x, y, colours) {
  const hue = colours.get(match.identity);
  const radius = 5 + 4 * Math.max(0, Math.min(1, match.probability ?? match.score));
  const element = s(
    "g",
    {
      class: `mark ${hue === undefined ? "hue-none" : `hue-${hue}`}`,
      role: "button",
      tabindex: "-1",
      "aria-label": `Rank ${match.rank}: ${describe(match)}`,
      transform: `translate(${x} ${y})`,
    },
    s("circle", { class: "target", r: 14 }),
    s("circle", { r: radius }),
  );
  return { element, match, x, y };
}

/** All marks share one tab stop; arrow keys move between them. */
function rove(marks, { onPick, tip }) {
  marks[0].element.setAttribute("tabindex", "0");
  const show = ({ match, x, y }) => {
    tip.textContent = `${match.rank}. ${describe(match)}`;
    tip.hidden = false;
    const room = tip.parentElement.clientWidth - tip.offsetWidth;
    tip.style.insetInlineStart = `${Math.max(0, Math.min(room, x - tip.offsetWidth / 2))}px`;
    tip.style.insetBlockStart = `${y + 16}px`;
  };
  const hide = () => {
    tip.hidden = true;
  };
  marks.forEach((one, place) => {
    const move = (to) => {
      const next = marks[Math.max(0, Math.min(marks.length - 1, to))].element;
      one.element.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    };
    const keys = {
      ArrowRight: () => move(place + 1),
      ArrowDown: () => move(place + 1),
      ArrowLeft: () => move(place - 1),
      ArrowUp: () => move(place - 1),
      Home: () => move(0),
      End: () => move(marks.length - 1),
      Enter: () => onPick(one.match),
      " ": () => onPick(one.match),
      Escape: hide,
    };
    const listeners = {
      click: () => onPick(one.match),
      focus: () => show(one),
      blur: hide,
      pointerenter: () => show(one),
      pointerleave: hide,
      keydown: (event) => {
        if (keys[event.key]) {
          event.preventDefault();
          keys[event.key]();
        }
      },
    };
    for (const [name, listener] of Object.entries(listeners)) one.element.addEventListener(name, listener);
  });
}

function scaleOf(seen, left, right) {
  const times = seen.map((match) => match.timestamp);
  const first = Math.min(...times);
  const last = Math.max(...times);
  const pad = Math.max((last - first) * 0.04, 0.5);
  const [from, to] = [first - pad, last + pad];
  const x = (at) => left + 8 + ((at - from) / (to - from)) * (right - left - 8);
  const wanted = Math.max(2, Math.floor((right - left) / 90));
  const step =
    STEPS.find((one) => (to - from) / one <= wanted) ??
    STEPS.at(-1) * Math.ceil((to - from) / STEPS.at(-1) / wanted);
  const offset = new Date(from * 1000).getTimezoneOffset() * 60; // ticks at full hours of local time
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step)
    ticks.push({ at: x(at), label: tick(at, step) });
  return { x, ticks };
}
