"""The documentation builds as a site, without a broken link, and needs no network to be read."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
# Attributes that a browser follows by itself; links that a reader clicks may lead anywhere.
FETCHED = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("source", "srcset"),
    ("iframe", "src"),
    ("video", "src"),
    ("object", "data"),
}
NOT_FETCHED = {"canonical", "prev", "next", "alternate", "license"}
IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")


class Fetched(HTMLParser):
    """Collects the addresses that a browser fetches by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "link" and given.get("rel") in NOT_FETCHED:
            return
        self.addresses += [value or "" for name, value in attributes if (tag, name) in FETCHED]


def builder():
    """The script behind ``make docs``."""
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site is built from, in a folder of its own."""
    root = tmp_path_factory.mktemp("repository")
    site = builder()
    site.gather(ROOT, root / site.SOURCE)
    shutil.copy(ROOT / "zensical.toml", root)
    return root


def build(root: Path) -> tuple[bool, str]:
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical, which builds the documentation, is not installed")
    return builder().build(root)


@pytest.fixture(scope="module")
def site(repository: Path) -> Path:
    ok, report = build(repository)
    assert ok, report
    return repository / "build" / "docs"


def test_no_page_fetches_anything_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 40
    fetched = {
        (page.relative_to(site).as_posix(), address)
        for page in pages
        for address in Fetched(page.read_text(encoding="utf-8")).addresses
        if re.match(r"(?:https?:)?//", address)
    }
    assert not fetched


def test_no_style_fetches_anything_from_another_host(site):
    wrong = [
        path.name
        for path in site.rglob("*.css")
        if IN_STYLE.search(path.read_text(encoding="utf-8"))
    ]
    assert not wrong


def test_every_picture_of_a_page_is_in_the_site(site):
    missing = [
        f"{page.relative_to(site)}: {address}"
        for page in site.rglob("*.html")
        for address in Fetched(page.read_text(encoding="utf-8")).addresses
        if not address.startswith(("data:", "http", "//", "#"))
        and page.name != "404.html"  # its addresses begin at the root of a server
        and not (page.parent / address.partition("?")[0].partition("#")[0]).exists()
    ]
    assert not missing


def test_a_broken_link_fails_the_build(repository, tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(repository, root, ignore=shutil.ignore_patterns("docs", ".cache"))
    shutil.copytree(
        repository / "build/docs-source", root / "build/docs-source", dirs_exist_ok=True
    )
    page = root / "build/docs-source/docs/tutorial.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[nowhere](nowhere.md)\n")
    ok, report = build(root)
    assert not ok
    assert "page does not exist" in report


def test_the_animation_is_small_and_moves():
    path = ROOT / "docs" / "images" / "page.webp"
    assert path.stat().st_size < 1_500_000
    with Image.open(path) as animation:
        assert animation.n_frames > 5


def test_the_navigation_names_every_page_of_the_docs():
    table = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    named = set(re.findall(r"'([\w/.-]+\.md)'", repr(table["project"]["nav"])))
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    decisions = {name for name in there if re.match(r"docs/adr/\d", name)}
    assert there - decisions <= named, "pages without a place in zensical.toml"
    assert not {name for name in named if not (ROOT / name).is_file()}


def test_the_guides_are_listed():
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/guides/README.md").read_text()))
    assert listed == {path.name for path in (ROOT / "docs/guides").glob("*.md")} - {"README.md"}
