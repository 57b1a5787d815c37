"""One filter for searching, listing, grouping and deleting; lists are repeated parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.gallery.base import Crop
from service.testing import solid

RED = (200, 20, 20)
QUERY = ("query.png", solid((200, 20, 30), kind="PNG"))
EVERYTHING = {"min_score": -1, "top_k": 100}
MORNING = 1_795_249_800.0  # 2026-11-21 08:30 UTC
EVENING = MORNING + 36_000.0

CROPS = [
    Crop("gate/1", "ann", "c1", MORNING, added=MORNING + 5, track="1"),
    Crop("gate/2", "ann", "c2", MORNING + 60, added=MORNING + 65, track="1"),
    Crop("gate/3", "bob", "c1", MORNING + 120, added=MORNING + 125, track="2"),
    Crop("hall/1", "bob", "c3", None, added=EVENING),
    Crop("hall/2", None, "c2", EVENING, added=EVENING + 5),
    Crop("hall%2", None, None, None, added=EVENING + 10),
]
FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "gate/1 gate/2 gate/3 hall/1 hall/2 hall%2"),
    ({"cameras": ["c1"]}, "gate/1 gate/3"),
    ({"cameras": ["c1", "c3"]}, "gate/1 gate/3 hall/1"),
    ({"not_camera": "c1"}, "gate/2 hall/1 hall/2 hall%2"),
    ({"tracks": ["1"]}, "gate/1 gate/2"),
    ({"tracks": ["1", "2"], "cameras": ["c1"]}, "gate/1 gate/3"),
    ({"identities": ["ann"]}, "gate/1 gate/2"),
    ({"identities": ["ann", "bob"], "cameras": ["c3", "c2"]}, "gate/2 hall/1"),
    ({"has_identity": True}, "gate/1 gate/2 gate/3 hall/1"),
    ({"has_identity": False}, "hall/2 hall%2"),
    ({"id_prefix": "gate/"}, "gate/1 gate/2 gate/3"),
    ({"id_prefix": "hall%"}, "hall%2"),
    ({"id_prefix": "hall", "has_identity": True}, "hall/1"),
    ({"since": MORNING + 60}, "gate/2 gate/3 hall/2"),
    ({"since": "2026-11-21T08:31:00Z", "until": MORNING + 120}, "gate/2"),
    ({"added_since": EVENING}, "hall/1 hall/2 hall%2"),
    ({"added_since": MORNING + 65, "added_until": "2026-11-21T18:30:00Z"}, "gate/2 gate/3"),
    ({"ids": ["gate/1", "hall%2", "gate/3"]}, "gate/1 gate/3 hall%2"),
    ({"ids": ["gate/1", "gate/2"], "not_camera": "c2", "identities": ["ann"]}, "gate/1"),
    ({"cameras": ["c1"], "not_camera": "c1"}, ""),
]
NAMES = [repr(fields) for fields, _ in FILTERS]


def named(fields: dict[str, Any], ids: str) -> dict[str, Any]:
    """The fields under the names that a route uses."""
    return {ids if name == "ids" else name: value for name, value in fields.items()}


def fill(service: Any, gallery: str) -> str:
    service.create(gallery)
    rows = service.http.post(
        "/embed",
        files=[("images", (f"{n}.png", solid((200, 20, 20 + n), kind="PNG"))) for n in range(6)],
    ).json()["results"]
    embeddings = np.array([row["embedding"] for row in rows], np.float32)
    service.parts.store.open(gallery).upsert(CROPS, embeddings)
    return gallery


@pytest.fixture(scope="module")
def gallery(service: Any) -> str:
    return fill(service, "filtered")


def answered(service: Any, gallery: str, **fields: Any) -> dict[str, Any]:
    answer = service.search(QUERY, gallery=gallery, **EVERYTHING, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestEveryRouteFiltersAlike:
    @pytest.mark.parametrize(("fields", "expected"), FILTERS, ids=NAMES)
    def test_search(self, service, gallery, fields, expected):
        answer = answered(service, gallery, **named(fields, "among"))
        (entry,) = answer["results"]
        assert {match["crop_id"] for match in entry["matches"]} == set(expected.split())
        assert entry["considered"] == len(expected.split())

    @pytest.mark.parametrize(("fields", "expected"), FILTERS, ids=NAMES)
    def test_listing(self, service, gallery, fields, expected):
        found = service.crop_ids(gallery, **named(fields, "crop_ids"))
        assert found == sorted(expected.split())

    @pytest.mark.parametrize(("fields", "expected"), FILTERS, ids=NAMES)
    def test_identities(self, service, gallery, fields, expected):
        page = service.http.get(
            f"/galleries/{gallery}/identities", params=named(fields, "crop_ids")
        ).json()
        counted = sum(entry["crops"] for entry in page["identities"]) + page["unnamed"]
        assert counted == len(expected.split())

    @pytest.mark.parametrize(("fields", "expected"), FILTERS, ids=NAMES)
    def test_deletion(self, service, gallery, fields, expected):
        body = named(fields, "crop_ids") or {"all": True}
        receipt = service.http.post(
            f"/galleries/{gallery}/crops/delete", json=body | {"dry_run": True}
        ).json()
        assert receipt["deleted"] == len(expected.split())

    def test_clustering(self, service):
        gallery = fill(service, "filtered-cluster")
        wanted = {"id_prefix": "hall", "has_identity": False, "not_camera": "c9"}
        started = service.http.post(f"/galleries/{gallery}/cluster", json=wanted)
        job = service.ended(started)
        assert (job["state"], job["total"]) == ("done", 2), job
        assert [one["field"] for one in job["result"]["warnings"]] == ["not_camera"]

    def test_pages_of_a_filtered_listing_join(self, service, gallery):
        seen, cursor = [], None
        while True:
            query = {"limit": 1, "has_identity": True, "id_prefix": "gate/"}
            page = service.http.get(
                f"/galleries/{gallery}/crops", params=query | ({"cursor": cursor} if cursor else {})
            ).json()
            seen += [crop["crop_id"] for crop in page["crops"]]
            if (cursor := page["cursor"]) is None:
                break
        assert seen == ["gate/1", "gate/2", "gate/3"]

    @pytest.mark.parametrize(
        "field", [{"cameras": ""}, {"id_prefix": ""}, {"has_identity": "perhaps"}, {"camera": "c1"}]
    )
    def test_a_meaningless_filter_is_rejected(self, service, gallery, field):
        answer = service.http.get(f"/galleries/{gallery}/crops", params=field)
        assert answer.status_code == 422, answer.text
        assert next(iter(field)) in answer.json()["detail"]


PEOPLE = ("Doe, Jane", "Doe", "Jane")


@pytest.fixture(scope="module")
def does(service: Any) -> str:
    service.create("commas")
    for place, name in enumerate(PEOPLE):
        picture = solid((200, 20, 20 + place), kind="PNG")
        fields = {"identity": name, "camera": f"cam of {name}"}
        assert service.put("commas", f"crop-{place}", picture, **fields).is_success
    return "commas"


class TestCommas:
    """``Doe, Jane`` is one person, and neither ``Doe`` nor ``Jane``."""

    @pytest.mark.parametrize("name", PEOPLE)
    def test_a_listing_shows_the_requested_person(self, service, does, name):
        place = PEOPLE.index(name)
        assert service.crop_ids(does, identities=name) == [f"crop-{place}"]
        assert service.crop_ids(does, identities=[name]) == [f"crop-{place}"]
        assert service.crop_ids(does, cameras=f"cam of {name}") == [f"crop-{place}"]

    @pytest.mark.parametrize("name", PEOPLE)
    def test_a_search_covers_the_requested_person(self, service, does, name):
        (entry,) = answered(service, does, cameras=f"cam of {name}")["results"]
        assert [match["identity"] for match in entry["matches"]] == [name]
        (entry,) = answered(service, does, identities=[name])["results"]
        assert [match["identity"] for match in entry["matches"]] == [name]

    @pytest.mark.parametrize("name", PEOPLE)
    def test_identities_count_the_crops_of_one_camera(self, service, does, name):
        page = service.http.get(
            f"/galleries/{does}/identities", params={"cameras": f"cam of {name}"}
        ).json()
        assert [entry["identity"] for entry in page["identities"]] == [name]

    def test_repeated_parameters_are_the_list(self, service, does):
        both = [("identities", "Doe, Jane"), ("identities", "Jane")]
        page = service.http.get(f"/galleries/{does}/crops", params=both).json()
        assert [crop["crop_id"] for crop in page["crops"]] == ["crop-0", "crop-2"]

    def test_a_list_with_commas_is_one_name_and_causes_a_warning(self, service, does):
        page = service.http.get(f"/galleries/{does}/crops", params={"identities": "Doe,Jane"})
        assert page.json()["crops"] == []
        (warning,) = page.json()["warnings"]
        assert (warning["code"], warning["values"]) == ("unknown_identity", ["Doe,Jane"])


class TestConsidered:
    def test_the_querys_own_camera_is_not_among_them(self, service, gallery):
        answer = answered(service, gallery, camera="c1", exclude_same_camera=True)
        (entry,) = answer["results"]
        assert entry["considered"] == 4
        both = answered(service, gallery, camera="c1", exclude_same_camera=True, not_camera="c2")[
            "results"
        ][0]
        assert {match["crop_id"] for match in both["matches"]} == {"hall/1", "hall%2"}
        assert both["considered"] == 2

    def test_each_query_is_not_counted_itself(self, service, gallery):
        answer = service.search(
            QUERY,
            gallery=gallery,
            crop_ids=["gate/1", "hall/2"],
            cameras=["c1", "c3"],
            min_score=-1,
        ).json()
        assert [entry["considered"] for entry in answer["results"]] == [3, 2, 3]
        for entry in answer["results"]:
            assert len(entry["matches"]) == entry["considered"]

    def test_a_stored_crop_leaves_its_camera_out(self, service, gallery):
        answer = service.search(
            gallery=gallery, crop_ids=["gate/1", "gate/2"], exclude_same_camera=True, min_score=-1
        ).json()
        assert [entry["considered"] for entry in answer["results"]] == [4, 4]
        assert answer["warnings"] == []

    def test_combined_and_grouped_and_reranked(self, service, gallery):
        answer = service.search(
            gallery=gallery,
            crop_ids=["gate/1", "gate/2"],
            combine=True,
            group_by="identity",
            identity_score="mean",
            rerank=True,
            has_identity=True,
            min_score=-1,
        ).json()
        assert [entry["considered"] for entry in answer["results"]] == [2]

    def test_an_unusable_image_is_compared_with_nothing(self, service, gallery):
        answer = service.search(QUERY, ("bad.png", b"bad"), gallery=gallery).json()
        assert [entry["considered"] for entry in answer["results"]] == [6, None]

    def test_deleted_and_added_crops_count_at_once(self, service):
        gallery = fill(service, "filtered-changing")
        assert answered(service, gallery)["results"][0]["considered"] == 6
        service.http.delete(f"/galleries/{gallery}/crops/gate/1")
        assert answered(service, gallery)["results"][0]["considered"] == 5
        service.put(gallery, "new", solid(RED))
        assert answered(service, gallery, id_prefix="new")["results"][0]["considered"] == 1
        service.http.delete(f"/galleries/{gallery}/crops/new")
        assert answered(service, gallery, id_prefix="new")["results"][0]["considered"] == 0


WARNED: list[tuple[dict[str, Any], list[tuple[str, str, list[str]]]]] = [
    ({}, []),
    ({"cameras": ["c1", "c2"], "identities": ["ann"], "not_camera": "c3"}, []),
    ({"cameras": ["Cam-4"]}, [("unknown_camera", "cameras", ["Cam-4"])]),
    ({"cameras": ["c1", "C1", "c9"]}, [("unknown_camera", "cameras", ["C1", "c9"])]),
    ({"not_camera": "1"}, [("unknown_camera", "not_camera", ["1"])]),
    ({"tracks": ["1", "9"]}, [("unknown_track", "tracks", ["9"])]),
    ({"identities": ["Ann"]}, [("unknown_identity", "identities", ["Ann"])]),
    ({"ids": ["gate/1", "lost"]}, [("unknown_crop", "ids", ["lost"])]),
    ({"id_prefix": "Gate/"}, [("unknown_prefix", "id_prefix", ["Gate/"])]),
    ({"since": EVENING, "until": MORNING}, [("empty_window", "since", [])]),
    ({"since": MORNING, "until": MORNING}, [("empty_window", "since", [])]),
    ({"added_since": EVENING, "added_until": MORNING}, [("empty_window", "added_since", [])]),
    (
        {"has_identity": False, "identities": ["ann"]},
        [("contradiction", "has_identity", [])],
    ),
    ({"cameras": ["c1"], "not_camera": "c1"}, [("contradiction", "not_camera", [])]),
    (
        {"cameras": ["Cam-4"], "identities": ["eve"], "since": EVENING, "until": MORNING},
        [
            ("unknown_camera", "cameras", ["Cam-4"]),
            ("unknown_identity", "identities", ["eve"]),
            ("empty_window", "since", []),
        ],
    ),
]
WARNED_NAMES = [repr(fields) for fields, _ in WARNED]


def told(answer: dict[str, Any], ids: str) -> list[tuple[str, str, list[str]]]:
    for warning in answer["warnings"]:
        assert warning["detail"].endswith(".")
    return [
        (one["code"], "ids" if one["field"] == ids else one["field"], one["values"])
        for one in answer["warnings"]
    ]


class TestWarnings:
    @pytest.mark.parametrize(("fields", "expected"), WARNED, ids=WARNED_NAMES)
    def test_search(self, service, gallery, fields, expected):
        answer = answered(service, gallery, **named(fields, "among"))
        assert told(answer, "among") == expected

    @pytest.mark.parametrize(("fields", "expected"), WARNED, ids=WARNED_NAMES)
    def test_listings_and_receipts(self, service, gallery, fields, expected):
        query, base = named(fields, "crop_ids"), f"/galleries/{gallery}"
        for path in ("crops", "identities"):
            page = service.http.get(f"{base}/{path}", params=query).json()
            assert told(page, "crop_ids") == expected
        body = (query or {"all": True}) | {"dry_run": True}
        receipt = service.http.post(f"{base}/crops/delete", json=body).json()
        assert told(receipt, "crop_ids") == expected

    def test_a_deletions_warnings_describe_the_gallery_before_it(self, service):
        gallery = fill(service, "filtered-deleting")
        body = {"cameras": ["c1"], "identities": ["ann", "bob"]}
        url = f"/galleries/{gallery}/crops/delete"
        receipt = service.http.post(url, json=body).json()
        assert (receipt["deleted"], receipt["warnings"]) == (2, [])
        again = service.http.post(url, json=body).json()
        assert told(again, "crop_ids") == [("unknown_camera", "cameras", ["c1"])]

    def test_the_warning_names_the_cameras_of_the_gallery(self, service, gallery):
        (warning,) = answered(service, gallery, cameras="Cam-4")["warnings"]
        assert "'Cam-4'" in warning["detail"]
        assert "'c1', 'c2', 'c3'" in warning["detail"]

    def test_a_long_list_of_names_is_cut_and_counted(self, service, gallery):
        wanted = [f"x{number:03d}" for number in range(150)]
        (warning,) = answered(service, gallery, identities=wanted)["warnings"]
        assert warning["values"] == wanted[:20]
        assert "and 130 more" in warning["detail"]

    def test_an_exclusion_that_excludes_nothing_causes_a_warning(self, service, gallery):
        answer = answered(service, gallery, camera="1", exclude_same_camera=True)
        (warning,) = answer["warnings"]
        assert (warning["code"], warning["field"]) == ("unknown_camera", "camera")
        assert warning["values"] == ["1"]
        assert "exclude_same_camera excludes nothing" in warning["detail"]
        assert "'c1', 'c2', 'c3'" in warning["detail"]
        assert answer["results"][0]["considered"] == 6

    def test_an_exclusion_that_excludes_something_causes_none(self, service, gallery):
        assert answered(service, gallery, camera="c1", exclude_same_camera=True)["warnings"] == []
        assert answered(service, gallery, camera="1")["warnings"] == []

    def test_a_gallery_without_cameras_says_so(self, service):
        service.create("cameraless")
        service.put("cameraless", "a", solid(RED))
        (warning,) = answered(service, "cameraless", camera="1", exclude_same_camera=True)[
            "warnings"
        ]
        assert "none of its crops has a camera" in warning["detail"]


class TestLargeAnswers:
    def test_64_images_may_have_the_most_matches_each(self, service, gallery):
        accepted = service.search(
            gallery=gallery, crop_ids=["gate/1"] * 64, top_k=1000, min_score=-1
        )
        assert accepted.status_code == 200, accepted.text

    def test_more_are_rejected_and_the_message_says_what_is_allowed(self, start):
        with start(max_images=200) as service:
            fill(service, "filtered")
            asked = {"gallery": "filtered", "crop_ids": ["gate/1"] * 100, "min_score": -1}
            refused = service.search(**asked, top_k=1000)
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
            assert "64000 matches" in refused.json()["detail"]
            assert "top_k of at most 640" in refused.json()["detail"]
            assert service.search(**asked, top_k=640).status_code == 200
            assert service.search(**asked, top_k=1000, combine=True).status_code == 200


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        ("/galleries/twice/crops", "not_camera", ("c1", "c2")),
        ("/galleries/twice/crops", "since", ("20261121", "20261122")),
        ("/galleries/twice/identities", "zone", ("UTC", "Europe/Berlin")),
        ("/galleries/twice/identities", "id_prefix", ("a", "b")),
        ("/jobs", "gallery", ("twice", "other")),
        ("/search", "not_camera", ("c1", "c2")),
        ("/search", "camera", ("c1", "c2")),
        ("/search", "gallery", ("twice", "other")),
        ("/galleries/twice/crops/a", "identity", ("ann", "bob")),
        ("/embed", "encoding", ("float", "base64")),
    ],
)
def test_a_field_that_is_not_a_list_takes_one_value(service, path, field, values):
    if path.endswith(("/crops", "/identities", "/jobs")):
        answer = service.http.get(path, params={field: values})
    else:
        method, part = ("PUT", "image") if path.endswith("/a") else ("POST", "images")
        data = {"gallery": "twice"} if path == "/search" and field != "gallery" else {}
        files = [(part, QUERY)]
        answer = service.http.request(method, path, files=files, data={**data, field: values})
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"{field} has 2 values: give it once"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/search", {"files": [("images", QUERY)]}),
        ("/embed", {"files": [("images", QUERY)]}),
        ("/galleries/default/crops", {"files": [("images", QUERY)], "data": {"crops": "[]"}}),
        ("/galleries/default/crops/delete", {"json": {"all": True, "dry_run": True}}),
        ("/galleries/default/cluster", {"json": {}}),
    ],
)
def test_a_filter_in_the_query_of_a_request_with_a_body_is_rejected(service, path, body):
    answer = service.http.post(path, params={"cameras": "c1"}, **body)
    assert answer.status_code == 422
    assert "Unknown field `cameras`" in answer.json()["detail"]
    assert "send the field in the request body" in answer.json()["detail"]


def test_a_crop_has_one_picture(service):
    service.create("pair")
    files = [("image", QUERY), ("image", ("other.png", solid(RED, kind="PNG")))]
    answer = service.http.put("/galleries/pair/crops/a", files=files)
    assert (answer.status_code, "image has 2 values" in answer.text) == (422, True)


def test_what_a_gallery_cannot_do_is_501(service, monkeypatch):
    from service.errors import Unsupported

    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise Unsupported("not in this kind of gallery")

    monkeypatch.setattr(type(service.parts.store), "take_snapshot", refuse)
    answer = service.http.post("/galleries/default/snapshots")
    assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")
    documented = service.http.get("/openapi.json").json()["paths"]
    assert "501" in documented["/galleries/{gallery}/snapshots"]["post"]["responses"]
