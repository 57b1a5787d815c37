// Files that are dropped, folders included.

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
