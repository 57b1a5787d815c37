// What file names say: which files are pictures, which are no data, who is shown and by which camera.
// The service's own rules are in picture_files.py and name_layouts.py; a test compares the lists.

/** Pictures the service reads, by suffix. */
export const PICTURES = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff"];

/** The built-in layouts of file names. */
export const LAYOUTS = [
  "market1501",
  "dukemtmc",
  "msmt17",
  "mars",
  "viper",
  "cuhk01",
  "cuhk03",
  "grid",
  "ilids-vid",
  "ltcc",
  "sysu-mm01",
  "camera-first",
];

const GENERATED = [
  "__macosx",
  "desktop.ini",
  "thumbs.db",
  "ehthumbs.db",
  "icon\r",
  "@eadir",
  "#recycle",
  "#snapshot",
  "@recycle",
  "@tmp",
  "@recently-snapshot",
  "$recycle.bin",
  "recycler",
  "system volume information",
  "lost+found",
  "thumbnails",
  "thumbnail",
  "thumbs",
  "thumb",
  "_thumbs",
  "_thumbnails",
  "_thumb",
  "__thumbs",
  "@__thumb",
  "__pycache__",
  "node_modules",
];

const MARKET = /^(?<identity>-1|\d+)_(?<camera>c\d+)(?<sequence>s\d+)?(_|\.)/; // 0002_c1s1_000451_03.jpg

/** Whether a file is read as a picture, by its name. */
export function isPicture(name) {
  return PICTURES.includes(name.split(".").at(-1).toLowerCase());
}

/** Whether a part of a path is hidden or made by a program; the folder that was chosen does not count. */
export function isNoData(path) {
  return path
    .split("/")
    .slice(path.includes("/") ? 1 : 0)
    .some((part) => part.startsWith(".") || GENERATED.includes(part.toLowerCase()));
}

/** Whether a file may be a manifest, which says what the pictures beside it show. */
export function isManifest(path) {
  const name = path.split("/").at(-1).toLowerCase();
  return path.includes("/") && /(^|[^a-z])manifests?([^a-z]|$)/.test(name) && !isPicture(name);
}

/** Identity and camera of a name as Market-1501 writes it, else null. Junk and its distractors are nobody. */
export function readMarket(name) {
  const found = MARKET.exec(name)?.groups;
  if (!found) return null;
  const nobody = found.identity === "-1" || (found.sequence && /^0+$/.test(found.identity));
  return { identity: nobody ? null : found.identity, camera: found.camera };
}
