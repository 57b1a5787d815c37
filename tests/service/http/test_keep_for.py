"""A shorter ``keep_for`` needs confirmation before it erases, and has a dry run."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.erasure.retention import Retention
from service.gallery.base import Filter
from service.testing import solid

MINUTE, DAY, YEAR = 60.0, 86_400.0, 365 * 86_400.0
OLD = 1_000_000_000.0  # 2001-09-09 01:46:40 UTC
NEW = 4_000_000_000.0  # in 2096, later than any clock


def fill(service: Any, name: str, **options: Any) -> str:
    service.http.post("/galleries", json={"name": name, "store_crops": True, **options})
    entries = [
        {"crop_id": f"old-{n}", "timestamp": OLD + n, "camera": f"c{n % 2}", "identity": "ann"}
        for n in range(5)
    ] + [{"crop_id": "new", "timestamp": NEW, "camera": "c0"}]
    images = [solid((9 + n, 9, 9), kind="PNG") for n in range(6)]
    assert service.add(name, entries, *images).status_code == 200
    return name


@pytest.fixture
def patient(start) -> Any:
    """A service that erases nothing on its own during a test."""
    with start(retention_seconds=3600.0) as service:
        fill(service, "week")
        yield service


def patch(service: Any, **changes: Any) -> Any:
    return service.http.patch("/galleries/week", json=changes)


def keep_for(service: Any) -> float | None:
    found: float | None = service.http.get("/galleries/week").json()["keep_for"]
    return found


def erase(service: Any) -> dict[str, int]:
    return Retention(service.parts.store, print).erase_expired(2_000_000_000.0)


def test_a_time_that_would_erase_crops_at_once_needs_confirmation(patient):
    answer = patch(patient, keep_for=MINUTE, join=True)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "unconfirmed")
    assert (problem["crops"], problem["oldest"], problem["newest"]) == (5, OLD, OLD + 4)
    assert "5 crops" in problem["detail"]
    assert "2001-09-09T01:46:40Z to 2001-09-09T01:46:44Z" in problem["detail"]
    assert "confirm=5" in problem["detail"]
    record = patient.http.get("/galleries/week").json()
    assert (record["keep_for"], record["join"], record["crops"]) == (None, False, 6)
    assert erase(patient) == {}


@pytest.mark.parametrize("confirm", [5, 6, True])
def test_a_confirmed_time_is_accepted(patient, confirm):
    answer = patch(patient, keep_for=MINUTE, confirm=confirm)
    assert (answer.status_code, answer.json()["keep_for"]) == (200, MINUTE)
    assert erase(patient) == {"week": 5}
    assert patient.crop_ids("week") == ["new"]


@pytest.mark.parametrize("confirm", [4, 0, False, None])
def test_confirming_fewer_crops_changes_nothing(patient, confirm):
    answer = patch(patient, keep_for=MINUTE, confirm=confirm)
    assert (answer.status_code, answer.json()["code"]) == (409, "unconfirmed")
    assert keep_for(patient) is None


@pytest.mark.parametrize("confirm", [-1, 1.5, "5", "true", [], 2**60])
def test_a_confirmation_that_is_not_a_count_is_rejected(patient, confirm):
    assert patch(patient, keep_for=MINUTE, confirm=confirm).status_code == 422
    assert keep_for(patient) is None


def test_a_dry_run_reports_the_erasure_and_changes_nothing(patient):
    before = patient.http.get("/galleries/week").json()
    answer = patch(patient, keep_for=MINUTE, dry_run=True)
    assert answer.status_code == 200
    assert answer.json() == {
        "dry_run": True,
        "deleted": 5,
        "pictures": 5,
        "identities": 1,
        "cameras": {"c0": 3, "c1": 2},
        "oldest": OLD,
        "newest": OLD + 4,
        "snapshots": [],
    }
    nothing = patch(patient, keep_for=100 * YEAR, dry_run=True, confirm=3).json()
    assert (nothing["deleted"], nothing["oldest"], nothing["newest"]) == (0, None, None)
    pictures = patch(patient, store_crops=False, dry_run=True).json()
    assert (pictures["deleted"], pictures["pictures"]) == (0, 6)
    assert patient.http.get("/galleries/week").json() == before
    assert erase(patient) == {}


def test_a_dry_run_names_the_snapshots_that_keep_the_crops(patient):
    snapshot = patient.http.post("/galleries/week/snapshots").json()["snapshot_id"]
    assert patch(patient, keep_for=MINUTE, dry_run=True).json()["snapshots"] == [snapshot]


def test_only_a_shorter_time_needs_confirmation(patient):
    assert patch(patient, keep_for=100 * YEAR).status_code == 200  # nothing is that old
    assert patch(patient, keep_for=MINUTE).status_code == 409
    assert patch(patient, keep_for=MINUTE, confirm=5).status_code == 200
    # Crops past the current time are erased anyway.
    assert patch(patient, keep_for=MINUTE).status_code == 200
    assert patch(patient, keep_for=DAY).status_code == 200
    assert patch(patient, join=True).status_code == 200
    assert patch(patient, keep_for=None).status_code == 200
    assert patch(patient, keep_for=MINUTE).status_code == 409


def test_each_shorter_time_needs_its_own_confirmation(patient):
    entry = {"crop_id": "older", "timestamp": OLD - YEAR}
    patient.add("week", [entry], solid((1, 1, 1), kind="PNG"))
    now = float(patient.http.get("/galleries/week").json()["created"])
    between = now - OLD + YEAR / 2  # only the older crop is past it, for months to come
    assert patch(patient, keep_for=between).json()["crops"] == 1
    assert patch(patient, keep_for=between, confirm=1).status_code == 200
    assert patch(patient, keep_for=MINUTE).json()["crops"] == 6
    assert patch(patient, keep_for=MINUTE, confirm=1).status_code == 409
    assert keep_for(patient) == between


@pytest.mark.parametrize("text", ["0", "-1", "1e999", "-1e999", "NaN", "Infinity", "1e300", "1e10"])
def test_an_invalid_keep_for_is_refused(patient, text):
    headers = {"Content-Type": "application/json"}
    for confirm in ("", ', "confirm": true', ', "dry_run": true'):
        body = f'{{"keep_for": {text}{confirm}}}'
        answer = patient.http.patch("/galleries/week", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    made = f'{{"name": "made", "keep_for": {text}}}'
    assert patient.http.post("/galleries", content=made, headers=headers).status_code == 422


def test_a_new_gallery_needs_no_confirmation(patient):
    answer = patient.http.post("/galleries", json={"name": "brief", "keep_for": MINUTE})
    assert answer.status_code == 201
    assert patient.http.patch("/galleries/brief", json={"keep_for": 1}).status_code == 200


def test_the_second_of_two_concurrent_changes_builds_on_the_first(patient):
    """Each change is decided under the gallery's lock, by what it finds there."""
    answers: dict[str, Any] = {}

    def change(name: str, **changes: Any) -> None:
        answers[name] = patch(patient, **changes)

    with patient.parts.store.changing("week"):
        threads = [
            threading.Thread(target=change, args=("sure",), kwargs={"keep_for": 1, "confirm": 5}),
            threading.Thread(target=change, args=("unsure",), kwargs={"keep_for": MINUTE}),
        ]
        for thread in threads:
            thread.start()
        patient.parts.store.open("week").delete(Filter(crop_ids=frozenset({"old-0"})))
    for thread in threads:
        thread.join()
    assert answers["sure"].status_code == 200
    match answers["unsure"].status_code:
        case 200:  # it was second, and made the time longer again
            assert keep_for(patient) == MINUTE
        case 409:
            assert answers["unsure"].json()["crops"] == 4
            assert keep_for(patient) == 1


def test_the_audit_log_counts_the_erased_crops(patient):
    key = patient.http.post("/keys", json={"label": "a", "scope": "admin"}).json()["key"]
    patient.http.headers["Authorization"] = f"Bearer {key}"
    patch(patient, keep_for=MINUTE, dry_run=True)
    patch(patient, keep_for=MINUTE)
    patch(patient, keep_for=MINUTE, confirm=True)
    entries = patient.http.get("/audit").json()["entries"]
    changes = [entry for entry in entries if entry["method"] == "PATCH"]
    assert sorted((entry["status"], entry.get("crops") or 0) for entry in changes) == [
        *((200, 0), (200, 5), (409, 0)),
    ]


def test_other_keys_may_not_even_try_it(patient):
    make = {"label": "a", "scope": "admin"}
    admin = patient.http.post("/keys", json=make).json()["key"]
    patient.http.headers["Authorization"] = f"Bearer {admin}"
    for body in ({**make, "scope": "write"}, {**make, "galleries": ["default"]}):
        key = patient.http.post("/keys", json=body).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        change = {"keep_for": MINUTE, "dry_run": True}
        answer = patient.http.patch("/galleries/week", json=change, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
