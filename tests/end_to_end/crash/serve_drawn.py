"""A program: the service with an embedder that needs no weights and starts quickly."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn

from service.http.app import create_app
from service.http.server import bind, server_config
from service.settings import Settings
from service.testing import FakeEmbedder


def main(data: Path, port: int) -> None:
    logging.basicConfig(level="INFO", stream=sys.stderr)
    logging.getLogger("python_multipart").setLevel(logging.WARNING)
    settings = Settings(data=data, device="cpu")
    app = create_app(settings, embedder=FakeEmbedder())
    with bind("127.0.0.1", port) as listener:
        uvicorn.Server(server_config(app, settings)).run([listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
