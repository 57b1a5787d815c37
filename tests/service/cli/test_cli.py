"""The command line as people use it: in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from waiting import PATIENCE, wait_until

from service.__main__ import cli
from service.testing import FakeEmbedder, solid

COMMANDS = ("serve", "index", "search", "check", "demo")


def reid(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "100", **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def quick(*arguments: object) -> Result:
    """A command in this process, where what counts is its answer."""
    return CliRunner().invoke(cli, [*map(str, arguments)])


def complaint(done: subprocess.CompletedProcess[str] | Result) -> str:
    status = done.exit_code if isinstance(done, Result) else done.returncode
    assert status == 1, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = tmp_path_factory.mktemp("people")
    for identity, colour in {"0001": (200, 20, 20), "0002": (20, 200, 20)}.items():
        for camera in (1, 2):
            name = f"{identity}_c{camera}s1_000000_00.png"
            (people / name).write_bytes(solid((*colour[:2], 20 + camera), kind="PNG"))
    return people


@pytest.fixture(scope="module")
def indexed(service, folder: Path) -> str:
    done = reid("index", folder, "--gallery", "cli", "--url", service.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 new, 0 replaced, 0 unchanged, 0 left out, 0 failed\n"
    return "cli"


def test_help_names_every_command():
    done = reid("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    for command in COMMANDS:
        assert quick(command, "--help").exit_code == 0


def test_index_twice_does_nothing_the_second_time(service, folder, indexed):
    done = reid("index", folder, "--gallery", indexed, "--url", service.url)
    assert done.returncode == 0
    assert done.stdout == "0 new, 0 replaced, 4 unchanged, 0 left out, 0 failed\n"


def test_index_lists_what_failed_and_says_so_in_its_status(service, tmp_path):
    (tmp_path / "good.png").write_bytes(solid((1, 2, 3), kind="PNG"))
    (tmp_path / "bad.jpg").write_bytes(b"nonsense")
    done = reid("index", tmp_path, "--gallery", "cli-bad", "--url", service.url)
    assert done.returncode == 1
    assert done.stdout == "1 new, 0 replaced, 0 unchanged, 0 left out, 1 failed\n"
    assert f"failed: {tmp_path}/bad.jpg: the file (8 bytes) is not a JPEG" in done.stderr


def test_index_with_a_pattern_and_with_a_manifest(service, folder, tmp_path):
    url = ("--url", service.url)
    done = quick("index", folder, "--gallery", "cli-p", "--pattern", r"(?P<identity>\d+)", *url)
    assert done.exit_code == 0, done.stderr
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"path": "0001_c1s1_000000_00.png", "crop_id": "x", "camera": "door"}\n')
    done = quick("index", folder, "--gallery", "cli-p", "--manifest", manifest, *url)
    assert done.exit_code == 0, done.stderr
    stats = service.http.get("/galleries/cli-p").json()
    assert (stats["crops"], stats["identities"], stats["cameras"]) == (5, 2, {"door": 1})
    both = quick("index", folder, "--pattern", "x", "--manifest", manifest, *url)
    assert both.exit_code == 2


def test_index_of_a_folder_the_service_reads_itself(start, folder):
    with start(import_roots=[folder.parent]) as service:
        url = ("--url", service.url)
        done = quick("index", "--server-folder", folder.name, *url)
        assert done.exit_code == 0, done.stderr
        assert done.stdout == "4 new, 0 replaced, 0 unchanged, 0 left out, 0 failed\n"
        assert "not found in any import root" in complaint(
            quick("index", "--server-folder", "nowhere", *url)
        )
        assert quick("index", *url).exit_code == 2
        assert quick("index", folder, "--server-folder", folder.name, *url).exit_code == 2


def test_ctrl_c_cancels_the_import(start, tmp_path):
    people = tmp_path / "people"
    people.mkdir()
    for number in range(100):
        (people / f"{number:03}.png").write_bytes(solid((number, 7, 7), kind="PNG"))
    with start(FakeEmbedder(delay=2.0), max_batch=8) as service:
        command = [sys.executable, "-m", "service", "index", str(people), "--url", service.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(
            lambda: (
                process.poll() is not None
                or any(job["done"] for job in service.http.get("/jobs").json()["jobs"])
            )
        )
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert stderr.decode().splitlines()[-1] == "interrupted"
        (job,) = service.http.get("/jobs").json()["jobs"]
        assert (job["state"], 0 < job["done"] < 100) == ("cancelled", True)
        assert stdout.decode().startswith(f"{job['done']} new, ")


def test_search_prints_a_table(service, folder, indexed):
    query = folder / "0001_c1s1_000000_00.png"
    options = ("--camera", "c1", "--exclude-same-camera", "--top-k", 1, "--gallery", indexed)
    done = reid("search", query, *options, "--url", service.url)
    assert done.returncode == 0, done.stderr
    head, _, row = done.stdout.splitlines()
    assert head.split() == ["query", "rank", "crop", "identity", "camera", "score", "probability"]
    assert row.split()[:5] == [str(query), "1", "0001_c2s1_000000_00.png", "0001", "c2"]


def test_search_prints_json(service, folder, indexed):
    query = folder / "0002_c1s1_000000_00.png"
    options = ("--rerank", "--group-by", "identity", "--json", "--gallery", indexed)
    answer = json.loads(quick("search", query, *options, "--url", service.url).stdout)
    best = answer["results"][0]["matches"][0]
    assert (best["identity"], best["group_size"]) == ("0002", 2)
    assert best["rerank_distance"] is not None


def test_search_says_unknown_and_error_in_the_table(service, folder, indexed, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"nonsense")
    query = folder / "0001_c1s1_000000_00.png"
    options = ("--min-score", 1, "--cameras", "c9", "--gallery", indexed)
    done = quick("search", query, tmp_path / "bad.jpg", *options, "--url", service.url)
    assert done.exit_code == 1
    assert "unknown" in done.stdout
    assert "error: the file (8 bytes) is not a JPEG" in done.stdout


def test_search_takes_a_list_as_repeated_options_and_a_comma_as_part_of_a_name(
    service, folder, tmp_path
):
    query = folder / "0001_c1s1_000000_00.png"
    service.create("cli-commas")
    for place, name in enumerate(("Doe, Jane", "Doe", "Jane")):
        picture = solid((200, 20, 20 + place), kind="PNG")
        service.put("cli-commas", f"crop-{place}", picture, identity=name, camera=f"at {name}")

    def found(*options: str) -> list[str]:
        where = ("--gallery", "cli-commas", "--min-score", -1, "--json", "--url", service.url)
        done = quick("search", query, *where, *options)
        assert done.exit_code == 0, done.stderr
        (entry,) = json.loads(done.stdout)["results"]
        return sorted(match["identity"] for match in entry["matches"])

    assert found("--cameras", "at Doe, Jane") == ["Doe, Jane"]
    assert found("--cameras", "at Doe, Jane", "--cameras", "at Jane") == ["Doe, Jane", "Jane"]
    assert found("--identities", "Doe") == ["Doe"]
    assert found("--not-camera", "at Doe", "--has-identity") == ["Doe, Jane", "Jane"]
    assert found("--among", "crop-1", "--among", "crop-2", "--id-prefix", "crop-2") == ["Jane"]
    assert found("--added-since", "2026-11-01", "--no-identity") == []
    two = ("--not-camera", "at Doe", "--not-camera", "at Jane")
    refused = quick("search", query, "--gallery", "cli-commas", "--url", service.url, *two)
    assert "not_camera has 2 values: give it once" in complaint(refused)


def test_search_warns_on_stderr(service, folder, indexed):
    query = folder / "0001_c1s1_000000_00.png"
    done = quick("search", query, "--cameras", "c1,c2", "--gallery", indexed, "--url", service.url)
    assert done.exit_code == 0
    assert "warning: No crop of gallery 'cli' has the camera 'c1,c2'" in done.stderr
    assert "'c1', 'c2'" in done.stderr
    assert "warning" not in done.stdout


def test_errors_are_one_line(service, folder, tmp_path):
    query = folder / "0001_c1s1_000000_00.png"
    nobody = "http://127.0.0.1:1"
    assert "is the service running?" in complaint(reid("search", query, "--url", nobody))
    wrong = quick("search", query, "--gallery", "nowhere", "--url", service.url)
    assert "gallery 'nowhere' does not exist" in complaint(wrong)
    assert "no such folder" in complaint(quick("index", tmp_path / "x", "--url", service.url))
    assert "port" in complaint(reid("serve", REID_PORT="70000"))
    assert "nothing" in complaint(reid("serve", "--model", tmp_path / "nothing", "--port", 0))
    assert quick("search", tmp_path / "missing.jpg").exit_code == 2
    assert quick("serve", "--device", "tpu").exit_code == 2


def test_serve_names_a_taken_port(service, tmp_path):
    port = service.url.rpartition(":")[2]
    done = reid("serve", "--port", port, "--data", tmp_path)
    assert f"cannot listen on 127.0.0.1 port {port}" in complaint(done)


def test_check_accepts_a_sound_model_and_names_broken_rules(tiny_model, build_model):
    sound = quick("check", tiny_model)
    assert (sound.exit_code, sound.stdout) == (0, f"{tiny_model} meets the contract\n")
    broken = reid("check", build_model(ending="long"))
    assert broken.returncode == 1
    assert broken.stdout.startswith("broken: ")
    assert "Traceback" not in broken.stderr
