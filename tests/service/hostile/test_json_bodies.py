"""JSON bodies that cost far more to parse and to reject than to send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.testing import solid

JSON = {"Content-Type": "application/json"}
LABEL = "/galleries/default/identities/label"
MIB = 1 << 20


def refusal(service: Any, body: bytes, path: str = LABEL, kind: str = "application/json") -> str:
    answer = service.http.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 413, answer.text[:200]
    assert answer.json()["code"] == "too_large"
    assert len(answer.content) < 1000
    return answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/json", "application/vnd.x+json", "text/plain", ""])
def test_a_body_that_is_not_an_upload_has_at_most_a_mebibyte(service, kind):
    body = b'{"crop_ids": ["' + b"a" * MIB + b'"], "identity": "x"}'
    assert "1,048,576 bytes" in refusal(service, body, kind=kind)


@pytest.mark.parametrize("path", [LABEL, "/galleries", "/galleries/default/cluster", "/keys"])
def test_the_limit_holds_on_every_route(service, path):
    assert "1,048,576 bytes" in refusal(service, b" " * (2 * MIB), path)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 300_000 + b"[]]",
        b'{"identity": "x", "crop_ids": [' + b"{}," * 300_000 + b"{}]}",
        b"[" * 500_000,
        b"{" + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}",
    ],
)
def test_a_mebibyte_of_brackets_is_rejected_before_it_is_parsed(service, body):
    assert len(body) < MIB
    assert "more than 25,000 values" in refusal(service, body)


@pytest.mark.parametrize(
    ("path", "field"), [("crops", "crops"), ("frames", "frames"), ("frames", "boxes")]
)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 500_000,
        "[[" + "{}," * 300_000 + "{}]]",
        "[{" + ",".join(f'"{number}":0' for number in range(90_000)) + "}]",
        "[[{" + ",".join(f'"{number}":0' for number in range(90_000)) + "}]]",
    ],
    ids=lambda text: text[:4],
)
def test_a_mebibyte_of_brackets_in_a_form_is_rejected_before_it_is_parsed(
    service, path, field, text
):
    files = [("images", ("a.png", solid((1, 2, 3))))]
    answer = service.http.post(f"/galleries/default/{path}", files=files, data={field: text})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"{field}: the JSON has more than 25,000 values")
    assert len(answer.content) < 2000


def test_an_answer_lists_some_errors_and_counts_the_others(service):
    body = json.dumps({f"n{number}": 0 for number in range(20_000)}).encode()
    answer = service.http.post(LABEL, content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 50
    assert "and 19,952 more" in answer.json()["detail"]


def test_the_longest_accepted_list_of_ids_fits(service):
    ids = [f"camera-{number % 50:03}/2026-11-21/{number:08}.jpg" for number in range(10_000)]
    body = json.dumps({"crop_ids": ids, "identity": "x"}).encode()
    answer = service.http.post(LABEL, content=body, headers=JSON)
    assert answer.status_code == 404, answer.text[:200]


def test_an_upload_may_be_larger(service):
    files = [
        ("images", (f"{number}.png", solid((number, 2, 3), kind="BMP"))) for number in range(64)
    ]
    form = {"top_k": "1"}
    padding = {"images": ("pad.png", b"\0" * (2 * MIB))}
    answer = service.http.post("/search", files=[*files[:2], *padding.items()], data=form)
    assert answer.status_code in {200, 422}, answer.text
