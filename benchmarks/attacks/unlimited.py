"""Attacks on what grew without limit: the audit log, the metrics, connections, memory."""

from __future__ import annotations

import gzip
import io
import socket
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from attacks.bystander import searching
from attacks.target import MIB, Target

Figures = dict[str, object]
DRIPPERS = 300
DRIP_SECONDS = 20.0
DEEP: dict[str, str | list[str]] = {  # a search by 64 crops that scores all others
    "gallery": "office",
    "crop_ids": [f"{number:05d}" for number in range(64)],
    "top_k": "1000",
    "group_by": "identity",
    "identity_score": "mean",
    "min_score": "-1",
}


def fill_the_audit_log(target: Target) -> Figures:
    """Send gallery names of 10^6 control characters; each used to be logged sixfold."""
    form = {"gallery": (None, b"\x01" * 1_000_000), "crop_ids": (None, b"00017")}
    before = _audit_bytes(target)
    with target.client("search") as client:
        statuses = {client.post("/search", files=form).status_code for _ in range(20)}
    written = (_audit_bytes(target) - before) / MIB
    return {"statuses": sorted(statuses), "written_mib": round(written, 2), "held": written < 0.1}


def invent_methods(target: Target) -> Figures:
    """Send 3,600 invented methods without a key; each used to become labels of the metrics."""
    with target.client(None) as client:
        for number in range(3600):
            client.request(f"M{number:04d}{'X' * 200}", "/livez")
        metrics = len(client.get("/metrics").content)
    return {"metrics_mib": round(metrics / MIB, 2), "held": metrics < MIB}


def drip_without_a_key(target: Target) -> Figures:
    """Open 300 connections that send 330 bytes every quarter of a second, without a key."""
    return _drip(target, None)


def drip_with_a_search_key(target: Target) -> Figures:
    """Do the same with one search key."""
    return _drip(target, "search")


def _drip(target: Target, key: str | None) -> Figures:
    head = (
        "POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n"
        + (f"Authorization: Bearer {target.keys[key]}\r\n" if key else "")
        + '\r\n--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    )
    drippers = [_Dripper(target.address, head.encode()) for _ in range(DRIPPERS)]
    with searching(target) as bystander:
        until = time.monotonic() + DRIP_SECONDS
        while time.monotonic() < until:
            for dripper in drippers:
                dripper.drip()
            time.sleep(0.25)
    for dripper in drippers:
        dripper.close()
    return {**bystander.report(), "held": not bystander.refused}


class _Dripper:
    """A connection that sends a few bytes at a time, and reopens when it is closed."""

    def __init__(self, address: tuple[str, int], head: bytes) -> None:
        self._address, self._head = address, head
        self._socket: socket.socket | None = None

    def drip(self) -> None:
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=1)
                self._socket.sendall(self._head)
            self._socket.sendall(b"x" * 330)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def send_a_bomb_of_lines(target: Target) -> Figures:
    """Send a tar.gz of 1.5 MB whose manifest is 250 MB of newlines."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        entry = tarfile.TarInfo("manifest.ndjson")
        entry.size = 250_000_000
        archive.addfile(entry, _Lines(entry.size))
    return _import(target, packed.getvalue(), "application/gzip")


class _Lines(io.RawIOBase):
    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        taken = self._left if size < 0 else min(size, self._left)
        self._left -= taken
        return b"\n" * taken


def send_one_long_line(target: Target) -> Figures:
    """Send one NDJSON line of 300 MB, compressed to 300 kB."""
    line = b'{"path": "' + b"x" * 300_000_000 + b'"}\n'
    headers = {"Content-Encoding": "gzip"}
    return _import(target, gzip.compress(line, 1), "application/x-ndjson", headers)


def send_a_repeated_string(target: Target) -> Figures:
    """Send a small Parquet file whose dictionary repeats one string of 1 MB 3,000 times."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - only this attack needs it
    from pyarrow import parquet  # noqa: PLC0415

    column = pa.array(["x" * 1_000_000] * 3000).dictionary_encode()
    table = pa.table({"path": column})
    packed = io.BytesIO()
    parquet.write_table(table, packed, compression="zstd", compression_level=22)
    return _import(target, packed.getvalue(), "application/vnd.apache.parquet")


def send_brackets(target: Target) -> Figures:
    """Send 30 MB of ``[],`` as the JSON of a label."""
    body = b'{"crop_ids": [' + b"[]," * 10_000_000 + b"[]]}"
    with searching(target) as bystander, target.client("write") as client:
        time.sleep(1)
        answer = client.post(
            "/galleries/lobby/identities/label",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        time.sleep(1)
    held = answer.status_code == 413 and bystander.livez_slowest < 1.0
    return {"status": answer.status_code, **bystander.report(), "held": held}


def _import(
    target: Target, body: bytes, kind: str, headers: dict[str, str] | None = None
) -> Figures:
    with searching(target) as bystander, target.client("write") as client:
        answer = client.post(
            "/galleries/lobby/imports",
            content=body,
            headers={"Content-Type": kind} | (headers or {}),
        )
        state: object = answer.status_code
        if answer.status_code == 202:
            state = _ended(client, answer.json()["job_id"])
    held = not bystander.refused and bystander.livez_slowest < 1.0 and state != "lost"
    return {"sent_kib": len(body) // 1024, "ended": state, **bystander.report(), "held": held}


def _ended(client: httpx.Client, job_id: str) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            job = client.get(f"/jobs/{job_id}").json()
        except httpx.TransportError:
            return "lost"
        if job["state"] not in {"queued", "running"}:
            return str(job["state"])
        time.sleep(0.2)
    client.post(f"/jobs/{job_id}/cancel")
    return "still running"


def search_heavily(target: Target) -> Figures:
    """Send twelve searches with one key: 64 crops, top_k 1000, all re-ranked, by the mean."""
    form = DEEP | {"rerank": "true", "rerank_top": "1000"}
    statuses: list[int] = []

    def one(_: int) -> None:
        with target.client("search") as client:
            try:
                statuses.append(client.post("/search", data=form, timeout=300).status_code)
            except httpx.TransportError:
                statuses.append(0)

    start = time.monotonic()
    with ThreadPoolExecutor(12) as pool, searching(target) as bystander:
        list(pool.map(one, range(12)))
        time.sleep(1)
    return {
        "statuses": sorted(set(statuses)),
        "seconds": round(time.monotonic() - start, 1),
        **bystander.report(),
        "held": not bystander.refused and bystander.slowest < 1.5,
    }


def search_as_heavily_as_allowed(target: Target) -> Figures:
    """Keep sending twelve searches with one key, each as large as the limits allow."""
    until = time.monotonic() + 20

    def many(number: int) -> set[int]:
        asked = DEEP | ({"rerank": "true", "rerank_top": "100"} if number % 2 else {})
        statuses = set()
        with target.client("search") as client:
            while time.monotonic() < until:
                try:
                    statuses.add(client.post("/search", data=asked, timeout=30).status_code)
                except httpx.TransportError:  # the attacker waits too long and disconnects
                    statuses.add(0)
        return statuses

    with ThreadPoolExecutor(12) as pool, searching(target) as bystander:
        statuses = set().union(*pool.map(many, range(12)))
    held = not bystander.refused and bystander.slowest < 1.5
    return {"statuses": sorted(statuses), **bystander.report(), "held": held}


def _audit_bytes(target: Target) -> int:
    return sum(path.stat().st_size for path in (target.data / "audit").glob("*.ndjson"))
