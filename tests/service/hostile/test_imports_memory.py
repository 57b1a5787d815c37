"""Small imports that unpack to more than the memory: each fails alone, and delays nobody."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE, is_up, wait_until

from service.testing import TINY_MANIFEST, solid

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

MIB = 1 << 20
GROWTH = 100 * MIB  # how much the service itself may grow; the attacks unpack to far more

PROGRAM = """
import sys, threading
from pathlib import Path
import uvicorn
from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.settings import Settings
from service.testing import FakeEmbedder

settings = Settings(data=Path(sys.argv[1]), device="cpu")
app = create_app(settings, embedder=FakeEmbedder())
with bind("127.0.0.1", 0) as listener:
    print(url_of(listener), flush=True)
    uvicorn.Server(server_config(app, settings)).run([listener])
"""


class Victim:
    """A service in its own process, so that its memory can be measured."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.http = httpx.Client(base_url=url, timeout=PATIENCE)

    def memory(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def search(self) -> int:
        files = [("images", ("a.png", solid((1, 2, 3), kind="PNG")))]
        return self.http.post("/search", files=files).status_code

    def attack(self, kind: str, body: bytes) -> dict[str, Any]:
        """Import while others list and search; returns how it ended and what it cost."""
        headers = {"Content-Type": kind}
        if body.startswith(b"\x1f\x8b") and kind != "application/gzip":
            headers["Content-Encoding"] = "gzip"
        self.forget_peak()
        before = self.memory("VmRSS")
        answer = self.http.post("/galleries/default/imports", content=body, headers=headers)
        assert answer.status_code == 202, answer.text

        def look() -> dict[str, Any]:
            assert self.http.get("/livez").status_code == 200
            assert self.search() == 200
            job: dict[str, Any] = self.http.get(answer.headers["Location"]).json()
            return job

        job = wait_until(look, lambda job: job["finished"] is not None)
        assert self.memory("VmHWM") - before < GROWTH
        return job


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    data = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-c", PROGRAM, str(data)]
    few = {**os.environ, "REID_IMPORT_MEMORY_BYTES": str(64 * MIB)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=few) as process:
        try:
            assert process.stdout is not None
            found = Victim(process, process.stdout.readline().strip())
            with found.http:
                wait_until(lambda: process.poll() is not None or is_up(found.http))
                assert found.search() == 200
                warm = found.attack("text/csv", b"path\na.png\n")
                assert warm["counts"] == {"failed": 1}
                yield found
        finally:
            process.terminate()


def packed(start: bytes, piece: bytes, size: int, end: bytes = b"") -> bytes:
    """Gzip a long body, as small as the limit on the ratio allows."""
    noise = random.Random(7)
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", 6) as file:
        file.write(start)
        for _ in range(size // MIB):
            file.write(piece * (MIB // len(piece)))
            file.write(noise.randbytes(6000).hex().encode())
        file.write(end)
    return buffer.getvalue()


def test_a_line_of_160_mb(victim):
    for kind, start in (("application/x-ndjson", b'{"path": "'), ("text/csv", b"path,camera\n")):
        body = packed(start, b"a" * 1024, 160 * MIB, b'"}\n')
        assert len(body) < 4 * MIB
        job = victim.attack(kind, body)
        assert job["state"] == "failed"
        assert "a row of more than 4,194,304 bytes" in job["error"]


def test_one_row_over_a_million_lines(victim):
    body = packed(b"path,camera\n", b'"a\n",' * 16, 100 * MIB)
    job = victim.attack("text/csv", body)
    assert job["state"] == "failed"
    assert "part of a row of more than" in job["error"]


def test_an_archive_whose_manifest_is_nothing_but_newlines(victim):
    size = 50 * MIB
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", 6) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        member = tarfile.TarInfo("manifest.ndjson")
        member.size = size
        tar.addfile(member, io.BytesIO(b"\n" * size))
    job = victim.attack("application/gzip", buffer.getvalue())
    assert job["state"] == "failed"
    assert "lines are blank" in job["error"]


def test_global_headers_that_add_up(victim):
    """Each is small, and applies to every later member."""
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", 6) as packed:
        for number in range(400):
            name, text = f"k{number:05}", ("a" * 900 + f"{number:05}") * 30
            headers = {name: text}
            packed.write(tarfile.TarInfo.create_pax_global_header(headers))
            packed.write(tarfile.TarInfo(f"{number:04}_c1s1.png").tobuf(tarfile.USTAR_FORMAT))
        packed.write(bytes(1024))
    job = victim.attack("application/gzip", buffer.getvalue())
    assert job["state"] == "failed"
    assert "global headers" in job["error"]


def test_a_repeated_text_in_parquet(victim):
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    count = 500
    text = pa.DictionaryArray.from_arrays(
        pa.array([0] * count, pa.int32()), pa.array(["a" * (2 * MIB)])
    )
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"path": text}), buffer, compression="zstd")
    assert len(buffer.getvalue()) < 10_000
    job = victim.attack("application/vnd.apache.parquet", buffer.getvalue())
    assert job["counts"] == {"failed": count}


def test_an_import_that_needs_too_much_memory_fails_alone(victim):
    """A directory of very many members passes every check and exceeds the limit."""
    count = 150_000
    entries = b"".join(
        b"PK\1\2" + bytes(24) + b"\x0b\0" + bytes(16) + b"%07d.png" % number
        for number in range(count)
    )
    body = b"PK\3\4" + entries + b"PK\5\6" + bytes(4) + b"\xff\xff\xff\xff"
    body += len(entries).to_bytes(4, "little") + (4).to_bytes(4, "little") + bytes(2)
    job = victim.attack("application/zip", body)
    assert job["state"] == "failed"
    assert "REID_IMPORT_MEMORY_BYTES" in job["error"]


def test_a_row_within_the_limits_is_accepted(victim):
    vector = [1.0] + [0.0] * (TINY_MANIFEST.dimension - 1)
    row = {"crop_id": "a", "embedding": vector, "note": "x" * (3 * MIB)}
    job = victim.attack("application/x-ndjson", json.dumps(row).encode())
    assert job["counts"] == {"created": 1}
