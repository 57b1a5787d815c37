"""Optional packages that some ways of clustering need, and which error says that one is missing."""

from __future__ import annotations

from typing import Any

from service.errors import InvalidInput
from training.core.method_options import ClusterOptions


def require_packages(options: ClusterOptions) -> None:
    """Check before a run, not after its first epoch's embeddings, that its packages are installed.

    Args:
        options: how the run clusters.

    Raises:
        InvalidInput: a package is missing; the message says how to install it.
    """
    if options.scheme == "infomap":
        import_infomap()
    if options.nearest == "graph":
        import_faiss()


def import_infomap() -> Any:
    """The package infomap. Raises InvalidInput if it is not installed."""
    try:
        import infomap  # noqa: PLC0415 - an optional package that most runs do not need
    except ModuleNotFoundError as error:
        raise InvalidInput(
            'clustering.scheme = "infomap" needs the package infomap (pip install infomap), '
            "which is under the GPL"
        ) from error
    return infomap


def import_faiss() -> Any:
    """The package faiss. Raises InvalidInput if it is not installed."""
    try:
        import faiss  # noqa: PLC0415 - an optional package that most runs do not need
    except ModuleNotFoundError as error:
        raise InvalidInput(
            'clustering.nearest = "graph" needs FAISS; install hhcl-reid[train,server-cpu], or '
            "server-gpu instead of server-cpu"
        ) from error
    return faiss
