// Background jobs: progress, failures, cancel and resume.

import { at, call } from "./api.js";
import { button, h, newId } from "./dom.js";
import { count, duration, time } from "./format.js";
import { current, galleries, refresh } from "./galleries.js";
import { guarded, say, showError } from "./notices.js";
import { may, session } from "./session.js";

const EVERY = 700; // milliseconds between polls while a job runs
const SHOWN = 8;
const KINDS = { import: "Import", cluster: "Group by person", reembed: "New model" };
const place = document.getElementById("jobs");
const view = document.getElementById("view-add");
const cards = new Map(); // job_id -> its card
let timer = 0;
let running = new Set(); // job ids

/** Follows the current gallery. */
export function mountJobs() {
  galleries.addEventListener("change", () => {
    if (!view.hidden) again();
  });
}

/** Loads the jobs, and keeps polling while one runs and the view is open. */
export async function refreshJobs() {
  clearTimeout(timer);
  const gallery = current();
  if (!gallery || !may("search")) return place.replaceChildren();
  const answer = await call("GET", "jobs", { query: { gallery: gallery.name } });
  if (current()?.name !== gallery.name) return undefined;
  draw(answer.jobs);
  const ended = answer.jobs.filter((job) => running.has(job.job_id) && !alive(job));
  running = new Set(answer.jobs.filter(alive).map((job) => job.job_id));
  if (ended.length) {
    say(ended.map((job) => `${KINDS[job.kind] ?? job.kind} ${job.state}`).join(", "));
    return refresh(); // new counts; reloads the jobs as well
  }
  if (running.size && !view.hidden) timer = setTimeout(again, EVERY);
  return undefined;
}

async function again() {
  try {
    await refreshJobs();
  } catch (error) {
    if (error.wait) timer = setTimeout(again, error.wait * 1000);
    else showError(error);
  }
}

session.addEventListener("change", () => {
  cards.clear();
  place.replaceChildren();
});

function alive({ state }) {
  return state === "queued" || state === "running";
}

function draw(jobs) {
  const newest = [...jobs].sort((a, b) => b.created - a.created).slice(0, SHOWN);
  const shown = newest.map((job) => {
    if (!cards.has(job.job_id)) cards.set(job.job_id, card(job));
    const one = cards.get(job.job_id);
    one.update(job);
    return one.element;
  });
  if (!shown.length) return place.replaceChildren();
  const list = place.querySelector(".jobs");
  const same =
    list && list.children.length === shown.length && shown.every((one, row) => list.children[row] === one);
  if (same) return undefined; // keeps the focus
  return place.replaceChildren(h("h2", {}, "Jobs"), h("div", { class: "jobs" }, shown));
}

/** Builds the card once and updates it in place, so focus stays and nothing flickers. */
function card(job) {
  const id = newId("job");
  const meter = h("progress", { max: 1, id });
  const state = h("span", { class: "state" });
  const words = h("p", { class: "hint" });
  const failure = h("p", { class: "verdict", hidden: true });
  const warnings = h("p", { class: "hint", hidden: true });
  const actions = h("div", { class: "row" });
  let last = null;
  const update = (now) => {
    state.textContent = now.state;
    state.className = `state ${now.state}`;
    if (now.total) meter.value = Math.min(1, now.done / now.total);
    else if (!alive(now)) meter.value = now.state === "done" ? 1 : 0;
    meter.hidden = !alive(now);
    words.textContent = sentence(now);
    warnings.textContent = (now.result?.warnings ?? []).join(". ");
    warnings.hidden = !warnings.textContent;
    failure.hidden = !now.error;
    failure.textContent = typeof now.error === "string" ? now.error : (now.error?.detail ?? "");
    if (last !== now.state + now.errors) actions.replaceChildren(...buttons(now));
    last = now.state + now.errors;
  };
  const title = `${KINDS[job.kind] ?? job.kind}, ${time(job.created)}`;
  const element = h(
    "div",
    { class: "card job", "data-job": job.job_id },
    h("div", { class: "between" }, h("label", { for: id }, title), state),
    meter,
    words,
    warnings,
    failure,
    actions,
  );
  return { element, update };
}

function sentence(job) {
  const parts = [
    job.total ? `${job.done.toLocaleString()} of ${job.total.toLocaleString()}` : count(job.done, "item"),
  ];
  parts.push(
    ...Object.entries(job.counts)
      .filter(([, number]) => number)
      .map(([name, number]) => `${number.toLocaleString()} ${name}`),
  );
  if (alive(job) && job.rate)
    parts.push(`${job.rate < 10 ? job.rate.toFixed(1) : Math.round(job.rate)} per second`);
  if (alive(job) && job.eta_seconds) parts.push(`about ${duration(job.eta_seconds)} left`);
  return parts.join(" · ");
}

function buttons(job) {
  const act = (word) =>
    guarded(async () => {
      await call("POST", at("jobs", job.job_id, word));
      await refreshJobs();
    });
  return [
    alive(job) && may("write") && button("Cancel", act("cancel"), "quiet small"),
    job.resumable && may("write") && button("Resume", act("resume"), "small"),
    job.errors > 0 &&
      may("write") &&
      button(
        `Download ${count(job.errors, "error")}`,
        guarded(() => download(job)),
        "small quiet",
      ),
  ].filter(Boolean);
}

async function download(job) {
  const blob = await call("GET", at("jobs", job.job_id, "errors"), { as: "blob" });
  const href = URL.createObjectURL(blob);
  h("a", { href, download: `errors-${job.job_id}.ndjson` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
