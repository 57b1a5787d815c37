"""Which code runs which kind of job."""

from __future__ import annotations

from dataclasses import dataclass

from service.embedding.shelf import ModelShelf
from service.gallery.protocol import GalleryStore
from service.identities import grouping
from service.identities.corrections import Corrections
from service.imports.importer import Importer
from service.ingest.arrivals import Arrivals
from service.jobs.context import JobContext
from service.model_change.change import ModelChange
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Runners:
    """Runs jobs of every kind.

    Attributes:
        settings: every setting.
        store: the galleries.
        shelf: the models.
        arrivals: is told what imports stored.
        corrections: changes identities.
        model_change: embeds galleries with other models.
    """

    settings: Settings
    store: GalleryStore
    shelf: ModelShelf
    arrivals: Arrivals
    corrections: Corrections
    model_change: ModelChange

    def run(self, context: JobContext) -> None:
        """Run a job. Every kind can safely run again from its start."""
        match context.kind:
            case "import":
                Importer(self.settings, self.store, self.shelf, self.arrivals).run(context)
            case "cluster":
                grouping.run(context, self.store, self.shelf, self.corrections)
            case "reembed":
                self.model_change.run(context)
            case kind:
                raise NotImplementedError(f"jobs of kind {kind!r}")
