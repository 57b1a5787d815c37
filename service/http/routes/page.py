"""``/`` and ``/web``: the built-in web page, plain files of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

FOLDER = Path(__file__).parent.parent / "web"
# The page may only run and load what this service serves; it needs blob: to show pictures that it
# fetched with the key.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # browsers ask each time and get 304, so an update shows at once
}


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        """Send a file, or 304 if it is unchanged, with the page's headers."""
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
