"""Load a model from disk, or list every rule of the contract that it breaks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
from pydantic import ValidationError

from service.errors import ArtifactError
from service.model.manifest import MANIFEST_NAME, Manifest, read_manifest, sha256_of
from service.model.rules import (
    Finding,
    RunNetwork,
    behaviour_findings,
    graph_findings,
    manifest_findings,
    read_sizes,
)
from service.model.session import infer, open_session

_MAKE_MANIFEST = f"Create {MANIFEST_NAME}, or export the model again"


def check_model(path: Path) -> list[Finding]:
    """List every rule that a model breaks; runs the network on the CPU.

    Args:
        path: ``models/<name>``, or an ONNX file without a manifest.

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
    return findings + session_findings(session, lambda images: infer(session, images), manifest)


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
    if not path.is_file():
        raise ArtifactError(str(_missing(path)))
    session = open_session(path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    refuse(path, graph_findings(inputs, outputs))
    sizes = read_sizes(inputs, outputs)
    known = {"name": _name_of(path), "sha256": sha256_of(path), **sizes._asdict()}
    return Manifest(identity_labels="not known", **known), path


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


def _read_manifest(folder: Path) -> tuple[Manifest | None, list[Finding]]:
    path = folder / MANIFEST_NAME
    try:
        return Manifest.model_validate_json(path.read_bytes()), []
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


def _hash_findings(file: Path, manifest: Manifest) -> list[Finding]:
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


def _network_file(path: Path, manifest: Manifest | None) -> Path:
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
