"""Build the documentation as a site that can be read without a network: ``make docs``.

Documents link to each other across the repository, so they are copied with their folders, together
with the files they link to. Links then work on the site as they do in the repository.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = "build/docs-source"
"""Where the documents are gathered; ``zensical.toml`` names the same folder."""
SITE = "build/docs"
DOCUMENTS = (
    "*.md",
    "docs/**/*.md",
    "benchmarks/README.md",
    "models/*/CARD.md",
    "training/configs/*.md",
)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SHIM = ROOT / "docs" / "search-from-disk.js"
# The generator would load such a script from another host.
FOREIGN_SHIM = re.compile(r"<script src=\"?https://[^>]*></script>")
LINK = re.compile(r"\]\((?P<markdown>[^)#\s]+)|(?:src|srcset)=\"(?P<html>[^\"]+)\"")


def main() -> int:
    """Gather the documents and build the site.

    Returns:
        An exit status, 1 if a link is broken.
    """
    gather(ROOT, ROOT / SOURCE)
    ok, report = build(ROOT)
    print(report)
    return 0 if ok else 1


def build(root: Path) -> tuple[bool, str]:
    """Build the site from the gathered documents.

    Args:
        root: the folder of ``zensical.toml``.

    Returns:
        Whether every link leads somewhere, and the generator's report.
    """
    command = [Path(sys.executable).with_name("zensical"), "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    own = f"<script>{SHIM.read_text(encoding='utf-8')}</script>"
    for page in (root / SITE).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(FOREIGN_SHIM.sub(lambda _: own, text), encoding="utf-8")
    return done.returncode == 0, plain(done.stdout + done.stderr)


def plain(report: str) -> str:
    """A report without colours: the generator colours every letter, and nothing turns that off."""
    return re.sub(r"\x1b\[[\d;]*m", "", report)


def gather(root: Path, target: Path) -> None:
    """Copy every document, and every file that one links to, into an empty folder.

    Args:
        root: the repository.
        target: the folder, which is emptied first.
    """
    shutil.rmtree(target, ignore_errors=True)
    documents = {path for pattern in DOCUMENTS for path in root.glob(pattern)}
    linked = {path for document in documents for path in links(document)}
    for path in documents | {path for path in linked if path.is_file()}:
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def links(document: Path) -> Iterator[Path]:
    """The paths that a document links to, whether they exist or not."""
    for found in LINK.finditer(FENCED.sub("", document.read_text(encoding="utf-8"))):
        target = found["markdown"] or found["html"]
        if not re.match(r"[a-z]+:", target):
            yield (document.parent / target).resolve()


if __name__ == "__main__":
    sys.exit(main())
