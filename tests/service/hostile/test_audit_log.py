"""What clients can write into the audit log: valid names, addresses and ids, all short."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.testing import solid

CROP = solid((200, 20, 20))
LONGEST = 16 * 1024  # bytes of an entry, with the default settings
ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Watched:
    """A service, its data folder, and the log entries of its answers."""

    def __init__(self, service: Any, data: Path) -> None:
        self.service = service
        self.http = service.http
        self.data = data

    def line_of(self, answer: httpx.Response) -> bytes:
        """The only log line with the request id of an answer."""
        told = answer.headers["X-Request-ID"].encode()
        (line,) = [line for line in raw_lines(self.data) if b'"%s"' % told in line]
        return line


@pytest.fixture(scope="module")
def watched(launch, tmp_path_factory) -> Iterator[Watched]:
    """One service for all tests of this file."""
    data = tmp_path_factory.mktemp("data")
    with launch(data, requests_per_minute=100_000) as service:
        service.put("default", "a", CROP)
        yield Watched(service, data)


@pytest.fixture(scope="module")
def headers(watched) -> dict[str, dict[str, str]]:
    """The headers of an unbound key, a bound key and an admin key."""
    return {
        "for all galleries": make_key(watched.data, scope="search"),
        "bound": make_key(watched.data, scope="admin", galleries=["lobby"]),
        "admin": make_key(watched.data),
    }


def make_key(data: Path, **wanted: Any) -> dict[str, str]:
    """The header that sends a new key."""
    with closing(KeyStore(data / FILE)) as store:
        _, text = store.create(NewKey(**{"label": "a", "scope": "admin"} | wanted))
    return {"Authorization": f"Bearer {text}"}


def raw_lines(data: Path) -> list[bytes]:
    """Every line of the log on disk."""
    files = sorted((data / "audit").glob("*.ndjson"))
    return [line for path in files for line in path.read_bytes().splitlines() if line.strip()]


TEXTS = {
    "control characters": b"\x01" * 1_000_000,
    "letters": b"a" * 1_000_000,
    "a name and more": b"lobby" + b"x" * 60,
    "line breaks": b'x\n{"time": 1, "method": "GET", "route": "/forged"}\n',
    "escape codes": b"\x1b[2J\x1b]0;title\x07",
    "a surrogate": b"\xed\xa0\x80",
    "no UTF-8": b"\xff\xfe",
    "a path": b"../../etc/passwd",
    "a person": b"Jane Doe, born 1990",
}


def form(gallery: bytes, images: int) -> tuple[bytes, dict[str, str]]:
    """A search as bytes, because HTTP clients do not send every text."""
    parts = [b'Content-Disposition: form-data; name="gallery"\r\n\r\n' + gallery]
    image = b'Content-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n' + CROP
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in (*parts, *[image] * images))
    return body + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("key", ["for all galleries", "bound"])
def test_no_text_of_a_form_reaches_the_log(watched, headers, text, key):
    for images in (0, 1, 65):  # too few, enough, too many
        body, kind = form(text, images)
        answer = watched.http.post("/search", content=body, headers=headers[key] | kind)
        assert answer.status_code in {403, 404, 413, 422}
        assert len(answer.content) < LONGEST
        line = watched.line_of(answer)
        assert len(line) < 1_000
        entry = json.loads(line)
        assert entry["status"] == answer.status_code
        assert (entry["route"], entry.get("gallery")) == ("/search", None)


@pytest.mark.parametrize("key", ["for all galleries", "bound", "admin"])
@pytest.mark.parametrize(
    "text", ["z" * 8_000, "%00%01%1b%5b", "jane%0adoe", "%ed%a0%80", "Jane%20Doe", "lobby%2f..%2fx"]
)
def test_no_text_of_an_address_reaches_the_log(watched, headers, text, key):
    for method, path in (
        ("GET", f"/galleries/{text}/crops"),
        ("GET", f"/galleries/lobby/snapshots/{text}"),
        ("DELETE", f"/galleries/lobby/model/{text}"),
        ("DELETE", f"/keys/{text}"),
        ("GET", f"/jobs/{text}/errors"),
    ):
        answer = watched.http.request(method, path, headers=headers[key])
        assert answer.status_code in {403, 404, 422}
        told = answer.headers["X-Request-ID"].encode()
        for line in (one for one in raw_lines(watched.data) if told in one):
            assert len(line) < 1_000
            entry = json.loads(line)
            assert {entry.get("gallery"), entry.get("target")} <= {None, "lobby"}
            assert not re.search(rb"zzzz|jane|Jane", line)


REQUEST_IDS = [
    "",
    "a" * 129,
    "a" * 8_000,
    "a b",
    'x","key_id":"1',
    "\x1b[2J",
    "\xe9",
    "a\tb",
    "ok-1",
]


@pytest.mark.parametrize("sent", REQUEST_IDS)
def test_a_request_id_is_short_or_replaced(watched, headers, sent):
    asked = {
        200: ("GET", "/galleries/default/crops"),
        403: ("GET", "/keys"),
        404: ("GET", "/galleries/absent/crops"),
        413: ("POST", "/search"),
        422: ("GET", "/galleries/default/crops?limit=0"),
    }
    for status, (method, path) in asked.items():
        named = f"{sent}{status}" if sent == "ok-1" else sent
        body, kind = form(b"default", 65)
        header = headers["for all galleries"] | {"X-Request-ID": named.encode("latin-1")}
        if method == "POST":
            answer = watched.http.post(path, content=body, headers=header | kind)
        else:
            answer = watched.http.get(path, headers=header)
        assert answer.status_code == status
        told = json.loads(watched.line_of(answer))["request_id"]
        assert ID.fullmatch(told)
        assert (told == named) == (sent == "ok-1")


def test_the_entry_of_the_largest_search_is_limited(watched, headers):
    files = [("images", ("a.jpg", CROP))] * 64
    answer = watched.http.post("/search", files=files, headers=headers["for all galleries"])
    assert answer.status_code == 200
    line = watched.line_of(answer)
    assert len(json.loads(line)["queries"]) == 64
    assert len(line) < LONGEST


def test_unchecked_entries_of_older_releases_are_not_shown(watched, headers):
    header = headers["admin"]
    file = watched.data / "audit" / "2023-11-14.ndjson"
    began = 1_700_000_000.0  # of that day
    forged = {"time": began, "method": "POST", "route": "/search", "gallery": "\n" * 500}
    huge = forged | {"gallery": "x" * 200_000, "request_id": "huge"}
    sound = forged | {"gallery": "lobby"}
    with file.open("a") as log:
        log.writelines(f"{json.dumps(entry)}\n" for entry in (forged, huge, sound))
    query = {"since": began - 1, "until": began + 1}
    answer = watched.http.get("/audit", params=query, headers=header)
    assert [entry["gallery"] for entry in answer.json()["entries"]] == [None, "lobby"]


def test_entries_about_keys_name_the_key_and_its_scope(watched, headers):
    wanted = {"label": "door", "scope": "write", "galleries": ["lobby", "door"]}
    made = watched.http.post("/keys", json=wanted, headers=headers["admin"])
    key_id = made.json()["key_id"]
    revoked = watched.http.delete(f"/keys/{key_id}", headers=headers["admin"])
    again = watched.http.delete("/keys/00000000", headers=headers["admin"])
    told = [json.loads(watched.line_of(answer)) for answer in (made, revoked, again)]
    named = [(entry.get("target"), entry.get("scope"), entry.get("galleries")) for entry in told]
    bound = ["door", "lobby"]
    assert named == [(key_id, "write", bound), (key_id, "write", bound), ("00000000", None, None)]
    assert all(key_id != entry["key_id"] for entry in told)  # the key that acted


def test_the_entry_of_a_restore_names_the_gallery_that_was_written(watched, headers):
    header = headers["admin"]
    snapshots = "/galleries/default/snapshots"
    taken = watched.http.post(snapshots, headers=header).json()["snapshot_id"]
    for into in ("copy", None):
        answer = watched.http.post(
            f"{snapshots}/{taken}/restore", json={"into": into} if into else {}, headers=header
        )
        assert answer.status_code == 200
        entry = json.loads(watched.line_of(answer))
        assert (entry["gallery"], entry["target"]) == ("default", into or "default")
    answer = watched.http.get(f"{snapshots}/{taken}", headers=header)
    assert json.loads(watched.line_of(answer))["target"] == taken
