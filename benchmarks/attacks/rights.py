"""Attacks on what others own: imports, roots, names, the log, files, unconfirmed erasures."""

from __future__ import annotations

import http.client
import json
import socket
import stat
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
from attacks.bystander import searching
from attacks.target import Target

Figures = dict[str, object]
NDJSON = {"Content-Type": "application/x-ndjson"}


def block_all_imports(target: Target) -> Figures:
    """Send six slow archives and 999 groupings with a bound key; then import with another."""
    stop = threading.Event()
    slow = [threading.Thread(target=_send_slowly, args=(target, stop)) for _ in range(6)]
    for thread in slow:
        thread.start()

    def group(number: int) -> int:
        with target.client("write") as client:
            body = {"cameras": [f"c{number % 10}"], "since": 1_000_000_000 + number}
            return client.post("/galleries/lobby/cluster", json=body).status_code

    with searching(target) as bystander, ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(group, range(999)))
    row = {"crop_id": "mine", "embedding": [1.0] + [0.0] * 1279}
    with target.client("other") as other:
        mine = other.post("/galleries/office/imports", content=json.dumps(row), headers=NDJSON)
        state = _ended(other, mine, 20)
    stop.set()
    for thread in slow:
        thread.join()
    _cancel_all(target)
    held = mine.status_code == 202 and state == "done"
    figures = {"groupings": dict(statuses), "import_of_another": mine.status_code, "ended": state}
    return {**figures, **bystander.report(), "held": held}


def _send_slowly(target: Target, stop: threading.Event) -> None:
    head = (
        "POST /galleries/lobby/imports HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000000\r\n"
        f"Content-Type: application/x-tar\r\nAuthorization: Bearer {target.keys['write']}\r\n\r\n"
    )
    try:
        with socket.create_connection(target.address, timeout=5) as client:
            client.sendall(head.encode())
            while not stop.wait(0.2):
                client.sendall(bytes(2000))
    except OSError:
        pass


def _ended(client: httpx.Client, answer: httpx.Response, seconds: float) -> str:
    if answer.status_code != 202:
        return "refused"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = client.get(f"/jobs/{answer.json()['job_id']}").json()
        if job["state"] not in {"queued", "running"}:
            return str(job["state"])
        time.sleep(0.2)
    return "waits"


def _cancel_all(target: Target) -> None:
    with target.client("admin") as admin:
        for state in ("queued", "running"):
            for job in admin.get("/jobs", params={"state": state, "limit": 1000}).json()["jobs"]:
                admin.post(f"/jobs/{job['job_id']}/cancel")


def read_a_foreign_root(target: Target) -> Figures:
    """Import the folder of ``office`` with a key bound to ``lobby``."""
    with target.client("write") as client:
        answer = client.post("/galleries/lobby/imports", json={"folder": "office"})
        told = ""
        if answer.status_code == 202:
            _ended(client, answer, 20)
            told = client.get(f"/jobs/{answer.json()['job_id']}/errors").text
    return {
        "status": answer.status_code,
        "names_read": "Jane" in told,
        "held": answer.status_code == 403,
    }


def keep_names_after_erasure(target: Target) -> Figures:
    """Read a failed item's path after its gallery was deleted, with an admin and a search key."""
    with target.client("admin") as admin, target.client("search") as search:
        admin.post("/galleries", json={"name": "gone"}).raise_for_status()
        row = json.dumps({"path": "Jane Doe/0001.jpg"})
        answer = admin.post("/galleries/gone/imports", content=row, headers=NDJSON)
        _ended(admin, answer, 20)
        admin.delete("/galleries/gone").raise_for_status()
        told = admin.get(f"/jobs/{answer.json()['job_id']}/errors")
        asked = search.get(f"/jobs/{answer.json()['job_id']}/errors")
        search.get("/Jane%20Doe/at/the/door")
    log = (target.folder / "log").read_text()
    stored = any(b"Jane Doe" in path.read_bytes() for path in target.data.glob("jobs.sqlite3*"))
    figures = {
        "errors": [told.status_code, asked.status_code],
        "stored": stored,
        "logged": "at/the/door" in log,
    }
    named = stored or "at/the/door" in log or "Jane" in told.text + asked.text
    return {**figures, "held": told.status_code == 404 and not named}


def forge_addresses(target: Target) -> Figures:
    """Send sixty wrong keys, each from an invented address."""
    statuses: Counter[int] = Counter()
    with target.client(None) as client:
        for number in range(60):
            headers = {
                "Authorization": "Bearer reid_x_y",
                "X-Forwarded-For": f"198.51.100.{number}",
            }
            statuses[client.get("/galleries", headers=headers).status_code] += 1
    return {"statuses": dict(statuses), "held": statuses[429] > 0}


def read_files(target: Target) -> Figures:
    """Count the files and folders of the data folder that everybody on the machine may read."""
    readable = [
        path
        for path in (target.data, *target.data.rglob("*"))
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP)
    ]
    return {"readable": len(readable), "held": not readable}


def confuse_framing(target: Target) -> Figures:
    """Send Content-Length with Transfer-Encoding, an invalid ``Host``, and a foreign one."""
    both = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    smuggled = _raw(target, b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\n" + both)
    broken = _raw(target, b"GET /livez HTTP/1.1\r\nHost: a b@:::/\r\n\r\n")
    redirected = _raw(target, b"GET /web HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    figures = {"both": smuggled[:12].decode(), "host": broken[:12].decode()}
    held = smuggled[9:12] == b"400" and broken[9:12] == b"400" and b"evil" not in redirected
    return {**figures, "repeats_host": b"evil" in redirected, "held": held}


def _raw(target: Target, request: bytes) -> bytes:
    with socket.create_connection(target.address, timeout=3) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        try:
            return b"".join(iter(lambda: client.recv(65536), b""))
        except (OSError, http.client.HTTPException):
            return b""


def tell_jobs_apart(target: Target) -> Figures:
    """Compare what a bound key learns about a foreign job and about one that never existed."""
    with target.client("other") as other, target.client("write") as bound:
        row = json.dumps({"crop_id": "x", "embedding": [1.0] + [0.0] * 1279})
        made = other.post("/galleries/office/imports", content=row, headers=NDJSON)
        job_id = made.json().get("job_id", "0" * 16)
        foreign, unknown = bound.get(f"/jobs/{job_id}"), bound.get("/jobs/0123456789abcdef")
    alike = foreign.status_code == unknown.status_code
    return {"foreign": foreign.status_code, "unknown": unknown.status_code, "held": alike}


def keep_for_a_minute(target: Target) -> Figures:
    """Set ``keep_for`` to 60 seconds, without confirmation, on a gallery of old crops."""
    with target.client("admin") as admin:
        before = admin.get("/galleries/lobby").json()["crops"]
        answer = admin.patch("/galleries/lobby", json={"keep_for": 60})
        time.sleep(1)
        admin.patch("/galleries/lobby", json={"keep_for": None})
        after = admin.get("/galleries/lobby").json()["crops"]
    refused = answer.status_code >= 400
    return {"status": answer.status_code, "before": before, "after": after, "held": refused}
