// Dropped files and folders.

const MAX_ID = 200;
const DIGITS = 16;

/**
 * Accepts files dropped on an element.
 * @param {Element} target Where files may be dropped.
 * @param {Element} zone Highlighted while files hover over the target.
 * @param {(files: File[]) => void} take
 */
export function receive(target, zone, take) {
  let depth = 0;
  const light = (change) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle("over", depth > 0);
  };
  target.addEventListener("dragenter", (event) => {
    event.preventDefault();
    light(1);
  });
  target.addEventListener("dragleave", () => light(-1));
  target.addEventListener("dragover", (event) => event.preventDefault());
  target.addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    light(0);
    take(await dropped(event.dataTransfer));
  });
}

/** Stops a file dropped outside the drop zone from replacing the page. */
export function stayOnDrop() {
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
}

/** A file's path inside the chosen folder, or its name. */
export function pathOf(file) {
  return file.path || file.webkitRelativePath || file.name;
}

/**
 * The crop ID of a file: its path, adjusted to the service's rules for IDs.
 * Forbidden characters become "_"; an adjusted ID starts with a digest of the path to stay unique.
 * @param {string} path
 */
export function idOf(path) {
  const text = path.normalize("NFC").replace(/^[\s\u200c\u200d]+|[\s\u200c\u200d]+$/g, "");
  const clean = text
    .replace(/(?![\u200c\u200d])[\p{C}\p{Zl}\p{Zp}\ufffd]/gu, "_")
    .replace(/(?<=^|[\\/])\.{1,2}(?=$|[\\/])/g, "_")
    .replace(/^\/+|\/+$|(?<=\/)\/+/g, "");
  const letters = [...clean];
  if (clean === text && letters.length <= MAX_ID) return text;
  return `${digest(path)}/${letters.slice(DIGITS + 1 - MAX_ID).join("").replace(/^\.{0,2}\//, "")}`;
}

/** A digest of sixteen hexadecimal digits; crypto.subtle is not available over plain http. */
function digest(text) {
  let [high, low] = [0x811c9dc5, 0x9e3779b9];
  for (const unit of text.split("").map((letter) => letter.charCodeAt(0))) {
    high = Math.imul(high ^ unit, 0x01000193);
    low = Math.imul(low ^ unit, 0x85ebca6b) ^ (high >>> 13);
  }
  return [high, low].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    Object.defineProperty(file, "path", { value: entry.fullPath.replace(/^\//, "") });
    return [file];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return (await Promise.all(found.map(walk))).flat();
    found.push(...part);
  }
}
