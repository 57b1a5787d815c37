// What file names tell: which files are pictures, which to ignore, and the identity and camera.
// The service's own rules are in picture_files.py and name_layouts.py; a test compares the lists.

/** Suffixes of pictures that the service reads. */
export const PICTURES = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff"];

/** Built-in layouts of file names. */
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

/** Whether the name is that of a picture. */
export function isPicture(name) {
  return PICTURES.includes(name.split(".").at(-1).toLowerCase());
}

/** Whether part of a path is hidden or generated; the chosen folder itself does not count. */
export function isNoData(path) {
  return path
    .split("/")
    .slice(path.includes("/") ? 1 : 0)
    .some((part) => part.startsWith(".") || GENERATED.includes(part.toLowerCase()));
}

/** Whether a file may be a manifest describing the pictures beside it. */
export function isManifest(path) {
  const name = path.split("/").at(-1).toLowerCase();
  return path.includes("/") && /(^|[^a-z])manifests?([^a-z]|$)/.test(name) && !isPicture(name);
}

/** Identity and camera from a Market-1501 file name, or null; junk and distractors have no identity. */
export function readMarket(name) {
  const found = MARKET.exec(name)?.groups;
  if (!found) return null;
  const nobody = found.identity === "-1" || (found.sequence && /^0+$/.test(found.identity));
  return { identity: nobody ? null : found.identity, camera: found.camera };
}
