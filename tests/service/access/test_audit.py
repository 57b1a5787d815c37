"""The audit log is complete and append-only, names nobody, and never blocks reading."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from service.__main__ import cli
from service.access.audit import AuditEntry, AuditLog
from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.errors import InvalidInput
from service.testing import solid

CROP = solid((200, 20, 20))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the services started by ``start``."""
    return tmp_path / "data"


def make_key(data: Path, **wanted: Any) -> tuple[str, dict[str, str]]:
    """A new key's id, and the header that sends it."""
    with closing(KeyStore(data / FILE)) as store:
        key, text = store.create(NewKey(**{"label": "a", "scope": "admin"} | wanted))
    return key.key_id, {"Authorization": f"Bearer {text}"}


def lines(data: Path) -> list[dict[str, Any]]:
    """All entries as they are stored on disk."""
    files = sorted((data / "audit").glob("*.ndjson"))
    texts = [line for path in files for line in path.read_text().splitlines() if line.strip()]
    return [json.loads(text) for text in texts]


def test_a_search_logs_the_key_the_gallery_and_the_hash_of_the_query(start, data):
    with start() as service:
        service.put("default", "a", CROP)
        key_id, header = make_key(data)
        service.http.headers.update(header)
        before = time.time()
        answer = service.search(("a.jpg", CROP), ("b.png", b"no picture"), min_score=-1)
        (entry,) = [line for line in lines(data) if line["route"] == "/search"]
        assert before <= entry.pop("time") <= time.time()
        assert entry == {
            "request_id": answer.headers["X-Request-ID"],
            "key_id": key_id,
            "method": "POST",
            "route": "/search",
            "gallery": "default",
            "status": 200,
            "crops": 1,
            "queries": [hashlib.sha256(file).hexdigest() for file in (CROP, b"no picture")],
        }


def test_a_change_is_logged_before_it_is_answered(start, data):
    with start() as service:
        service.create("lobby")
        service.put("lobby", "a", CROP)
        service.add("lobby", [{"crop_id": "b"}, {"crop_id": "c"}], CROP, CROP)
        service.http.post("/galleries/lobby/crops/delete", json={"crop_ids": ["b", "c"]})
        service.http.delete("/galleries/lobby/crops/absent")
        service.http.delete("/galleries/lobby")
        told = [(e["method"], e["route"], e["status"], e.get("crops")) for e in lines(data)]
        crops = "/galleries/{gallery}/crops"
        assert told == [
            ("POST", "/galleries", 201, None),
            ("PUT", f"{crops}/{{crop_id}}", 201, None),
            ("POST", crops, 200, 2),
            ("POST", f"{crops}/delete", 200, 2),
            ("DELETE", f"{crops}/{{crop_id}}", 404, None),
            ("DELETE", "/galleries/{gallery}", 200, 1),
        ]
        assert {entry["gallery"] for entry in lines(data)} == {"lobby"}


def test_nothing_in_the_log_reveals_a_person(start, data):
    secrets = ("jane.doe", "entrance-east", "holiday.jpg", "2031-05-06", "1935878400")
    crop = {"crop_id": "jane.doe/1", "identity": "jane.doe", "camera": "entrance-east"}
    with start() as service:
        service.put("default", "jane.doe/0", CROP, identity="jane.doe", camera="entrance-east")
        service.add("default", [crop | {"timestamp": "2031-05-06T00:00:00Z"}], CROP)
        service.search(("holiday.jpg", CROP), camera="entrance-east", cameras="entrance-east")
        service.http.post("/search", data={"crop_ids": "jane.doe/1"})
        service.crop_ids("default", identities="jane.doe")
        service.http.get("/galleries/default/crops/jane.doe/1")
        service.http.get("/galleries/default/pictures/jane.doe/1")
        service.http.delete("/galleries/default/crops/jane.doe/0")
        service.http.post("/galleries/default/crops/delete", json={"identities": ["jane.doe"]})
        assert len(lines(data)) == 9
    written = b"".join(path.read_bytes() for path in (data / "audit").iterdir())
    for secret in secrets:
        assert secret.encode() not in written


def test_probes_and_counts_are_not_logged(start, data):
    with start() as service:
        for path in ("/", "/livez", "/readyz", "/metrics", "/whoami", "/info", "/galleries"):
            assert service.http.get(path).status_code == 200
        service.http.get("/no/such/route")
    assert not (data / "audit").exists()


def test_refused_keys_are_logged_with_their_address(start, data):
    with start() as service:
        key_id, header = make_key(data, scope="search", galleries=["lobby"])
        refused = {"Authorization": "Bearer reid_00000000_guess"}
        service.http.get("/galleries", headers=refused)
        service.http.get("/galleries")  # sending no key is not an attempt
        service.http.get("/keys", headers=header)
        service.http.get("/galleries/vault/crops", headers=header)
        told = [
            (e.get("key_id"), e["route"], e["status"], e.get("address"), e["refused"])
            for e in lines(data)
        ]
        crops = "/galleries/{gallery}/crops"
        needed = "this needs a key of scope admin; this key has scope search"
        assert told == [
            (None, "/galleries", 401, "127.0.0.1", "this API key is not valid"),
            (key_id, "/keys", 403, None, needed),
            (key_id, crops, 403, None, "this key is not for gallery 'vault'"),
        ]


def test_commands_are_logged_too(start, data):
    done = CliRunner().invoke(
        cli, ["keys", "create", "--label", "a", "--scope", "admin", "--data", str(data)]
    )
    with start() as service:
        service.http.headers["Authorization"] = f"Bearer {done.stdout.strip()}"
        (entry,) = service.http.get("/audit").json()["entries"]
    assert (entry["method"], entry["route"], entry["status"]) == ("CLI", "keys create", 200)


def test_pages_list_every_entry_once(start):
    with start() as service:
        began = time.time()
        sent = [service.search(("a", CROP)).headers["X-Request-ID"] for _ in range(7)]
        paged = [entry["request_id"] for entry in all_pages(service.http, limit=3)]
        assert [one for one in paged if one in sent] == sent
        entries = all_pages(service.http, since=began)
        times = [entry["time"] for entry in entries]
        assert times == sorted(times)
        middle = all_pages(service.http, since=times[2], until=times[5])
        assert [entry["request_id"] for entry in middle] == sent[2:5]
        assert all_pages(service.http, until=began - 3600) == []
        assert all_pages(service.http, since="2100-01-01") == []


def all_pages(http: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    """All entries of all pages."""
    entries: list[dict[str, Any]] = []
    page = http.get("/audit", params=query).json()
    while True:
        assert len(page["entries"]) <= query.get("limit", 100)
        entries += page["entries"]
        if page["cursor"] is None or len(entries) > 10_000:
            return entries
        page = http.get("/audit", params=query | {"cursor": page["cursor"]}).json()


@pytest.mark.parametrize("cursor", ["x", "2026-01-01.-1", "2026-01-01", "../../etc/passwd.0"])
def test_an_invented_cursor_is_refused(service, cursor):
    answer = service.http.get("/audit", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_concurrent_entries_are_all_logged(start, data):
    def put(service: Any, number: int) -> str:
        request_id: str = service.put("default", f"{number}", CROP).headers["X-Request-ID"]
        return request_id

    with start() as service, ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(lambda number: put(service, number), range(40)))
        assert sorted(entry["request_id"] for entry in lines(data)) == sorted(sent)


def entry(moment: float, route: str = "/search") -> AuditEntry:
    return AuditEntry(time=moment, method="POST", route=route)


def test_a_line_cut_off_by_a_crash_affects_no_other(tmp_path):
    now = time.time()
    with closing(AuditLog(tmp_path, 90, print)) as log:
        log.write(entry(now, "/first"), durable=True).result()
    (file,) = tmp_path.glob("*.ndjson")
    with file.open("ab") as torn:
        torn.write(b'not json\n[1]\n{"time": 1}\n{"time": 17952')
    with closing(AuditLog(tmp_path, 90, print)) as log:
        log.write(entry(now, "/second"), durable=True).result()
        page = log.page(None, None, 10, None)
    assert [found.route for found in page.entries] == ["/first", "/second"]
    assert page.cursor is None


def test_old_days_are_removed_and_no_other_file(tmp_path, monkeypatch):
    noon = datetime.now(UTC).replace(hour=12)

    class Noon(datetime):
        """A clock that does not reach midnight during the test."""

        @classmethod
        def now(cls, tz=None):
            return noon

    monkeypatch.setattr("service.access.audit.datetime", Noon)
    today = noon.date()
    for days in (0, 1, 30, 31, 400):
        (tmp_path / f"{today - timedelta(days=days)}.ndjson").write_text("")
    (tmp_path / "notes.ndjson").write_text("")
    with closing(AuditLog(tmp_path, 30, print)) as log:
        log.write(entry(time.time()), durable=False).result()
    kept = sorted(path.stem for path in tmp_path.glob("*.ndjson"))
    assert kept == [*(str(today - timedelta(days=days)) for days in (30, 1, 0)), "notes"]


def test_pages_continue_across_days(tmp_path):
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for days in (3, 2, 1):
        moment = midnight - timedelta(days=days)
        with (tmp_path / f"{moment.date()}.ndjson").open("w") as file:
            for hour in (1, 2):
                at = (moment + timedelta(hours=hour)).timestamp()
                file.write(json.dumps({"time": at, "method": "GET", "route": f"/{days}"}) + "\n")
    with closing(AuditLog(tmp_path, 90, print)) as log:
        found, cursor = [], None
        for _ in range(7):
            page = log.page(None, None, 1, cursor)
            found += [entry.route for entry in page.entries]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == ["/3", "/3", "/2", "/2", "/1", "/1"]
        since = (midnight - timedelta(days=2)).timestamp()
        until = (midnight - timedelta(days=1)).timestamp()
        assert [one.route for one in log.page(since, until, 10, None).entries] == ["/2", "/2"]
        with pytest.raises(InvalidInput):
            log.page(None, None, 1, "2026-01-01.x")


def test_on_a_full_disk_reads_continue_if_configured_and_changes_are_refused(start, data, caplog):
    """The day's file links to /dev/full, which accepts no bytes."""
    with start() as service:
        service.put("default", "a", CROP)
        (file,) = (data / "audit").glob("*.ndjson")
    kept = file.rename(file.with_suffix(".kept"))
    file.symlink_to("/dev/full")
    with start(audit_required=False) as service, caplog.at_level(logging.ERROR):
        assert service.search(("a", CROP)).status_code == 200
        assert '"route": "/search"' in caplog.text  # the process log has the lost entry
        refused = service.put("default", "b", CROP)
        assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
        assert service.crop_ids("default") == ["a"]
        file.unlink()
        kept.rename(file)
        assert service.put("default", "b", CROP).status_code == 201  # by itself
        assert service.search(("a", CROP)).status_code == 200
    routes = [line["route"] for line in lines(data)]
    crop = "/galleries/{gallery}/crops/{crop_id}"
    assert routes == [crop, crop, "/search"]


def test_on_a_full_disk_requests_about_persons_are_refused(start, data):
    with start() as service:
        service.put("default", "a", CROP)
        (file,) = (data / "audit").glob("*.ndjson")
    kept = file.rename(file.with_suffix(".kept"))
    file.symlink_to("/dev/full")
    with start() as service:
        crops = "/galleries/default/crops"
        for _ in range(2):  # the request that first meets the fault, and the ones after it
            for answer in (service.search(("a", CROP)), service.http.get(f"{crops}/a")):
                assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
                assert "audit log" in answer.json()["detail"]
        for path in ("/livez", "/metrics", "/whoami", "/info", "/galleries"):
            assert service.http.get(path).status_code == 200
        file.unlink()
        kept.rename(file)
        assert service.http.get(crops).status_code == 200  # by itself
        assert service.search(("a", CROP)).status_code == 200


@pytest.mark.parametrize("audit_required", [True, False])
def test_without_a_folder_changes_are_refused(start, data, audit_required):
    with start(audit_required=audit_required) as service:
        (data / "audit").write_text("in the way")
        refused = service.put("default", "a", CROP)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        searched = service.search(("a", CROP))
        assert searched.status_code == (503 if audit_required else 200)
        (data / "audit").unlink()
        assert service.put("default", "a", CROP).status_code == 201
