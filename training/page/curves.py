"""Draw the measures that change from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from training.page.figure import Figure, Missing, new_plot
from training.page.history import Epoch

Read = Callable[[Epoch], float | None]

_NO_TRUTH = "the run's data has no identities"
_NOT_MEASURED = "not measured in any epoch: evaluation.every is 0, or the data does not allow it"


def draw_curves(history: list[Epoch]) -> list[Figure | Missing]:
    """Draw one figure per measure.

    Args:
        history: at least one epoch.

    Returns:
        The figures; a measure without values in any epoch is reported as missing.
    """
    return [
        _curve("clusters", "Clusters", "Number of clusters", history, lambda e: e.clusters),
        _curve(
            "crossing",
            "Clusters that cross cameras",
            "Share of clusters with crops of more than one camera",
            history,
            lambda e: e.crossing,
        ),
        _curve(
            "outliers", "Outliers", "Share of crops in no cluster", history, lambda e: e.outliers
        ),
        _curve("loss", "Loss", "Mean loss", history, lambda e: e.loss),
        _curve(
            "learning-rate", "Learning rate", "Learning rate", history, lambda e: e.learning_rate
        ),
        _agreement(history),
        _truth(history),
        _across(history),
        _scores("map", "mAP", "Mean average precision", [(e, e.map) for e in history]),
        _scores("rank1", "Rank-1", "Rank-1 accuracy", [(e, e.rank1) for e in history]),
    ]


def _curve(name: str, title: str, axis: str, history: list[Epoch], read: Read) -> Figure | Missing:
    points = [(e.number, value) for e in history if (value := read(e)) is not None]
    if not points:
        return Missing(title, "the run's metrics do not contain it")
    plot = new_plot("epoch", title)
    _add_line(plot, title, points)
    first, last = points[0], points[-1]
    text = f"{axis}: {_short(first[1])} in epoch {first[0]}, {_short(last[1])} in epoch {last[0]}."
    return Figure(f"figure-{name}", title, text, plot)


def _agreement(history: list[Epoch]) -> Figure | Missing:
    title, axis = "Agreement of the cameras", "Cycle agreement, measured without labels"
    drawn = _curve("agreement", title, axis, history, lambda e: e.agreement)
    match drawn:
        case Missing():
            return Missing(
                title, f"{_NOT_MEASURED} (one camera), or an earlier version trained the run"
            )
        case Figure():
            return drawn


def _truth(history: list[Epoch]) -> Figure | Missing:
    title = "Clusters against known identities"
    known = [(e.number, e.nmi, e.ari) for e in history if e.nmi is not None and e.ari is not None]
    if not known:
        return Missing(f"{title} (NMI, ARI)", _NO_TRUTH)
    plot = new_plot("epoch", "NMI, ARI", showlegend=True)
    _add_line(plot, "NMI", [(number, nmi) for number, nmi, _ in known])
    _add_line(plot, "ARI", [(number, ari) for number, _, ari in known])
    number, nmi, ari = known[-1]
    text = (
        "Normalised mutual information and adjusted Rand index, over crops in a cluster; training "
        f"never reads identities. NMI {_short(nmi)}, ARI {_short(ari)} in epoch {number}."
    )
    return Figure("figure-nmi-ari", title, text, plot)


def _across(history: list[Epoch]) -> Figure | Missing:
    title = "Across cameras"
    if not any(epoch.across for epoch in history):
        return Missing(title, f"{_NO_TRUTH}, or nobody was seen by two cameras")
    axis = (
        "Pairs of crops from different cameras: right among those in one cluster (precision), in "
        "one cluster among those of one person (recall); people whose partner in another camera is "
        "among the k most similar (partner@k)"
    )
    return _scores("across", title, axis, [(epoch, epoch.across) for epoch in history])


def _scores(
    name: str, title: str, axis: str, measured: list[tuple[Epoch, dict[str, float]]]
) -> Figure | Missing:
    protocols = list(dict.fromkeys(protocol for _, values in measured for protocol in values))
    if not protocols:
        return Missing(title, _NOT_MEASURED)
    plot = new_plot("epoch", title, showlegend=True)
    plot.update_yaxes(tickformat=".0%")
    for protocol in protocols:
        points = [(e.number, values[protocol]) for e, values in measured if protocol in values]
        _add_line(plot, protocol, points)
    epoch, values = next((e, v) for e, v in reversed(measured) if v)
    shown = ", ".join(f"{protocol} {value:.1%}" for protocol, value in values.items())
    return Figure(f"figure-{name}", title, f"{axis} in epoch {epoch.number}: {shown}.", plot)


def _add_line(plot: go.Figure, name: str, points: list[tuple[int, float]]) -> None:
    numbers, values = zip(*points, strict=True)
    plot.add_scatter(x=numbers, y=values, name=name, mode="lines+markers", marker={"size": 5})


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
