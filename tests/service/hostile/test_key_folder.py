"""A key that is written where no service reads it protects nothing: the CLI prevents this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result
from waiting import PATIENCE

from service.__main__ import cli


@contextmanager
def elsewhere(folder: Path, service: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A shell in another folder, whose user knows where the service listens."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("REID_DATA", raising=False)
    monkeypatch.setenv("REID_PORT", service.url.rpartition(":")[2])
    yield


def create(*arguments: object) -> Result:
    """Run ``python -m service keys create``."""
    wanted = ["--label", "me", "--scope", "admin", *map(str, arguments)]
    return CliRunner().invoke(cli, ["keys", "create", *wanted])


def is_open(service: Any) -> bool:
    return service.http.get("/galleries").status_code == 200


def test_a_key_made_in_another_folder_closes_the_running_service(start, tmp_path, monkeypatch):
    with start() as service, elsewhere(tmp_path / "home", service, monkeypatch):
        done = create()
        assert done.exit_code == 0, done.stderr
        assert f"wrote {tmp_path / 'data' / 'access.sqlite3'}" in done.stderr
        assert "WARNING" not in done.stderr
        assert not (tmp_path / "home" / "data").exists()
        assert not is_open(service)
        header = {"Authorization": f"Bearer {done.stdout.strip()}"}
        assert httpx.get(f"{service.url}/keys", headers=header, timeout=PATIENCE).status_code == 200


def test_the_services_folder_wins_over_one_in_the_current_folder(start, tmp_path, monkeypatch):
    with start() as service, elsewhere(tmp_path / "home", service, monkeypatch):
        (tmp_path / "home" / "data").mkdir()
        assert create().exit_code == 0
        assert not is_open(service)


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_named_folder_is_used_and_an_open_service_causes_a_warning(
    start, tmp_path, monkeypatch, way
):
    other = tmp_path / "other"
    with start() as service, elsewhere(tmp_path / "home", service, monkeypatch):
        if way == "variable":
            monkeypatch.setenv("REID_DATA", str(other))
        done = create(*(["--data", other] if way == "option" else []))
        assert done.exit_code == 0
        assert f"wrote {other / 'access.sqlite3'}" in done.stderr
        assert is_open(service)
        assert f"WARNING: the service at {service.url} is still open" in done.stderr
        assert str(tmp_path / "data" / "access.sqlite3") in done.stderr


def test_without_service_and_folder_nothing_is_created(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REID_DATA", raising=False)
    monkeypatch.setenv("REID_PORT", "9")  # nothing listens there
    refused = create()
    assert refused.exit_code == 1
    assert "--data" in refused.stderr
    assert "--new" in refused.stderr
    assert not any(tmp_path.iterdir())
    for command in (["list"], ["revoke", "00000000"]):
        assert CliRunner().invoke(cli, ["keys", *command]).exit_code == 1
    assert not any(tmp_path.iterdir())
    made = create("--new")
    assert made.exit_code == 0
    assert f"wrote {tmp_path / 'data' / 'access.sqlite3'}" in made.stderr
    assert create().exit_code == 0  # now it exists


def test_every_command_names_the_file(start, tmp_path, monkeypatch):
    with start() as service, elsewhere(tmp_path / "home", service, monkeypatch):
        data = tmp_path / "data"
        first = create("--data", data).stdout.split("_")[1]
        for command in (["list"], ["revoke", first]):
            done = CliRunner().invoke(cli, ["keys", *command, "--data", str(data)])
            assert done.exit_code == 0
            assert str(data / "access.sqlite3") in done.stderr
        unknown = CliRunner().invoke(cli, ["keys", "revoke", "00000000", "--data", str(data)])
        assert unknown.exit_code == 1
        assert str(data / "access.sqlite3") in unknown.stderr
