"""Copy the stored crops of a running service's gallery to a data set on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from tqdm import tqdm

from service.errors import InvalidInput, Unavailable
from service.ingest.crop_values import read_name
from service.machine.durable import UNFINISHED, replaced_file

MANIFEST = "manifest.jsonl"
_OLD_MANIFEST = "manifest.csv"  # of earlier releases; two manifests could contradict each other
_PAGE = 1000
_NO_CAMERA = "unknown"

Row = dict[str, str]
"""A line of the manifest: ``path``, ``camera``, and ``track`` if it is known."""


@dataclass(frozen=True, slots=True)
class FetchedCrops:
    """The result of a copy.

    Attributes:
        manifest: the data set's manifest file.
        crops: number of pictures in the manifest.
        without_picture: number of crops left out because the gallery stores no picture of them.
    """

    manifest: Path
    crops: int
    without_picture: int


def fetch_crops(address: str, key: str | None, folder: Path) -> FetchedCrops:
    """Copy the pictures of a gallery into a folder, page by page.

    Only pictures, cameras and tracks are copied, because training reads no identity. Pictures
    already in the folder are not fetched again, so repeating an interrupted copy continues it.
    Pictures that the gallery has erased since are removed from the folder.

    Args:
        address: the gallery's, such as ``http://127.0.0.1:8000/galleries/station``.
        key: an API key with the scope ``search``; None if the service needs none.
        folder: where to copy to; created if missing.

    Returns:
        The manifest's path and the counts.

    Raises:
        InvalidInput: the address is not a gallery's, the service rejected the request, or no crop
            has a picture.
        Unavailable: the service cannot be reached, or a picture arrived damaged.
    """
    root, gallery = _split(address)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=root, headers=headers, timeout=60.0) as http:
        rows, without = _fetch_all(http, gallery, pictures)
    if not rows:
        raise InvalidInput(
            f"{address}: no crop has a stored picture; a gallery stores pictures only after "
            "store_crops is set"
        )
    _forget_others(pictures, {Path(row["path"]).name for row in rows})
    _write_manifest(folder / MANIFEST, rows)
    return FetchedCrops(folder / MANIFEST, len(rows), without)


def _split(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    root, found, name = address.rstrip("/").rpartition("/galleries/")
    if parts.scheme not in {"http", "https"} or not found or not name or "/" in name:
        raise InvalidInput(f"{address!r}: must look like http://127.0.0.1:8000/galleries/NAME")
    return root, name


def _fetch_all(http: httpx.Client, gallery: str, folder: Path) -> tuple[list[Row], int]:
    rows: dict[str, Row] = {}
    without = 0
    total = _answer(http, f"galleries/{gallery}").json()["crops"]
    for crop in tqdm(_crops(http, gallery), total=total, unit="crop", disable=None):
        name = _fetch(http, gallery, crop, folder)
        if name is None:
            without += 1
        else:
            rows[name] = _row(name, crop)
    return [row for _, row in sorted(rows.items())], without


def _row(name: str, crop: dict[str, Any]) -> Row:
    row = {"path": f"pictures/{name}", "camera": read_name("camera", crop["camera"]) or _NO_CAMERA}
    track = read_name("track", crop.get("track"))  # earlier releases of the service have none
    return row if track is None else row | {"track": track}


def _crops(http: httpx.Client, gallery: str) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        query: dict[str, str | int] = {"limit": _PAGE} | ({"cursor": cursor} if cursor else {})
        page = _answer(http, f"galleries/{gallery}/crops", query).json()
        yield from page["crops"]
        cursor = page["cursor"]
        if cursor is None:
            return


def _fetch(http: httpx.Client, gallery: str, crop: dict[str, Any], folder: Path) -> str | None:
    """Fetch a picture unless the folder has it; return its name, None if the gallery has none."""
    digest = crop["digest"]
    there = (path for path in folder.glob(f"{digest}.*") if path.suffix != UNFINISHED)
    if digest and (found := next(there, None)):
        return found.name
    path = f"galleries/{gallery}/pictures/{quote(crop['crop_id'])}"
    answer = _answer(http, path, missing_is_fine=True)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if hashlib.sha256(answer.content).hexdigest() != digest:
        raise Unavailable(f"{crop['crop_id']!r}: the picture differs from the one that was stored")
    name = f"{digest}{_suffix(answer.content)}"
    with replaced_file(folder / name, durable=False) as file:
        file.write(answer.content)
    return name


def _suffix(picture: bytes) -> str:
    if picture.startswith(b"\x89PNG"):
        return ".png"
    return ".webp" if picture[8:12] == b"WEBP" else ".jpg"


def _answer(
    http: httpx.Client,
    path: str,
    query: dict[str, str | int] | None = None,
    *,
    missing_is_fine: bool = False,
) -> httpx.Response:
    try:
        answer = http.get(f"/{path}", params=query)
    except httpx.TransportError as error:
        raise Unavailable(f"{http.base_url}: {str(error) or type(error).__name__}") from error
    if answer.is_success or (missing_is_fine and answer.status_code == httpx.codes.NOT_FOUND):
        return answer
    try:
        reason = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        reason = answer.reason_phrase
    raise InvalidInput(f"{answer.url}: {answer.status_code}: {reason}")


def _forget_others(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def _write_manifest(path: Path, rows: list[Row]) -> None:
    # CSV has no types, so it would turn a camera named 1.0 into camera 1.
    with replaced_file(path, durable=False) as file:
        for row in rows:
            file.write(f"{json.dumps(row)}\n".encode())
    path.with_name(_OLD_MANIFEST).unlink(missing_ok=True)
