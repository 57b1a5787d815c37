"""Load a model from disk, or list every rule of the contract that it breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import ValidationError

from service.errors import ArtifactError
from service.model.detector_manifest import DetectorManifest, read_detector_manifest
from service.model.detector_rules import (
    DETECTOR_OUTPUTS,
    Candidates,
    RunDetector,
    detector_behaviour_findings,
    detector_graph_findings,
    finds_persons,
)
from service.model.manifest import (
    MANIFEST_NAME,
    Manifest,
    NetworkRecord,
    kind_of,
    read_manifest,
    sha256_of,
)
from service.model.rules import (
    Finding,
    RunNetwork,
    Tensor,
    behaviour_findings,
    graph_findings,
    manifest_findings,
    read_sizes,
    size_findings,
)
from service.model.session import infer, open_session, run_graph

_MAKE_MANIFEST = f"Create {MANIFEST_NAME}, or export the model again"


def check_model(path: Path) -> list[Finding]:
    """List every rule that a model breaks; runs the network on the CPU.

    Args:
        path: ``models/<name>``, or an ONNX file without a manifest. The manifest says whether the
            model embeds crops or finds persons; of a bare file, the names of its outputs do.

    Returns:
        The broken rules; empty for a valid model.
    """
    manifest, findings = _read_manifest(path) if path.is_dir() else (None, [])
    file = _network_file(path, manifest)
    if not file.is_file():
        return [*findings, _missing(file)]
    if manifest is not None:
        findings += _hash_findings(file, manifest)
    try:
        session = open_session(file)
    except ArtifactError as error:
        return [*findings, _not_onnx(error)]
    if path.is_dir():
        is_detector = kind_of(path) == "person-detector"
    else:
        is_detector = finds_persons(session.get_outputs())
    if is_detector:
        return findings + detector_findings(session, lambda images: find(session, images), manifest)
    embedding = manifest if isinstance(manifest, Manifest) else None
    return findings + session_findings(session, lambda images: infer(session, images), embedding)


def session_findings(
    session: onnxruntime.InferenceSession, run: RunNetwork, manifest: Manifest | None
) -> list[Finding]:
    """List the rules that a loaded network breaks.

    Args:
        session: the network, loaded by ONNX Runtime.
        run: runs it; not called if the graph breaks a rule.
        manifest: the sizes to compare with; None for a bare ONNX file.

    Returns:
        The broken rules.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    findings = graph_findings(inputs, outputs)
    if findings:
        return findings
    sizes = read_sizes(inputs, outputs)
    if manifest is not None:
        findings += manifest_findings(sizes, manifest)
    return findings + behaviour_findings(run, sizes)


def detector_findings(
    session: onnxruntime.InferenceSession, run: RunDetector, manifest: NetworkRecord | None
) -> list[Finding]:
    """List the rules for detectors that a loaded network breaks.

    Args:
        session: the network, loaded by ONNX Runtime.
        run: runs it; not called if the graph breaks a rule.
        manifest: the sizes to compare with; None for a bare ONNX file.

    Returns:
        The broken rules.
    """
    inputs = session.get_inputs()
    findings = detector_graph_findings(inputs, session.get_outputs())
    if findings:
        return findings
    height, width = (int(side) for side in inputs[0].shape[1:3])
    if manifest is not None:
        findings += size_findings({"input_height": height, "input_width": width}, manifest)
    return findings + detector_behaviour_findings(run, height, width)


def find(session: onnxruntime.InferenceSession, images: NDArray[np.uint8]) -> Candidates:
    """Run a detector.

    Args:
        session: a loaded network whose graph keeps the contract for detectors.
        images: (N, H, W, 3) uint8 RGB.

    Returns:
        The boxes and scores of all candidates.

    Raises:
        Unavailable: the run failed, for example because memory ran out.
    """
    return Candidates(*run_graph(session, images, DETECTOR_OUTPUTS))


def load_model(path: Path) -> tuple[Manifest, Path]:
    """Find a model's manifest and network file, and verify the hash.

    A bare ONNX file that keeps the contract needs no manifest: the sizes come from the graph and
    the name from the file. Such a model has no calibration, and whose labels it saw is not known.

    Args:
        path: ``models/<name>``, or an ONNX file.

    Returns:
        The manifest and the path of the network file.

    Raises:
        ArtifactError: a file is missing, the manifest or a bare file's graph breaks its rules, or
            the hash differs.
    """
    if path.is_dir():
        manifest = read_manifest(path)
        return manifest, path / manifest.file
    session = _open_bare(path, graph_findings)
    sizes = read_sizes(session.get_inputs(), session.get_outputs())
    known = {"name": _name_of(path), "sha256": sha256_of(path), **sizes._asdict()}
    return Manifest(identity_labels="not known", **known), path


def load_detector(path: Path) -> tuple[DetectorManifest, Path]:
    """Find a detector's manifest and network file, and verify the hash.

    Args:
        path: ``models/<name>``, or a bare ONNX file that keeps the contract for detectors; its
            thresholds are then the defaults of :class:`DetectorManifest`.

    Returns:
        The manifest and the path of the network file.

    Raises:
        ArtifactError: a file is missing, the manifest or a bare file's graph breaks its rules, or
            the hash differs.
    """
    if path.is_dir():
        manifest = read_detector_manifest(path)
        return manifest, path / manifest.file
    session = _open_bare(path, detector_graph_findings)
    height, width = session.get_inputs()[0].shape[1:3]
    return DetectorManifest(
        name=_name_of(path), sha256=sha256_of(path), input_height=height, input_width=width
    ), path


def _open_bare(
    path: Path, rules: Callable[[Sequence[Tensor], Sequence[Tensor]], list[Finding]]
) -> onnxruntime.InferenceSession:
    """Open a network file that has no manifest, if its graph keeps the rules of its kind."""
    if not path.is_file():
        raise ArtifactError(str(_missing(path)))
    session = open_session(path)
    refuse(path, rules(session.get_inputs(), session.get_outputs()))
    return session


def refuse(path: Path, findings: Sequence[Finding]) -> None:
    """Raise if any rule is broken.

    Args:
        path: the model, for the message.
        findings: the broken rules.

    Raises:
        ArtifactError: at least one rule is broken; the message lists them all.
    """
    if findings:
        raise ArtifactError(f"{path}: " + " ".join(map(str, findings)))


def _read_manifest(folder: Path) -> tuple[NetworkRecord | None, list[Finding]]:
    path = folder / MANIFEST_NAME
    is_detector = kind_of(folder) == "person-detector"
    record: type[NetworkRecord] = DetectorManifest if is_detector else Manifest
    try:
        return record.model_validate_json(path.read_bytes()), []
    except OSError as error:
        found = f"{path}: {error.strerror}"
        return None, [Finding(found, f"a model folder contains {MANIFEST_NAME}", _MAKE_MANIFEST)]
    except ValidationError as error:
        return None, [
            Finding(
                f"{MANIFEST_NAME}: {'.'.join(map(str, item['loc'])) or 'document'} is "
                f"{str(item['input'])[:80]!r}",
                item["msg"],
                f"Correct {path}",
            )
            for item in error.errors()
        ]


def _hash_findings(file: Path, manifest: NetworkRecord) -> list[Finding]:
    found = sha256_of(file)
    if found == manifest.sha256:
        return []
    return [
        Finding(
            f"{file}: sha256 is {found}",
            f"the manifest's sha256, {manifest.sha256}",
            "Copy the network again, or export it again if it was meant to change",
        )
    ]


def _network_file(path: Path, manifest: NetworkRecord | None) -> Path:
    if not path.is_dir():
        return path
    return path / (manifest.file if manifest else Manifest.model_fields["file"].default)


def _name_of(path: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("._-") or "model"


def _missing(file: Path) -> Finding:
    return Finding(
        f"{file} does not exist",
        f"a model is a folder with {MANIFEST_NAME} and its network, or one ONNX file",
        "Check the path",
    )


def _not_onnx(error: ArtifactError) -> Finding:
    return Finding(
        str(error),
        "the network is one ONNX file that ONNX Runtime can open, weights included",
        "Export it again, without external data",
    )
