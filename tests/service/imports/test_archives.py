"""Untrusted archives: members that are rejected, and archives rejected as a whole."""

from __future__ import annotations

import gzip
import io
import resource
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput, ReidError, TooLarge
from service.imports.items import ImportLimits, Item, Picture, check_relative
from service.imports.listing import Listing
from service.imports.tars import survey_tar, tar_items
from service.imports.zips import open_zip, zip_items
from service.ingest.crop_names import LeftOut, naming_of

BOUNDS = ImportLimits(image_bytes=100_000, unpacked_bytes=5_000_000, items=1000)
IMAGE = bytes(range(256)) * 8
CLIMBING = (
    "../a.png",
    "x/../../a.png",
    "/etc/a.png",
    "//a.png",
    "C:\\a.png",
    "..\\a.png",
    "a\\..\\b.png",
)


def plain(name: str, data: bytes = IMAGE) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def tar_of(*members: tuple[tarfile.TarInfo, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def read_tar(folder: Path, body: bytes, *, gzipped: bool = False) -> list[Item]:
    path = folder / "archive"
    path.write_bytes(body)
    return list(tar_items(path, Listing(naming_of(None)), BOUNDS, gzipped=gzipped))


def read_zip(folder: Path, body: bytes) -> list[Item]:
    path = folder / "archive"
    path.write_bytes(body)
    with open_zip(path) as archive:
        return list(zip_items(archive, Listing(naming_of(None)), BOUNDS))


def read(kind: str, folder: Path, names: dict[str, bytes]) -> list[Item]:
    if kind == "tar":
        return read_tar(folder, tar_of(*(plain(*entry) for entry in names.items())))
    return read_zip(folder, zip_of(names))


def reason(item: Item) -> str:
    assert isinstance(item, LeftOut)
    assert item.is_error
    return item.reason


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_leave_the_archive_are_rejected_one_by_one(kind, tmp_path):
    names = dict.fromkeys((*CLIMBING, "good.png"), IMAGE)
    *bad, good = read(kind, tmp_path, names)
    assert len(bad) == len(CLIMBING)
    for item in bad:
        assert "not allowed" in reason(item), item
    assert isinstance(good, Picture)
    assert good.data == IMAGE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


@given(st.text(max_size=40))
def test_a_path_that_is_accepted_stays_below_its_root(name):
    root = Path("/srv/imports")
    try:
        check_relative(name)
    except InvalidInput:
        return
    path = root / name
    assert ".." not in path.parts
    assert path.is_relative_to(root)


def test_links_devices_and_folders_of_a_tar(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    items = read_tar(
        tmp_path,
        tar_of(
            special("link.png", tarfile.SYMTYPE, "../secret.png"),
            special("hard.png", tarfile.LNKTYPE, "secret.png"),
            special("null.png", tarfile.CHRTYPE),
            special("disk.png", tarfile.BLKTYPE),
            special("pipe.png", tarfile.FIFOTYPE),
            special("folder.png", tarfile.DIRTYPE),
            plain("good.png"),
        ),
    )
    assert [reason(item).partition(":")[0] for item in items[:-1]] == [
        *("a link", "a link"),
        *("a device", "a device", "a device"),
    ]
    assert isinstance(items[-1], Picture)


def test_a_member_of_unknown_type_is_refused(tmp_path):
    odd, data = plain("odd.png")
    odd.type = b"Z"
    unknown, good = read_tar(tmp_path, tar_of((odd, data), plain("good.png")))
    assert isinstance(good, Picture)
    assert isinstance(unknown, Picture) or "unknown type" in reason(unknown)


def test_a_sparse_tar_is_refused(tmp_path):
    header = bytearray(tarfile.TarInfo("huge.png").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"77777777777\0"  # eight gigabytes when its holes are filled
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(InvalidInput, match="sparse"):
        read_tar(tmp_path, bytes(header) + bytes(1024))


def test_too_many_members_end_an_import(tmp_path):
    members = [plain(f"{n}.png", b"") for n in range(BOUNDS.items + 1)]
    with pytest.raises(TooLarge, match="more than 1,000 items"):
        read_tar(tmp_path, tar_of(*members))
    with pytest.raises(TooLarge, match="more than 1,000 items"):
        read_zip(tmp_path, zip_of({member.name: b"" for member, _ in members}))
    rows = b"".join(b'{"path": "%d.png"}\n' % n for n in range(BOUNDS.items + 1))
    with pytest.raises(TooLarge, match="more than 1,000 items"):
        read("tar", tmp_path, {"manifest.ndjson": rows})


def test_decompression_bombs_are_never_unpacked(tmp_path):
    zeros = bytes(30_000_000)
    body = gzip.compress(tar_of(plain("a.png", zeros), plain("b.png")))
    with pytest.raises(TooLarge, match="unpacks to more than 5,000,000 bytes"):
        read_tar(tmp_path, body, gzipped=True)
    with pytest.raises(TooLarge, match="at most 5,000,000 are allowed"):
        read_zip(tmp_path, zip_of({"a.png": zeros}, zipfile.ZIP_DEFLATED))
    limits = ImportLimits(image_bytes=4_000_000, unpacked_bytes=50_000_000)
    path = tmp_path / "archive"
    path.write_bytes(zip_of({"a.png": zeros[:3_000_000]}, zipfile.ZIP_DEFLATED))
    with open_zip(path) as archive:
        (item,) = zip_items(archive, Listing(naming_of(None)), limits)
    assert "no image does that" in reason(item)
    for kind in ("tar", "zip"):
        large, good = read(kind, tmp_path, {"a.png": bytes(100_001), "b.png": IMAGE})
        assert "100,001 bytes" in reason(large)
        assert isinstance(good, Picture)


def test_a_zip_member_gives_no_more_bytes_than_it_states(tmp_path):
    body = bytearray(zip_of({"a.png": bytes(1_000_000)}, zipfile.ZIP_DEFLATED))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = body.index(signature) + offset
        body[at : at + 4] = struct.pack("<L", 1000)
    (item,) = read_zip(tmp_path, bytes(body))
    assert "damaged" in reason(item)


def test_an_endless_tar_header_is_rejected_before_it_is_read(tmp_path):
    size = 3_000_000
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, size
    body = header.tobuf() + b"1" * size + bytes(-size % 512) + tar_of(plain("a.png"))
    with pytest.raises(InvalidInput, match="a header that does not end"):
        read_tar(tmp_path, body)


def test_truncated_archives_are_reported_wherever_they_end(tmp_path):
    members = [plain(f"{n}.png", IMAGE[: 300 * n]) for n in range(6)]
    whole = tar_of(*members)
    end = len(whole.rstrip(b"\0"))
    sound = sum(isinstance(item, Picture) for item in read_tar(tmp_path, whole))
    assert sound == 6
    for cut in range(1, end, 211):
        with pytest.raises(InvalidInput, match=r"truncated|damaged"):
            read_tar(tmp_path, whole[:cut])
    with pytest.raises(InvalidInput, match=r"after '2\.png'"):
        read_tar(tmp_path, tar_of(*members[:3])[: 3 * 512 + 512 + 1024])
    with pytest.raises(InvalidInput, match="damaged"):
        read_tar(tmp_path, gzip.compress(whole)[:-20], gzipped=True)
    with pytest.raises(InvalidInput, match="not a zip archive, or truncated"):
        read_zip(tmp_path, zip_of({"a.png": IMAGE})[:-30])


def test_unreadable_zip_members_are_reported_one_by_one(tmp_path):
    body = bytearray(zip_of({"locked.png": IMAGE, "flipped.png": IMAGE, "good.png": IMAGE}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(signature) + offset] |= 1  # encrypted
    body[body.index(b"flipped.png") + 200] ^= 0xFF
    locked, flipped, good = read_zip(tmp_path, bytes(body))
    assert "encrypted" in reason(locked)
    assert "CRC" in reason(flipped)
    assert isinstance(good, Picture)
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "../../etc/passwd")
        archive.writestr("slow.png", IMAGE, zipfile.ZIP_LZMA)
    linked, slow = read_zip(tmp_path, buffer.getvalue())
    assert "a link" in reason(linked)
    assert "only deflate" in reason(slow)


def test_a_huge_zip_directory_is_rejected(tmp_path):
    size = 100 << 20
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, size, 0, 0)
    path = tmp_path / "archive"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(end)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInput, match="directory"), open_zip(path):
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


SEEDS = [
    tar_of(
        plain("a.png"), plain("b/" + "c" * 150 + ".png"), special("l.png", tarfile.SYMTYPE, "x")
    ),
    tar_of(plain("ä.png"), format_=tarfile.GNU_FORMAT),
    zip_of({"a.png": IMAGE, "b.png": IMAGE}, zipfile.ZIP_DEFLATED),
    gzip.compress(tar_of(plain("a.png"))),
]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.integers(0, 3000) | st.none(),
)
def test_mutated_archives_are_read_or_rejected(seed, changes, cut, tmp_path):
    body = bytearray(seed)
    for at, value in changes:
        body[at % len(body)] = value
    for attempt in (
        lambda: read_tar(tmp_path, bytes(body[:cut])),
        lambda: read_tar(tmp_path, bytes(body[:cut]), gzipped=True),
        lambda: read_zip(tmp_path, bytes(body[:cut])),
    ):
        try:
            items = attempt()
        except ReidError:
            continue
        assert all(isinstance(item, Picture | LeftOut) for item in items)


def test_members_are_counted_up_to_the_damage(tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(tar_of(plain("a.png"), plain("b.png"), special("d", tarfile.DIRTYPE)))
    assert survey_tar(path, BOUNDS, gzipped=False).count == 2
    path.write_bytes(path.read_bytes()[:3000])
    assert survey_tar(path, BOUNDS, gzipped=False).count == 1
    path.write_bytes(zlib.compress(b"no tar"))
    assert survey_tar(path, BOUNDS, gzipped=True).count == 0
