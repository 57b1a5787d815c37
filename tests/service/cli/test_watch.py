"""``python -m service watch`` against a running service with the shipped detector."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from films import film, plain
from PIL import Image
from typer.testing import CliRunner

from service.cli.main import cli
from service.testing import encode

ROOT = Path(__file__).parents[3]
NANODET = ROOT / "models" / "nanodet-person"
DRAWN = ROOT / "docs" / "images" / "drawn-people.png"


@pytest.fixture(scope="module")
def service(launch, tmp_path_factory):
    with launch(tmp_path_factory.mktemp("data"), detector=NANODET) as service:
        yield service


@pytest.fixture(scope="module")
def people() -> np.ndarray:
    """A frame of three drawn people whom the detector finds."""
    with Image.open(DRAWN) as picture:
        return np.asarray(picture.convert("RGB").crop((0, 0, 200, 170)))


def run(service, *arguments: object):
    return CliRunner().invoke(cli, ["watch", *map(str, arguments), "--url", service.url])


def last(done) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


def jpeg(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


class Camera:
    """Sends pictures as MJPEG over HTTP to one client at a time, as network cameras do."""

    def __init__(self, picture: bytes) -> None:
        self.connections = 0
        self._picture = picture
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._pause = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://name:secret@127.0.0.1:{self._listener.getsockname()[1]}/video"

    def hang_up(self) -> None:
        """Break the connection."""
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._pause.set()
        self._listener.close()
        self.hang_up()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n"
        part = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
        with suppress(OSError), connection:
            connection.recv(4096)
            connection.sendall(head)
            while not self._pause.wait(0.05):
                connection.sendall(part % (len(self._picture), self._picture))


@pytest.fixture
def camera(people) -> Iterator[Camera]:
    found = Camera(jpeg(people))
    yield found
    found.close()


def test_a_video_file_again_replaces_what_it_gave_before(service, people, tmp_path):
    file = tmp_path / "gate.mp4"
    file.write_bytes(film([people] * 4))
    told = ("--camera", "c1", "--gallery", "film", "--timestamp", "2026-11-21T08:30:00Z")
    told += ("--no-tracks", "--json")
    for _ in range(2):
        done = run(service, file, *told)
        assert done.exit_code == 0, done.output
        counts, crop_ids = last(done), service.crop_ids("film", cameras="c1")
        assert (counts["frames_read"], counts["frames_sent"], counts["frames_dropped"]) == (2, 2, 0)
        assert counts["persons_stored"] == len(crop_ids) == 6
        assert (counts["final"], counts["lag_seconds"]) == (True, None)
    assert {crop_id[:15] for crop_id in crop_ids} == {"gate.mp4/000000", "gate.mp4/000002"}
    crop = service.http.get("/galleries/film/crops/gate.mp4/000002/01").json()
    assert crop["timestamp"] == 1795249800.5


def test_persons_are_followed_and_the_best_pictures_of_each_are_sent(service, people, tmp_path):
    file = tmp_path / "walk.mp4"
    file.write_bytes(film([np.roll(people, 2 * step, axis=1) for step in range(14)]))
    for _ in range(2):
        done = run(service, file, "--camera", "c5", "--gallery", "walk", "--json")
        assert done.exit_code == 0, done.output
        counts = last(done)
        page = service.http.get("/galleries/walk/crops").json()["crops"]
        assert counts["persons_stored"] == len(page)
        assert counts["persons_stored"] + counts["persons_dropped"] == 21
    tracks = Counter(crop["track"] for crop in page)
    assert set(tracks) == {"walk.mp4-1", "walk.mp4-2", "walk.mp4-3"}
    assert max(tracks.values()) <= 4
    for crop in page:
        frame_id, number, person = crop["crop_id"].rsplit("/", 2)
        assert (crop["track"], crop["camera"]) == (f"walk.mp4-{number}", "c5")
        assert (frame_id[:11], person) == ("walk.mp4/00", "01")
    done = run(service, file, "--camera", "c5", "--fps", "0.5", "--tracks")
    assert (done.exit_code, "--tracks needs --fps of at least 1" in done.stderr) == (1, True)


def test_a_folder_in_which_a_broken_frame_fails_alone(service, people, tmp_path):
    (tmp_path / "sub").mkdir()
    for name, data in (
        ("a.png", encode(people)),
        ("sub/b.jpg", jpeg(people)),
        ("sub/dot.png", encode(plain(1, (2, 2))[0])),
        ("broken.jpg", b"x"),
        (".hidden.png", encode(people)),
        ("notes.txt", b"x"),
    ):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (1795249800, 1795249800))
    done = run(service, tmp_path, "--camera", "c2", "--gallery", "folder", "--once")
    assert done.exit_code == 1
    crop_ids = service.crop_ids("folder", cameras="c2")
    assert {crop_id.rpartition("/")[0] for crop_id in crop_ids} == {"c2/a.png", "c2/sub/b.jpg"}
    assert service.http.get(f"/galleries/folder/crops/{crop_ids[0]}").json()["timestamp"] == (
        1795249800.0
    )
    assert done.stdout.splitlines()[-1] == (
        f"4 frames read, 2 sent, 0 dropped, 2 failed, {len(crop_ids)} persons stored"
    )
    failed = sorted(line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert failed[0].startswith("failed: c2/broken.jpg: ")
    assert failed[1].startswith("failed: c2/sub/dot.png: ")


def test_a_stream_that_breaks_and_is_interrupted(service, camera):
    command = [sys.executable, "-m", "service", "watch", camera.url, "--camera", "c3"]
    more = ["--gallery", "stream", "--json", "--every", "0.2", "--fps", "5", "--no-tracks"]
    with subprocess.Popen(
        [*command, *more, "--url", service.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if json.loads(line)["persons_stored"]:
                break
        camera.hang_up()
        for line in process.stdout:
            if json.loads(line)["reconnects"]:
                break
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate()
    counts = json.loads(rest.splitlines()[-1])
    assert process.returncode == 130
    assert counts["final"] is True
    assert counts["frames_read"] >= counts["frames_sent"] > 0
    assert counts["lag_seconds"] >= 0.0
    assert counts["frames_failed"] == 0
    assert camera.connections >= 2
    assert complaints.splitlines()[-1] == "interrupted"
    assert "secret" not in complaints
    crop_ids = service.crop_ids("stream", cameras="c3")
    assert len(crop_ids) == min(counts["persons_stored"], 1000)
    assert crop_ids[0].startswith("c3/20")


def test_a_source_that_cannot_be_read_says_why_and_stores_nothing(service, tmp_path):
    before = service.http.get("/galleries").json()
    text, tiny, large = tmp_path / "a.mp4", tmp_path / "b.avi", tmp_path / "c.mkv"
    text.write_bytes(b"#EXTM3U\n/etc/hostname\n")
    tiny.write_bytes(film(plain(2, (2, 2)), kind="avi"))
    large.write_bytes(film(plain(1, (4200, 4200)), kind="matroska", codec="mjpeg"))
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = f"http://name:secret@127.0.0.1:{nobody.getsockname()[1]}/"
    for source, said in (
        ("nowhere", "no such file or folder, and not rtsp:// or http://"),
        (text, "not a video in a known format"),
        (tiny, "frames of 2x2 pixels: each side needs at least 8"),
        (large, "at most 16,000,000"),
        (closed, "no connection: Connection refused"),
        (f"{service.url}/livez", "no connection: Invalid data found"),
    ):
        done = run(service, source, "--camera", "c4")
        assert done.exit_code == 1, source
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert said in error
        assert "secret" not in error
    for options in (
        ("--camera", " "),
        ("--camera", "x" * 101),
        ("--camera", "c", "--tiles", "9x9"),
        ("--camera", "c", "--once"),
        ("--camera", "c", "--timestamp", "yesterday"),
    ):
        done = run(service, text, *options)
        assert (done.exit_code, done.stderr[:7]) == (1, "error: "), options
    assert service.http.get("/galleries").json() == before


def test_without_the_extra_the_command_says_what_to_install(service, tmp_path, monkeypatch):
    monkeypatch.setattr("service.video.needed.find_spec", lambda name: None)
    done = run(service, tmp_path, "--camera", "c1")
    assert done.exit_code == 1
    assert done.stderr.endswith('pip install "hhcl-reid[video]"\n')
