"""Format an inspection as text and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from training.data.duplicates import NEAR_BITS, Twins
from training.data.entries import describe_skipped
from training.data.inspection import Inspection, Pictures, Spread

_EXAMPLES = 3


def inspection_as_dict(found: Inspection) -> dict[str, Any]:
    """Convert an inspection to plain values for JSON; duplicates are listed as files.

    Args:
        found: the inspection.

    Returns:
        The tree.
    """
    tree = asdict(found)
    del tree["files"]
    tree["skipped"] = [{"path": str(s.path), "reason": s.reason} for s in found.skipped]
    for name in ("same_bytes", "same_pixels", "near"):
        groups = tree[name]["groups"]
        tree[name]["groups"] = [[str(found.files[i]) for i in group] for group in groups]
    return tree


def describe_inspection(found: Inspection) -> str:
    """Describe an inspection for people.

    Args:
        found: the inspection.

    Returns:
        The text, without a newline at the end.
    """
    lines = [f"{found.name} ({found.layout})", "", *_describe_splits(found)]
    lines += [f"left out: {count} x {reason}" for reason, count in found.left_out.items()]
    lines += found.remarks
    if found.pictures:
        lines += ["", *_describe_pictures(found.pictures)]
    lines += ["", *_describe_all_twins(found)]
    return "\n".join([*lines, *describe_skipped(found.skipped)])


def _describe_splits(found: Inspection) -> Iterator[str]:
    heads = ("", "crops", "identities", "per identity", "per camera", "one camera only")
    rows: list[tuple[str, ...]] = [heads]
    for name, counts in found.splits.items():
        per_identity = _range(counts.per_identity) if counts.per_identity else "unknown"
        people = (str(counts.identities), per_identity, _range(counts.per_camera))
        rows.append((name, str(counts.crops), *people, str(counts.one_camera)))
    yield from _table(rows)
    yield "(crops per identity and per camera: min / median / max)"
    if distractors := sum(counts.distractors for counts in found.splits.values()):
        yield f"distractors in gallery (identity 0): {distractors}"
    yield ""
    cameras = next(iter(found.splits.values())).of_camera
    matrix: list[tuple[str, ...]] = [("camera", *found.splits)]
    for camera in cameras:
        crops = (str(counts.of_camera[camera]) for counts in found.splits.values())
        matrix.append((camera, *crops))
    yield from _table(matrix)


def _describe_pictures(pictures: Pictures) -> Iterator[str]:
    yield f"height {_range(pictures.height)} px, width {_range(pictures.width)} px"
    yield from _bars("height in px", pictures.heights)
    yield f"height / width {_range(pictures.ratio)}"
    yield from _bars("height / width", pictures.ratios)


def _describe_all_twins(found: Inspection) -> Iterator[str]:
    kinds = (
        ("same file", found.same_bytes),
        ("same pixels, other file", found.same_pixels),
        (f"near (at most {NEAR_BITS} of 64 bits of a perceptual hash differ)", found.near),
    )
    for name, twins in kinds:
        yield f"{name}: {_describe_twins(twins)}"
        for group in twins.groups[:_EXAMPLES]:
            yield "  " + " = ".join(found.files[i].name for i in group[:_EXAMPLES])


def _describe_twins(twins: Twins) -> str:
    if not twins.groups:
        return "none"
    return (
        f"{twins.spare} duplicates in {len(twins.groups)} groups "
        f"({twins.across_splits} across splits, {twins.across_identities} across identities)"
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            f"{cell:>{width}}" if column else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *rest]).rstrip()


def _bars(title: str, counts: dict[str, int]) -> Iterator[str]:
    most, longest = max(counts.values()), max(map(len, counts))
    for name, count in counts.items():
        bar = "#" * max(1, round(30 * count / most))
        yield f"  {title} {name:<{longest}}  {count:>6}  {bar}"


def _range(spread: Spread) -> str:
    return f"{spread.minimum:.4g} / {spread.median:.4g} / {spread.maximum:.4g}"
