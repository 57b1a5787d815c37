"""Run as a program: the service with an embedder that needs no weights and starts quickly."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn

from service.app import create_app
from service.server import bind
from service.settings import Settings
from service.testing import FakeEmbedder


def main(data: Path, port: int) -> None:
    logging.basicConfig(level="INFO", stream=sys.stderr)
    logging.getLogger("python_multipart").setLevel(logging.WARNING)
    app = create_app(Settings(data=data, device="cpu"), embedder=FakeEmbedder())
    with bind("127.0.0.1", port) as listener:
        config = uvicorn.Config(app, log_config=None, access_log=False)
        uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
