"""The page that shows a run: one HTML file with everything in it, for a browser without network."""

from training.page.document import write_page
from training.page.gathered import Wanted

__all__ = ["Wanted", "write_page"]
