"""Times in every input of the service: forms, JSON, filters, manifests, archives, commands."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner
from waiting import wait_until

from service.__main__ import cli
from service.testing import TINY_MANIFEST, solid

NOVEMBER_21 = 1795219200.0  # 2026-11-21T00:00:00Z
AFTERNOON = NOVEMBER_21 + (14 * 60 + 5) * 60 + 33
PICTURE = solid((9, 9, 9), kind="PNG")

DATES = [
    ("20261121", NOVEMBER_21),
    ("2026-11-21", NOVEMBER_21),
    ("202611211405", AFTERNOON - 33),
    ("20261121140533", AFTERNOON),
    ("20261121T140533Z", AFTERNOON),
    ("20261121T140533.5", AFTERNOON + 0.5),
    ("20261121T150533+0100", AFTERNOON),
    ("2026-11-21 14:05:33", AFTERNOON),
    ("2026-11-21t14:05:33z", AFTERNOON),
    ("2026-11-21T14:05:33,25", AFTERNOON + 0.25),
    ("2026-11-21T15:05:33+01:00", AFTERNOON),
    ("2026-11-21T14:05", AFTERNOON - 33),
    ("19991231", 946598400.0),
    ("1795269933", AFTERNOON),
    ("1795269933.5", AFTERNOON + 0.5),
    ("1795269933000", AFTERNOON),
    ("1795269933500", AFTERNOON + 0.5),
]
NO_TIMES = [
    ("2026", "2026-01-01"),
    ("202611", "2026-11-01"),
    ("2026-11", "2026-11-01"),
    ("20261340", "does not exist"),
    ("20260230", "does not exist"),
    ("20261121250000", "does not exist"),
    ("2026-02-30", "day is out of range"),
    ("0", "leave the field out"),
    ("60", "between the years 1980 and 2100"),
    ("-5", "ISO 8601"),
    ("1_795_249_800", "without underscores"),
    ("1795249800000000", "microseconds"),
    ("1795249800000000000", "nanoseconds"),
    ("1.7e9", "ISO 8601"),
    ("nan", "leave the field out"),
    ("inf", "ISO 8601"),
    ("+1795249800", "ISO 8601"),
    ("١٧٩٥٢٤٩٨٠٠", "ISO 8601"),
    ("2026-W47-6", "ISO 8601"),
    ("2026-325", "ISO 8601"),
    ("2026-11-21x14:05", "ISO 8601"),
    ("2026-11-21T14:05:33 01:00", "%2B"),
    ("21.11.2026", "ISO 8601"),
    ("yesterday", "ISO 8601"),
]


def stored(service: Any, gallery: str, crop_id: str) -> float:
    answer = service.http.get(f"/galleries/{gallery}/crops/{crop_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["timestamp"]


def refusal(answer: Any) -> str:
    assert answer.status_code == 422, answer.text
    return " ".join(error["detail"] for error in answer.json()["errors"])


def by_form(service: Any, gallery: str, given: str) -> float | str:
    answer = service.put(gallery, "form", PICTURE, timestamp=given)
    return stored(service, gallery, "form") if answer.is_success else refusal(answer)


def by_entry(service: Any, gallery: str, given: str) -> float | str:
    answer = service.add(gallery, [{"crop_id": "entry", "timestamp": given}], PICTURE)
    return stored(service, gallery, "entry") if answer.is_success else refusal(answer)


def ended(service: Any, gallery: str, kind: str, body: bytes, **query: Any) -> dict[str, Any]:
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


def ready(**values: Any) -> dict[str, Any]:
    """A row of a manifest with its embedding."""
    row = np.zeros(TINY_MANIFEST.dimension)
    row[0] = 1.0
    return {"embedding": row.tolist(), **values}


def by_rows(service: Any, gallery: str, given: list[str], **query: Any) -> dict[str, float | str]:
    rows = [ready(crop_id=f"r{number}", timestamp=text) for number, text in enumerate(given)]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    job = ended(service, gallery, "application/x-ndjson", body, **query)
    failed = reasons(service, job)
    return {
        text: failed.get(f"r{number}") or stored(service, gallery, f"r{number}")
        for number, text in enumerate(given)
    }


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, solid((number, 2 * number, 255 - number), kind="PNG"))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def gallery(service: Any) -> str:
    return service.create("times")


@pytest.mark.parametrize("way", [by_form, by_entry], ids=["form", "entry"])
def test_a_time_means_the_same_in_forms_and_entries(service, gallery, way):
    assert {given: way(service, gallery, given) for given, _ in DATES} == dict(DATES)
    for given, hint in NO_TIMES:
        said = way(service, gallery, given)
        assert isinstance(said, str), (given, said)
        assert "is not a time" in said
        assert hint in said, given


def test_a_time_means_the_same_in_filters(service):
    name = service.create("windows")
    for seconds in {seconds for _, seconds in DATES}:
        for number, moment in enumerate((seconds - 0.125, seconds)):
            service.put(name, f"{seconds}-{number}", PICTURE, timestamp=moment)
    for given, seconds in DATES:
        sharp = {"since": given, "until": str(seconds + 0.0625)}
        assert service.crop_ids(name, **sharp) == [f"{seconds}-1"], given
        answer = service.http.post(
            f"/galleries/{name}/crops/delete", json={**sharp, "dry_run": True}
        )
        assert answer.json()["deleted"] == 1, given
    for given, hint in NO_TIMES:
        query = {"since": given}
        listing = service.http.get(f"/galleries/{name}/crops", params=query)
        deletion = service.http.post(f"/galleries/{name}/crops/delete", json=query)
        search = service.search(("a.png", PICTURE), gallery=name, until=given)
        for answer in (listing, deletion, search):
            assert hint in refusal(answer), given
    assert len(service.crop_ids(name)) == 2 * len({seconds for _, seconds in DATES})


def test_since_2026_erases_nothing(service):
    name = service.create("year")
    service.put(name, "2020", PICTURE, timestamp="2020-06-01T00:00:00Z")
    for since in ("2026", 2026):
        answer = service.http.post(f"/galleries/{name}/crops/delete", json={"since": since})
        assert "2026-01-01" in refusal(answer)
    assert service.crop_ids(name) == ["2020"]


def test_numbers_of_json_follow_the_same_rule(service, gallery):
    for given, seconds in (
        (20261121, NOVEMBER_21),
        (20261121.0, NOVEMBER_21),
        (20261121140533, AFTERNOON),
        (1795269933, AFTERNOON),
        (1795269933.5, AFTERNOON + 0.5),
        (1795269933500, AFTERNOON + 0.5),
    ):
        answer = service.add(gallery, [{"crop_id": "json", "timestamp": given}], PICTURE)
        assert answer.is_success, answer.text
        assert stored(service, gallery, "json") == seconds
    for given in (2026, 0, -1, True, 1.5, [1], {}, 1795249800000000):
        answer = service.add(gallery, [{"crop_id": "json", "timestamp": given}], PICTURE)
        assert "is not a time" in refusal(answer), given


def test_a_time_means_the_same_in_manifests(service, gallery):
    assert by_rows(service, gallery, [given for given, _ in DATES]) == dict(DATES)
    for given, said in by_rows(service, gallery, [given for given, _ in NO_TIMES]).items():
        assert isinstance(said, str), (given, said)
        assert "column timestamp" in said
        assert dict(NO_TIMES)[given] in said
    rows = b"path,embedding,timestamp\n"
    job = ended(service, gallery, "text/csv", rows + b"x,[1],20261340\n")
    assert "row 1, column timestamp" in reasons(service, job)["x"]


def test_a_crop_with_a_date_survives_the_retention(start):
    age = 1.3e9  # 41 years: less than since 1980, more than since 2026
    with start(retention_seconds=0.05) as service:
        body = {"name": "kept", "keep_for": age}
        assert service.http.post("/galleries", json=body).status_code == 201
        assert service.put("kept", "dated", PICTURE, timestamp="20261121").status_code == 201
        assert service.put("kept", "milliseconds", PICTURE, timestamp="315532800000").is_success
        assert service.put("kept", "old", PICTURE, timestamp="19800102").status_code == 201
        # One pass erases whatever has expired.
        wait_until(lambda: "old" not in service.crop_ids("kept"))
        assert service.crop_ids("kept") == ["dated"]


def test_a_given_zone_is_used_and_a_missing_one_is_reported(service, gallery):
    said = service.put(gallery, "z", PICTURE, timestamp="2026-11-21T14:05:33").json()
    assert said["timestamp"] == AFTERNOON
    assert [warning["code"] for warning in said["warnings"]] == ["assumed_utc"]
    for zone, hours in (("Europe/Berlin", 1), ("+05:30", 5.5), ("Asia/Kolkata", 5.5), ("Z", 0)):
        answer = service.put(gallery, "z", PICTURE, timestamp="2026-11-21T14:05:33", zone=zone)
        assert answer.json()["timestamp"] == AFTERNOON - hours * 3600
        assert answer.json()["warnings"] == []
    answer = service.put(gallery, "z", PICTURE, timestamp="2026-11-21T14:05:33Z", zone="+05:00")
    assert answer.json()["timestamp"] == AFTERNOON
    for zone in ("Europe/Berlim", "europe/berlin", "CEST", "../etc/passwd", "+25:00", "01:00"):
        answer = service.put(gallery, "z", PICTURE, timestamp="2026-11-21", zone=zone)
        assert repr(zone) in refusal(answer), zone


def test_entries_of_a_batch_have_zones_of_their_own(service, gallery):
    entries = [
        {"crop_id": "b0", "timestamp": "2026-11-21T14:05:33", "zone": "Europe/Berlin"},
        {"crop_id": "b1", "timestamp": "2026-11-21T14:05:33"},
        {"crop_id": "b2", "timestamp": "2026-11-21T14:05:33+02:00"},
        {"crop_id": "b3"},
    ]
    answer = service.add(gallery, entries, *[PICTURE] * 4).json()
    (warning,) = answer["warnings"]
    assert (warning["code"], warning["values"]) == ("assumed_utc", ["b1"])
    found = [stored(service, gallery, f"b{number}") for number in range(4)]
    assert found == [AFTERNOON - 3600, AFTERNOON, AFTERNOON - 7200, None]


def test_filters_take_a_zone_and_report_a_missing_one(service):
    name = service.create("zoned-filters")
    service.put(name, "c", PICTURE, timestamp=AFTERNOON)
    local = {"since": "2026-11-21T15:05:33", "until": "2026-11-21T15:05:34"}
    listing = service.http.get(f"/galleries/{name}/crops", params=local).json()
    assert [crop["crop_id"] for crop in listing["crops"]] == []
    assert [(said["code"], said["field"]) for said in listing["warnings"]] == [
        ("assumed_utc", "since"),
        ("assumed_utc", "until"),
    ]
    zoned = {**local, "zone": "Europe/Berlin"}
    listing = service.http.get(f"/galleries/{name}/crops", params=zoned).json()
    assert ([crop["crop_id"] for crop in listing["crops"]], listing["warnings"]) == (["c"], [])
    found = service.search(("a.png", PICTURE), gallery=name, min_score=-1, **zoned).json()
    assert [match["crop_id"] for match in found["results"][0]["matches"]] == ["c"]
    assert found["warnings"] == []
    identities = service.http.get(f"/galleries/{name}/identities", params=local).json()
    assert "assumed_utc" in {said["code"] for said in identities["warnings"]}
    erased = service.http.post(f"/galleries/{name}/crops/delete", json={**zoned, "dry_run": True})
    assert (erased.json()["deleted"], erased.json()["warnings"]) == (1, [])
    answer = service.http.post(f"/galleries/{name}/cluster", json=local)
    job = service.ended(answer)
    assert [said["code"] for said in job["result"]["warnings"]] == ["assumed_utc"] * 2


def test_clocks_that_are_set_back_or_forward(service, gallery):
    berlin = {"zone": "Europe/Berlin"}
    twice = service.put(gallery, "dst", PICTURE, timestamp="2026-10-25T02:30:00", **berlin).json()
    first = service.put(gallery, "dst", PICTURE, timestamp="2026-10-25T02:30:00+02:00").json()
    assert twice["timestamp"] == first["timestamp"]
    assert [said["code"] for said in twice["warnings"]] == ["ambiguous_time"]
    never = service.put(gallery, "dst", PICTURE, timestamp="2026-03-29T02:30:00", **berlin)
    assert "does not exist in Europe/Berlin" in refusal(never)
    assert "+01:00" in refusal(never)


def test_an_import_takes_zones_and_reports_what_it_assumed(service, gallery):
    rows = [
        ready(crop_id="i0", timestamp="2026-11-21T14:05:33", camera="gate"),
        ready(crop_id="i1", timestamp="2026-11-21T14:05:33", camera="pier"),
        ready(crop_id="i2", timestamp="2026-11-21T14:05:33", camera="pier", zone="+03:00"),
        ready(crop_id="i3", timestamp="2026-11-21T14:05:33Z", camera="gate"),
        ready(crop_id="i4", timestamp=AFTERNOON, camera="gate"),
        ready(crop_id="i5", camera="gate"),
        ready(crop_id="i6", timestamp="2026-11-21T14:05:33"),
        ready(crop_id="i7", timestamp="2026-10-25T02:30:00", zone="Europe/Berlin"),
        ready(crop_id="i8", timestamp="2026-11-21", zone="Nowhere/Else"),
    ]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    kind = "application/x-ndjson"

    def hours(job: dict[str, Any]) -> list[float]:
        assert job["counts"]["failed"] == 1
        assert "row 9, column zone: unknown time zone 'Nowhere/Else'" in reasons(service, job)["i8"]
        found = [stored(service, gallery, f"i{number}") for number in (0, 1, 2, 3, 4, 6)]
        return [(AFTERNOON - seconds) / 3600 for seconds in found]

    job = ended(service, gallery, kind, body)
    assert hours(job) == [0, 0, 3, 0, 0, 0]
    assert (job["result"]["assumed_utc"], job["result"]["ambiguous_times"]) == (3, 1)
    assert any("3 times have no zone" in text for text in job["result"]["warnings"])
    zones = {"zone": "Europe/Berlin", "zones": ["pier=+02:00", "mole=UTC"]}
    job = ended(service, gallery, kind, body, **zones)
    assert hours(job) == [1, 2, 3, 0, 0, 1]
    assert job["result"]["assumed_utc"] == 0
    assert any("mole" in text for text in job["result"]["warnings"])
    job = ended(service, gallery, kind, body, zones="pier=Europe/Berlin")
    assert hours(job) == [0, 1, 3, 0, 0, 0]
    assert job["result"]["assumed_utc"] == 2


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"zone": "Europe/Berlim"}, "'Europe/Berlim'"),
        ({"zones": "pier"}, "CAMERA=ZONE"),
        ({"zones": "pier=Nowhere"}, "'Nowhere'"),
        ({"zones": ["pier=UTC", "pier=+01:00"]}, "two zones"),
    ],
)
def test_a_wrong_zone_is_rejected_before_the_import(service, gallery, query, reason):
    for kind in ("application/x-ndjson", "application/zip", "application/x-tar"):
        answer = service.http.post(
            f"/galleries/{gallery}/imports",
            content=b"",
            headers={"Content-Type": kind},
            params=query,
        )
        assert answer.status_code == 422, answer.text
        assert reason in answer.json()["detail"]


def test_a_folder_of_the_server_takes_zones(start, tmp_path):
    root = tmp_path / "root"
    for camera in ("gate", "pier"):
        folder = root / camera / "2026-11-21"
        folder.mkdir(parents=True)
        (folder / "14-05-33.120.png").write_bytes(PICTURE)
    pattern = r"(?P<camera>[^/]+)/(?P<date>[^/]+)/(?P<time>.+)\.png"
    body = {"folder": ".", "pattern": pattern, "zone": "+02:00", "zones": {"gate": "+05:00"}}
    with start(import_roots=[root]) as service:
        answer = service.http.post("/galleries/default/imports", json=body)
        job = service.ended(answer)
        assert (job["counts"], job["result"]["assumed_utc"]) == ({"created": 2}, 0)
        for camera, hours in (("gate", 5), ("pier", 2)):
            crop_id = f"{camera}/2026-11-21/14-05-33.120.png"
            assert stored(service, "default", crop_id) == AFTERNOON + 0.12 - hours * 3600
        for wrong in ({"zone": "Nowhere"}, {"zones": {"gate": "Nowhere"}}, {"zones": ["gate=Z"]}):
            answer = service.http.post("/galleries/default/imports", json=body | wrong)
            assert answer.status_code == 422
        twice = body | {"zones": {"gate": "+05:00", "gate ": "UTC"}}
        answer = service.http.post("/galleries/default/imports", json=twice)
        assert (answer.status_code, "two zones" in answer.text) == (422, True)


DATE_AND_TIME = r"(?P<camera>[^/]+)/(?P<date>.+?)/(?P<time>[^/]+)\.png"
PIECES = (
    r"(?P<camera>[^/]+)/(?P<year>\d+)/(?P<month>\d+)/(?P<day>\d+)/"
    r"(?P<hour>\d+)h(?P<minute>\d+)m(?P<second>\d+)(s(?P<millisecond>\d+))?\.png"
)


@pytest.mark.parametrize(
    ("pattern", "path", "seconds"),
    [
        (DATE_AND_TIME, "c1/2026-11-21/14-05-33.120.png", AFTERNOON + 0.12),
        (DATE_AND_TIME, "c1/2026-11-21/14-05-33.png", AFTERNOON),
        (DATE_AND_TIME, "c1/2026_11_21/14_05_33.png", AFTERNOON),
        (DATE_AND_TIME, "c1/2026.11.21/14.05.33.png", AFTERNOON),
        (DATE_AND_TIME, "c1/2026/11/21/14-05.png", AFTERNOON - 33),
        (DATE_AND_TIME, "c1/20261121/140533.png", AFTERNOON),
        (DATE_AND_TIME, "c1/20261121/140533120.png", AFTERNOON + 0.12),
        (DATE_AND_TIME, "c1/20261121/14-05-33-120.png", AFTERNOON + 0.12),
        (DATE_AND_TIME, "c1/20261121/14h05m33.png", AFTERNOON),
        (PIECES, "c1/2026/11/21/14h05m33.png", AFTERNOON),
        (PIECES, "c1/2026/11/21/14h5m33s7.png", AFTERNOON + 0.007),
        (r"(?P<timestamp>.+)_(?P<camera>c\d)\.png", "20261121_140533_c1.png", AFTERNOON),
        (r"(?P<timestamp>.+)\.png", "2026-11-21/14-05-33.120.png", AFTERNOON + 0.12),
        (r"(?P<timestamp>\d+)\.png", "1795269933.png", AFTERNOON),
        (r"(?P<timestamp>\d+)\.png", "1795269933500.png", AFTERNOON + 0.5),
        (r"(?P<timestamp>\d+)\.png", "20261121140533.png", AFTERNOON),
        (r"(?P<timestamp>\d+)\.png", "20261121.png", NOVEMBER_21),
        (r"(?P<date>\d+)(_(?P<time>\d+))?\.png", "20261121.png", NOVEMBER_21),
        (r"(?P<date>\d+)_(?P<time>\d+)(?P<zone>\+\d+)", "20261121_150533+0100.png", AFTERNOON),
    ],
)
def test_patterns_build_times_from_their_groups(service, pattern, path, seconds):
    name = f"pattern-{abs(hash((pattern, path)))}"
    service.create(name)
    job = ended(service, name, "application/zip", zip_of(path), pattern=pattern)
    assert job["counts"] == {"created": 1}, reasons(service, job)
    assert stored(service, name, path) == seconds
    assert job["result"]["assumed_utc"] == ("zone" not in pattern and "179526" not in path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("c1/2026-11-21/25-00-00.png", "hour must be in 0..23"),
        ("c1/2026-13-21/14-05-33.png", "month must be in 1..12"),
        ("c1/21-11-2026/14-05-33.png", "date '21-11-2026' must look like"),
        ("c1/2026-11-21/noon.png", "time 'noon' must look like"),
        ("c1/2026-11-21/14-05_33.png", "must look like"),
    ],
)
def test_a_path_whose_groups_are_not_a_time_is_rejected(service, gallery, path, reason):
    job = ended(service, gallery, "application/zip", zip_of(path), pattern=DATE_AND_TIME)
    assert job["counts"] == {"failed": 1}
    assert reason in reasons(service, job)[path]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (
            r"(?P<when>.+)",
            "unknown group 'when'; allowed are crop_id, identity, camera, track, timestamp, zone",
        ),
        (r"(?P<time>.+)", "'time' needs 'date' or 'day'"),
        (r"(?P<date>.+)(?P<year>.+)", "'date' and 'year' exclude each other"),
        (r"(?P<timestamp>.+)(?P<time>.+)", "'timestamp' and 'time' exclude each other"),
        (r"(?P<year>.)(?P<month>.)", "'month' needs 'day'"),
        (r"(?P<date>.)(?P<second>.)", "'second' needs 'minute'"),
        (r"(?P<date>.)(?P<millisecond>.)", "'millisecond' needs 'second' or 'time'"),
    ],
)
def test_a_pattern_whose_groups_cannot_make_a_time_is_rejected(service, gallery, pattern, reason):
    answer = service.http.post(
        f"/galleries/{gallery}/imports",
        content=zip_of("a.png"),
        headers={"Content-Type": "application/zip"},
        params={"pattern": pattern},
    )
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["detail"]


def test_the_command_line_takes_zones_and_reports_what_it_assumed(service, tmp_path):
    for camera in ("gate", "pier"):
        (tmp_path / camera).mkdir()
        (tmp_path / camera / "20261121_140533.png").write_bytes(PICTURE)
    words = ["index", str(tmp_path), "--url", service.url, "--gallery", "cli-zones"]
    words += ["--pattern", r"(?P<camera>[^/]+)/(?P<date>\d+)_(?P<time>\d+)"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "2 times have no zone and were read as UTC" in done.stderr
    assert stored(service, "cli-zones", "gate/20261121_140533.png") == AFTERNOON
    zones = ["--zone", "Europe/Berlin", "--camera-zone", "gate=+05:00"]
    done = CliRunner().invoke(cli, [*words, *zones])
    assert (done.exit_code, "no zone" in done.stderr) == (0, False)
    assert stored(service, "cli-zones", "gate/20261121_140533.png") == AFTERNOON - 5 * 3600
    assert stored(service, "cli-zones", "pier/20261121_140533.png") == AFTERNOON - 3600
    done = CliRunner().invoke(cli, [*words, "--zone", "Nowhere"])
    assert done.exit_code == 1
    assert "'Nowhere'" in done.stderr


def test_a_time_before_1980_survives_the_command_line(service, tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURE)
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,timestamp\na.png,1970-01-01T00:01:00.25Z\n")
    words = ["index", str(tmp_path), "--url", service.url, "--gallery", "cli-old"]
    for counts in ("1 new, 0 replaced, 0 unchanged", "0 new, 0 replaced, 1 unchanged"):
        done = CliRunner().invoke(cli, [*words, "--manifest", str(manifest)])
        assert done.exit_code == 0, done.output
        assert counts in done.output
    assert stored(service, "cli-old", "a.png") == 60.25
