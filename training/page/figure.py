"""A figure of the page, and the style of all figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's palette suits colour-blind readers; all are readable on light and dark.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a8f00")
GREY = "#8a8a8a"


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its title and text.

    Attributes:
        name: id of the element; unique on the page.
        title: the heading above the drawing.
        text: what the drawing shows, also for screen readers.
        plot: the drawing.
    """

    name: str
    title: str
    text: str
    plot: go.Figure

    def to_html(self) -> str:
        """Render the drawing as an element; it needs plotly's script on the page."""
        markup: str = self.plot.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=self.name,
            config={
                "displaylogo": False,
                "responsive": True,
                "modeBarButtonsToRemove": ["lasso2d"],
            },
        )
        return markup


@dataclass(frozen=True, slots=True)
class Missing:
    """A figure that cannot be drawn, and why."""

    title: str
    reason: str


def new_plot(x: str, y: str, **layout: Any) -> go.Figure:
    """Create an empty drawing with named axes.

    Args:
        x: name of the horizontal axis.
        y: name of the vertical axis.
        layout: further options of plotly's layout.

    Returns:
        The drawing, with a transparent background.
    """
    plot = go.Figure()
    plot.update_layout(
        template="none",
        height=320,
        margin={"l": 58, "r": 12, "t": 12, "b": 46},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        colorway=COLOURS,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )
    grid = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "automargin": True}
    plot.update_xaxes(title=x, **grid)
    plot.update_yaxes(title=y, **grid)
    plot.update_layout(**layout)
    return plot
