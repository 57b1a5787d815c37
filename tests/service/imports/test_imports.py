"""Imports over HTTP: folders, archives and manifests, up to the end of the job."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import socket
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from waiting import wait_until

from service.testing import TINY_MANIFEST, FakeEmbedder, solid

TAR, ZIP, NDJSON = "application/x-tar", "application/zip", "application/x-ndjson"


def picture(number: int) -> bytes:
    return solid((number, 2 * number, 255 - number), kind="PNG")


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def people(count: int = 4) -> dict[str, bytes]:
    return {f"{n % 3:04}_c{n % 2 + 1}s1_{n:06}_00.png": picture(n) for n in range(1, count + 1)}


def ask(service, gallery: str, content_type: str, body: bytes, **more: Any) -> httpx.Response:
    headers = {"Content-Type": content_type, **more.pop("headers", {})}
    path = f"/galleries/{gallery}/imports"
    return service.http.post(path, content=body, headers=headers, **more)


def errors(service, job: dict[str, Any]) -> dict[str, str]:
    answer = service.http.get(f"/jobs/{job['job_id']}/errors")
    assert answer.headers["Content-Type"].startswith(NDJSON)
    rows = map(json.loads, answer.text.splitlines())
    return {row["item"]: row["reason"] for row in rows}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "lobby").mkdir(parents=True)
    for name, data in people().items():
        (root / "lobby" / name).write_bytes(data)
    return root


def test_a_folder_of_the_server(start, root):
    (root / "lobby" / "bad.jpg").write_bytes(b"nonsense")
    (root / "lobby" / "notes.txt").write_bytes(b"not looked at")
    with start(import_roots=[root]) as service:
        body = {"folder": "lobby"}
        answer = service.http.post("/galleries/default/imports", json=body)
        job = service.ended(answer)
        assert (job["state"], job["counts"]) == ("done", {"created": 4, "failed": 1})
        assert (job["kind"], job["gallery"], job["total"], job["done"]) == (
            *("import", "default"),
            *(5, 5),
        )
        assert "is not a JPEG" in errors(service, job)["bad.jpg"]
        crop = service.http.get("/galleries/default/crops/0001_c2s1_000001_00.png").json()
        assert (crop["identity"], crop["camera"]) == ("0001", "c2")
        again = service.ended(service.http.post("/galleries/default/imports", json=body))
        assert again["counts"] == {"unchanged": 4, "failed": 1}
        found = service.http.get("/jobs", params={"gallery": "default", "state": "done"}).json()
        assert [entry["job_id"] for entry in found["jobs"]] == [again["job_id"], job["job_id"]]


def test_a_folder_with_a_pattern_or_a_manifest(start, root):
    rows = ("path,crop_id,camera", "0001_c2s1_000001_00.png,x,door", "../secret.png,y,", "no.png,,")
    (root / "lobby" / "m.csv").write_text("\n".join(rows))
    with start(import_roots=[root]) as service:

        def run(**body: str) -> dict[str, Any]:
            return service.ended(service.http.post("/galleries/default/imports", json=body))

        job = run(folder="lobby", manifest="m.csv")
        assert job["counts"] == {"created": 1, "failed": 2}
        reasons = errors(service, job)
        assert "'..' is not allowed" in reasons["../secret.png"]
        assert reasons["no.png"] == "No such file or directory"
        assert service.http.get("/galleries/default/crops/x").json()["camera"] == "door"
        job = run(folder=".", pattern=r"(?P<camera>\w+)/(?P<identity>0001)")
        assert job["counts"] == {"created": 2, "left_out": 2}
        crop = service.http.get("/galleries/default/crops/lobby/0001_c2s1_000001_00.png").json()
        assert (crop["identity"], crop["camera"]) == ("0001", "lobby")


def test_nothing_outside_the_import_roots_is_read(start, root, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.png").write_bytes(picture(9))
    (root / "way-out").symlink_to(tmp_path / "secret")
    (root / "lobby" / "out.png").symlink_to(tmp_path / "secret" / "s.png")
    (root / "lobby" / "in.png").symlink_to(root / "lobby" / "0001_c2s1_000001_00.png")
    os.mkfifo(root / "lobby" / "pipe.png")
    with start(import_roots=[root]) as service:
        for folder, reason in (
            (str(root / "lobby"), "absolute"),
            ("../secret", "'..' is not allowed"),
            ("lobby/../../secret", "'..' is not allowed"),
            ("way-out", "leads out"),
            ("nowhere", "not found in any import root"),
            ("lobby/in.png", "not a folder"),
            ("\0", "zero byte"),
            ("x" * 999, "not found in any import root"),
        ):
            answer = service.http.post("/galleries/default/imports", json={"folder": folder})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), folder
            assert reason in answer.json()["detail"]
        job = service.ended(
            service.http.post("/galleries/default/imports", json={"folder": "lobby"})
        )
        assert job["counts"] == {"created": 5, "failed": 1}
        assert list(errors(service, job)) == ["out.png"]
        rows = lines({"path": "way-out/s.png"}, {"path": "/etc/passwd"}, {"path": "lobby/in.png"})
        job = service.ended(ask(service, "default", NDJSON, rows))
        assert job["counts"] == {"failed": 2, "created": 1}
        assert "leads out" in errors(service, job)["way-out/s.png"]
        assert "absolute" in errors(service, job)["/etc/passwd"]


def test_without_import_roots_no_folder_is_read(service):
    answer = service.http.post("/galleries/default/imports", json={"folder": "."})
    assert answer.status_code == 422
    assert "REID_IMPORT_ROOTS" in answer.json()["detail"]


def test_archives(service):
    members = {**people(), "deep/._notes.png": b"text", "inner.zip": zip_of(people())}
    gzipped = io.BytesIO()
    with tarfile.open(fileobj=gzipped, mode="w:gz") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    for name, kind, body in (
        ("tar", TAR, tar_of(members)),
        ("tgz", "application/gzip", gzipped.getvalue()),
        ("zip", ZIP, zip_of(members)),
    ):
        service.create(name)
        job = service.ended(ask(service, name, kind, body))
        assert job["counts"] == {"created": 4, "left_out": 2}, job
        assert (job["total"], job["error"]) == (6, None)
        assert service.http.get(f"/galleries/{name}").json()["cameras"] == {"c1": 2, "c2": 2}
        job = service.ended(ask(service, name, kind, body))
        assert job["counts"] == {"unchanged": 4, "left_out": 2}
    wait_until(lambda: not list((service.parts.settings.data / "jobs").iterdir()))


def test_an_imported_picture_is_hashed_once(service, monkeypatch):
    members, hashed, sha256 = people(), [], hashlib.sha256

    def noted(data=b"", **options):
        hashed.append(bytes(data))
        return sha256(data, **options)

    service.create("hashed")
    monkeypatch.setattr(hashlib, "sha256", noted)
    for outcome in ("created", "unchanged"):
        hashed.clear()
        job = service.ended(ask(service, "hashed", ZIP, zip_of(members)))
        assert job["counts"] == {outcome: 4}
        assert [hashed.count(data) for data in members.values()] == [1, 1, 1, 1]


def test_an_archive_with_a_pattern_or_its_own_manifest(service):
    service.create("described")
    body = zip_of({"door/7.png": picture(1), "x.png": picture(2)})
    pattern = {"pattern": r"(?P<camera>[^/]+)/(?P<identity>\d+)"}
    job = service.ended(ask(service, "described", ZIP, body, params=pattern))
    assert job["counts"] == {"created": 1, "left_out": 1}
    rows = lines(
        {"path": "a.png", "crop_id": "one", "identity": "7", "timestamp": "2026-11-21"},
        {"path": "gone.png"},
        {"path": "b.png", "crop_id": "one"},
    )
    members = {"manifest.ndjson": rows} | {f"{n}.png": picture(ord(n)) for n in "abc"}
    for kind, pack in ((TAR, tar_of), (ZIP, zip_of)):
        job = service.ended(ask(service, "described", kind, pack(members)))
        assert job["counts"].get("created", 0) + job["counts"].get("unchanged", 0) == 1
        assert (job["counts"]["failed"], job["counts"]["left_out"]) == (2, 1)
        reasons = errors(service, job)
        assert "it is not in the archive" in reasons["gone.png"]
        assert "belongs to an earlier item" in reasons["b.png"]
    assert service.http.get("/galleries/described/crops/one").json()["timestamp"] == 1795219200.0


def test_a_manifest_with_ready_made_embeddings(service):
    service.create("ready")
    rows = np.eye(TINY_MANIFEST.dimension, dtype=np.float32)
    text = base64.b64encode(rows[1].tobytes()).decode()
    body = lines(
        {"crop_id": "list", "embedding": rows[0].tolist(), "identity": "1", "camera": "c1"},
        {"crop_id": "text", "embedding": text},
        {"crop_id": "short", "embedding": [1.0]},
        {"crop_id": "long", "embedding": (2 * rows[2]).tolist()},
        {"crop_id": "words", "embedding": "not base64!"},
        {"crop_id": "nan", "embedding": [float("nan")] * 32},
        {"embedding": rows[3].tolist()},
        {"crop_id": "time", "embedding": rows[3].tolist(), "timestamp": "soon"},
    )
    job = service.ended(ask(service, "ready", NDJSON, body + b"{not json\n"))
    assert job["counts"] == {"created": 2, "failed": 7}
    reasons = errors(service, job)
    assert "must be (32,)" in reasons["short"]
    assert "length 2" in reasons["long"]
    assert set(reasons) == {"short", "long", "words", "nan", "row 7", "time", "row 9"}
    job = service.ended(ask(service, "ready", NDJSON, body))
    assert job["counts"] == {"unchanged": 2, "failed": 6}
    stored = service.parts.store.open("ready").embeddings(["list", "text"])
    np.testing.assert_allclose(stored, rows[:2], atol=1e-6)


def test_ready_made_embeddings_join_groups_too(service):
    body = {"name": "ready-joining", "join": True}
    assert service.http.post("/galleries", json=body).status_code == 201
    rows = np.eye(TINY_MANIFEST.dimension, dtype=np.float32)
    known = lines(
        {"crop_id": "a", "embedding": rows[0].tolist(), "identity": "ann"},
        {"crop_id": "b", "embedding": rows[1].tolist(), "identity": "bob"},
    )
    service.ended(ask(service, "ready-joining", NDJSON, known))
    body = lines({"crop_id": "c", "embedding": rows[0].tolist()})
    for counts in ({"created": 1}, {"unchanged": 1}):
        assert service.ended(ask(service, "ready-joining", NDJSON, body))["counts"] == counts
        crop = service.parts.store.open("ready-joining").get("c")
        assert (crop.identity, crop.origin) == ("ann", "join")


def test_csv_and_parquet(service):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    service.create("tables")
    rows = np.eye(TINY_MANIFEST.dimension, dtype=np.float32)
    text = "crop_id,embedding,camera\n" + "".join(
        f"c{n},{base64.b64encode(rows[n].tobytes()).decode()},door\n" for n in range(3)
    )
    job = service.ended(ask(service, "tables", "text/csv; charset=utf-8", text.encode()))
    assert job["counts"] == {"created": 3}, job
    table = pyarrow.table(
        {"crop_id": ["c0", "p1"], "embedding": [row.tolist() for row in rows[:2]], "other": [1, 2]}
    )
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    columns = "application/vnd.apache.parquet"
    job = service.ended(ask(service, "tables", columns, buffer.getvalue()))
    assert job["counts"] == {"created": 1, "replaced": 1}, job
    for kind, body, reason in (
        (columns, b"PAR1 but not really PAR1", "not Parquet"),
        ("text/csv", b"a,b\n1,2\n", "including path or embedding"),
        ("text/csv", b"", "including path or embedding"),
        (ZIP, b"PK nothing", "not a zip archive, or truncated"),
        (TAR, b"x" * 2000, "damaged"),
        ("application/gzip", b"x" * 2000, "damaged"),
        (NDJSON, b'{"a": "' + b"x" * (5 << 20), "a row of more than"),
    ):
        job = service.ended(ask(service, "tables", kind, body))
        assert job["state"] == "failed", (kind, job)
        assert reason in job["error"]
        assert service.http.post(f"/jobs/{job['job_id']}/cancel").json()["state"] == "cancelled"


def test_manual_corrections_stay(service):
    service.create("corrected-by-hand")
    gallery = service.parts.store.open("corrected-by-hand")
    body = tar_of(people())
    service.ended(ask(service, "corrected-by-hand", TAR, body))
    nobody, first, second, _ = sorted(people())
    gallery.relabel({first: "ann", second: None}, "hand")
    gallery.relabel({nobody: "person-7"}, "cluster")
    job = service.ended(ask(service, "corrected-by-hand", TAR, body))
    assert job["counts"] == {"unchanged": 4}
    found = [gallery.get(name) for name in (nobody, first, second)]
    assert [(crop.identity, crop.origin) for crop in found] == [
        ("person-7", "cluster"),
        ("ann", "hand"),
        (None, "hand"),
    ]
    other = tar_of({**people(), first: picture(99)})  # another picture is another crop
    assert service.ended(ask(service, "corrected-by-hand", TAR, other))["counts"]["replaced"] == 1
    assert (gallery.get(first).identity, gallery.get(first).origin) == ("0001", "given")


def test_an_idempotency_key_imports_once(service):
    service.create("once")
    body, key = tar_of(people()), {"Idempotency-Key": "monday"}
    first = ask(service, "once", TAR, body, headers=key)
    service.ended(first)
    again = ask(service, "once", TAR, body, headers=key)
    assert again.json()["job_id"] == first.json()["job_id"]
    other = ask(service, "once", TAR, tar_of(people(2)), headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    wait_until(lambda: not list((service.parts.settings.data / "jobs").iterdir()))


def test_bad_requests_are_refused_at_once(service):
    for answer, status, code in (
        (ask(service, "nowhere", TAR, b""), 404, "not_found"),
        (ask(service, "default", "text/plain", b"x"), 422, "invalid_input"),
        (ask(service, "default", "application/json", b"{"), 422, "invalid_input"),
        (ask(service, "default", "application/json", b'{"a": 1}'), 422, "invalid_input"),
        (ask(service, "default", "application/json", b" " * 70_000), 413, "too_large"),
        (ask(service, "default", ZIP, b"", params={"pattern": "("}), 422, "invalid_input"),
        (ask(service, "default", ZIP, b"", params={"pattern": "(?P<a>x)"}), 422, "invalid_input"),
        (ask(service, "default", ZIP, b"", headers={"Idempotency-Key": ""}), 422, "invalid_input"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    slow = {"pattern": r"(a|a)+\d"}
    job = service.ended(
        ask(service, "default", ZIP, zip_of({"a" * 60 + ".png": b"x"}), params=slow)
    )
    assert job["state"] == "failed"
    assert "takes too long" in job["error"]


def test_an_import_that_is_too_large_is_refused_and_leaves_nothing(start):
    with start(max_import_bytes=3_000_000, max_request_bytes=1000) as service:
        answer = ask(service, "default", TAR, tar_of({"a.png": bytes(4_000_000)}))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

        def endless():
            for _ in range(5000):
                yield bytes(1000)

        answer = ask(service, "default", TAR, endless())
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        wait_until(lambda: not list((service.parts.settings.data / "jobs").iterdir()))
        assert service.ended(ask(service, "default", TAR, tar_of(people())))["done"] == 4


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of four megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a small file system was refused: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_during_an_upload_gives_507_and_keeps_nothing(launch, small_disk):
    with launch(small_disk) as service:
        answer = ask(service, "default", TAR, tar_of({"a.png": bytes(8_000_000)}))
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        wait_until(lambda: not list((small_disk / "jobs").iterdir()))
        assert service.ended(ask(service, "default", TAR, tar_of(people())))["done"] == 4


def test_an_interrupted_upload_leaves_nothing(start):
    with start() as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = (
                f"POST /galleries/default/imports HTTP/1.1\r\nHost: {host}:{port}\r\n"
                f"Content-Type: {TAR}\r\nContent-Length: 1000000\r\n\r\n"
            )
            connection.sendall(head.encode() + bytes(300_000))
            folder = service.parts.settings.data / "jobs"
            wait_until(lambda: folder.exists() and list(folder.iterdir()))
        wait_until(lambda: not list(folder.iterdir()))
        assert service.http.get("/jobs").json()["jobs"] == []


def test_an_import_continues_after_a_restart(start):
    body = tar_of(people(100))
    with start(FakeEmbedder(delay=1.0), max_batch=8) as service:
        location = ask(service, "default", TAR, body).headers["Location"]
        wait_until(lambda: service.http.get(location).json()["done"])
        assert 'reid_jobs{state="running"} 1.0' in service.http.get("/metrics").text
    embedded: list[object] = []
    with start(FakeEmbedder(fault=embedded.append)) as service:
        job = service.ended(location)
        assert (job["state"], job["done"], job["total"]) == ("done", 100, 100)
        assert job["counts"]["unchanged"] >= 32
        assert service.http.get("/galleries/default").json()["crops"] == 100
    assert embedded, "the first service waited for the whole import before it ended"


def test_a_poisoned_picture_does_not_affect_the_others(start):
    poison = people(40)["0001_c2s1_000007_00.png"]
    colour = decoded(poison)

    def fault(image) -> None:
        if (image == colour).all():
            raise RuntimeError("poisoned")

    with start(FakeEmbedder(fault=fault)) as service:
        job = service.ended(ask(service, "default", TAR, tar_of(people(40))))
        assert job["counts"] == {"created": 39, "failed": 1}
        assert "the network failed" in errors(service, job)["0001_c2s1_000007_00.png"]


def decoded(picture: bytes):
    return np.asarray(Image.open(io.BytesIO(picture)))[0, 0]


def test_a_network_that_fails_on_everything_fails_the_job_which_can_be_resumed(start):
    broken: list[bool] = []

    def fault(_image) -> None:
        if broken:
            raise RuntimeError("no network")

    with start(FakeEmbedder(fault=fault)) as service:
        broken.append(True)
        job = service.ended(ask(service, "default", TAR, tar_of(people())))
        assert job["state"] == "failed"
        assert "the network failed" in job["error"]
        broken.clear()
        assert service.http.post(f"/jobs/{job['job_id']}/resume").json()["state"] == "queued"
        assert service.ended(f"/jobs/{job['job_id']}")["state"] == "done"
        assert service.http.get("/galleries/default").json()["crops"] == 4


def test_deleting_a_gallery_deletes_its_imports(start):
    with start(FakeEmbedder(delay=0.2), max_batch=8) as service:
        service.create("doomed")
        first, second = (ask(service, "doomed", TAR, tar_of(people(60))) for _ in "ab")
        wait_until(lambda: service.http.get(first.headers["Location"]).json()["done"])
        assert service.http.delete("/galleries/doomed").status_code == 200
        for answer in (first, second):  # nothing of them remains, not even their names
            assert service.http.get(answer.headers["Location"]).status_code == 404
        wait_until(lambda: not list((service.parts.settings.data / "jobs").iterdir()))
