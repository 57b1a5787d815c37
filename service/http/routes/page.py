"""``/`` and ``/web``: the page people use, plain files of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

FOLDER = Path(__file__).parent.parent / "web"
# Nothing runs and nothing loads but what this service serves; blob: is how the page shows pictures
# it fetched with the key.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked again each time, answered 304: an update shows at once
}


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        """Send a file, or word that it is the same, with the page's headers."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Add the page and its files.

    Args:
        app: the application.
    """
    app.add_api_route("/", _page, include_in_schema=False)
    app.mount("/web", _Files(directory=FOLDER), name="web")


def _page() -> FileResponse:
    return FileResponse(FOLDER / "index.html", headers=HEADERS)
