"""The report page in a real browser: no errors, no requests, every figure drawn.

``REPORT_RUN=folder`` opens the page of that run instead of a small run on drawn people.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_run import TINY, as_arguments
from waiting import PATIENCE, wait_until

pytest.importorskip(
    "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
)
pytest.importorskip("torch", reason="the extra `training` is not installed")

from typer.testing import CliRunner

from training.__main__ import app

CURVES = ("clusters", "crossing", "outliers", "loss", "learning-rate")
CLUSTERS = ("cluster-sizes", "camera-mix", "map-camera", "map-label")
DRAWN_ONLY = ("agreement", "nmi-ari", "across", "map", "rank1", *CLUSTERS)
SETTINGS = TINY | {"schedule.iterations": 2, "schedule.epochs": 2, "evaluation.every": 1}


@dataclass
class Visit:
    """An open page, and the errors and requests that the browser reported."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def training(*arguments: str) -> None:
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, f"{answer.exception!r}\n{answer.output}"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report page of a run."""
    folder = tmp_path_factory.mktemp("report")
    page = folder / "report.html"
    if run := os.environ.get("REPORT_RUN"):
        training("report", run, "--output", str(page))
        return page
    people = folder / "people"
    drawing = ("--identities", "24", "--cameras", "2", "--crops", "3")
    training("synthesize", str(people), *drawing, "--height", "64", "--width", "32")
    run = str(folder / "run")
    options = ("--device", "cpu", *as_arguments(SETTINGS))
    training("train", "--data", str(people), "--output", run, *options)
    training("report", run, "--output", str(page), "--device", "cpu")
    return page


def visit(browser: Any, report: Path, **context: Any) -> Visit:
    visited = Visit(browser.new_page(**context))
    visited.page.set_default_timeout(1000 * PATIENCE)
    complaints, page = visited.complaints, visited.page
    page.on("console", lambda m: m.type in {"error", "warning"} and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:200]}"))
    page.on("request", lambda request: visited.requests.append(request.url[:200]))
    page.goto(report.as_uri(), wait_until="load")
    return visited


def outside(requests: list[str], report: Path) -> list[str]:
    return [url for url in requests if url != report.as_uri() and not url.startswith("data:")]


def size(page: Any, name: str) -> tuple[float, float]:
    """The size of a figure in pixels; the figure must contain marks, not only axes."""
    drawings = page.locator(f"#figure-{name} svg.main-svg")
    assert drawings.count() > 0, name
    marks = page.locator(f"#figure-{name} .cartesianlayer .trace")
    assert marks.count() > 0, f"{name}: nothing drawn"
    card = page.locator("figure", has=page.locator(f"#figure-{name}"))
    # A figure adapts to its card a moment after loading.
    box, _ = wait_until(
        lambda: (drawings.first.bounding_box(), card.bounding_box()),
        lambda boxes: boxes[0]["width"] <= boxes[1]["width"],
    )
    return box["width"], box["height"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_without_errors_or_network(chromium, report, scheme, width):
    viewport = {"width": width, "height": 844}
    visited = visit(chromium, report, viewport=viewport, color_scheme=scheme)
    page = visited.page
    required = CURVES if os.environ.get("REPORT_RUN") else (*CURVES, *DRAWN_ONLY)
    figures = page.eval_on_selector_all(".plotly-graph-div", "all => all.map(one => one.id)")
    assert {f"figure-{name}" for name in required} <= set(figures)
    for name in figures:
        across, down = size(page, name.removeprefix("figure-"))
        assert 200 < across <= width
        assert down > 200
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "scrolls sideways"
    assert page.title().startswith("Training run ")
    assert page.locator("h1").count() == 1
    assert page.locator("img:not([alt])").count() == 0
    assert visited.complaints == []
    assert outside(visited.requests, report) == []
    page.close()


def test_drawn_people_are_shown_and_colours_follow_the_colour_scheme(chromium, report):
    visited = visit(chromium, report, color_scheme="light")
    page = visited.page
    ink = "getComputedStyle(document.querySelector('.plotly-graph-div .xtick text')).fill"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    # A function: an expression is evaluated at every look, which the page's policy forbids
    # from the second look on.
    page.wait_for_function(f"() => {ink} !== {light!r}")
    if not os.environ.get("REPORT_RUN"):
        loaded = "all => all.map(one => one.naturalWidth)"
        assert min(page.eval_on_selector_all("img", loaded)) > 0
    assert visited.complaints == []
    page.close()
