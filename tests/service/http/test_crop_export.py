"""Crops as CSV, NDJSON and Parquet: every crop, streamed, and ready to be imported again."""

from __future__ import annotations

import csv
import io
import json
import socket
import sys
import threading
import time
from typing import Any

import pytest

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.http import crop_export
from service.http.crop_writers import writer_of
from service.testing import solid

NAMES = ["Ærøskøbing, gate 2", 'Anna "A."', "line;semicolon", "12", "c1"]
TYPES = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
MANIFEST = {"csv": "text/csv"} | {name: TYPES[name] for name in ("ndjson", "parquet")}


def rows_of(format_: str, content: bytes) -> list[dict[str, Any]]:
    if format_ == "csv":
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        return [
            {
                name: (float(text) if name in {"timestamp", "added"} else text) if text else None
                for name, text in row.items()
            }
            for row in rows
        ]
    if format_ == "ndjson":
        return [json.loads(line) for line in content.splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    return parquet.read_table(io.BytesIO(content)).to_pylist()


@pytest.fixture(scope="module")
def stored(service):
    """A gallery of eleven crops, and what a listing says of them."""
    service.create("exported")
    for number in range(10):
        entry: dict[str, Any] = {"crop_id": f"a/{number}.png"}
        if number % 2:
            entry |= {"identity": NAMES[number % 5], "camera": NAMES[(number + 1) % 5]}
            entry |= {"timestamp": 1_795_249_800 + number / 4, "track": f"0{number}"}
        service.add("exported", [entry], solid((20 * number, 90, 10), kind="PNG"))
    service.add("exported", [{"crop_id": "z"}], solid((1, 2, 3), kind="PNG"))
    return service.http.get("/galleries/exported/crops", params={"limit": 1000}).json()["crops"]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(crop_export, "_PAGE", 3)
    monkeypatch.setattr(crop_export, "_PAGE_WITH_EMBEDDINGS", 2)


def export(service: Any, gallery: str = "exported", **params: Any) -> Any:
    answer = service.http.get(f"/galleries/{gallery}/crops", params=params)
    assert answer.status_code == 200, answer.text[:300]
    return answer


@pytest.mark.parametrize("format_", TYPES)
def test_an_export_holds_every_crop_as_a_listing_shows_it(service, stored, format_):
    answer = export(service, format=format_)
    assert answer.headers["content-type"] == TYPES[format_]
    expected = f'attachment; filename="exported-crops.{format_}"'
    assert answer.headers["content-disposition"] == expected
    assert answer.headers["transfer-encoding"] == "chunked"
    assert rows_of(format_, answer.content) == stored


@pytest.mark.parametrize("format_", TYPES)
def test_filters_choose_and_an_empty_export_is_a_valid_file(service, stored, format_):
    cameras = {"cameras": [NAMES[0], NAMES[2]]}
    found = rows_of(format_, export(service, format=format_, **cameras).content)
    assert found == [crop for crop in stored if crop["camera"] in cameras["cameras"]]
    assert rows_of(format_, export(service, format=format_, id_prefix="none").content) == []


@pytest.mark.parametrize("format_", TYPES)
def test_an_export_with_embeddings_can_be_imported_again(service, stored, format_):
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    copy = service.create(f"copy-{format_}")
    content = export(service, format=format_, embeddings=True).content
    answer = service.http.post(
        f"/galleries/{copy}/imports", content=content, headers={"Content-Type": MANIFEST[format_]}
    )
    job = service.ended(answer)
    assert (job["state"], job["counts"]["created"]) == ("done", len(stored)), job
    copied = service.http.get(f"/galleries/{copy}/crops", params={"limit": 1000}).json()["crops"]
    told = ("crop_id", "identity", "camera", "track", "timestamp")
    assert [{name: crop[name] for name in told} for crop in copied] == [
        {name: crop[name] for name in told} for crop in stored
    ]
    query = ("q.png", solid((100, 90, 10), kind="PNG"))
    first, second = (
        service.search(query, gallery=name, min_score=-1, standardise=False).json()["results"][0]
        for name in ("exported", copy)
    )
    scores = [
        [(one["crop_id"], one["score"]) for one in each["matches"]] for each in (first, second)
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("text/csv", "csv"),
        ("application/x-ndjson;q=0.9, text/csv;q=0.1", "ndjson"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("application/json, text/csv", "json"),
        ("text/csv;q=nonsense", "json"),
        ("", "json"),
    ],
)
def test_accept_chooses_the_format_and_the_parameter_overrules_it(service, stored, accept, chosen):
    assert crop_export.requested_format(None, accept) == chosen
    answer = service.http.get("/galleries/exported/crops", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith({**TYPES, "json": "application/json"}[chosen])
    listed = service.http.get(
        "/galleries/exported/crops", params={"format": "json"}, headers={"Accept": "text/csv"}
    )
    assert len(listed.json()["crops"]) == len(stored)


def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(service):
    service.create("sheet")
    cell = "=cmd|' /C calc'!A0"
    entries = [
        {"crop_id": name, "identity": name, "camera": "-2+3"} for name in (cell, "@sum", "+1")
    ]
    service.add("sheet", entries, *[solid((9, 9, 9), kind="PNG")] * 3)
    table = rows_of("csv", export(service, "sheet", format="csv").content)
    assert {row["identity"] for row in table} == {f"'{cell}", "'@sum", "'+1"}
    assert {row["camera"] for row in table} == {"'-2+3"}
    exact = rows_of("ndjson", export(service, "sheet", format="ndjson").content)
    assert {row["crop_id"] for row in exact} == {cell, "@sum", "+1"}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"format": "csv", "limit": 5}, "leave out limit and cursor"),
        ({"format": "ndjson", "cursor": "x"}, "leave out limit and cursor"),
        ({"embeddings": True}, "needs format=csv, ndjson or parquet"),
        ({"format": "xml"}, "'json', 'csv', 'ndjson' or 'parquet'"),
    ],
)
def test_options_that_contradict_the_format_are_rejected(service, params, said):
    answer = service.http.get("/galleries/default/crops", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert said in answer.json()["detail"]


def test_parquet_without_its_extra_is_501_and_names_it(service, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = service.http.get("/galleries/default/crops", params={"format": "parquet"})
    assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")
    assert "hhcl-reid[parquet]" in answer.json()["detail"]


def test_head_tells_the_headers_only(service, stored):
    path = "/galleries/exported/crops"
    head, got = (
        service.http.request(method, path, params={"format": "csv"}) for method in ("HEAD", "GET")
    )
    assert head.status_code == 200
    for name in ("content-type", "content-disposition"):
        assert head.headers[name] == got.headers[name]


def test_access_and_audit_are_those_of_the_listing(start, tmp_path):
    with start() as service:
        service.add("default", [{"crop_id": "a"}, {"crop_id": "b"}], *[solid((1, 2, 3))] * 2)
        keys = KeyStore(tmp_path / "data" / FILE)
        texts = {
            gallery: keys.create(NewKey(label="a", scope="search", galleries=[gallery]))[1]
            for gallery in ("default", "other")
        }
        admin = keys.create(NewKey(label="a", scope="admin"))[1]
        statuses = [
            service.http.get(
                "/galleries/default/crops",
                params={"format": "ndjson"},
                headers={"Authorization": f"Bearer {text}"} if text else {},
            ).status_code
            for text in (texts["default"], texts["other"], None)
        ]
        assert statuses == [200, 403, 401]
        entries = service.http.get(
            "/audit", params={"limit": 1000}, headers={"Authorization": f"Bearer {admin}"}
        ).json()["entries"]
        read = [one for one in entries if one["route"] == "/galleries/{gallery}/crops"]
        assert [(one["method"], one["status"], one["crops"]) for one in read if one["status"] == 200
                ][-1] == ("GET", 200, 2)  # fmt: skip


def test_a_client_that_disconnects_ends_the_walk(start, monkeypatch):
    """Each page waits for a permit: a walk that goes on would use up all of them."""
    monkeypatch.setattr(crop_export, "_PAGE", 1)
    with start() as service:
        entries = [{"crop_id": f"{number:03}"} for number in range(60)]
        service.add("default", entries, *[solid((1, 2, 3))] * 60)
        gallery = type(service.parts.store.open("default"))
        permits, page, read = threading.Semaphore(1), gallery.page, []

        def permitted(*args: Any, **kwargs: Any) -> Any:
            assert permits.acquire(timeout=60)
            read.append(1)
            return page(*args, **kwargs)

        monkeypatch.setattr(gallery, "page", permitted)
        host, port = service.http.base_url.host, service.http.base_url.port
        with socket.create_connection((host, port), timeout=60) as client:
            path = "/galleries/default/crops?format=ndjson"
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 200"
        for _ in range(59):
            permits.release()
            time.sleep(0.05)
        assert len(read) < 60


def test_a_crop_erased_during_the_walk_leaves_the_others(service, monkeypatch):
    service.create("shrinking")
    entries = [{"crop_id": f"{number}"} for number in range(9)]
    service.add("shrinking", entries, *[solid((1, 2, 3))] * 9)
    gallery = service.parts.store.open("shrinking")
    export_ = crop_export.Export(gallery, crop_export.Filter(), "ndjson", embeddings=True)
    pieces = crop_export._pieces(export_, writer_of("ndjson", embeddings=True))
    written = next(pieces)
    gallery.delete(crop_export.Filter(crop_ids=frozenset({"5"})))
    written += b"".join(pieces)
    assert [row["crop_id"] for row in rows_of("ndjson", written)] == list("01234678")
