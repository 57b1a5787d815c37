"""The documentation in a real browser: read and searched from the disk, without a network."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical, which builds the documentation, is not installed")
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
    assert spec
    assert spec.loader
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    root = tmp_path_factory.mktemp("repository")
    builder.gather(ROOT, root / builder.SOURCE)
    shutil.copy(ROOT / "zensical.toml", root)
    ok, report = builder.build(root)
    assert ok, report
    return root / builder.SITE


def test_it_is_read_and_searched_from_the_disk(chromium: Any, site: Path) -> None:
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda line: line.type == "error" and complaints.append(line.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((site / "docs" / "tutorial.html").as_uri())
    assert "ten minutes" in page.locator("h1").inner_text()
    page.keyboard.press("Control+k")
    page.get_by_placeholder("Search").fill("threshold")
    page.get_by_text(re.compile(r"^\d+ results$")).wait_for()
    page.keyboard.press("Enter")  # opens the first result
    page.wait_for_url(lambda address: "tutorial" not in address)
    assert page.locator("h1").count() == 1
    assert complaints == []
    assert [one for one in requests if not one.startswith(("file:", "data:", "blob:"))] == []
    context.close()
