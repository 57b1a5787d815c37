"""Names over HTTP: one spelling per person, and every crop at the address of its id."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from urllib.parse import quote

import pytest

from service.testing import solid

RED, GREEN = solid((200, 20, 20), kind="PNG"), solid((20, 200, 20), kind="PNG")
COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"
_numbers = itertools.count()


@pytest.fixture
def gallery(service):
    """A new gallery for this test, which stores pictures."""
    name = f"names{next(_numbers)}"
    assert (
        service.http.post("/galleries", json={"name": name, "store_crops": True}).status_code == 201
    )
    return name


def post(service, path, **body):
    return service.http.post(path, json=body)


def record(service, gallery, crop_id):
    return service.http.get(f"/galleries/{gallery}/crops/{quote(crop_id)}").json()


def imported(service, gallery, rows):
    """The finished job that read these rows."""
    answer = service.http.post(
        f"/galleries/{gallery}/imports",
        content="".join(json.dumps(row) + "\n" for row in rows).encode(),
        headers={"Content-Type": "application/x-ndjson"},
    )
    job = service.ended(answer)
    errors = service.http.get(f"{answer.headers['Location']}/errors").json()
    return job, json.dumps(errors, ensure_ascii=False)


def test_two_spellings_are_one_person_and_one_erasure(service, gallery):
    service.put(gallery, "a", RED, identity=COMPOSED)
    service.put(gallery, "b", RED, identity=DECOMPOSED)
    people = service.http.get(f"/galleries/{gallery}/identities").json()["identities"]
    assert [(person["identity"], person["crops"]) for person in people] == [(COMPOSED, 2)]
    receipt = post(service, f"/galleries/{gallery}/crops/delete", identities=[DECOMPOSED]).json()
    assert (receipt["deleted"], service.crop_ids(gallery)) == (2, [])


@pytest.mark.parametrize("stored", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize(
    "asked", [COMPOSED, DECOMPOSED, f" {COMPOSED}", f"\u00a0{DECOMPOSED}\u2003"]
)
def test_every_way_to_name_an_identity_or_a_camera_means_the_same(service, gallery, stored, asked):
    service.add(gallery, [{"crop_id": "a", "identity": stored, "camera": stored}], RED)
    service.put(gallery, "b", GREEN, camera="other", identity="other")
    at = f"/galleries/{gallery}"
    for query in ({"identities": [asked]}, {"cameras": [asked]}):
        assert service.crop_ids(gallery, **query) == ["a"]
    people = service.http.get(f"{at}/identities", params={"cameras": [asked]}).json()
    assert [person["identity"] for person in people["identities"]] == [COMPOSED]
    assert match_ids(service.search(("q.png", RED), gallery=gallery, cameras=[asked])) == ["a"]
    mine = {"camera": asked, "exclude_same_camera": True, "min_score": -1}
    assert match_ids(service.search(("q.png", RED), gallery=gallery, **mine)) == ["b"]
    for fields in ({"cameras": [asked]}, {"identities": [asked]}):
        plan = post(service, f"{at}/crops/delete", dry_run=True, **fields)
        assert plan.json()["deleted"] == 1, plan.text
    left = post(service, f"{at}/crops/delete", dry_run=True, not_camera=asked).json()
    assert left["deleted"] == 1


def match_ids(answer):
    assert answer.status_code == 200, answer.text
    return [match["crop_id"] for match in answer.json()["results"][0]["matches"]]


def test_corrections_take_either_spelling(service, gallery):
    for crop_id in ("a", "b", "c"):
        service.put(gallery, crop_id, RED, identity=crop_id)
    at = f"/galleries/{gallery}/identities"
    post(service, f"{at}/label", crop_ids=["a"], identity=f" {DECOMPOSED} ")
    assert record(service, gallery, "a")["identity"] == COMPOSED
    merged = post(service, f"{at}/merge", identities=["b", DECOMPOSED], into=DECOMPOSED).json()
    assert (merged["identity"], record(service, gallery, "b")["identity"]) == (COMPOSED, COMPOSED)
    post(service, f"{at}/split", crop_ids=["a"], into="Zoe\u0301")
    assert record(service, gallery, "a")["identity"] == "Zo\u00e9"


def test_a_decomposed_id_finds_the_composed_crop(service, gallery):
    at = f"/galleries/{gallery}"
    assert service.put(gallery, quote(DECOMPOSED), RED).json()["crop_id"] == COMPOSED
    assert service.put(gallery, quote(COMPOSED), RED).status_code == 200  # replaced
    (result,) = service.add(gallery, [{"crop_id": f" {DECOMPOSED}"}], RED).json()["results"]
    assert (result["crop_id"], result["status"]) == (COMPOSED, "replaced")
    for crop_id in (COMPOSED, DECOMPOSED, f"{DECOMPOSED} "):
        path = quote(crop_id)
        assert service.http.get(f"{at}/crops/{path}").json()["crop_id"] == COMPOSED
        assert service.http.get(f"{at}/pictures/{path}").content == RED
        found = service.http.post("/search", data={"gallery": gallery, "crop_ids": [crop_id]})
        assert found.status_code == 200, found.text
        labelled = post(service, f"{at}/identities/label", crop_ids=[crop_id], identity=crop_id)
        assert labelled.json()["crops"] == 1
        plan = post(service, f"{at}/crops/delete", crop_ids=[crop_id], dry_run=True)
        assert plan.json()["deleted"] == 1
    assert service.http.delete(f"{at}/crops/{quote(DECOMPOSED)}").json()["deleted"] == 1


def test_a_manifest_means_the_same_people(service, gallery):
    service.put(gallery, quote(COMPOSED), GREEN, identity=COMPOSED, camera="c1")
    vector = [1.0, *[0.0] * (service.parts.manifest.dimension - 1)]
    rows = [
        {
            "crop_id": f"{DECOMPOSED} ",
            "identity": f" {DECOMPOSED}",
            "camera": "c1\u00a0",
            "embedding": vector,
        },
        {"crop_id": "b", "identity": DECOMPOSED, "embedding": vector},
        {"crop_id": COMPOSED, "embedding": vector},
    ]
    job, errors = imported(service, gallery, rows)
    assert job["counts"].get("failed") == 1, job
    assert "earlier" in errors
    assert sorted(service.crop_ids(gallery, identities=[COMPOSED])) == sorted(["b", COMPOSED])
    assert service.crop_ids(gallery, cameras=["c1"]) == [COMPOSED]


def test_a_pattern_means_the_same_people(service, gallery):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(f"{DECOMPOSED}/c1/{DECOMPOSED}.png")
        member.size = len(RED)
        tar.addfile(member, io.BytesIO(RED))
    answer = service.http.post(
        f"/galleries/{gallery}/imports",
        params={"pattern": r"(?P<identity>[^/]+)/(?P<camera>[^/]+)"},
        content=buffer.getvalue(),
        headers={"Content-Type": "application/x-tar"},
    )
    service.ended(answer)
    assert service.crop_ids(gallery, identities=[COMPOSED]) == [f"{COMPOSED}/c1/{COMPOSED}.png"]


@pytest.mark.parametrize(
    "name",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a non-joiner
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala, with a joiner
        "\u0d05\u0d30\u0d41\u0d23\u0d4d\u200d",  # Malayalam, whose last letter ends in a joiner
        "Jean\u00a0Luc",
        "Anne\u202fMarie",
        "\u5c71\u7530\u3000\u592a\u90ce",
        "Doe, Jane",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    ],
)
def test_real_names_are_accepted(service, gallery, name):
    answer = service.put(gallery, quote(name), RED, identity=name, camera=name)
    assert answer.status_code == 201, answer.text
    assert record(service, gallery, name)["identity"] == name
    body = {"identities": [name], "cameras": [name], "crop_ids": [name]}
    assert post(service, f"/galleries/{gallery}/crops/delete", **body).json()["deleted"] == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a\x00b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\x1b[31m", "U+001B"),
        ("a\x85b", "U+0085"),
        ("abc\u202ecba", "U+202E"),
        ("\u2066a\u2069", "U+2066"),
        ("a\u200e", "U+200E"),
        ("a\u200bb", "U+200B"),
        ("a\u00adb", "U+00AD"),
        ("\ufeffa", "U+FEFF"),
        ("a\u2028b", "U+2028"),
        ("a\ue000", "U+E000"),
        ("a\ufffdb", "U+FFFD"),
        ("a\ufdd0", "U+FDD0"),
        ("\u200d", "at least one character"),
        ("\u3164", "at least one visible character"),
        ("\ufe0f", "at least one visible character"),
        (" \u00a0 ", "at least one character"),
        ("x" * 201, "201"),
    ],
)
def test_invalid_names_are_rejected_everywhere(service, gallery, name, told):
    service.put(gallery, "a", RED, identity="ann")
    at = f"/galleries/{gallery}"
    answers = [
        service.put(gallery, "b", RED, identity=name),
        service.put(gallery, "b", RED, camera=name),
        service.add(gallery, [{"crop_id": name}], RED),
        service.add(gallery, [{"crop_id": "b", "identity": name}], RED),
        service.search(("q.png", RED), gallery=gallery, camera=name),
        service.search(("q.png", RED), gallery=gallery, crop_ids=[name]),
        post(service, f"{at}/identities/label", crop_ids=["a"], identity=name),
        post(service, f"{at}/identities/label", crop_ids=[name], identity="b"),
        post(service, f"{at}/identities/merge", identities=["ann"], into=name),
        post(service, f"{at}/identities/split", crop_ids=["a"], into=name),
        post(service, f"{at}/crops/delete", identities=[name]),
        post(service, f"{at}/crops/delete", not_camera=name),
    ]
    assert {answer.status_code for answer in answers} == {422}
    for answer in answers:
        assert told in answer.text, answer.text
    vector = [1.0, *[0.0] * (service.parts.manifest.dimension - 1)]
    job, errors = imported(service, gallery, [{"crop_id": name, "embedding": vector}])
    if name not in {"\u200d", " \u00a0 "}:  # an empty cell is not an id
        assert job["counts"].get("failed") == 1, job
        assert told in errors
    assert service.put(gallery, quote(name), RED).status_code in {404, 422}
    assert service.crop_ids(gallery) == ["a"]


def test_half_a_surrogate_pair_is_rejected(service, gallery):
    body = '[{"crop_id": "a", "identity": "\\ud800"}]'
    answer = service.http.post(
        f"/galleries/{gallery}/crops", files=[("images", ("a.png", RED))], data={"crops": body}
    )
    assert answer.status_code == 422
