// Files that are dropped, folders included.

const MAX_ID = 200;
const DIGITS = 16;

/**
 * Takes what is dropped on an element.
 * @param {Element} target Where it may be dropped.
 * @param {Element} zone Lights up meanwhile.
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

/** Keeps a file that is dropped beside from replacing the page. */
export function stayOnDrop() {
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
}

/** A file's path inside the folder that was chosen, else its name. */
export function pathOf(file) {
  return file.path || file.webkitRelativePath || file.name;
}

/**
 * The id of a file's crop: its path, made to fit what the service takes for an id.
 * What must not be in an id becomes "_"; so that no two files get one id, digits of the path come first then.
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

/** Sixteen hexadecimal digits that differ where texts do; crypto.subtle is missing on plain http. */
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
