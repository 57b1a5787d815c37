// Formats numbers and times for people.

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.NumberFormat();

/** A count with its noun: `1 crop`, `1,200 crops`. */
export function count(number, one, many = `${one}s`) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

/** A time, from seconds since 1970 UTC, in the browser's time zone. */
export function time(timestamp) {
  return timestamp === null || timestamp === undefined ? "time unknown" : moment.format(timestamp * 1000);
}

/** An axis tick: the date if steps are days or longer, otherwise the time of day. */
export function tick(timestamp, step) {
  if (step >= 86400) return day.format(timestamp * 1000);
  return (step < 60 ? seconds : clock).format(timestamp * 1000);
}

/** A share as a percentage; 0 % and 100 % appear only if exact. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1 %";
  if (share < 1 && share > 0.995) return "> 99 %";
  return `${Math.round(share * 100)} %`;
}

/** An approximate duration. */
export function duration(span) {
  if (span < 90) return `${Math.max(1, Math.round(span))} s`;
  if (span < 5400) return `${Math.round(span / 60)} min`;
  return `${(span / 3600).toFixed(1)} h`;
}

/** An approximate size, from bytes. */
export function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${(bytes / 1000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}

/** Seconds since 1970 UTC from the value of a datetime-local control, or null. */
export function timestampOf(value) {
  return value ? new Date(value).getTime() / 1000 : null;
}
