"""Keys are created and revoked by commands and the API, hashed on disk, and effective at once."""

from __future__ import annotations

import logging
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result
from waiting import PATIENCE, wait_until

from service.__main__ import cli
from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.errors import ReidError, Unauthorized
from service.http.server import _allowed_host
from service.settings import Settings
from service.testing import solid

CROP = solid((200, 20, 20))
KEY = re.compile(r"reid_[0-9a-f]{8}_[\w-]{43}")


def keys(data: Path, *arguments: object) -> Result:
    """``python -m service keys``."""
    return CliRunner().invoke(cli, ["keys", *map(str, arguments), "--data", str(data)])


def create(data: Path, *arguments: object, scope: str = "admin") -> str:
    """Create a key with the command."""
    done = keys(data, "create", "--label", "a test", "--scope", scope, *arguments)
    assert done.exit_code == 0, done.stderr
    text: str = done.stdout.strip()
    assert KEY.fullmatch(text)
    return text


def asking(service: Any, key: str) -> httpx.Client:
    """A client that sends a key."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE)


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["code"]


def key_id(text: str) -> str:
    return text.split("_")[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the services started by ``start``."""
    return tmp_path / "data"


def test_the_first_key_closes_a_running_service(start, data):
    with start() as service:
        assert service.http.get("/galleries").status_code == 200
        key = create(data)
        refused = service.http.get("/galleries")
        assert code(refused) == (401, "unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        with asking(service, key) as admin:
            assert admin.get("/galleries").status_code == 200


def test_a_revoked_key_is_rejected_from_the_next_request_on(start, data):
    with start() as service:
        key = create(data)
        with asking(service, key) as admin:
            assert admin.get("/galleries").status_code == 200
            assert keys(data, "revoke", key_id(key)).exit_code == 0
            refused = admin.get("/galleries")
            assert code(refused) == (401, "unauthorized")
            assert "revoked" in refused.json()["detail"]
        # Even with its last key revoked, the service stays closed.
        assert service.http.get("/galleries").status_code == 401


def test_a_key_is_rejected_after_it_expires(start, data, monkeypatch):
    """The clock of the keys is set forward, so the test need not wait."""
    expires, now = time.time() + 3600, time.time()
    with start() as service:
        key = create(data, "--expires", expires)
        with asking(service, key) as admin:
            assert admin.get("/whoami").json()["expires"] == pytest.approx(expires, abs=1)
            for moment, status in ((now, 200), (expires - 1, 200), (expires + 1, 401)):
                monkeypatch.setattr(
                    "service.access.keys.time", SimpleNamespace(time=lambda at=moment: at)
                )
                answer = admin.get("/galleries")
                assert answer.status_code == status
        assert code(answer) == (401, "unauthorized")
        assert "expired" in answer.json()["detail"]


def test_keys_survive_a_restart(start, data):
    with start():
        key = create(data)
    with start() as service, asking(service, key) as admin:
        assert admin.get("/galleries").status_code == 200
        assert service.http.get("/galleries").status_code == 401


def test_no_secret_is_on_disk(start, data):
    with start() as service:
        first = create(data)
        with asking(service, first) as admin:
            second = admin.post("/keys", json={"label": "b", "scope": "search"}).json()["key"]
            assert admin.get("/audit").is_success
    written = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    for key in (first, second):
        assert key_id(key).encode() in written
        assert key.split("_", 2)[2].encode() not in written


def test_the_api_makes_lists_and_revokes_keys(start, data):
    with start() as service, asking(service, create(data)) as admin:
        wanted = {
            "label": "door",
            "scope": "write",
            "galleries": ["lobby", "door"],
            "expires": "2100-01-01",
            "requests_per_minute": 7,
        }
        made = admin.post("/keys", json=wanted)
        assert made.status_code == 201
        record = made.json()
        text = record.pop("key")
        assert KEY.fullmatch(text)
        assert made.headers["Location"] == f"/keys/{record['key_id']}"
        assert record["galleries"] == ["door", "lobby"]
        assert record["expires"] == 4102444800.0
        assert (record["revoked"], record["last_used"]) == (None, None)
        listed = admin.get("/keys").json()["keys"]
        assert record in listed
        assert text not in str(listed)
        with asking(service, text) as writer:
            assert writer.get("/whoami").json() == {
                "anonymous": False,
                "key_id": record["key_id"],
                "label": "door",
                "scope": "write",
                "galleries": ["door", "lobby"],
                "expires": 4102444800.0,
            }
            revoked = admin.delete(made.headers["Location"]).json()
            assert revoked["revoked"] == pytest.approx(time.time(), abs=60)
            assert writer.get("/whoami").status_code == 401
        assert admin.delete(made.headers["Location"]).json()["revoked"] == revoked["revoked"]
        assert code(admin.delete("/keys/nobody")) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scope": "root"}, "scope"),
        ({"scope": "open"}, "scope"),
        ({"label": ""}, "label"),
        ({"label": "a\nb"}, "label"),
        ({"galleries": []}, "galleries"),
        ({"galleries": ["../etc"]}, "galleries.0"),
        ({"expires": "2001-01-01"}, "expires"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_a_wrong_key_request_names_its_field(service, change, field):
    answer = service.http.post("/keys", json={"label": "a", "scope": "search"} | change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_whoami_without_a_key(start, data):
    with start() as service:
        everyone = service.http.get("/whoami").json()
        assert (everyone["anonymous"], everyone["scope"]) == (True, "admin")
        assert everyone["galleries"] is None
        create(data)
        nobody = service.http.get("/whoami").json()
        assert (nobody["anonymous"], nobody["scope"], nobody["galleries"]) == (True, "open", [])


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer reid",
        "Bearer reid__",
        "Bearer {id}",
        "Bearer reid_{id}_",
        "Bearer reid_{id}_guessed",
        "Bearer reid_00000000_{secret}",
        "Bearer REID_{id}_{secret}",
        "Bearer xreid_{id}_{secret}",
        "Bearer reid_{id}_{secret}x",
        "Bearer \xff\xfe",
        "Bearer " + "a" * 8000,
        "Basic {secret}",
        "{secret}",
    ],
)
def test_malformed_keys_give_no_access(closed, header):
    service, key = closed
    _, name, secret = key.split("_", 2)
    header = header.replace("{id}", name).replace("{secret}", secret)
    answer = service.http.get("/galleries", headers={"Authorization": header.encode("latin-1")})
    assert code(answer) == (401, "unauthorized")


@pytest.fixture(scope="module")
def closed(launch, tmp_path_factory) -> Any:
    """A service with a key."""
    data = tmp_path_factory.mktemp("data")
    with launch(data) as service:
        yield service, create(data)


def test_an_unknown_key_and_a_wrong_secret_are_refused_alike(closed):
    service, key = closed
    wrong = [f"reid_{key_id(key)}_{'a' * 43}", f"reid_ffffffff_{'a' * 43}"]
    details = set()
    for text in wrong:
        with asking(service, text) as nobody:
            details.add(nobody.get("/galleries").json()["detail"])
    assert details == {"this API key is not valid"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(closed, scheme):
    service, key = closed
    answer = service.http.get("/galleries", headers={"Authorization": f"{scheme} {key}"})
    assert answer.status_code == 200


def test_a_refused_upload_is_answered_not_reset(closed):
    service, _ = closed
    for _ in range(3):
        answer = service.search(("large.jpg", bytes(8_000_000)))
        assert code(answer) == (401, "unauthorized")


def test_a_refused_upload_that_is_never_sent_is_answered_at_once(closed):
    service, _ = closed
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        head = f"POST /search HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"abc")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_a_bound_key_sees_and_creates_only_its_own_galleries(start, data):
    with start() as service:
        for name in ("lobby", "vault"):
            service.create(name)
        key = create(data, "--gallery", "lobby", "--gallery", "door")
        with asking(service, key) as bound, asking(service, create(data)) as admin:
            assert names(bound.get("/galleries")) == ["lobby"]
            assert names(bound.get("/info")) == ["lobby"]
            assert names(admin.get("/galleries")) == ["default", "lobby", "vault"]
            assert "vault" not in bound.get("/metrics").text
            assert "vault" not in service.http.get("/metrics").text
            assert 'reid_gallery_crops{gallery="vault"}' in admin.get("/metrics").text
            for name in ("vault", "absent"):  # it does not reveal whether the gallery exists
                assert code(bound.get(f"/galleries/{name}")) == (403, "forbidden")
                assert code(bound.post("/galleries", json={"name": name})) == (403, "forbidden")
            assert bound.post("/galleries", json={"name": "door"}).status_code == 201
            assert names(bound.get("/galleries")) == ["door", "lobby"]
            files = {"images": ("a.jpg", CROP)}
            for gallery, status in {"vault": 403, "default": 403, "lobby": 200}.items():
                found = bound.post("/search", files=files, data={"gallery": gallery})
                assert found.status_code == status
            assert bound.post("/search", files=files).status_code == 403  # the default gallery


def names(answer: httpx.Response) -> list[str]:
    return [gallery["name"] for gallery in answer.json()["galleries"]]


def test_jobs_of_other_galleries_are_not_shown(start, data):
    with start() as service:
        service.create("lobby")
        theirs = service.parts.board.submit("cluster", "default", {}).job_id
        ours = service.parts.board.submit("cluster", "lobby", {}).job_id
        with asking(service, create(data, "--gallery", "lobby")) as bound:
            assert [job["job_id"] for job in bound.get("/jobs").json()["jobs"]] == [ours]
            assert bound.get("/jobs?gallery=default").status_code == 403
            assert bound.get(f"/jobs/{theirs}").status_code == 404
            assert bound.post(f"/jobs/{theirs}/cancel").status_code == 404
            assert bound.get(f"/jobs/{ours}").status_code == 200


def test_the_command_line_lists_keys_without_their_secrets(data):
    first = create(data, "--gallery", "lobby", "--expires", "2100-01-01", scope="search")
    second = create(data, "--requests-per-minute", 5)
    keys(data, "revoke", key_id(first))
    listed = keys(data, "list").stdout
    lines = {line.split()[0]: line for line in listed.splitlines()}
    assert set(lines) == {key_id(first), key_id(second)}
    assert "lobby" in lines[key_id(first)]
    assert "revoked" in lines[key_id(first)]
    assert "5 requests per minute" in lines[key_id(second)]
    assert "all galleries" in lines[key_id(second)]
    for key in (first, second):
        assert key.split("_", 2)[2] not in listed


@pytest.mark.parametrize(
    "wrong",
    [("--gallery", "A"), ("--expires", "yesterday"), ("--expires", "1"), ("--label", "")],
)
def test_the_command_line_refuses_in_one_line(data, wrong):
    done = keys(data, "create", "--label", "a", "--scope", "search", *wrong)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (data / FILE).exists()
    assert keys(data, "revoke", "nobody").exit_code == 1


def test_the_command_line_searches_with_a_key(closed, tmp_path, monkeypatch):
    service, key = closed
    (tmp_path / "a.jpg").write_bytes(CROP)
    search = ["search", str(tmp_path / "a.jpg"), "--url", service.url]
    refused = CliRunner().invoke(cli, search)
    assert refused.exit_code == 1
    assert "Key required" in refused.stderr
    assert CliRunner().invoke(cli, [*search, "--key", key]).exit_code == 0
    monkeypatch.setenv("REID_KEY", key)
    assert CliRunner().invoke(cli, search).exit_code == 0


def test_last_use_is_stored_to_the_hour(start, data):
    with start() as service, asking(service, create(data)) as admin:
        begun = time.time()
        noted = wait_until(lambda: admin.get("/keys").json()["keys"][0]["last_used"])
        assert begun <= noted <= time.time()
        time.sleep(0.1)
        (record,) = admin.get("/keys").json()["keys"]
        assert record["last_used"] == noted


def test_a_removed_file_gives_no_access(start, data):
    with start() as service:
        key = create(data)
        with asking(service, key) as admin:
            # The first use is written in the background; afterwards nothing writes to the file.
            wait_until(lambda: admin.get("/keys").json()["keys"][0]["last_used"])
            kept = (data / FILE).read_bytes()
            (data / FILE).unlink()
            assert code(admin.get("/galleries")) == (503, "unavailable")
            assert code(service.http.get("/galleries")) == (503, "unavailable")
            assert service.http.get("/livez").status_code == 200
            (data / FILE).write_bytes(kept)  # as from a backup
            assert admin.get("/galleries").status_code == 200


@pytest.mark.parametrize("damage", ["garbage", "empty", "newer"])
def test_a_damaged_file_gives_no_access(start, data, damage):
    key = create(data)
    match damage:
        case "garbage":
            (data / FILE).write_bytes(b"not a database, but long enough to be one" * 100)
        case "empty":
            (data / FILE).write_bytes(b"")
        case "newer":
            with closing(sqlite3.connect(data / FILE)) as connection:
                connection.execute("PRAGMA user_version = 99")
    with start() as service, asking(service, key) as admin:
        refused = admin.get("/galleries")
        assert code(refused) == (503, "unavailable")
        assert FILE in refused.json()["detail"]
        assert service.http.get("/galleries").status_code == 503
        assert service.http.get("/livez").status_code == 200


def test_many_keys_are_created_at_once(tmp_path):
    def make(number: int) -> str:
        store = KeyStore(tmp_path / FILE)
        try:
            return store.create(NewKey(label=str(number), scope="search"))[1]
        finally:
            store.close()

    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(make, range(24)))
    with closing(KeyStore(tmp_path / FILE)) as store:
        assert len({store.authenticate(text).key_id for text in texts}) == 24


@given(secret=st.text())
def test_random_texts_are_not_keys(closed, store, secret):
    _, key = closed
    for text in (secret, f"reid_{key_id(key)}_{secret}", f"{key}{secret or '_'}"):
        with pytest.raises(Unauthorized):
            store.authenticate(text)
    assert store.authenticate(key).key_id == key_id(key)


@pytest.fixture(scope="module")
def store(closed) -> Iterator[KeyStore]:
    """The keys of that service."""
    service, _ = closed
    with closing(KeyStore(service.parts.settings.data / FILE)) as store:
        yield store


def test_without_a_key_only_this_machine_is_served(data, caplog):
    with caplog.at_level(logging.WARNING):
        assert _allowed_host(Settings(data=data, host="0.0.0.0")) == "127.0.0.1"
    assert "REID_ALLOW_ANONYMOUS" in caplog.text
    assert "keys create" in caplog.text
    assert _allowed_host(Settings(data=data, host="localhost")) == "localhost"
    assert _allowed_host(Settings(data=data, host="::1")) == "::1"
    open_to_all = Settings(data=data, host="0.0.0.0", allow_anonymous=True)
    assert _allowed_host(open_to_all) == "0.0.0.0"
    create(data)
    assert _allowed_host(Settings(data=data, host="0.0.0.0")) == "0.0.0.0"


def test_a_damaged_file_keeps_the_service_from_choosing_a_host(data):
    data.mkdir()
    (data / FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(ReidError, match=FILE):
        _allowed_host(Settings(data=data, host="0.0.0.0"))
