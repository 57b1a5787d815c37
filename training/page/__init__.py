"""The report of a run: one self-contained HTML file, which needs no network."""

from training.page.document import write_page
from training.page.gathered import Wanted

__all__ = ["Wanted", "write_page"]
