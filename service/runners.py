"""Which code does the jobs of which kind."""

from __future__ import annotations

from dataclasses import dataclass

from service.gallery.base import GalleryStore
from service.jobs.context import JobContext
from service.model_shelf import ModelShelf
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Runners:
    """Does any job.

    Attributes:
        settings: every setting.
        store: the galleries.
        shelf: the models.
    """

    settings: Settings
    store: GalleryStore
    shelf: ModelShelf

    def run(self, context: JobContext) -> None:
        """Do a job; each kind is safe to run again from its start."""
        match context.kind:
            case kind:
                raise NotImplementedError(f"jobs of kind {kind!r}")
