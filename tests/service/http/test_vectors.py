"""Searching and storing by embeddings over JSON: the same answers as by the pictures."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.testing import TINY_MANIFEST, encode

DIMENSION = TINY_MANIFEST.dimension
UNIT = [1.0] + [0.0] * (DIMENSION - 1)


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    return encode(np.repeat(np.repeat(pixels, 8, axis=0), 8, axis=1))


def embed(service: Any, *images: bytes, encoding: str = "float") -> list[Any]:
    files = [("images", (f"{index}.png", image)) for index, image in enumerate(images)]
    answer = service.http.post("/embed", files=files, data={"encoding": encoding})
    return [entry["embedding"] for entry in answer.json()["results"]]


def search(service: Any, *embeddings: Any, gallery: str = "walkers", **fields: Any) -> Any:
    vectors = [{"embedding": embedding} for embedding in embeddings]
    return service.http.post("/search", json={"gallery": gallery, "vectors": vectors, **fields})


def put(service: Any, crop_id: str, gallery: str = "default", **body: Any) -> Any:
    return service.http.put(f"/galleries/{gallery}/crops/{crop_id}", json=body)


@pytest.fixture(scope="module")
def walkers(service):
    service.create("walkers")
    entries = [
        {"crop_id": f"{number}", "identity": f"p{number % 4}", "camera": f"c{number % 3}"}
        for number in range(12)
    ]
    assert service.add("walkers", entries, *map(picture, range(12))).status_code == 200
    return service


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize(
    "fields",
    [
        {"min_score": -1},
        {"min_score": -1, "top_k": 3, "cameras": ["c1", "c2"]},
        {"min_score": -1, "group_by": "identity", "identity_score": "mean"},
        {"min_score": -1, "rerank": True, "rerank_top": 6},
        {"min_score": -1, "combine": True},
        {"min_score": -1, "camera": "c1", "exclude_same_camera": True},
        {},
    ],
)
def test_an_embedding_finds_what_its_picture_finds(walkers, encoding, fields):
    queries = [picture(3), picture(100)]
    by_vector = search(walkers, *embed(walkers, *queries, encoding=encoding), **fields)
    assert by_vector.status_code == 200, by_vector.text
    images = [("images", (f"{index}.png", image)) for index, image in enumerate(queries)]
    form = {
        name: str(text) if not isinstance(text, list) else text for name, text in fields.items()
    }
    by_picture = walkers.http.post("/search", files=images, data={"gallery": "walkers", **form})
    left, right = by_vector.json(), by_picture.json()
    assert left["model"] == right["model"]
    assert left["min_score"] == right["min_score"]
    for one, other in zip(left["results"], right["results"], strict=True):
        assert one.pop("vectors") == [image["index"] for image in other["images"]]
        assert (one.pop("images"), other.pop("vectors")) == ([], [])
        other.pop("images")
        assert one == other


def test_vectors_and_stored_crops_are_searched_together(walkers):
    (embedding,) = embed(walkers, picture(3))
    answer = search(walkers, embedding, crop_ids=["5"], min_score=-1, top_k=1).json()
    assert [(one["vectors"], one["crop_ids"]) for one in answer["results"]] == [
        ([0], []),
        ([], ["5"]),
    ]
    assert answer["results"][0]["matches"][0]["crop_id"] == "3"


def test_a_vector_may_name_its_own_camera(walkers):
    (embedding,) = embed(walkers, picture(3))
    vectors = [{"embedding": embedding, "camera": camera} for camera in ("c0", "c1")]
    body = {"gallery": "walkers", "vectors": vectors, "exclude_same_camera": True, "min_score": -1}
    results = walkers.http.post("/search", json=body).json()["results"]
    cameras = [{match["camera"] for match in result["matches"]} for result in results]
    assert cameras == [{"c1", "c2"}, {"c0", "c2"}]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_crop_stored_by_its_embedding_is_that_of_its_picture(service, encoding):
    gallery = service.create(f"stored-{encoding}")
    (embedding,) = embed(service, picture(7), encoding=encoding)
    told = {"identity": "anna", "camera": "c1", "timestamp": "2026-11-21T08:30:00Z"}
    first = put(service, "a/1", gallery, embedding=embedding, **told)
    again = put(service, "a/1", gallery, embedding=embedding, **told)
    assert (first.status_code, again.status_code) == (201, 200)
    record = first.json()
    expected = ("a/1", "anna", "c1", 1_795_249_800.0, "given")
    assert tuple(record[name] for name in ("crop_id", *told, "origin")) == expected
    assert service.put(gallery, "b", picture(7)).status_code == 201
    (found,) = service.search(("q.png", picture(7)), gallery=gallery, min_score=-1).json()[
        "results"
    ]
    assert [match["score"] for match in found["matches"]] == pytest.approx([1.0, 1.0], abs=1e-6)


def test_a_batch_of_embeddings_is_stored_as_a_whole(service):
    gallery = service.create("batch")
    embeddings = embed(service, *map(picture, range(3)))
    crops = [
        {"crop_id": f"{number}", "embedding": embedding, "camera": "c1", "timestamp": "20261121"}
        for number, embedding in enumerate(embeddings)
    ]
    path = f"/galleries/{gallery}/crops"
    model = TINY_MANIFEST.sha256
    answer = service.http.post(path, json={"crops": crops, "model_sha256": model})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [one["status"] for one in body["results"]] == ["created"] * 3
    assert body["model"]["sha256"] == model
    assert [one["code"] for one in body["warnings"]] == ["assumed_utc"]
    crops[1] |= {"embedding": [0.5] * DIMENSION}
    crops[0] |= {"identity": "anna"}
    refused = service.http.post(path, json={"crops": crops})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert "crops[1]: embedding has length" in refused.json()["detail"]
    assert service.http.get(f"{path}/0").json()["identity"] is None


def test_an_embedding_joins_a_group_as_a_picture_does(service):
    service.http.post("/galleries", json={"name": "joining", "join": True})
    service.put("joining", "known", picture(1), identity="anna")
    (embedding,) = embed(service, picture(1))
    assert put(service, "new", "joining", embedding=embedding).json()["identity"] == "anna"


@pytest.mark.parametrize(
    ("embedding", "said"),
    [
        ([0.0] * DIMENSION, "embedding has length 0, must be 1"),
        ([2.0, *UNIT[1:]], "embedding has length 2, must be 1"),
        ([1e300] * DIMENSION, "not finite"),
        ([math.nan] * DIMENSION, "not finite"),
        ([math.inf, *UNIT[1:]], "not finite"),
        (UNIT[1:], f"embedding has shape ({DIMENSION - 1},)"),
        ([], "embedding has shape (0,)"),
        (UNIT * 30, "embedding has shape"),
        ("no base64 !", "base64"),
        ("", "embedding has shape (0,)"),
        (base64.b64encode(b"abc").decode(), "multiple of element size"),
        (base64.b64encode(np.ones(3, "<f4").tobytes()).decode(), "embedding has shape (3,)"),
        ([[1.0] * DIMENSION], "valid number"),
        (["1.0", *UNIT[1:]], "valid number"),
        ([None] * DIMENSION, "valid number"),
        ([True] * DIMENSION, "valid number"),
        ({"a": 1}, "valid list"),
        (None, "valid list"),
        ("[" * 100, "embedding: "),
    ],
)
def test_a_bad_vector_is_rejected_by_every_route(walkers, embedding, said):
    text = json.dumps({"gallery": "walkers", "vectors": [{"embedding": embedding}]})
    stored = json.dumps({"embedding": embedding})
    batch = json.dumps({"crops": [{"crop_id": "x", "embedding": embedding}]})
    path = "/galleries/walkers/crops"
    json_body = {"Content-Type": "application/json"}
    for method, where, body in (
        ("POST", "/search", text),
        ("PUT", f"{path}/x", stored),
        ("POST", path, batch),
    ):
        answer = walkers.http.request(method, where, content=body, headers=json_body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text
        assert said in answer.json()["detail"]
        assert len(answer.content) < 40_000
    assert walkers.http.get(f"{path}/x").status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "send vectors or crop_ids"),
        ({"vectors": []}, "send vectors or crop_ids"),
        ({"vectors": [{"embedding": UNIT}], "exclude_same_camera": True}, "needs camera"),
        ({"vectors": [{"embedding": UNIT}], "topk": 1}, "did you mean `top_k`?"),
        ({"vectors": [{"embeding": UNIT}]}, "Unknown field `embeding`; did you mean `embedding`?"),
        ({"vectors": [{"embedding": UNIT}], "images": []}, "Unknown field `images`"),
        ({"vectors": [{"embedding": UNIT}], "top_k": "5"}, "valid integer"),
        ({"vectors": [{"embedding": UNIT}], "model_sha256": "abc"}, "match pattern"),
    ],
)
def test_a_bad_search_says_what_is_wrong(service, body, said):
    answer = service.http.post("/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert said in answer.json()["detail"]


def test_vectors_of_another_model_are_rejected(walkers):
    other = "0" * 64
    for answer in (
        search(walkers, UNIT, model_sha256=other),
        put(walkers, "x", "walkers", embedding=UNIT, model_sha256=other),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "model_mismatch")
        assert TINY_MANIFEST.sha256[:12] in answer.json()["detail"]
    assert search(walkers, UNIT, model_sha256=TINY_MANIFEST.sha256).status_code == 200


def test_limits_of_count_cost_and_size_hold(walkers):
    many = search(walkers, *[UNIT] * 65)
    assert (many.status_code, many.json()["code"]) == (413, "too_large")
    costly = search(walkers, *[UNIT] * 64, rerank=True, rerank_top=1000, min_score=-1)
    assert (costly.status_code, "rerank_top" in costly.json()["detail"]) == (422, True)
    values = search(walkers, *[[0.0] * 1280] * 20)
    assert (values.status_code, "25,000 values" in values.json()["detail"]) == (413, True)
    huge = search(walkers, *["A" * 600_000] * 2)
    assert (huge.status_code, "1,048,576 bytes" in huge.json()["detail"]) == (413, True)


def test_access_and_audit_are_those_of_a_search_by_picture(start, tmp_path):
    with start() as service:
        service.put("default", "a", picture(1))
        keys = KeyStore(tmp_path / "data" / FILE)
        admin, reader, other = (
            {"Authorization": f"Bearer {keys.create(NewKey(label='a', **wanted))[1]}"}
            for wanted in (
                {"scope": "admin"},
                {"scope": "search", "galleries": ["default"]},
                {"scope": "write", "galleries": ["other"]},
            )
        )
        body = {"vectors": [{"embedding": UNIT}], "min_score": -1}
        statuses = [
            service.http.post("/search", json=body, headers=headers).status_code
            for headers in ({}, reader, other)
        ]
        assert statuses == [401, 200, 403]
        path = "/galleries/default/crops/b"
        statuses = [
            service.http.put(path, json={"embedding": UNIT}, headers=headers).status_code
            for headers in ({}, reader, other, admin)
        ]
        assert statuses == [401, 403, 403, 201]
        log = service.http.get("/audit", params={"limit": 100}, headers=admin).json()["entries"]
        done = [one for one in log if one["route"] == "/search" and one["status"] == 200]
        assert [(one["gallery"], one["crops"], len(one["queries"])) for one in done] == [
            ("default", 1, 1)
        ]


def test_the_document_describes_both_bodies(service):
    document = service.http.get("/openapi.json").json()
    for path, method, name in (
        ("/search", "post", "VectorSearch"),
        ("/galleries/{gallery}/crops", "post", "VectorCrops"),
        ("/galleries/{gallery}/crops/{crop_id}", "put", "VectorCrop"),
    ):
        content = document["paths"][path][method]["requestBody"]["content"]
        assert set(content) == {"multipart/form-data", "application/json"}
        reference = content["application/json"]["schema"]["$ref"]
        assert reference == f"#/components/schemas/{name}"
        assert document["components"]["schemas"][name]["properties"]
