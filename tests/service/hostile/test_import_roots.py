"""Folders of the server: each key reads only the folders of its own galleries."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE, ended

from service.settings import Settings
from service.testing import solid

NDJSON = "application/x-ndjson"


class Keys:
    """Clients of one service, each with its own key."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._clients = ExitStack()
        admin = service.http.post("/keys", json={"label": "admin", "scope": "admin"})
        self.admin = self._asking(admin.json()["key"])

    def bound(self, *galleries: str) -> httpx.Client:
        body = {"label": "bound", "scope": "write", "galleries": galleries}
        return self._asking(self.admin.post("/keys", json=body).json()["key"])

    def close(self) -> None:
        self._clients.close()

    def _asking(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        client = httpx.Client(base_url=self._service.url, headers=headers, timeout=PATIENCE)
        return self._clients.enter_context(client)


def make(service: Any, *galleries: str) -> None:
    for name in galleries:
        service.create(name)


def folder(client: httpx.Client, gallery: str, name: str, **more: str) -> httpx.Response:
    return client.post(f"/galleries/{gallery}/imports", json={"folder": name, **more})


def rows(client: httpx.Client, gallery: str, *paths: str) -> httpx.Response:
    body = "".join(json.dumps({"path": path}) + "\n" for path in paths)
    headers = {"Content-Type": NDJSON}
    return client.post(f"/galleries/{gallery}/imports", content=body.encode(), headers=headers)


def reasons(client: httpx.Client, job: dict[str, Any]) -> dict[str, str]:
    text = client.get(f"/jobs/{job['job_id']}/errors").text
    return {line["item"]: line["reason"] for line in map(json.loads, text.splitlines())}


def crops(client: httpx.Client, gallery: str) -> list[str]:
    return [crop["crop_id"] for crop in client.get(f"/galleries/{gallery}/crops").json()["crops"]]


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    problem = answer.json()
    return answer.status_code, problem["code"], problem["detail"]


@pytest.fixture
def srv(tmp_path: Path) -> Path:
    """Folders for three galleries."""
    for number, name in enumerate(("lobby", "gate", "all")):
        (tmp_path / "srv" / name / "day").mkdir(parents=True)
        picture = solid((60 * number, 20, 20), kind="PNG")
        (tmp_path / "srv" / name / "day" / f"{name}.png").write_bytes(picture)
    return tmp_path / "srv"


@pytest.fixture
def mapped(start, srv) -> Iterator[tuple[Any, Keys]]:
    roots = {"lobby": [srv / "lobby"], "gate": [srv / "gate"], "*": [srv / "all"]}
    with start(import_roots=roots) as service:
        make(service, "lobby", "gate", "other")
        with closing(Keys(service)) as keys:
            yield service, keys


# ---- who may read what


def test_a_bound_key_reads_no_folder_of_the_general_list(start, srv):
    with start(import_roots=[srv]) as service:
        make(service, "lobby")
        with closing(Keys(service)) as keys:
            bound = keys.bound("lobby")
            for name in ("gate/day", ".", "nowhere"):
                status, code, detail = refusal(folder(bound, "lobby", name))
                assert (status, code) == (403, "forbidden")
                assert '{"lobby": ["/srv/lobby"]}' in detail
            job = ended(bound, rows(bound, "lobby", "gate/day/gate.png"))
            assert job["counts"] == {"failed": 1}
            assert "no folder is mapped" in reasons(bound, job)["gate/day/gate.png"]
            assert crops(bound, "lobby") == []
            job = ended(keys.admin, folder(keys.admin, "lobby", "gate/day"))
            assert job["counts"] == {"created": 1}


def test_a_bound_key_reads_the_folders_of_its_gallery_only(mapped):
    _, keys = mapped
    bound = keys.bound("lobby")
    assert ended(bound, folder(bound, "lobby", "day"))["counts"] == {"created": 1}
    assert crops(bound, "lobby") == ["lobby.png"]
    assert folder(bound, "gate", "day").status_code == 403
    job = ended(bound, rows(bound, "lobby", "day/gate.png", "day/all.png", "day/lobby.png"))
    assert job["counts"] == {"failed": 2, "created": 1}  # its crop id is the whole path
    assert crops(bound, "lobby") == ["day/lobby.png", "lobby.png"]


def test_a_key_for_two_galleries_cannot_copy_from_one_into_the_other(mapped):
    _, keys = mapped
    bound = keys.bound("lobby", "gate", "other")
    for gallery in ("lobby", "gate"):
        assert ended(bound, folder(bound, gallery, "day"))["counts"] == {"created": 1}
        assert crops(bound, gallery) == [f"{gallery}.png"]
    assert folder(bound, "other", "day").status_code == 403


def test_an_unbound_key_reads_the_gallerys_folders_and_those_for_all(mapped):
    _, keys = mapped
    for gallery in ("lobby", "other"):
        paths = [f"day/{name}.png" for name in ("lobby", "gate", "all")]
        ended(keys.admin, rows(keys.admin, gallery, *paths))
    assert crops(keys.admin, "lobby") == ["day/all.png", "day/lobby.png"]
    assert crops(keys.admin, "other") == ["day/all.png"]


def test_without_keys_everyone_reads_what_an_unbound_key_may(start, srv):
    with start(import_roots={"lobby": [srv / "lobby"], "*": [srv / "all"]}) as service:
        make(service, "lobby", "gate")
        job = ended(service.http, folder(service.http, "gate", "day"))
        assert crops(service.http, "gate") == ["all.png"]
        assert job["counts"] == {"created": 1}
    with start(import_roots={"lobby": [srv / "lobby"]}) as service:
        status, _, detail = refusal(folder(service.http, "gate", "day"))
        assert (status, detail) == (422, "REID_IMPORT_ROOTS has no folder for gallery 'gate'")


# ---- what answers reveal about files outside


def test_files_outside_get_the_same_answer_as_missing_ones(mapped, srv):
    _, keys = mapped
    bound = keys.bound("lobby")
    (srv / "lobby" / "real").symlink_to(srv / "gate")
    (srv / "lobby" / "false").symlink_to(srv / "gone")

    def told(name: str, **more: str) -> str:
        return refusal(folder(bound, "lobby", name, **more))[2].replace(name, "NAME")

    assert told("gate") == told("nowhere")
    assert told("real") == told("false")
    assert told("real/day") == told("real/nowhere") == told("false/day")
    (srv / "gate" / "m.csv").write_text("path\n")
    for name in ("real/m.csv", "real/nowhere.csv", "false/m.csv"):
        detail = refusal(folder(bound, "lobby", ".", manifest=name))[2]
        assert detail == f"path './{name}': a symbolic link that leads out of the import root"


def test_links_that_lead_out_get_the_same_answer_broken_or_not(mapped, srv):
    _, keys = mapped
    bound = keys.bound("lobby")
    day = srv / "lobby" / "day"
    for name, target in (("a.png", "gate/day/gate.png"), ("b.png", "gate/no.png")):
        (day / name).symlink_to(srv / target)
    for name, target in (("c", "gate/day"), ("d", "gate/no"), ("e.txt", "gate/no.txt")):
        (day / name).symlink_to(srv / target)
    job = ended(bound, folder(bound, "lobby", "day"))
    assert job["counts"] == {"created": 1, "failed": 5}
    assert set(reasons(bound, job).values()) == {
        "a symbolic link that leads out of the import root"
    }


# ---- a job that runs later


def test_the_folders_are_checked_again_when_the_job_runs(start, srv):
    lobby = {"lobby": [srv / "lobby"]}
    (srv / "lobby" / "late").mkdir()
    with start(import_roots=lobby) as service:
        make(service, "lobby")
        with closing(Keys(service)) as keys:
            bound = keys.bound("lobby")
            secret = bound.headers["Authorization"]
            job = ended(bound, folder(bound, "lobby", "late"))
            assert job["state"] == "failed"  # the folder is still empty
    (srv / "lobby" / "late" / "1.png").write_bytes(solid((9, 9, 9), kind="PNG"))
    for roots in ({"gate": [srv / "lobby"], "*": [srv / "lobby"]}, [srv / "lobby"], lobby):
        with start(import_roots=roots) as service:
            service.http.headers["Authorization"] = secret
            job = ended(service.http, service.http.post(f"/jobs/{job['job_id']}/resume"))
            if roots is lobby:
                assert job["counts"] == {"created": 1}
            else:
                assert job["state"] == "failed"
                assert "no folder is mapped to gallery 'lobby'" in job["error"]
                assert crops(service.http, "lobby") == []


# ---- settings


def test_the_setting_is_a_list_or_an_object_of_galleries(monkeypatch):
    monkeypatch.setenv("REID_IMPORT_ROOTS", '{"lobby": ["/srv/lobby"], "*": ["/srv/all"]}')
    assert Settings().import_roots == {"lobby": [Path("/srv/lobby")], "*": [Path("/srv/all")]}
    monkeypatch.setenv("REID_IMPORT_ROOTS", '["/srv/all"]')
    assert Settings().import_roots == [Path("/srv/all")]
    for wrong in ('{"Lobby!": ["/srv"]}', '{"lobby": "/srv"}', '{"": ["/srv"]}'):
        monkeypatch.setenv("REID_IMPORT_ROOTS", wrong)
        with pytest.raises(ValueError, match="import_roots"):
            Settings()


# ---- not a file, or endless


def test_pipes_sockets_and_devices_do_not_block_an_import(start, srv):
    day = srv / "lobby" / "day"
    for name in ("pipe.png", "pipe.csv"):
        os.mkfifo(day / name)
    (srv / "lobby" / "piped").mkdir()
    os.mkfifo(srv / "lobby" / "piped" / "manifest.csv")
    (srv / "lobby" / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening, start(import_roots=[srv]) as service:
        at = os.open(day, os.O_RDONLY)  # the whole path may be too long for a socket's name
        try:
            listening.bind(f"/proc/self/fd/{at}/socket.png")
        finally:
            os.close(at)
        http = service.http
        paths = ("lobby/day/pipe.png", "lobby/day/socket.png", "lobby/zero.png", "lobby/day")
        job = ended(http, rows(http, "default", *paths))
        assert job["counts"] == {"failed": 4}
        assert folder(http, "default", "lobby/day", manifest="pipe.csv").status_code == 422
        job = ended(http, folder(http, "default", "lobby/piped"))
        assert (job["state"], job["error"]) == ("failed", "not a regular file")
        job = ended(http, folder(http, "default", "lobby/day"))
        assert job["counts"] == {"created": 1}


def test_links_of_the_kernel_are_never_followed(start):
    with start(import_roots=[Path("/proc")]) as service:
        http = service.http
        (settings := Path(service.parts.settings.data) / "secret.png").write_bytes(
            solid((1, 2, 3), kind="PNG")
        )
        at = os.open(settings, os.O_RDONLY)
        try:
            mine = os.getpid()
            paths = (f"{mine}/fd/{at}", f"{mine}/root{settings}", f"{mine}/cwd/pyproject.toml")
            job = ended(http, rows(http, "default", *paths))
        finally:
            os.close(at)
        assert job["counts"] == {"failed": 3}
        assert all("leads out" in reason for reason in reasons(http, job).values())
