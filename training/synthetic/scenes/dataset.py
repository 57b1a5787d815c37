"""Make a folder of scenes, in one process or several, and continue where a run stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from service.machine.durable import replaced_file
from training.synthetic.artists import encode_jpeg
from training.synthetic.scenes.filming import film_frame, stage_of
from training.synthetic.scenes.folder import (
    FOLDER,
    SCENE,
    TRACKS,
    SceneSummary,
    camera_name,
    describe,
    holds,
    summarize,
)
from training.synthetic.scenes.options import SceneOptions
from training.synthetic.scenes.plan import Plan, make_plan
from training.synthetic.scenes.street_file import StreetFile
from training.synthetic.scenes.truth import (
    Tracked,
    dump_sightings,
    load_sightings,
    mot_lines,
    sequence_text,
    table_text,
    track,
)
from training.synthetic.scenes.walks import Walk
from training.synthetic.unfinished import begin, file_error, finish, share

WORK = "work"  # what an unfinished folder holds besides frames
FRAMES_AT_ONCE = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Frames of one camera to film."""

    folder: Path
    options: SceneOptions
    walks: tuple[Walk, ...]
    camera: int
    frames: tuple[int, ...]


def make_scenes(
    out: Path, options: SceneOptions, *, overwrite: bool = False, processes: int = 1
) -> SceneSummary:
    """Film scenes; the folder appears only when it is complete.

    Frames are collected in ``OUT.unfinished``. A run that was interrupted continues there, and a
    folder that already holds what the options ask for is left as it is.

    Args:
        out: folder to create; must be missing or empty, or hold the same scenes.
        options: what to film.
        overwrite: replace other scenes that this function wrote before.
        processes: how many processes share the work; the files do not depend on it.

    Returns:
        What was filmed.

    Raises:
        Conflict: the folder is not empty, or contains files that this function did not write.
        InvalidInput: the folder cannot be written, or a package for bodies is missing.
        StorageFull: the disk is full.
    """
    out = out.resolve()
    try:
        if overwrite or not holds(out, options):
            FOLDER.check_free(out, overwrite=overwrite)
            _make(out, options, processes)
        return summarize(out)
    except OSError as error:
        raise file_error(out, error) from error


def _make(out: Path, options: SceneOptions, processes: int) -> None:
    cameras = [f"{camera_name(camera)}/gt" for camera in range(options.cameras)]
    unfinished = begin(out, (WORK, *cameras), continues=lambda folder: holds(folder, options))
    plan = make_plan(options)
    scene = json.dumps(describe(options, plan), indent=2) + "\n"
    (unfinished / SCENE).write_text(scene, encoding="utf-8")
    _film_missing(unfinished, options, plan, processes)
    _write_truth(unfinished, options)
    shutil.rmtree(unfinished / WORK)
    finish(unfinished, out)


def _film_missing(folder: Path, options: SceneOptions, plan: Plan, processes: int) -> None:
    tasks = []
    for camera in range(options.cameras):
        missing = [
            frame
            for frame in range(1, options.frames + 1)
            if not _frame_file(folder, camera, frame).exists()
        ]
        tasks += [
            _Task(
                folder,
                options,
                plan.walks[camera],
                camera,
                tuple(missing[first : first + FRAMES_AT_ONCE]),
            )
            for first in range(0, len(missing), FRAMES_AT_ONCE)
        ]
    total = options.cameras * options.frames
    done = total - sum(len(task.frames) for task in tasks)
    streets = {task.camera: task for task in tasks}.values()
    with tqdm(total=total, initial=done, desc="film", unit="frame", disable=None) as progress:
        # Streets first, so that no two processes see the same one at the same time.
        for work, items in ((_see_street, list(streets)), (_film, tasks)):
            for made in share(work, items, processes):
                progress.update(made)


def _see_street(task: _Task) -> int:
    """See a camera's empty street; counts as no frame."""
    stage_of(task.options, task.camera, _street_file(task))
    return 0


def _film(task: _Task) -> int:
    stage = stage_of(task.options, task.camera, _street_file(task))
    for frame in task.frames:
        filmed = film_frame(task.options, task.walks, stage, frame)
        truth = dump_sightings(filmed.sightings).encode()
        _write(_truth_file(task.folder, task.camera, frame), truth)
        # Last, because a resumed run counts a frame that exists as complete.
        _write(_frame_file(task.folder, task.camera, frame), encode_jpeg(filmed.pixels))
    return len(task.frames)


def _write(path: Path, content: bytes) -> None:
    with replaced_file(path, durable=False) as file:
        file.write(content)


def _street_file(task: _Task) -> StreetFile:
    return StreetFile(task.folder / WORK / f"{camera_name(task.camera)}.npy")


def _frame_file(folder: Path, camera: int, frame: int) -> Path:
    return folder / camera_name(camera) / f"{frame:06d}.jpg"


def _truth_file(folder: Path, camera: int, frame: int) -> Path:
    return folder / WORK / f"{camera_name(camera)}-{frame:06d}.json"


def _write_truth(folder: Path, options: SceneOptions) -> None:
    cameras: dict[str, list[Tracked]] = {}
    for camera in range(options.cameras):
        name = camera_name(camera)
        sightings = [
            each
            for frame in range(1, options.frames + 1)
            for each in load_sightings(
                _truth_file(folder, camera, frame).read_text(encoding="utf-8")
            )
        ]
        cameras[name] = track(sightings)
        (folder / name / "gt" / "gt.txt").write_text(mot_lines(cameras[name]), encoding="utf-8")
        text = sequence_text(options, name)
        (folder / name / "seqinfo.ini").write_text(text, encoding="utf-8")
    (folder / TRACKS).write_text(table_text(options, cameras), encoding="utf-8")
