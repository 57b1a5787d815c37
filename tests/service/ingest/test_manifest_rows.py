"""Rows of manifests over HTTP: every format, the meaning of values, and the warnings."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from service.testing import TINY_MANIFEST, solid

NDJSON, CSV = "application/x-ndjson", "text/csv"
PARQUET = "application/vnd.apache.parquet"
AFTERNOON = datetime(2026, 11, 21, 14, 5, 33, tzinfo=UTC)
ROW = [1.0] + [0.0] * (TINY_MANIFEST.dimension - 1)
TEXT = json.dumps(ROW)


def imported(service: Any, gallery: str, kind: str, body: bytes, **query: Any) -> dict[str, Any]:
    answer = service.http.post(
        f"/galleries/{gallery}/imports",
        content=body,
        headers={"Content-Type": kind},
        params=query,
    )
    job: dict[str, Any] = service.ended(answer)
    return job


def reasons(service: Any, job: dict[str, Any]) -> dict[str, str]:
    text = service.http.get(f"/jobs/{job['job_id']}/errors").text
    return {row["item"]: row["reason"] for row in map(json.loads, text.splitlines())}


def known(service: Any, gallery: str) -> dict[str, tuple[Any, Any, Any]]:
    crops = service.http.get(f"/galleries/{gallery}/crops", params={"limit": 1000}).json()["crops"]
    return {
        crop["crop_id"]: (crop["identity"], crop["camera"], crop["timestamp"]) for crop in crops
    }


def parquet_of(**columns: Any) -> bytes:
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_nan_and_other_missing_values_make_no_person(service):
    name = service.create("rows-gaps")
    values = ["NaN", "null", '""', '"  "', "-1", "-1.0", '"-1"', "12", "12.0", '"12"', "0"]
    body = "".join(
        f'{{"crop_id": "r{number:02}", "embedding": {TEXT}, "identity": {value}}}\n'
        for number, value in enumerate(values)
    )
    job = imported(service, name, NDJSON, body.encode())
    assert job["counts"] == {"created": len(values)}
    found = [identity for identity, _, _ in known(service, name).values()]
    assert found == [None] * 7 + ["12"] * 3 + ["0"]
    people = service.http.get(f"/galleries/{name}/identities").json()["identities"]
    assert {person["identity"]: person["crops"] for person in people} == {"0": 1, "12": 3}


def test_invalid_names_are_reported_by_row_and_column(service):
    name = service.create("rows-refused")
    bad = ['["a", "b"]', "true", "12.5", '{"a": 1}', "1e400"]
    rows = [
        f'{{"crop_id": "{column}{number}", "embedding": {TEXT}, "{column}": {value}}}'
        for column in ("identity", "camera")
        for number, value in enumerate(bad)
    ]
    job = imported(service, name, NDJSON, "\n".join(rows).encode())
    assert job["counts"] == {"failed": 2 * len(bad)}
    said = reasons(service, job)
    for column in ("identity", "camera"):
        for number in range(len(bad)):
            place = number + 1 + (len(bad) if column == "camera" else 0)
            assert said[f"{column}{number}"].startswith(f"row {place}, column {column}: ")
    assert service.crop_ids(name) == []


def test_names_that_may_mean_missing_are_rejected_in_csv_and_reported_elsewhere(service):
    name = service.create("rows-doubtful")
    rows = [
        {"crop_id": f"{who}{number}", "embedding": ROW, "identity": who, "camera": "c1"}
        for who in ("nan", "None", "Nan")
        for number in range(2)
    ]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    job = imported(service, name, NDJSON, body)
    assert job["counts"] == {"created": 6}
    assert job["result"]["doubtful_names"] == {"nan": 2, "None": 2}
    assert any("None (2 times), nan (2 times)" in text for text in job["result"]["warnings"])
    csv = "crop_id,identity,embedding\n" + "".join(
        f'csv-{who},{who},"{TEXT}"\n' for who in ("nan", "NaN", "None", "null", "NA", "Nan")
    )
    job = imported(service, name, CSV, csv.encode())
    assert set(reasons(service, job)) == {"csv-None", "csv-null", "csv-NA"}
    assert "row 3, column identity" in reasons(service, job)["csv-None"]
    found = known(service, name)
    assert [found[f"csv-{who}"][0] for who in ("nan", "NaN", "Nan")] == [None, None, "Nan"]


def test_blanks_in_a_header_lose_no_column(service):
    name = service.create("rows-blanks")
    body = f'crop_id, Identity,camera , timestamp, embedding\na, ada, c1, 20261121,"{TEXT}"\n'
    job = imported(service, name, CSV, body.encode())
    assert job["counts"] == {"created": 1}, reasons(service, job)
    assert known(service, name) == {"a": ("ada", "c1", 1795219200.0)}
    assert job["result"]["ignored_columns"] == []


def test_unknown_columns_are_reported(service):
    name = service.create("rows-ignored")
    csv = f'crop_id,person_id,cam,embedding\na,7,c1,"{TEXT}"\n'.encode()
    ndjson = json.dumps({"crop_id": "a", "embedding": ROW, "person_id": 7, "cam": "c1"}).encode()
    parquet = parquet_of(crop_id=["a"], embedding=[ROW], person_id=[7], cam=["c1"])
    for kind, body in ((CSV, csv), (NDJSON, ndjson), (PARQUET, parquet)):
        job = imported(service, name, kind, body)
        assert job["result"]["ignored_columns"] == ["cam", "person_id"]
        assert any("cam, person_id" in text for text in job["result"]["warnings"])


@pytest.mark.parametrize(
    ("gallery", "header", "reason"),
    [
        ("rows-same", "crop_id,camera,camera,embedding", "'camera' and 'camera' have the same"),
        ("rows-capitals", "crop_id,camera, CAMERA,embedding", "have the same name"),
        ("rows-semicolons", "crop_id;camera;embedding", "crop_id;camera;embedding"),
    ],
)
def test_a_table_with_ambiguous_columns_is_rejected(service, gallery, header, reason):
    service.create(gallery)
    job = imported(service, gallery, CSV, f'{header}\na,c1,c2,"{TEXT}"\n'.encode())
    assert (job["state"], service.crop_ids(gallery)) == ("failed", [])
    assert reason in job["error"]


def test_an_ambiguous_row_is_rejected(service):
    name = service.create("rows-shifted")
    csv = f'crop_id,identity,camera,embedding\na,Doe, Jane,c1,"{TEXT}"\nb,"Doe, Jane",c1,"{TEXT}"\n'
    job = imported(service, name, CSV, csv.encode())
    assert "5 cells for 4 columns" in reasons(service, job)["row 1"]
    twice = f'{{"crop_id": "c", "embedding": {TEXT}, "identity": "x", "identity": "y"}}\n'
    other = f'{{"crop_id": "d", "embedding": {TEXT}, "identity": "\\"id\\": 1"}}\n'
    job = imported(service, name, NDJSON, (twice + other).encode())
    assert "'identity' occurs twice" in reasons(service, job)["row 1"]
    assert known(service, name) == {
        "b": ("Doe, Jane", "c1", None),
        "d": ('"id": 1', None, None),
    }


def test_parquet_types_are_read(service):
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    name = service.create("rows-parquet")
    naive = AFTERNOON.replace(tzinfo=None)
    times: dict[str, tuple[Any, float]] = {
        "us": (pa.array([naive], pa.timestamp("us")), AFTERNOON.timestamp()),
        "ns": (pa.array([1795269933000000123], pa.timestamp("ns")), AFTERNOON.timestamp()),
        "zoned": (pa.array([AFTERNOON], pa.timestamp("ms", tz="UTC")), AFTERNOON.timestamp()),
        "date": (pa.array([date(2026, 11, 21)]), 1795219200.0),
        "digits": (pa.array([20261121]), 1795219200.0),
        "float": (pa.array([20261121.0]), 1795219200.0),
        "decimal": (pa.array([Decimal("1795269933.5")]), AFTERNOON.timestamp() + 0.5),
        "text": (pa.array(["2026-11-21T14:05:33"]), AFTERNOON.timestamp()),
        "category": (pa.array(["20261121"]).dictionary_encode(), 1795219200.0),
    }
    for crop_id, (column, seconds) in times.items():
        body = parquet_of(crop_id=[crop_id], embedding=[ROW], timestamp=column)
        job = imported(service, name, PARQUET, body)
        assert job["counts"] == {"created": 1}, (crop_id, reasons(service, job), job["error"])
        assert known(service, name)[crop_id] == (None, None, seconds), crop_id
        zoned = crop_id in {"zoned", "decimal"}
        assert job["result"]["assumed_utc"] == (0 if zoned else 1), crop_id
    body = parquet_of(crop_id=["us"], embedding=[ROW], timestamp=times["us"][0])
    imported(service, name, PARQUET, body, zone="Europe/Berlin")
    assert known(service, name)["us"][2] == AFTERNOON.timestamp() - 3600


def test_parquet_names_are_texts_or_whole_numbers(service):
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    name = service.create("rows-parquet-names")
    columns = {
        "text": (pa.array(["ada", None, ""]), ["ada", None, None]),
        "whole": (pa.array([12, None, -1]), ["12", None, None]),
        "float": (pa.array([12.0, float("nan"), -1.0]), ["12", None, None]),
        "decimal": (pa.array([Decimal(12), None, Decimal(-1)]), ["12", None, None]),
        "category": (pa.array(["ada", None, "-1"]).dictionary_encode(), ["ada", None, None]),
        "binary": (pa.array([b"ada", None, None]), "column identity"),
        "bool": (pa.array([True, None, None]), "column identity"),
        "date": (pa.array([date(2026, 11, 21), None, None]), "column identity"),
        "list": (pa.array([["ada"], None, None]), "column identity"),
        "span": (pa.array([timedelta(1), None, None]), "column identity"),
        "moment": (pa.array([datetime.now(timezone.utc), None, None]), "column identity"),  # noqa: UP017
    }
    for kind, (column, wanted) in columns.items():
        ids = [f"{kind}{number}" for number in range(3)]
        body = parquet_of(crop_id=ids, embedding=[ROW] * 3, identity=column)
        job = imported(service, name, PARQUET, body)
        refused = isinstance(wanted, str)
        if refused:
            assert f"row 1, {wanted}" in reasons(service, job)[ids[0]], kind
        found = known(service, name)
        assert [found[crop_id][0] for crop_id in ids[refused:]] == (
            [None, None] if refused else wanted
        ), kind
        assert (ids[0] in found) != refused, kind


def test_a_pattern_reads_minus_one_as_unknown(start, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for number, text in enumerate(("-1_c1.png", "0_c1.png", "7_c-1.png")):
        (root / text).write_bytes(solid((number, 9, 9), kind="PNG"))
    with start(import_roots=[root]) as service:
        body = {"folder": ".", "pattern": r"(?P<identity>-?\d+)_c(?P<camera>-?\d+)"}
        service.ended(service.http.post("/galleries/default/imports", json=body))
        assert known(service, "default") == {
            "-1_c1.png": (None, "1", None),
            "0_c1.png": ("0", "1", None),
            "7_c-1.png": ("7", None, None),
        }


def test_rows_without_an_embedding_are_read_as_images(service):
    name = service.create("rows-missing")
    rows = f'{{"crop_id": "a", "path": "a.png", "embedding": NaN}}\n{{"embedding": {TEXT}}}\n'
    job = imported(service, name, NDJSON, rows.encode())
    assert "REID_IMPORT_ROOTS" in reasons(service, job)["a.png"]
    assert "an embedding needs a crop_id" in reasons(service, job)["row 2"]
    assert np.allclose(np.linalg.norm(ROW), 1.0)
