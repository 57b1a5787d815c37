"""Realistic folders, indexed from the command line and imported by the service."""

from __future__ import annotations

import json
import os
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import cli
from service.ingest.name_layouts import LAYOUTS
from service.testing import solid

DEEP = 1200
PATTERN = r"(?P<camera>[^/]+)/(?P<identity>[^/]+)/"


def fill(folder: Path, *names: str, kind: str = "PNG") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        number = zlib.crc32(os.fsencode(name))
        colour = (number & 255, number >> 8 & 255, number >> 16 & 255)
        path.write_bytes(solid(colour, kind=kind))
    return folder


def market(folder: Path, count: int = 3) -> Path:
    return fill(folder, *(f"{n:04}_c1s1_{n:06}_00.png" for n in range(1, count + 1)))


def rows(*names: str) -> str:
    return "".join(json.dumps({"path": n, "identity": f"i{n}"}) + "\n" for n in names)


def table(*names: str) -> str:
    return "path,identity\n" + "".join(f"{name},i{name}\n" for name in names)


class Indexing:
    """Two ways to index a folder: by the command line, and by the service."""

    def __init__(self, service: Any, root: Path, own: bool) -> None:
        self.service, self.root, self.own = service, root, own

    def run(self, *options: str, gallery: str = "default") -> Result:
        folder = [str(self.root)] if self.own else ["--server-folder", "people"]
        common = ["--url", self.service.url, "--gallery", gallery]
        return CliRunner().invoke(cli, ["index", *folder, *common, *options])

    def crops(self, gallery: str = "default") -> dict[str, tuple[str | None, str | None]]:
        answer = self.service.http.get(f"/galleries/{gallery}/crops", params={"limit": 1000})
        found = answer.json()["crops"]
        return {crop["crop_id"]: (crop["identity"], crop["camera"]) for crop in found}


@pytest.fixture(params=[True, False], ids=["folder", "server folder"])
def indexing(start, tmp_path, request):
    """A service that may read ``root``, and the folder ``root/people``, empty."""
    folder = tmp_path / "root" / "people"
    folder.mkdir(parents=True)
    with start(import_roots=[tmp_path / "root"]) as service:
        yield Indexing(service, folder, request.param)


# ---- the manifest in a folder


@pytest.mark.parametrize(
    ("manifest", "text", "pictures"),
    [
        ("manifest.ndjson", rows("a.png", "b.png"), "{}"),
        ("manifest.jsonl", rows("a.png", "b.png"), "{}"),
        ("manifest.csv", table("a.png", "b.png"), "{}"),
        ("Manifest.CSV", table("a.png", "b.png"), "{}"),
        ("top/manifest.csv", table("a.png", "b.png"), "top/{}"),
    ],
)
def test_a_manifest_in_a_folder_is_used(indexing, manifest, text, pictures):
    fill(indexing.root, pictures.format("a.png"), pictures.format("b.png"))
    (indexing.root / manifest).write_text(text)
    result = indexing.run()
    assert result.exit_code == 0, result.output
    assert "2 new" in result.stdout
    assert indexing.crops() == {"a.png": ("ia.png", None), "b.png": ("ib.png", None)}


@pytest.mark.parametrize(
    "names",
    [
        ["manifest.json"],
        ["manifest.txt"],
        ["manifest.csv.bak"],
        ["manifests.csv"],
        ["manifest"],
        ["manifest.csv", "sub/manifest.jsonl"],
        ["sub/manifest.csv"],
    ],
)
def test_an_unusable_manifest_is_named_and_nothing_is_stored(indexing, names):
    market(indexing.root)
    for name in names:
        path = indexing.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(table("a.png"))
    result = indexing.run()
    assert result.exit_code == 1
    assert all(name in result.output for name in names)
    assert indexing.crops() == {}
    result = indexing.run("--layout", "market1501")
    assert result.exit_code == 0, result.output
    assert f"{names[0]} is not used: the layout reads the names" in result.output
    assert len(indexing.crops()) == 3


def test_a_file_that_only_starts_like_a_manifest_is_not_one(indexing):
    market(indexing.root)
    (indexing.root / "manifestation.txt").write_text("x")
    fill(indexing.root, "manifest.png")
    assert indexing.run().exit_code == 0
    assert len(indexing.crops()) == 4


def test_files_missing_from_the_manifest_are_counted(indexing):
    market(indexing.root)
    fill(indexing.root, "extra.png")
    listed = [f"{n:04}_c1s1_{n:06}_00.png" for n in (1, 2, 3)]
    (indexing.root / "manifest.csv").write_text(table(*listed))
    result = indexing.run()
    assert result.exit_code == 0, result.output
    assert "3 new, 0 replaced, 0 unchanged, 1 left out" in result.stdout
    assert "extra.png: the manifest does not list it" in result.output


def test_a_manifest_written_on_windows(indexing):
    fill(indexing.root, "cam1/ann.png")
    (indexing.root / "manifest.csv").write_text("path,identity\ncam1\\ann.png,ann\n")
    result = indexing.run()
    assert result.exit_code == 0, result.output
    assert indexing.crops() == {"cam1/ann.png": ("ann", None)}


def test_the_option_accepts_every_format(start, tmp_path):
    fill(tmp_path / "people", "a.png", "b.png")
    with start() as service:
        indexing = Indexing(service, tmp_path / "people", own=True)
        for name, text in (("x.ndjson", rows("a.png")), ("x.jsonl", rows("b.png"))):
            (tmp_path / name).write_text(text)
            result = indexing.run("--manifest", str(tmp_path / name))
            assert result.exit_code == 0, result.output
        assert indexing.crops() == {"a.png": ("ia.png", None), "b.png": ("ib.png", None)}


def test_a_manifest_may_list_files_of_any_name(start, tmp_path):
    names = [f"a.{'x' * 150}", "b", ".hidden/c.png"]
    fill(tmp_path / "people", *names)
    (tmp_path / "people" / "manifest.csv").write_text(table(*names))
    with start() as service:
        indexing = Indexing(service, tmp_path / "people", own=True)
        result = indexing.run()
        assert result.exit_code == 0, result.output
        assert "3 new" in result.stdout


# ---- files that are not data, and links


def test_hidden_and_generated_folders_are_left_out_and_reported(indexing):
    market(indexing.root)
    fill(
        indexing.root,
        ".ipynb_checkpoints/0001_c1s1_000009_00-checkpoint.png",
        "sub/@eaDir/0009_c1s1_000009_00.png",
        "__MACOSX/._0009_c1s1_000009_00.png",
        "thumbnails/0009_c1s1_000009_00.png",
        "._0009_c1s1_000009_00.png",
    )
    result = indexing.run()
    assert result.exit_code == 0, result.output
    assert "3 new, 0 replaced, 0 unchanged, 5 left out, 0 failed" in result.stdout
    said = result.output.replace(f"{indexing.root}/", "")
    assert "left out: 2, such as ._0009_c1s1_000009_00.png: hidden" in said
    assert "left out: 3, such as __MACOSX: generated by a program" in said
    assert len(indexing.crops()) == 3


def test_a_hidden_folder_can_be_indexed_explicitly(start, tmp_path):
    market(tmp_path / ".cache")
    with start() as service:
        result = Indexing(service, tmp_path / ".cache", own=True).run()
    assert "3 new" in result.stdout


def test_a_linked_folder_is_followed(indexing, tmp_path):
    fill(tmp_path / "root" / "elsewhere", "ann/1.png")
    (indexing.root / "door").symlink_to(tmp_path / "root" / "elsewhere")
    result = indexing.run("--pattern", PATTERN)
    assert result.exit_code == 0, result.output
    assert indexing.crops() == {"door/ann/1.png": ("ann", "door")}


def test_links_in_circles_are_followed_once(indexing):
    fill(indexing.root, "a/1.png", "b/2.png")
    (indexing.root / "a" / "up").symlink_to(indexing.root)
    (indexing.root / "b" / "over").symlink_to(indexing.root / "a")
    (indexing.root / "self").symlink_to(indexing.root / "self")
    result = indexing.run()
    assert result.exit_code == 1  # the link points to itself
    assert "up: a link back to a folder above it" in result.output
    assert set(indexing.crops()) == {"a/1.png", "b/2.png", "b/over/1.png"}


def test_links_across_folders_do_not_multiply_the_work(indexing):
    folders = [indexing.root / f"d{n}" for n in range(20)]
    for folder in folders:
        fill(folder, "1.png")
    for one, other in pairwise(folders):
        for name in ("left", "right"):
            (one / name).symlink_to(other)
    result = indexing.run()
    assert result.exit_code == 0, result.output
    assert 20 <= len(indexing.crops()) <= 20 * 40  # each link is followed once, not 2 ** 19 times


def test_a_broken_link_is_reported(indexing):
    market(indexing.root)
    (indexing.root / "gone.png").symlink_to(indexing.root / "nothing")
    result = indexing.run()
    assert result.exit_code == 1
    assert "gone.png: No such file" in result.stderr
    assert len(indexing.crops()) == 3


def test_a_link_out_of_the_import_roots_is_rejected_and_reported(start, tmp_path):
    market(tmp_path / "root" / "people")
    fill(tmp_path / "secret", "0009_c1s1_000009_00.png")
    (tmp_path / "root" / "people" / "out").symlink_to(tmp_path / "secret")
    with start(import_roots=[tmp_path / "root"]) as service:
        indexing = Indexing(service, tmp_path / "root" / "people", own=False)
        result = indexing.run()
        assert result.exit_code == 1
        assert "out: a symbolic link that leads out of the import root" in result.stderr
        assert len(indexing.crops()) == 3


def enter(name: str, at: int) -> int:
    """Opens a folder from its parent and closes the parent; the whole path would be too long."""
    found = os.open(name, os.O_RDONLY, dir_fd=at)
    os.close(at)
    return found


def test_a_folder_deeper_than_python_recurses(indexing):
    at = os.open(indexing.root, os.O_RDONLY)
    depth = 0
    try:
        for depth in range(1, DEEP + 1):  # noqa: B007 - how many there are to remove
            os.mkdir("d", dir_fd=at)
            at = enter("d", at)
        market(indexing.root, 1)
        result = indexing.run()
    finally:  # one by one, because shutil.rmtree recurses too
        for _ in range(depth):
            at = enter("..", at)
            os.rmdir("d", dir_fd=at)
        os.close(at)
    assert "1 new" in result.stdout, result.output


# ---- files that are not readable images


def test_unsupported_image_formats_are_reported(indexing):
    market(indexing.root)
    for name in ("a.heic", "b.gif", "c.avif", "notes.txt"):
        (indexing.root / name).write_bytes(b"x")
    result = indexing.run()
    assert result.exit_code == 1
    assert "3 new, 0 replaced, 0 unchanged, 0 left out, 3 failed" in result.stdout
    for name in ("a.heic", "b.gif", "c.avif"):
        assert f"{name}: .{name[2:]} files are not supported" in result.stderr
    assert "notes.txt: not an image file" in result.output


def test_jpegs_with_any_suffix_bmp_and_tiff_are_read(indexing):
    fill(indexing.root, "0001_c1_1.jfif", "0001_c1_2.jpe", "0001_c1_3.JPEG", kind="JPEG")
    fill(indexing.root, "0002_c1_1.bmp", "0002_c1_2.BMP", kind="BMP")
    fill(indexing.root, "0003_c1_1.tif", "0003_c1_2.tiff", kind="TIFF")
    result = indexing.run()
    assert result.exit_code == 0, result.output
    assert "7 new" in result.stdout
    assert {identity for identity, _ in indexing.crops().values()} == {"0001", "0002", "0003"}


def test_a_folder_without_usable_images_is_an_error(indexing):
    (indexing.root / "notes.txt").write_text("x")
    fill(indexing.root, ".git/1.png")
    result = indexing.run()
    assert result.exit_code == 1
    assert "nothing could be" in result.output
    assert "notes.txt" in result.output


def test_an_empty_folder_and_a_pattern_that_matches_nothing_are_errors(indexing):
    assert indexing.run().exit_code == 1
    market(indexing.root)
    result = indexing.run("--pattern", "window")
    assert result.exit_code == 1
    assert "does not match 'window'" in result.output


# ---- names without metadata, and layouts by name


def test_names_without_metadata_are_counted_and_a_layout_is_suggested(indexing):
    fill(indexing.root, *(f"{n:04}C1T0001F{n:03}.png" for n in range(1, 5)))
    result = indexing.run()
    assert result.exit_code == 0, result.output
    assert "4 files have neither identity nor camera, such as 0001C1T0001F001" in result.output
    assert "layout mars" in result.output
    result = indexing.run("--layout", "mars")
    assert "neither" not in result.output
    assert indexing.crops()["0002C1T0001F002.png"] == ("0002", "C1")


@pytest.mark.parametrize(
    ("layout", "path", "identity", "camera"),
    [
        ("market1501", "0002_c1s1_000451_03.jpg", "0002", "c1"),
        ("dukemtmc", "0005_c2_f0046985.jpg", "0005", "c2"),
        ("msmt17", "train/0000/0000_000_01_0303morning_0015_0.jpg", "0000", "01"),
        ("mars", "bbox_train/0001/0001C1T0001F001.jpg", "0001", "C1"),
        ("viper", "VIPeR/cam_a/000_45.bmp", "000", "cam_a"),
        ("cuhk01", "0001003.png", "0001", "B"),
        ("cuhk03", "1_001_2_01.png", "1_001", "1_2"),
        ("grid", "probe/0001_1_25004_107_32_106_221.jpeg", "0001", "1"),
        ("ilids-vid", "sequences/cam1/person001/cam1_person001_00317.png", "001", "cam1"),
        ("ltcc", "train/002_1_c11_015939.png", "002", "c11"),
        ("sysu-mm01", "cam1/0001/0001.jpg", "0001", "cam1"),
        ("camera-first", "c1_065_0.png", "065", "c1"),
    ],
)
def test_every_built_in_layout(start, tmp_path, layout, path, identity, camera):
    kinds = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP"}
    fill(tmp_path / "people", path, kind=kinds[path.rpartition(".")[2]])
    fill(tmp_path / "people", "holiday.png")
    with start() as service:
        indexing = Indexing(service, tmp_path / "people", own=True)
        result = indexing.run("--layout", layout)
        assert result.exit_code == 0, result.output
        assert f"does not match the layout {layout}" in result.output
        assert indexing.crops() == {path: (identity, camera)}
    assert layout in LAYOUTS


def test_person_0_is_a_person_unless_the_data_set_uses_0_as_a_marker(start, tmp_path):
    fill(
        tmp_path / "people",
        "0000_c1_f0000001.png",  # renamed MSMT17 and DukeMTMC count people from 0
        "0000_c1s1_000001_00.png",  # Market-1501's distractors
        "-1_c1s1_000001_00.png",
    )
    with start() as service:
        indexing = Indexing(service, tmp_path / "people", own=True)
        assert indexing.run().exit_code == 0
        assert indexing.crops() == {
            "0000_c1_f0000001.png": ("0000", "c1"),
            "0000_c1s1_000001_00.png": (None, "c1"),
        }
        indexing.run("--layout", "dukemtmc", gallery="duke")
        assert {identity for identity, _ in indexing.crops("duke").values()} == {"0000"}
        indexing.run("--pattern", r"(?P<identity>\d+)_(?P<camera>c\d)", gallery="pattern")
        assert {identity for identity, _ in indexing.crops("pattern").values()} == {"0000"}


def test_ways_to_read_names_exclude_each_other(indexing):
    result = indexing.run("--layout", "mars", "--pattern", "x")
    assert result.exit_code == 2
    assert "give only one of" in result.output
    assert indexing.run("--layout", "saturn").exit_code == 2


def test_importing_a_server_folder_accepts_a_layout(start, tmp_path):
    fill(tmp_path / "root" / "v", "cam_a/000_45.png")
    with start(import_roots=[tmp_path / "root"]) as service:
        path = "/galleries/default/imports"
        answer = service.http.post(path, json={"folder": "v", "layout": "viper"})
        job = service.ended(answer)
        assert job["counts"] == {"created": 1}
        crop = service.http.get("/galleries/default/crops/cam_a/000_45.png").json()
        assert (crop["identity"], crop["camera"]) == ("000", "cam_a")
        for body in ({"layout": "saturn"}, {"layout": "mars", "pattern": "x"}):
            assert service.http.post(path, json={"folder": "v", **body}).status_code == 422
        answer = service.http.post(path, json={"folder": "v"}, params={"layout": "mars"})
        assert answer.status_code == 422


# ---- names that are not text


LATIN = os.fsdecode("Jürgen".encode("latin-1"))


def test_file_names_that_are_not_utf8_are_reported(indexing):
    fill(indexing.root, f"{LATIN}.png")
    for name in (f"{LATIN}.txt", f"{LATIN} 2.png"):
        (indexing.root / name).write_bytes(b"no picture")
    result = indexing.run()
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "neither identity nor camera" in result.output.replace("\n", " ")
    assert [id_.partition("/")[2] for id_ in indexing.crops()] == ["J_rgen.png"]
    answer = indexing.service.http.get("/jobs")
    assert answer.status_code == 200
    assert all(job["state"] == "done" for job in answer.json()["jobs"])


def test_an_error_may_contain_a_name_that_is_not_utf8(start, tmp_path):
    for folder in (LATIN, "other"):
        (tmp_path / "root" / "people" / folder).mkdir(parents=True)
        (tmp_path / "root" / "people" / folder / "manifest.ndjson").write_text(rows("a.png"))
    with start(import_roots=[tmp_path / "root"]) as service:
        path = "/galleries/default/imports"
        answer = service.http.post(path, json={"folder": "people"})
        job = service.ended(answer)
        assert job["state"] == "failed"
        assert "J?rgen/manifest.ndjson" in job["error"]
    with start(import_roots=[tmp_path / "root"]) as service:
        assert service.http.get("/jobs").json()["jobs"] == [job]
