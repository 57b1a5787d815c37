"""Bits that flipped on the disk are noticed, reported and not served; everything else is."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from crash.clients import Writer
from crash.inspection import create_gallery, listed, search_problems
from crash.ledger import Record
from crash.pictures import Pictures
from crash.served import Served
from waiting import PATIENCE

GALLERY, OTHER = "g", "other"
CROPS = 20
FLIPS = 3
PAGE = 4096  # bytes, of SQLite


@dataclass(frozen=True)
class Stored:
    """The data folder of a stopped service, and the crops of its two galleries."""

    data: Path
    crops: dict[str, dict[str, Record]]
    pictures: Pictures


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Two galleries with twenty crops each."""
    folder, pictures = tmp_path_factory.mktemp("stored"), Pictures(5)
    served, crops = Served(folder / "data", folder / "log"), {}
    try:
        served.start()
        served.wait_until_alive()
        pictures.learn(served.url)
        for gallery in (GALLERY, OTHER):
            create_gallery(served.url, gallery)
            writer = Writer("w", gallery, pictures, 5)
            with httpx.Client(base_url=served.url, timeout=PATIENCE) as http:
                while len(writer.ledger.state) < CROPS:
                    writer.step(http)
                crops[gallery] = listed(http, gallery)
        served.stop()  # merges SQLite's log into its file
    finally:
        served.kill()
    return Stored(served.data, crops, pictures)


@pytest.fixture
def served(stored: Stored, tmp_path: Path) -> Iterator[Served]:
    """A service on a copy of that folder, not started yet."""
    shutil.copytree(stored.data, tmp_path / "data")
    served = Served(tmp_path / "data", tmp_path / "log")
    yield served
    served.kill()


@contextmanager
def started(served: Served) -> Iterator[httpx.Client]:
    served.start()
    served.wait_until_alive()
    with httpx.Client(base_url=served.url, timeout=PATIENCE) as http:
        yield http


def database(served: Served) -> Path:
    (file,) = (served.data / "galleries" / GALLERY).glob("*.sqlite3")
    return file


def flip(file: Path, offset: int, bit: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        (byte,) = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte ^ 1 << bit]))


def test_a_flipped_bit_in_an_embedding_hides_only_its_crop(served, stored):
    before, rng, file = stored.crops[GALLERY], random.Random(6), database(served)
    content = file.read_bytes()
    digests = [record.digest for record in before.values()]
    once = [key for key, record in before.items() if digests.count(record.digest) == 1]
    chosen = rng.sample(once, FLIPS)
    for crop_id in chosen:
        embedding = stored.pictures.embeddings_of([before[crop_id].digest]).tobytes()
        assert content.count(embedding) == 1
        byte = rng.randrange(len(embedding))
        flip(file, content.index(embedding) + byte, rng.randrange(8))
    left = {key: record for key, record in before.items() if key not in chosen}
    with started(served) as http:
        assert listed(http, GALLERY) == left
        assert all(crop_id in served.log.read_text() for crop_id in chosen)
        stats = http.get(f"/galleries/{GALLERY}").json()
        assert (stats["damaged"], stats["crops"]) == (FLIPS, len(left))
        assert search_problems(http, GALLERY, left, stored.pictures, rng) == []
        for crop_id in chosen:
            assert http.get(f"/galleries/{GALLERY}/crops/{crop_id}").status_code == 404
        # Uploading the crop again repairs it.
        image = {"image": ("a.png", stored.pictures.files[0])}
        assert http.put(f"/galleries/{GALLERY}/crops/{chosen[0]}", files=image).is_success
        assert http.get(f"/galleries/{GALLERY}").json()["damaged"] == FLIPS - 1


def pages_with(content: bytes, text: bytes) -> set[int]:
    """Offsets of the pages that contain a text."""
    return {start for start in range(0, len(content), PAGE) if text in content[start:][:PAGE]}


@pytest.mark.parametrize("text", [b"SQLite format 3", b"w-c1"], ids=["header", "crops"])
def test_a_damaged_page_of_sqlite_disables_one_gallery(served, stored, text):
    file = database(served)
    content = bytearray(file.read_bytes())
    for start in pages_with(bytes(content), text):
        content[start : start + PAGE] = random.Random(start).randbytes(PAGE)
    file.write_bytes(content)
    with started(served) as http:
        for answer in (
            http.get(f"/galleries/{GALLERY}"),
            http.get(f"/galleries/{GALLERY}/crops"),
            http.delete(f"/galleries/{GALLERY}/crops/w/000"),
        ):
            assert answer.status_code == 503, answer.text
            assert "is not served" in answer.json()["detail"]
        assert http.get("/readyz").status_code == 200
        assert listed(http, OTHER) == stored.crops[OTHER]
    assert f"gallery {GALLERY!r} is not served" in served.log.read_text()


def test_a_picture_with_a_flipped_bit_is_not_served(served, stored):
    with closing(sqlite3.connect(database(served), isolation_level=None)) as connection:
        row, data = connection.execute("SELECT rowid, data FROM pictures LIMIT 1").fetchone()
        altered = bytes([*data[:40], data[40] ^ 8, *data[41:]])
        connection.execute("UPDATE pictures SET data = ? WHERE rowid = ?", (altered, row))
    before = stored.crops[GALLERY]
    with started(served) as http:
        answers = {key: http.get(f"/galleries/{GALLERY}/pictures/{key}") for key in before}
        assert listed(http, GALLERY) == before
    (refused,) = [key for key, answer in answers.items() if answer.status_code == 503]
    assert f"picture of crop {refused!r} is damaged" in answers[refused].json()["detail"]
    assert sum(answer.status_code == 200 for answer in answers.values()) == len(before) - 1
