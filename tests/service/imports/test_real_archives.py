"""Archives as real tools write them, imported over HTTP."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.testing import solid

TAR, GZIP, ZIP = "application/x-tar", "application/gzip", "application/zip"
PATTERN = {"pattern": r"(?P<camera>[^/]+)/(?P<identity>[^/]+)/"}
_UTF8_FLAG = 0x800

Members = dict[str, bytes]


def picture(number: int) -> bytes:
    return solid((number % 256, 2 * number % 256, 255 - number % 256), kind="PNG")


def tar_of(members: Members, format_: int = tarfile.PAX_FORMAT, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_, **options) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # unchanged; ZipInfo would cut it at a zero byte
            archive.writestr(info, data)
    return buffer.getvalue()


class Bytes(zipfile.ZipInfo):
    """A member whose name is given as bytes, without the UTF-8 flag."""

    raw = b""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile calls it so
        return self.raw, self.flag_bits & ~_UTF8_FLAG


def zip_of_bytes(members: dict[bytes, bytes], extra: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, data) in enumerate(members.items()):
            info = Bytes(f"{number}")
            info.raw, info.extra = name, extra
            archive.writestr(info, data)
    return buffer.getvalue()


def ask(service, gallery: str, content_type: str, body: bytes, **more: Any) -> httpx.Response:
    headers = {"Content-Type": content_type, **more.pop("headers", {})}
    path = f"/galleries/{gallery}/imports"
    return service.http.post(path, content=body, headers=headers, **more)


def errors(service, job: dict[str, Any]) -> dict[str, str]:
    answer = service.http.get(f"/jobs/{job['job_id']}/errors")
    rows = map(json.loads, answer.text.splitlines())
    return {row["item"]: row["reason"] for row in rows}


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def market(count: int = 3) -> Members:
    return {f"{n:04}_c{n % 2 + 1}s1_{n:06}_00.png": picture(n) for n in range(1, count + 1)}


def crops(service, gallery: str) -> dict[str, tuple[str | None, str | None]]:
    page = service.http.get(f"/galleries/{gallery}/crops", params={"limit": 1000}).json()
    return {crop["crop_id"]: (crop["identity"], crop["camera"]) for crop in page["crops"]}


@pytest.fixture
def gallery(service, request) -> str:
    """An empty gallery for this test."""
    name = "r" + format(zlib.crc32(request.node.name.encode()), "x")
    return service.create(name)


@pytest.fixture
def run(service, gallery) -> Callable[..., dict[str, Any]]:
    """Imports a body into the gallery and returns the finished job."""

    def run_one(kind: str, body: bytes, **more: Any) -> dict[str, Any]:
        return service.ended(ask(service, gallery, kind, body, **more))

    return run_one


# ---- names in zip archives


def test_zip_on_linux_writes_utf8_without_the_flag(service, gallery, run, tmp_path):
    tool = shutil.which("zip")
    if tool is None:
        pytest.skip("Info-ZIP's zip is not installed")
    folder = tmp_path / "cam1" / "Jürgen"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(picture(1))
    subprocess.run([tool, "-q", "-r", "a.zip", "cam1"], cwd=tmp_path, check=True)
    job = run(ZIP, (tmp_path / "a.zip").read_bytes(), params=PATTERN)
    assert job["counts"] == {"created": 1}, job
    assert crops(service, gallery) == {"cam1/Jürgen/1.png": ("Jürgen", "cam1")}


def test_names_without_the_flag_are_utf8_if_they_decode(service, gallery, run):
    body = zip_of_bytes({"cam1/Jürgen/1.png".encode(): picture(1), b"c/plain/2.png": picture(2)})
    assert run(ZIP, body, params=PATTERN)["counts"] == {"created": 2}
    assert crops(service, gallery) == {
        "c/plain/2.png": ("plain", "c"),
        "cam1/Jürgen/1.png": ("Jürgen", "cam1"),
    }


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("cp437", "Jürgen"),
        ("cp850", "Ángel"),
        ("cp1252", "Zoë"),
        ("cp1251", "Иван"),
        ("shift_jis", "田中ソ"),
        ("gbk", "王小明"),
        ("euc_kr", "김철수"),
    ],
)
def test_other_encodings_are_read_if_the_import_names_them(service, gallery, run, encoding, name):
    body = zip_of_bytes(
        {f"cam1/{name}/1.png".encode(encoding): picture(1), b"cam1/plain/2.png": picture(2)}
    )
    job = run(ZIP, body, params=PATTERN)
    assert job["counts"] == {"created": 1, "failed": 1}
    (reason,) = errors(service, job).values()
    assert "not UTF-8" in reason
    assert "encoding=cp437" in reason
    job = run(ZIP, body, params=PATTERN | {"encoding": encoding})
    assert job["counts"] == {"created": 1, "unchanged": 1}, job
    assert (name, "cam1") in crops(service, gallery).values()


def test_an_unknown_encoding_is_rejected(service, gallery):
    for encoding in ("klingon", "utf-16", "idna", "rot13", "hex", "../x", ""):
        answer = ask(service, gallery, ZIP, zip_of(market()), params={"encoding": encoding})
        assert answer.status_code == 422, encoding
    assert "cp437" in answer.json()["detail"]


def test_a_name_that_does_not_match_the_encoding_is_rejected_alone(service, gallery, run):
    body = zip_of_bytes({b"c/\x81\xff/1.png": picture(1), b"c/ok/2.png": picture(2)})
    job = run(ZIP, body, params=PATTERN | {"encoding": "shift_jis"})
    assert job["counts"] == {"created": 1, "failed": 1}
    ((item, reason),) = errors(service, job).items()
    assert item.startswith("c/")
    assert "is not shift_jis" in reason


@pytest.mark.parametrize("right", [True, False], ids=["its checksum", "another checksum"])
def test_info_zips_unicode_path_is_used_if_its_checksum_is_right(service, gallery, run, right):
    raw = "c/J\u00fcrgen/1.png".encode("cp850")
    name = "c/Jürgen/1.png".encode()
    checksum = zlib.crc32(raw) + (not right)
    extra = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, checksum) + name
    job = run(ZIP, zip_of_bytes({raw: picture(1)}, extra), params=PATTERN)
    assert job["counts"] == ({"created": 1} if right else {"failed": 1})
    assert crops(service, gallery) == ({"c/Jürgen/1.png": ("Jürgen", "c")} if right else {})


def test_backslashes_separate_folders(service, gallery, run):
    body = zip_of(
        {
            "cam1\\": b"",
            "cam1\\ann\\1.png": picture(1),
            "cam1\\.thumbs\\x.png": picture(2),
            "..\\out.png": picture(3),
        }
    )
    job = run(ZIP, body, params=PATTERN)
    assert job["counts"] == {"created": 1, "left_out": 1, "failed": 1}, job
    assert crops(service, gallery) == {"cam1/ann/1.png": ("ann", "cam1")}
    names = {f"sub\\{name}": data for name, data in market().items()}
    assert run(ZIP, zip_of(names))["counts"] == {"created": 3}
    assert crops(service, gallery)["sub/0001_c2s1_000001_00.png"] == ("0001", "c2")


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_a_manifest_written_on_windows(service, gallery, run, separator):
    row = {"path": "cam1\\ann.png", "identity": "ann"}
    body = zip_of({f"cam1{separator}ann.png": picture(1), "manifest.ndjson": lines(row)})
    assert run(ZIP, body)["counts"] == {"created": 1}
    assert crops(service, gallery) == {"cam1/ann.png": ("ann", None)}


def test_names_in_a_tar_that_are_not_utf8(service, gallery, run):
    options = {"format_": tarfile.GNU_FORMAT, "encoding": "cp1252"}
    body = tar_of({"c/Zoë/1.png": picture(1), "c/ann/2.png": picture(2)}, **options)
    job = run(TAR, body, params=PATTERN)
    assert job["counts"] == {"created": 1, "failed": 1}
    assert "not UTF-8" in next(iter(errors(service, job).values()))
    job = run(TAR, body, params=PATTERN | {"encoding": "cp1252"})
    assert job["counts"] == {"created": 1, "unchanged": 1}
    assert crops(service, gallery)["c/Zoë/1.png"] == ("Zoë", "c")


# ---- manifests in archives


def rows(*names: str) -> bytes:
    return lines(*({"path": name, "identity": f"i{name}", "camera": "door"} for name in names))


def table(*names: str) -> bytes:
    return "\n".join(["path,identity,camera", *(f"{n},i{n},door" for n in names), ""]).encode()


NAMED = {"a.png": ("ia.png", "door"), "b.png": ("ib.png", "door")}
PAIR = {"a.png": picture(1), "b.png": picture(2)}


def packed(kind: str, members: Members) -> tuple[str, bytes]:
    match kind:
        case "tar":
            return TAR, tar_of(members)
        case "tar.gz":
            return GZIP, gzip.compress(tar_of(members))
        case _:
            return ZIP, zip_of(members)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize(
    "members",
    [
        {"manifest.ndjson": rows(*PAIR), **PAIR},
        {**PAIR, "manifest.ndjson": rows(*PAIR)},
        {"a.png": PAIR["a.png"], "manifest.jsonl": rows(*PAIR), "b.png": PAIR["b.png"]},
        {**PAIR, "manifest.csv": table(*PAIR)},
        {**PAIR, "Manifest.NDJSON": rows(*PAIR)},
        {**{f"./{name}": data for name, data in PAIR.items()}, "./manifest.ndjson": rows(*PAIR)},
        {
            "./manifest.csv": table(*PAIR).replace(b"a.png,", b"./a.png,", 1),
            **{f"./{n}": d for n, d in PAIR.items()},
        },
        {"top/manifest.ndjson": rows(*PAIR), **{f"top/{n}": d for n, d in PAIR.items()}},
        {**{f"x/y/{n}": d for n, d in PAIR.items()}, "x/y/MANIFEST.csv": table(*PAIR)},
        {"__MACOSX/._manifest.csv": b"x", "manifest.csv": table(*PAIR), **PAIR},
        {"manifest.csv": table(*PAIR), ".ipynb_checkpoints/manifest.csv": b"x", **PAIR},
    ],
    ids=",".join,
)
def test_a_manifest_is_used_wherever_it_lies(service, gallery, run, kind, members):
    job = run(*packed(kind, members))
    assert job["state"] == "done", job
    assert job["counts"]["created"] == 2
    assert job["total"] == job["done"]
    assert "failed" not in job["counts"]
    assert crops(service, gallery) == NAMED


def test_a_parquet_manifest_in_an_archive(service, gallery, run):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    buffer = io.BytesIO()
    columns = {"path": list(PAIR), "identity": [f"i{n}" for n in PAIR], "camera": ["door"] * 2}
    parquet.write_table(pyarrow.table(columns), buffer)
    assert (
        run(TAR, tar_of({**PAIR, "manifest.parquet": buffer.getvalue()}))["counts"]["created"] == 2
    )
    assert crops(service, gallery) == NAMED


def test_paths_not_relative_to_the_manifests_folder_are_explained(service, gallery, run):
    body = zip_of({"top/a.png": picture(1), "top/manifest.ndjson": lines({"path": "top/a.png"})})
    job = run(ZIP, body)
    assert job["counts"] == {"failed": 1, "left_out": 1}
    assert errors(service, job) == {
        "top/a.png": "it is not in the archive; paths are relative to the manifest's folder, top"
    }


def test_the_documented_example_works(service, gallery, run, tmp_path):
    for name, data in {**PAIR, "manifest.ndjson": rows(*PAIR)}.items():
        (tmp_path / name).write_bytes(data)
    packed = subprocess.run(
        ["tar", "-C", str(tmp_path), "-c", "."], check=True, capture_output=True
    )
    assert run(TAR, packed.stdout)["counts"] == {"created": 2}
    assert crops(service, gallery) == NAMED


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({**PAIR, "manifest.json": b"[]"}, ["manifest.json"]),
        ({**PAIR, "manifest.txt": b""}, ["manifest.txt"]),
        ({**PAIR, "manifest (1).csv": table(*PAIR)}, ["manifest (1).csv"]),
        ({**PAIR, "manifest.csv.gz": b""}, ["manifest.csv.gz"]),
        ({**PAIR, "manifest": rows(*PAIR)}, ["manifest"]),
        ({**PAIR, "my_manifest.csv": table(*PAIR)}, ["my_manifest.csv"]),
        ({**PAIR, "sub/Crops-Manifest.ndjson": rows(*PAIR)}, ["sub/Crops-Manifest.ndjson"]),
        (
            {**PAIR, "manifest.csv": table(*PAIR), "x/manifest.ndjson": b""},
            ["manifest.csv", "x/manifest.ndjson"],
        ),
        ({**PAIR, "sub/manifest.csv": table(*PAIR), "sub/c.png": picture(3)}, ["sub/manifest.csv"]),
    ],
)
def test_an_unusable_manifest_fails_the_import_and_is_named(
    service, gallery, run, kind, members, named
):
    job = run(*packed(kind, members))
    assert job["state"] == "failed", job
    for name in named:
        assert name in job["error"]
    assert crops(service, gallery) == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["link", "hard link"])
def test_a_manifest_in_a_tar_that_is_a_link_is_named(service, gallery, run, kind):
    body = io.BytesIO(tar_of(PAIR))
    with tarfile.open(fileobj=body, mode="a") as tar:
        member = tarfile.TarInfo("./manifest.csv")
        member.type, member.linkname = kind, "a.png"
        tar.addfile(member)
    job = run(TAR, body.getvalue())
    assert job["state"] == "failed", job
    assert job["error"].startswith("./manifest.csv: a link")
    assert crops(service, gallery) == {}


def test_a_manifest_in_a_zip_that_cannot_be_unpacked_is_named(service, gallery, run):
    body = bytearray(zip_of({**PAIR, "manifest.csv": table(*PAIR)}))
    place = body.rindex(table(*PAIR))
    body[place] ^= 1  # its checksum no longer matches
    job = run(ZIP, bytes(body))
    assert job["state"] == "failed", job
    assert job["error"].startswith("manifest.csv: damaged")
    assert crops(service, gallery) == {}


def test_a_requested_layout_or_pattern_takes_precedence_and_is_reported(service, gallery, run):
    body = zip_of({**market(), "manifest.json": b"{}"})
    job = run(ZIP, body, params={"layout": "market1501"})
    assert job["counts"] == {"created": 3, "left_out": 1}
    (warning,) = job["result"]["warnings"]
    assert "manifest.json is not used: the layout reads the names" in warning


def test_both_unicode_spellings_of_an_accent_are_one_name(service, gallery, run):
    name = unicodedata.normalize("NFD", "Zoë.png")
    manifest = lines({"path": "Zoë.png", "identity": "z"})
    job = run(TAR, tar_of({name: picture(1), "manifest.ndjson": manifest}))
    assert job["counts"] == {"created": 1}, job


# ---- files that are not data


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_hidden_and_generated_folders_are_skipped_and_reported(service, gallery, run, kind):
    junk = [
        ".ipynb_checkpoints/0001_c1s1_000009_00-checkpoint.png",
        "@eaDir/0001_c1s1_000009_00.png/SYNOPHOTO_THUMB_XL.jpg",
        "__MACOSX/._0001_c1s1_000009_00.png",
        "sub/.thumbnails/0001_c1s1_000008_00.png",
        "sub/Thumbnails/0001_c1s1_000007_00.png",
        "sub/thumb/0001_c1s1_000004_00.png",
        "#recycle/0001_c1s1_000006_00.png",
        ".git/x.png",
        "._0001_c1s1_000005_00.png",
    ]
    members = {**market(), **dict.fromkeys(junk, picture(9)), "Thumbs.db": b"x"}
    job = run(*packed(kind, members))
    assert job["counts"] == {"created": 3, "left_out": len(junk) + 1}, job
    said = {entry["reason"].partition(":")[0]: entry for entry in job["result"]["left_out"]}
    assert said["hidden"]["items"] == 4
    assert said["hidden"]["example"] == junk[0]
    assert said["generated by a program"]["items"] == 5
    assert said["not an image file"]["example"] == "Thumbs.db"


def test_unsupported_image_formats_are_reported(service, gallery, run):
    job = run(ZIP, zip_of({**market(), "a.heic": b"x", "b.GIF": b"GIF89a", "notes.txt": b""}))
    assert job["counts"] == {"created": 3, "failed": 2, "left_out": 1}
    reasons = errors(service, job)
    assert "convert them" in reasons["a.heic"]
    assert ".gif" in reasons["b.GIF"]


def test_an_archive_without_usable_members_fails_with_the_reason(service, gallery, run):
    job = run(ZIP, zip_of({"a.txt": b"", "b.txt": b"", ".git/x.png": picture(1)}))
    assert job["state"] == "failed"
    assert job["error"].startswith("nothing could be imported; left out: 2, such as a.txt")
    job = run(ZIP, zip_of({"door.png": picture(1)}), params={"pattern": "window"})
    assert job["state"] == "failed"
    assert "does not match 'window'" in job["error"]


# ---- names without metadata


def test_names_with_neither_identity_nor_camera_are_counted(service, gallery, run):
    members = {f"000{n}C1T000{n}F001.jpg": solid((n, n, n)) for n in range(1, 4)}
    job = run(ZIP, zip_of(members))
    assert job["counts"] == {"created": 3}
    assert job["result"]["nameless"] == 3
    (warning,) = job["result"]["warnings"]
    assert warning.startswith("3 files have neither identity nor camera, such as 0001C1T0001F001")
    assert "layout mars" in warning
    job = run(ZIP, zip_of(members), params={"layout": "mars"})
    assert job["counts"] == {"replaced": 3}
    assert (job["result"]["nameless"], job["result"]["warnings"]) == (0, [])
    assert crops(service, gallery)["0001C1T0001F001.jpg"] == ("0001", "C1")


def test_an_unknown_layout_and_a_layout_with_a_pattern_are_rejected(service, gallery):
    answer = ask(service, gallery, ZIP, zip_of(market()), params={"layout": "saturn"})
    assert answer.status_code == 422
    assert "viper" in answer.json()["detail"]
    both = {"layout": "mars", "pattern": "x"}
    answer = ask(service, gallery, ZIP, zip_of(market()), params=both)
    assert "exclude each other" in answer.json()["detail"]


@pytest.mark.parametrize("parameter", ["layuot", "Pattern", "manifest", "cameras"])
def test_an_unknown_parameter_is_rejected(service, gallery, parameter):
    answer = ask(service, gallery, ZIP, zip_of(market()), params={parameter: "mars"})
    assert answer.status_code == 422
    assert f"Unknown field `{parameter}`" in answer.json()["detail"]


# ---- the Content-Type of the sender


@pytest.mark.parametrize(
    ("content_type", "pack"),
    [
        ("application/x-zip-compressed", "zip"),
        ("application/x-zip", "zip"),
        ("application/x-gzip", "tar.gz"),
        ("application/x-compressed-tar", "tar.gz"),
        ("application/x-tgz", "tar.gz"),
        ("application/tar", "tar"),
        ("application/x-gtar", "tar"),
        ("application/x-zip-archive", "zip"),
        ("multipart/x-zip", "zip"),
        ("application/tgz", "tar.gz"),
        ("application/x-gunzip", "tar.gz"),
        ("binary/octet-stream", "zip"),
        ("application/x-download", "tar.gz"),
        ("application/octet-stream", "tar"),
        ("application/octet-stream", "tar.gz"),
        ("application/octet-stream", "zip"),
        ("application/gzip", "tar"),
        ("application/x-tar", "tar.gz"),
        ("application/zip", "tar"),
        ("application/x-tar", "zip"),
    ],
)
def test_archives_are_detected_from_the_content(service, gallery, run, content_type, pack):
    _, body = packed(pack, market())
    assert run(content_type, body)["counts"] == {"created": 3}
    assert crops(service, gallery)["0001_c2s1_000001_00.png"] == ("0001", "c2")


@pytest.mark.parametrize("content_type", [TAR, "application/octet-stream"])
@pytest.mark.parametrize("folder", ["BZh", "PAR1", "Rar!\x1a\x07", "7z"])
def test_a_tar_may_begin_with_any_name(service, gallery, run, content_type, folder):
    body = tar_of({f"{folder}/{name}": data for name, data in market().items()})
    assert run(content_type, body)["counts"] == {"created": 3}


@pytest.mark.parametrize(
    "content_type",
    ["text/csv", "application/vnd.ms-excel", "text/x-csv", "text/comma-separated-values"],
)
def test_csv_types_that_browsers_send(service, gallery, run, content_type):
    job = run(content_type, b"path\nabsent.png\n")
    assert job["counts"] == {"failed": 1}


@pytest.mark.parametrize("content_type", ["application/x-jsonl", "text/jsonl", "text/x-ndjson"])
def test_ndjson_types_that_programs_send(service, gallery, run, content_type):
    assert run(content_type, b'{"path": "absent.png"}\n')["counts"] == {"failed": 1}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (TAR, gzip.compress(tar_of(market()))),
        (GZIP, gzip.compress(tar_of(market()))),
        (GZIP, gzip.compress(gzip.compress(tar_of(market())))),
        (ZIP, gzip.compress(zip_of(market()))),
        ("application/octet-stream", gzip.compress(zip_of(market()))),
        (TAR, tar_of(market())),  # unpacked by a proxy that kept the header
    ],
    ids=["tar", "tar.gz", "tar.gz twice", "zip", "octets", "plain"],
)
def test_a_body_with_content_encoding_gzip(service, gallery, run, kind, body):
    job = run(kind, body, headers={"Content-Encoding": "gzip"})
    assert job["counts"] == {"created": 3}, job


def test_a_compressed_manifest_and_its_limit(service, gallery, run, start):
    text = gzip.compress(b'{"path": "x.png"}\n')
    job = run("application/x-ndjson", text, headers={"Content-Encoding": "gzip"})
    assert job["counts"] == {"failed": 1}
    with start(max_import_bytes=100_000) as other:
        body = gzip.compress(bytes(1_000_000))
        headers = {"Content-Encoding": "gzip"}
        answer = ask(other, "default", "application/x-ndjson", body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert other.http.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("content_type", "headers", "body", "said"),
    [
        ("application/octet-stream", {}, b"hello", "application/x-tar"),
        ("application/x-www-form-urlencoded", {}, tar_of(market()), "curl"),
        ("text/plain", {}, b"x", "application/zip"),
        (TAR, {"Content-Encoding": "br"}, tar_of(market()), "gzip"),
        (TAR, {}, b"Rar!\x1a\x07\x00rest", "RAR"),
        (ZIP, {}, b"7z\xbc\xaf\x27\x1crest", "7-Zip"),
        (GZIP, {}, b"BZh91AY", "bzip2"),
        (GZIP, {}, b"\xfd7zXZ\x00", "xz"),
    ],
)
def test_unsupported_types_are_rejected_immediately_with_the_supported_ones(
    service, gallery, content_type, headers, body, said
):
    answer = ask(service, gallery, content_type, body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert said in answer.json()["detail"]


def test_without_a_content_type_the_format_is_detected(service, gallery):
    request = service.http.build_request(
        "POST", f"/galleries/{gallery}/imports", content=tar_of(market())
    )
    assert "Content-Type" not in request.headers
    assert service.ended(service.http.send(request))["counts"] == {"created": 3}


def test_a_zip_sent_as_an_image_is_rejected(service, gallery):
    answer: httpx.Response = service.put(gallery, "x", zip_of(market()))
    assert answer.status_code == 422


def test_members_with_the_same_normalised_name_are_stored_once(service, gallery, run):
    body = zip_of({"a\\b.png": picture(1), "a/b.png": picture(2)})
    job = run(ZIP, body)
    assert job["counts"] == {"created": 1, "failed": 1}
    assert "earlier item" in errors(service, job)["a/b.png"]


def test_temporary_files_are_removed_with_the_job(service, gallery, run):
    run(ZIP, zip_of({**PAIR, "manifest.csv": table(*PAIR)}))
    # The job's folder is removed shortly after it is done; os.walk skips what no longer exists.
    walked = os.walk(service.parts.settings.data / "jobs")
    assert not [name for _, _, names in walked for name in names if "manifest" in name]
