"""Imports read in a subprocess: the same items, and failures stay in that process."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import PATIENCE, always_set, wait_until

from service.errors import (
    Forbidden,
    ImageTooLarge,
    InvalidInput,
    StorageFull,
    TooLarge,
    Unavailable,
)
from service.gallery.base import Crop
from service.imports.items import EmbeddedCrop, Picture
from service.imports.messages import HEAD, Crashed, Done, Expect, Refused, decode, encode
from service.imports.reader import RECEIVED, ImportReader, ImportRequest
from service.imports.subprocess_reader import (
    ForkServer,
    SubprocessReader,
    _Link,
    shared_fork_server,
)
from service.ingest.crop_names import LeftOut
from service.testing import FakeEmbedder, solid

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

GIB = 1 << 30
ENOUGH = 200  # pictures of 100 kB: far more than a connection buffers


def request_for(folder: Path, source: str, **spec: Any) -> ImportRequest:
    return ImportRequest(
        spec={"source": source, **spec},
        gallery="g",
        bound=False,
        folder=str(folder),
        roots=[str(folder)],
        image_bytes=1 << 20,
        unpacked_bytes=GIB,
        dimension=4,
        memory_bytes=GIB,
    )


def archive(folder: Path, members: dict[str, bytes]) -> ImportRequest:
    with tarfile.open(folder / RECEIVED, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return request_for(folder, "tar")


def many(folder: Path) -> ImportRequest:
    return archive(folder, {f"{number:04}_c1s1.png": b"x" * 100_000 for number in range(ENOUGH)})


def in_subprocess(
    what: ImportRequest, fork_server: ForkServer | None = None, **hooks: Any
) -> SubprocessReader:
    nothing = lambda *_: None  # noqa: E731
    chosen = {"expect": nothing, "check": nothing, **hooks}
    return SubprocessReader(what, fork_server or shared_fork_server(), **chosen)


@pytest.fixture
def fork_server() -> Iterator[ForkServer]:
    found = ForkServer()
    with closing(found):
        yield found


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


def readers(fork_server: ForkServer) -> list[int]:
    """The reader processes of a fork server."""
    return [
        reader for watcher in children(fork_server._process.pid) for reader in children(watcher)
    ]


def gone(process: int) -> bool:
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def wait_until_gone(*processes: int) -> None:
    wait_until(lambda: [one for one in processes if not gone(one)], lambda left: not left)


def test_the_subprocess_reads_the_same_items(tmp_path):
    rows = [
        {"path": "a.png", "camera": "c1", "identity": "ada", "timestamp": "2026-11-21"},
        {"path": "missing.png"},
        {"path": "a.png"},
        {"camera": "c1", "strange": 1},
    ]
    manifest = "\n".join(map(json.dumps, rows)).encode()
    members = {
        "manifest.ndjson": manifest,
        "a.png": solid((1, 2, 3)),
        "b.png": b"",
        "../c.png": b"",
    }
    vectors = [
        {"crop_id": f"v{n % 2}", "embedding": [1.0, 0, 0, 0], "timestamp": 1795249800.5}
        for n in range(3)
    ]
    (tmp_path / "t").mkdir()
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / RECEIVED).write_text("\n".join(map(json.dumps, vectors)))
    for what in (archive(tmp_path / "t", members), request_for(tmp_path / "v", "ndjson")):
        totals: list[int] = []
        expected: list[int] = []
        here = ImportReader(what, expected.append)
        there = in_subprocess(what, expect=totals.append)
        ours, theirs = list(here.items()), list(there.items())
        assert len(ours) == len(theirs) > 2
        for mine, other in zip(ours, theirs, strict=True):
            if isinstance(mine, EmbeddedCrop):
                assert isinstance(other, EmbeddedCrop)
                assert (mine.name, mine.crop) == (other.name, other.crop)
                np.testing.assert_array_equal(mine.embedding, other.embedding)
            else:
                assert mine == other
        assert there.result() == here.result()
        assert totals == expected
    assert "belongs to an earlier item" in theirs[2].reason


@pytest.mark.parametrize(
    "error",
    [InvalidInput("a"), TooLarge("b"), ImageTooLarge("c"), Forbidden("d"), StorageFull("e")],
)
def test_errors_keep_their_type_and_message(error):
    text, content = parts(encode(Refused(error)))
    message = decode(text, content)
    assert type(message.error) is type(error)
    assert str(message.error) == str(error)


def parts(message: bytes) -> tuple[bytes, bytes]:
    size, more = HEAD.unpack(message[: HEAD.size])
    text, content = message[HEAD.size :][:size], message[HEAD.size + size :]
    assert len(content) == more
    return text, content


def test_undecodable_names_and_long_reasons_are_transmitted(tmp_path):
    item = Picture("\udcff" * 2000, Crop("id", "\u0130", None, 0.1, track="7"), b"\0\xff")
    assert decode(*parts(encode(item))) == replace(item, name=item.name[:1000])
    left = LeftOut(Path("p" * 40_000), "r" * 40_000, is_error=True)
    message = encode(left)
    assert len(message) < 4000
    assert decode(*parts(message)).is_error
    assert len(encode(Crashed("t" * 1_000_000))) < 50_000


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"{}",
        b"null",
        b"[" * 10_000,
        b'["picture", 1, "a", null, null, null]',
        b'["picture", "a", 1, null, null, null]',
        b'["picture", "a", "b", 1, null, null]',
        b'["picture", "a", "b", null, null, []]',
        b'["ready", "a", "b", null, null, null]',
        b'["expect", "1"]',
        b'["left", "a"]',
        b"\xff",
    ],
)
def test_invalid_frames_are_rejected(text):
    with pytest.raises(ValueError, match=r".*"):
        decode(text, b"abc")


class Pretending(ForkServer):
    """Stands in for a compromised reader, which sends arbitrary bytes."""

    def __init__(self, *sent: bytes) -> None:
        super().__init__()
        self._sent = sent

    def begin(self, request: ImportRequest) -> _Link:
        ours, theirs = socket.socketpair()
        report, said = os.pipe()
        os.close(said)
        with theirs:
            for piece in self._sent:
                theirs.sendall(piece)
        return _Link(ours, report)


@pytest.mark.parametrize(
    "sent",
    [
        HEAD.pack(2**32 - 1, 0),
        HEAD.pack(10, 2**32 - 1),
        HEAD.pack(2, 0) + b"[]",
        HEAD.pack(4, 0) + b"\xff\xff\xff\xff",
    ],
)
def test_oversized_frames_are_rejected(tmp_path, sent):
    with pytest.raises(InvalidInput, match="process reading the import sent"):
        list(in_subprocess(request_for(tmp_path, "tar"), Pretending(sent)).items())


def test_a_connection_that_ends_within_a_frame_is_an_error(tmp_path):
    start = encode(Expect(3)) + encode(Done({}))[:-2]
    with pytest.raises(Unavailable, match="ended for an unknown reason"):
        list(in_subprocess(request_for(tmp_path, "tar"), Pretending(start)).items())


def test_a_reader_that_needs_too_much_memory_fails_alone(tmp_path, fork_server):
    (tmp_path / RECEIVED).write_bytes(directory_of(200_000))
    what = replace(request_for(tmp_path, "zip"), memory_bytes=32 << 20)
    with pytest.raises(TooLarge, match="more than 33,554,432 bytes of memory"):
        next(in_subprocess(what, fork_server).items())
    (tmp_path / RECEIVED).write_bytes(directory_of(1))
    assert len(list(in_subprocess(what, fork_server).items())) == 1


def directory_of(count: int) -> bytes:
    """A zip archive that consists only of its directory."""
    names = (b"%07d.txt" % number for number in range(count))
    entries = b"".join(
        b"PK\1\2" + bytes(24) + len(name).to_bytes(2, "little") + bytes(16) + name for name in names
    )
    most = min(count, 0xFFFF).to_bytes(2, "little")
    ends = len(entries).to_bytes(4, "little") + bytes(6)
    return entries + b"PK\5\6" + bytes(4) + most + most + ends


def test_a_killed_reader_is_reported_and_the_next_one_works(tmp_path, fork_server):
    what = many(tmp_path)
    with closing(in_subprocess(what, fork_server).items()) as items:
        next(items)
        (reader,) = readers(fork_server)
        os.kill(reader, signal.SIGKILL)
        with pytest.raises(Unavailable, match=r"killed by SIGKILL.*nothing else was affected"):
            list(items)
    assert len(list(in_subprocess(what, fork_server).items())) == ENOUGH


def test_a_bug_in_the_reader_is_reported_with_its_traceback(tmp_path):
    with pytest.raises(RuntimeError, match=r"Traceback(.|\n)*KeyError"):
        list(in_subprocess(replace(request_for(tmp_path, "tar"), spec={})).items())


@pytest.fixture
def busy() -> Iterator[None]:
    """As many open files as a service with a thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.fail(f"this machine lets a process open {hard} files: raise the hard limit")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for descriptor in held:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("busy")
def test_a_service_with_a_thousand_connections_reports_how_readers_end(tmp_path, fork_server):
    assert len(list(in_subprocess(many(tmp_path), fork_server).items())) == ENOUGH
    items = in_subprocess(many(tmp_path), fork_server).items()
    next(items)
    (reader,) = readers(fork_server)
    os.kill(reader, signal.SIGKILL)
    with pytest.raises(Unavailable, match="SIGKILL"):
        list(items)


def test_closing_the_items_ends_the_reader_immediately(tmp_path, fork_server):
    items = in_subprocess(many(tmp_path), fork_server).items()
    next(items)
    (reader,) = readers(fork_server)
    items.close()
    assert gone(reader)


def test_a_job_can_be_cancelled_while_its_reader_is_busy(tmp_path, fork_server):
    class Cancelled(Exception):
        pass

    def check() -> None:
        raise Cancelled

    with (tmp_path / RECEIVED).open("wb") as file:  # gigabytes of empty members
        head = tarfile.TarInfo("0001_c1s1.txt")
        head.size = 50 * GIB
        file.write(head.tobuf())
        file.truncate(50 * GIB)
    what = replace(request_for(tmp_path, "tar"), unpacked_bytes=100 * GIB)
    found = in_subprocess(what, fork_server, check=check).items()
    with pytest.raises(Cancelled):
        next(found)
    assert readers(fork_server) == []


def test_a_killed_fork_server_is_replaced(tmp_path, fork_server):
    what = archive(tmp_path, {"0001_c1s1.png": b"x"})
    assert len(list(in_subprocess(what, fork_server).items())) == 1
    before = fork_server._process.pid
    os.kill(before, signal.SIGKILL)
    fork_server._process.wait()
    assert len(list(in_subprocess(what, fork_server).items())) == 1
    assert fork_server._process.pid != before


def test_signals_for_the_service_do_not_end_its_readers(tmp_path, fork_server):
    """A supervisor signals every process, but the service may still be finishing imports."""
    items = in_subprocess(many(tmp_path), fork_server).items()
    with closing(items):
        next(items)
        (reader,) = readers(fork_server)
        for process in (fork_server._process.pid, reader):
            os.kill(process, signal.SIGTERM)
            os.kill(process, signal.SIGINT)
        assert len(list(items)) == ENOUGH - 1


PROGRAM = """
import json, sys, time
from pathlib import Path
from service.imports.subprocess_reader import SubprocessReader, ForkServer
from service.imports.reader import ImportRequest
fork_server = ForkServer()
items = SubprocessReader(ImportRequest(**json.loads(sys.argv[1])), fork_server, int, int).items()
next(items)
print(fork_server._process.pid, flush=True)
time.sleep(600)
"""


def test_no_process_outlives_a_killed_service(tmp_path):
    what = many(tmp_path)
    fields = {name: getattr(what, name) for name in ImportRequest.__dataclass_fields__}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(fields)], stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            fork_server = int(program.stdout.readline())
            watchers = children(fork_server)
            read = [reader for watcher in watchers for reader in children(watcher)]
            assert len(watchers) == len(read) == 1
        finally:
            program.kill()
    wait_until_gone(fork_server, *watchers, *read)


def test_readers_have_neither_settings_nor_the_services_libraries(
    tmp_path, fork_server, monkeypatch
):
    monkeypatch.setenv("REID_MILVUS_TOKEN", "secret")
    with closing(in_subprocess(many(tmp_path), fork_server).items()) as items:
        next(items)
        (reader,) = readers(fork_server)
        assert b"REID_" not in Path(f"/proc/{reader}/environ").read_bytes()
        maps = Path(f"/proc/{reader}/maps").read_text()
        assert "onnxruntime" not in maps
        assert "faiss" not in maps
        limits = Path(f"/proc/{reader}/limits").read_text()
    (data,) = (line.split() for line in limits.splitlines() if line.startswith("Max data size"))
    assert GIB < int(data[3]) < 2 * GIB


def test_an_import_fails_if_no_process_can_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(Unavailable, match="no process to read the import can be started"):
        list(in_subprocess(archive(tmp_path, {}), ForkServer()).items())


class Waiting(FakeEmbedder):
    """Embeds nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.go = threading.Event()

    def embed(self, images: Any) -> Any:
        if self.hold:
            self.go.wait(PATIENCE)
        return super().embed(images)


def test_a_job_whose_reader_is_killed_fails_with_the_reason_and_can_be_resumed(start, tmp_path):
    noise = np.random.default_rng(3).integers(0, 256, (128, 64, 3), np.uint8)
    picture = io.BytesIO()
    Image.fromarray(noise).save(picture, "BMP")
    members = {f"{number:04}_c1s1.bmp": picture.getvalue() for number in range(400)}
    archive(tmp_path, members)
    embedder = Waiting()
    with start(embedder) as service, always_set(embedder.go):
        embedder.hold = True
        answer = service.http.post(
            "/galleries/default/imports",
            content=(tmp_path / RECEIVED).read_bytes(),
            headers={"Content-Type": "application/x-tar"},
        )
        job = answer.headers["Location"]
        fork_server = shared_fork_server()
        for reader in wait_until(lambda: fork_server._process and readers(fork_server)):
            os.kill(reader, signal.SIGKILL)
        embedder.go.set()
        state = service.ended(job)
        assert state["state"] == "failed"
        assert "killed by SIGKILL" in state["error"]
        assert service.http.get("/readyz").status_code == 200
        assert service.http.post(f"{job}/resume").status_code in {200, 202}
        state = service.ended(job)
        assert state["state"] == "done", state
        assert sum(state["counts"].values()) == 400
