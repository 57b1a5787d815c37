"""A key bound to galleries cannot find out whether a job of another gallery exists."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import httpx
import pytest
from waiting import PATIENCE

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey

ASKS = [
    ("GET", ""),
    ("GET", "/errors"),
    ("DELETE", "/errors"),
    ("POST", "/cancel"),
    ("POST", "/resume"),
]


@pytest.mark.parametrize(("method", "path"), ASKS)
@pytest.mark.parametrize("scope", ["search", "write", "admin"])
def test_foreign_and_unknown_jobs_get_the_same_answer(start, tmp_path, method, path, scope):
    with start() as service, closing(KeyStore(tmp_path / "data" / FILE)) as keys:
        service.create("lobby")
        theirs = service.parts.board.submit("cluster", "default", {}).job_id
        unknown = "0123456789abcdef"
        assert len(theirs) == len(unknown)
        _, text = keys.create(NewKey(label="bound", scope=scope, galleries=["lobby"]))
        headers = {"Authorization": f"Bearer {text}", "X-Request-ID": "same"}
        answers = [
            httpx.request(
                method, f"{service.url}/jobs/{job_id}{path}", headers=headers, timeout=PATIENCE
            )
            for job_id in (theirs, unknown)
        ]
        foreign, absent = (
            told(answer, job_id) for answer, job_id in zip(answers, (theirs, unknown), strict=True)
        )
        assert foreign == absent
        assert answers[0].status_code in {403, 404}


def told(answer: httpx.Response, job_id: str) -> tuple[Any, ...]:
    """Everything in an answer except the id and the time."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status_code, answer.text.replace(job_id, "ID"), headers


def test_the_audit_log_does_not_name_a_foreign_jobs_gallery(start, tmp_path):
    """The bound key's failed request is logged, without the other gallery's name."""
    with start() as service, closing(KeyStore(tmp_path / "data" / FILE)) as keys:
        service.create("lobby")
        theirs = service.parts.board.submit("cluster", "default", {}).job_id
        _, text = keys.create(NewKey(label="bound", scope="write", galleries=["lobby"]))
        headers = {"Authorization": f"Bearer {text}"}
        httpx.post(f"{service.url}/jobs/{theirs}/cancel", headers=headers, timeout=PATIENCE)
        _, admin = keys.create(NewKey(label="admin", scope="admin"))
        headers = {"Authorization": f"Bearer {admin}"}
        entries = httpx.get(f"{service.url}/audit", headers=headers, timeout=PATIENCE).json()[
            "entries"
        ]
        (entry,) = [one for one in entries if one["route"] == "/jobs/{job_id}/cancel"]
        assert (entry["status"], entry["gallery"]) == (404, None)
