"""A service with one gallery that is reset before every run."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from waiting import ended, wait_until

from pauses.schedule import STUCK_SECONDS, Now, operation, stepped
from service.errors import ReidError
from service.gallery.base import Filter
from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.settings import Settings
from service.testing import solid

GALLERY = "g"
LONG = 3600.0 * 24 * 365 * 20
EXPIRED = "1990-01-01T00:00:00Z"
COLOURS = {
    "a": (200, 20, 20),
    "b": (205, 20, 20),
    "c": (20, 200, 20),
    "d": (20, 205, 20),
    "e": (20, 20, 200),
    "f": (20, 20, 205),
}
PEOPLE = {"a": "p", "b": "p", "c": "q"}


def picture(crop_id: str, step: int = 0) -> bytes:
    """The picture of a crop; each step gives another picture."""
    red, green, blue = COLOURS.get(crop_id, (120, 120, 20))
    return solid((red, green, min(blue + 3 * step, 255)), kind="PNG")


class World:
    """The service, the initial state of its gallery, and what can be seen of it.

    Args:
        parts: the parts of the running service.
        url: its address.
        ended: for each job, by id, an event that is set at its end.
    """

    def __init__(self, parts: Any, url: str, ended: dict[str, threading.Event]) -> None:
        self.parts = parts
        self.ended = ended
        self.http = httpx.Client(base_url=url, timeout=STUCK_SECONDS)
        self.data: Path = parts.settings.data
        self._agreed: set[str] = set()

    def begin(self) -> None:
        """Create the gallery once, with a snapshot and a version that lacks a picture."""
        body = {"name": GALLERY, "store_crops": True, "keep_for": LONG, "model": "old"}
        self._ok(self.http.post("/galleries", json=body))
        entries = [
            {"crop_id": crop_id, "camera": "c1", "timestamp": EXPIRED if crop_id == "f" else None}
            | ({"identity": PEOPLE[crop_id]} if crop_id in PEOPLE else {})
            for crop_id in COLOURS
        ]
        files = [("images", (crop_id, picture(crop_id))) for crop_id in COLOURS]
        form = {"crops": json.dumps(entries)}
        self._ok(self.http.post(f"/galleries/{GALLERY}/crops", files=files, data=form))
        self.finish(self._ok(self.http.post(f"/galleries/{GALLERY}/model", json={"model": "new"})))
        newer = {"image": ("a", picture("a", 2))}
        fields = {"identity": PEOPLE["a"], "camera": "c1"}
        path = f"/galleries/{GALLERY}/crops/a"
        self._ok(self.http.put(path, files=newer, data=fields))
        self._ok(self.http.post(f"/galleries/{GALLERY}/snapshots"))
        self.parts.store.close()
        for kind in ("galleries", "snapshots"):
            shutil.copytree(self.data / kind / GALLERY, self.data / "beginning" / kind)

    @property
    def snapshot(self) -> str:
        """The snapshot of the initial state."""
        (path,) = (self.data / "beginning" / "snapshots").glob("*.sqlite3")
        return path.stem

    def reset(self) -> None:
        """Reset the gallery to its initial state."""
        store = self.parts.store
        gallery = store._catalogue.served.pop(GALLERY, None)
        if gallery is not None:
            gallery.close()
        for kind in ("galleries", "snapshots"):
            folder = self.data / kind / GALLERY
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.data / "beginning" / kind, folder)
        store._catalogue.load(GALLERY)

    def finish(self, answer: httpx.Response) -> dict[str, Any]:
        """Wait for a job to end."""
        return ended(self.http, answer)

    def state(self) -> dict[str, Any]:
        """What can be seen of the gallery, without times and generated ids."""
        try:
            gallery = self.parts.store.open(GALLERY)
        except ReidError as error:
            return {"gone": error.code, "snapshots": self._snapshots()}
        crops = gallery.crops(Filter())
        return {
            "options": gallery.options,
            "crops": {crop.crop_id: _told(crop) for crop in crops},
            "pictures": sorted(c.crop_id for c in crops if _picture_of(gallery, c.crop_id)),
            "snapshots": self._snapshots(),
        }

    def check_soundness(self, told: str) -> None:
        """Check that pictures match digests, memory matches the disk, and versions can agree."""
        try:
            gallery = self.parts.store.open(GALLERY)
        except ReidError:
            return
        told_of: list[Any] = [self.state()]
        ids = {crop.crop_id for crop in gallery.crops(Filter())}
        for version in (gallery, *gallery.versions.kept.values()):
            crops = version.crops(Filter())
            told_of.append([version.model_sha256, *map(_told, crops)])
            listed = list(version.page(Filter(), 1000).crops)
            assert crops == listed, f"{told}: memory differs from disk"
            unreachable = {crop.crop_id for crop in crops} - ids
            assert not unreachable, f"{told}: a kept version still has {unreachable}"
            for crop in crops:
                data = _picture_of(version, crop.crop_id)
                assert data, f"{told}: {crop.crop_id} has lost its picture"
                sound = hashlib.sha256(data).hexdigest() == crop.digest
                assert sound, f"{told}: {crop.crop_id} has the picture of another file"
        if repr(told_of) not in self._agreed:  # many pauses have the same result
            for copy in list(gallery.versions.kept.values()):
                self._check_agreement(copy.model_sha256, told)
            self._agreed.add(repr(told_of))

    def check_receipt(self, receipt: dict[str, Any], crop_id: str, told: str) -> None:
        """Check that the receipt of an erasure lists every snapshot that holds the crop."""
        for path in (self.data / "snapshots" / GALLERY).glob("*.sqlite3"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as reader:
                statement = "SELECT 1 FROM crops WHERE crop_id = ?"
                holds = reader.execute(statement, [crop_id]).fetchone() is not None
            named = path.stem in receipt["snapshots"]
            assert named or not holds, f"{told}: the receipt leaves out {path.stem}"

    def _check_agreement(self, sha256: str, told: str) -> None:
        """Check that a switch copies everything, including pictures."""
        name = self.parts.shelf.of(sha256).manifest.name
        before = self.state()
        body = {"model": name}
        self._ok(self.http.post(f"/galleries/{GALLERY}/model/switch", json=body))
        assert self.state() == before, f"{told}: switching to {name} lost something"

    def _snapshots(self) -> list[Any]:
        """The crops of each snapshot except the first."""
        found = []
        for path in sorted((self.data / "snapshots" / GALLERY).glob("*.sqlite3")):
            if path.stem == self.snapshot:
                continue
            with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as reader:
                rows = reader.execute("SELECT crop_id, identity, camera, digest FROM crops")
                found.append(sorted(map(repr, rows)))
        return sorted(found)

    @staticmethod
    def _ok(answer: httpx.Response) -> httpx.Response:
        assert answer.is_success, answer.text
        return answer


def _told(crop: Any) -> tuple[Any, ...]:
    return (crop.identity, crop.camera, crop.timestamp, crop.digest, crop.origin)


def _picture_of(gallery: Any, crop_id: str) -> bytes:
    try:
        data: bytes = gallery.picture(crop_id)
    except ReidError:
        return b""
    return data


def archive(*members: tuple[str, bytes, dict[str, Any]]) -> bytes:
    """A tar archive with its manifest."""
    rows = [json.dumps({"path": name, **known}).encode() for name, _, known in members]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (
            ("manifest.ndjson", b"\n".join(rows)),
            *((name, data) for name, data, _ in members),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class _Labelled:
    """The app, with each request's operation known and places at its awaits."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"x-operation":
                operation.set(value.decode())
        await stepped(self._app, "a request")(scope, receive, send)


def _label_jobs(board: Any, bridge: Any) -> dict[str, threading.Event]:
    """Assign jobs, and their calls on the event loop, to the operation that placed them.

    Returns:
        For each job that will be placed, by id, an event that is set at its end.
    """
    owners: dict[str, str] = {}
    events: dict[str, threading.Event] = {}
    workers = board._workers
    place, run, patiently = board.place, workers._run, bridge._patiently
    ended = workers._ended

    def place_labelled(*args: Any, **kwargs: Any) -> Any:
        with board._lock:  # no worker may begin before the job's operation is known
            job = place(*args, **kwargs)
            owners.setdefault(job.job_id, operation.get())
            events.setdefault(job.job_id, threading.Event())
        return job

    def run_labelled(context: Any) -> None:
        operation.set(owners.get(context.job_id, ""))
        try:
            run(context)
        finally:
            operation.set("")

    def ended_told(context: Any, *how: Any) -> None:
        ended(context, *how)
        events[context.job_id].set()

    def patiently_labelled(ask: Any, pause: Any, **kwargs: Any) -> Any:
        def pause_noted(seconds: float) -> None:
            Now.schedule.note_wait("another turn")
            pause(seconds)

        return patiently(stepped(ask, "a job"), pause_noted, **kwargs)

    board.place, workers._run, bridge._patiently = place_labelled, run_labelled, patiently_labelled
    workers._ended = ended_told
    return events


@contextmanager
def running_world(data: Path, models: Path) -> Iterator[World]:
    """Provide a world for the duration of the block."""
    settings = Settings(data=data, device="cpu", model=models / "old", models=models)
    settings = settings.model_copy(update={"retention_seconds": 1e6, "max_queue_seconds": 1e6})
    app = create_app(settings)
    parts = app.state.parts
    ended = _label_jobs(parts.board, parts.board._bridge)
    with bind("127.0.0.1", 0) as listener:
        config = server_config(app, settings)
        config.app = _Labelled(app)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the service did not start"
            world = World(parts, url_of(listener), ended)
            with world.http:
                yield world
        finally:
            server.should_exit = True
            thread.join(STUCK_SECONDS)
