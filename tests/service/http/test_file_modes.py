"""Data about people is private to the service's user, whatever mask a shell or an init sets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from waiting import PATIENCE, is_up, wait_until

from service.testing import solid

CROP = solid((200, 20, 20))
WIDE = 0o022  # the mask of most shells
COMMAND = (sys.executable, "-m", "service")


@contextmanager
def serving(model: Path, data: Path) -> Iterator[tuple[str, list[str]]]:
    """Run ``python -m service serve`` with a permissive mask; yields its address and its log."""
    flags = ("--model", model, "--data", data, "--port", 0, "--device", "cpu")
    command = [*COMMAND, "serve", *map(str, flags)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, umask=WIDE)
    assert process.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr or ()))
    try:
        url = ""
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"listening on (\S+)", line):
                url = found[1]
            if "Application startup complete" in line:
                break
        assert url, "".join(log)
        reader.start()
        with httpx.Client(base_url=url, timeout=PATIENCE) as http:
            wait_until(partial(is_up, http))  # uvicorn says the line before it listens
        yield url, log
    finally:
        process.terminate()
        process.wait()
        if reader.ident is not None:
            reader.join()
        process.stderr.close()


def wider(folder: Path) -> list[str]:
    """Files and folders that other users can read."""
    every = [folder, *folder.rglob("*")]
    return [f"{path} {mode:o}" for path in every if (mode := path.stat().st_mode & 0o7777) & 0o077]


def fill(url: str) -> None:
    """Make the service write every kind of file."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as http:
        body = {"name": "lobby", "store_crops": True}
        assert http.post("/galleries", json=body).status_code == 201
        crop = "/galleries/lobby/crops/a"
        assert http.put(crop, files={"image": ("a.jpg", CROP)}).status_code == 201
        assert http.post("/galleries/lobby/snapshots").status_code == 201
        assert http.post("/galleries/lobby/cluster", json={}).status_code == 202
        sent = http.post(
            "/galleries/lobby/imports", content=b"x", headers={"Content-Type": "application/x-tar"}
        )
        assert sent.status_code == 202
        assert http.post("/keys", json={"label": "a", "scope": "admin"}).status_code == 201


def test_everything_in_a_new_folder_is_private(tiny_model, tmp_path):
    data = tmp_path / "data"
    with serving(tiny_model, data) as (url, log):
        fill(url)
        made = wider(data)
        assert "may look into" not in "".join(log)
    assert made == []
    assert wider(data) == []
    assert (data / "audit").is_dir()


def test_a_key_made_on_the_command_line_is_private(tmp_path):
    data = tmp_path / "data"
    options = ("--label", "a", "--scope", "admin", "--data", str(data))
    subprocess.run([*COMMAND, "keys", "create", *options], check=True, umask=WIDE)
    assert wider(data) == []


def test_a_command_does_not_change_its_callers_mask(tmp_path):
    from typer.testing import CliRunner

    from service.__main__ import cli

    before = os.umask(WIDE)
    try:
        CliRunner().invoke(cli, ["keys", "list", "--data", str(tmp_path)])
        assert os.umask(WIDE) == WIDE
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_a_folder_that_others_can_read_causes_a_warning(tmp_path, mode, caplog):
    from service.http.server import _warn_of_others

    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    _warn_of_others(data)
    assert f"mode 0{mode:o}" in caplog.text
    assert f"chmod -R go= {data}" in caplog.text
    caplog.clear()
    data.chmod(0o700)
    _warn_of_others(data)
    _warn_of_others(tmp_path / "absent")
    assert caplog.text == ""
