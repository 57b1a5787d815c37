"""Every crop that can be stored has its own address, and no address means something else."""

from __future__ import annotations

import itertools
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.testing import solid

RED, GREEN = solid((200, 20, 20), kind="PNG"), solid((20, 200, 20), kind="PNG")
_numbers = itertools.count()


@pytest.fixture
def gallery(service):
    """A new gallery for this test, which stores pictures."""
    body = {"name": f"addresses{next(_numbers)}", "store_crops": True}
    assert service.http.post("/galleries", json=body).status_code == 201
    return body["name"]


def import_errors(service, gallery, crop_id):
    """What a job reports after reading one row with this id."""
    vector = [1.0, *[0.0] * (service.parts.manifest.dimension - 1)]
    answer = service.http.post(
        f"/galleries/{gallery}/imports",
        content=json.dumps({"crop_id": crop_id, "embedding": vector}).encode(),
        headers={"Content-Type": "application/x-ndjson"},
    )
    job = service.ended(answer)
    return service.http.get(f"/jobs/{job['job_id']}/errors").text


@pytest.mark.parametrize(
    "crop_id",
    [
        *("..", ".", "a/..", "../a", "nas/../cam1/0001.jpg", "./a", "a/./b", "a\\..\\b", "..\\a"),
        *(" .. ", "a/..\u200d", "a//b", "/a", "a/", "/"),
    ],
)
def test_an_id_that_clients_normalise_is_rejected_when_it_is_sent(service, gallery, crop_id):
    service.add(gallery, [{"crop_id": "a"}, {"crop_id": "cam1/0001.jpg"}], RED, GREEN)
    answer = service.add(gallery, [{"crop_id": "b"}, {"crop_id": crop_id}], RED, RED)
    assert (answer.status_code, "a URL" in answer.text) == (422, True)
    assert "a URL" in import_errors(service, gallery, crop_id)
    assert service.crop_ids(gallery) == ["a", "cam1/0001.jpg"]


PIECES = [
    *("%2e%2e", "%2E", "a%2Fb", "%", "%41", "..", ".", "...", "", "?", "#", "a?b=c", "x#y", ";"),
    *("\\", "+", " ", "&", "=", "delete", "identities", "crops", "\u00e9", "e\u0301", "\u4eba"),
    *("\U0001f3c3", "~", "\u200d", "\u00a0", "[", "]", "|", "^", '"', "<", "{", "*", ":", "@", "a"),
]
TRICKY = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).flatmap(
        lambda parts: st.sampled_from(["/".join(parts), "".join(parts)])
    ),
    st.text(min_size=1, max_size=20),
)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(crop_id=TRICKY)
@example(crop_id="delete")
@example(crop_id="%2e%2e")
@example(crop_id="a%2Fb")
@example(crop_id="x" * 200)
@example(crop_id="\u4eba" * 200)
def test_every_accepted_id_is_a_separate_crop_at_its_own_address(service, gallery, crop_id):
    at = f"/galleries/{gallery}"
    others = ["A", "a", "a/b", "b"]
    service.add(gallery, [{"crop_id": other} for other in others], *[GREEN] * 4)
    answer = service.add(gallery, [{"crop_id": crop_id}], RED)
    if answer.status_code == 422:
        assert sorted(service.crop_ids(gallery)) == others
        return
    (stored,) = (result["crop_id"] for result in answer.json()["results"])
    rest = set(others) - {stored}
    for safe in ("/", ""):
        path = quote(stored, safe=safe)
        assert service.put(gallery, path, RED).status_code in {200, 201}
        assert service.http.get(f"{at}/crops/{path}").json()["crop_id"] == stored
        assert service.http.get(f"{at}/pictures/{path}").content == RED
        assert service.http.delete(f"{at}/crops/{path}").json()["deleted"] == 1
        assert set(service.crop_ids(gallery)) == rest


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_an_unescaped_question_mark_does_not_mean_another_crop(service, gallery, method):
    service.put(gallery, "a", RED)
    files = {"files": {"image": ("a.png", GREEN)}} if method == "PUT" else {}
    answer = service.http.request(method, f"/galleries/{gallery}/crops/a?b.jpg", **files)
    assert (answer.status_code, "%3F" in answer.text) == (422, True)
    assert service.http.get(f"/galleries/{gallery}/pictures/a?b.jpg").status_code == 422
    assert service.http.get(f"/galleries/{gallery}/pictures/a").content == RED


@pytest.mark.parametrize("path", ["/galleries/{}/", "/galleries/{}//", "//galleries/{}"])
def test_a_normalised_address_does_not_reach_the_gallery(service, gallery, path):
    """Most clients turn ``/galleries/lobby/crops/..`` into an address that ends with a slash."""
    service.put(gallery, "a", RED)
    address = service.url + path.format(gallery)
    answer = service.http.request("DELETE", address, follow_redirects=True)
    assert answer.status_code in {404, 405}
    assert service.crop_ids(gallery) == ["a"]


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", " lobby", "lobby ", "Lobby", "\u00e9", "%2e", "", "-a"]
)
def test_a_gallerys_name_fits_into_an_address(service, name):
    assert service.http.post("/galleries", json={"name": name}).status_code == 422
