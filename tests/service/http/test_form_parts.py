"""Form parts that were sent in the wrong way: the messages say so in plain words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.testing import solid

TEXT_PARTS = [
    ("POST", "/search", "images"),
    ("POST", "/embed", "images"),
    ("POST", "/detect", "images"),
    ("PUT", "/galleries/default/crops/x", "image"),
    ("POST", "/galleries/default/crops", "images"),
    ("POST", "/galleries/default/frames", "images"),
]


def problem(service, method: str, path: str, **parts: Any) -> dict[str, Any]:
    """Send a form as curl does: bytes become a file, text does not."""
    files = [
        (name, ("a.jpg", value) if isinstance(value, bytes) else (None, value))
        for name, value in parts.items()
    ]
    answer = service.http.request(method, path, files=files)
    assert answer.status_code == 422, answer.text
    return answer.json()


@pytest.mark.parametrize(("method", "path", "field"), TEXT_PARTS)
def test_a_part_without_a_file_name_in_place_of_a_file(service, method, path, field):
    body = problem(service, method, path, **{field: "crop.jpg"})
    said = f"sent as text, not as a file; with curl write -F {field}=@FILE"
    assert said in body["detail"]
    assert "UploadFile" not in json.dumps(body)
    (error,) = [entry for entry in body["errors"] if entry["detail"] == said]
    assert error["field"].startswith(field)


def test_one_text_among_files_is_found(service):
    files = [("images", ("a.jpg", solid((1, 2, 3)))), ("images", (None, "b.jpg"))]
    answer = service.http.post("/search", files=files)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "images.1"
    assert "-F images=@FILE" in error["detail"]


def test_a_form_that_is_not_multipart(service):
    answer = service.http.post("/search", data={"images": "a.jpg"})
    assert answer.status_code == 422
    assert "-F images=@FILE" in answer.json()["detail"]


@pytest.mark.parametrize("field", ["identity", "camera", "timestamp"])
def test_a_file_in_place_of_text(service, field):
    image = solid((1, 2, 3))
    body = problem(service, "PUT", "/galleries/default/crops/x", image=image, **{field: b"ann"})
    assert f"sent as a file, not as text; with curl write -F {field}=VALUE" in body["detail"]


def test_a_list_of_crops_sent_as_a_file(service):
    crops = json.dumps([{"crop_id": "a"}]).encode()
    body = problem(
        service, "POST", "/galleries/default/crops", images=solid((1, 2, 3)), crops=crops
    )
    assert "-F crops=<FILE" in body["detail"]


@pytest.mark.parametrize("value", [b"a file", "a text"])
def test_a_field_that_does_not_exist(service, value):
    body = problem(service, "POST", "/search", images=solid((1, 2, 3)), image=value)
    (error,) = body["errors"]
    assert error["field"] == "image"
    assert error["detail"] == "Unknown field `image`; did you mean `images`?"
    assert "curl" not in error["detail"]
