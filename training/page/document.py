"""Assemble the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from service.errors import InvalidInput
from service.machine.durable import replaced_file
from training.page.clusters import TITLES, draw_clusters
from training.page.curves import draw_curves
from training.page.figure import Figure, Missing
from training.page.gathered import Gathered, Wanted, gather
from training.page.history import Chosen, Epoch, choose_epochs, read_history

_TEMPLATE = "page.html.jinja"
_UNKNOWN = "-"


def write_page(wanted: Wanted, output: Path) -> Path:
    """Write the report of a run.

    Args:
        wanted: the run, and what to show of it.
        output: the HTML file; its folder is created, an older page is replaced.

    Returns:
        The file.

    Raises:
        InvalidInput: the folder contains no run, a file in it is damaged, or the page cannot be
            written.
    """
    history = read_history(wanted.run)
    html = _render(wanted.run.resolve().name, history, gather(wanted))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(output, durable=False) as file:
            file.write(html.encode())
    except OSError as error:
        raise InvalidInput(f"{output}: cannot write the page: {error.strerror}") from error
    return output


def _render(name: str, history: list[Epoch], gathered: Gathered) -> str:
    environment = Environment(
        loader=PackageLoader("training.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    curves = draw_curves(history)
    clusters: list[Figure | Missing]
    match gathered.clusters:
        case Missing(_, reason):
            origin, clusters = "", [Missing(title, reason) for title in TITLES]
        case found:
            origin, clusters = found.origin, draw_clusters(found.record, found.cameras)
    parts = [*curves, *clusters, *gathered.unlisted]
    return environment.get_template(_TEMPLATE).render(
        name=name,
        epochs=_planned(gathered.recipe, history),
        summary=_summary(choose_epochs(history)),
        curves=[f for f in curves if isinstance(f, Figure)],
        clusters=[f for f in clusters if isinstance(f, Figure)],
        origin=origin,
        lists=gathered.lists,
        missing=[f for f in parts if isinstance(f, Missing)],
        recipe=None if gathered.recipe is None else list(_flatten(gathered.recipe)),
        plotly=get_plotlyjs(),
    )


def _planned(recipe: dict[str, Any] | None, history: list[Epoch]) -> str:
    done = history[-1].number
    return f"{done} of {recipe['schedule']['epochs']}" if recipe else str(done)


def _flatten(tree: dict[str, Any], section: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values, in the form of ``--set``."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", str(value)


def _summary(chosen: list[Chosen]) -> dict[str, list[str]]:
    """Rows of the summary, one cell per epoch."""
    epochs = [c.epoch for c in chosen]
    rows = {
        "": [c.title for c in chosen],
        "epoch": [str(e.number) for e in epochs],
        "clusters": [_UNKNOWN if e.clusters is None else str(e.clusters) for e in epochs],
        "clusters that cross cameras": [_percent(e.crossing) for e in epochs],
        "outliers": [_percent(e.outliers) for e in epochs],
        "loss": [_decimal(e.loss) for e in epochs],
        "agreement of the cameras": [_decimal(e.agreement) for e in epochs],
        "NMI": [_decimal(e.nmi) for e in epochs],
        "ARI": [_decimal(e.ari) for e in epochs],
    }
    if any(e.verification is not None for e in epochs):
        rows["verification by tracks and frames"] = [_decimal(e.verification) for e in epochs]
    for name in dict.fromkeys(name for e in epochs for name in e.across):
        rows[f"{name} across cameras"] = [_percent(e.across.get(name)) for e in epochs]
    for protocol in dict.fromkeys(name for e in epochs for name in e.map):
        rows[f"mAP, {protocol}"] = [_percent(e.map.get(protocol)) for e in epochs]
        rows[f"rank-1, {protocol}"] = [_percent(e.rank1.get(protocol)) for e in epochs]
    return rows


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.1%}"


def _decimal(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"
