"""Raw connections to running services, and keys for one test."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from waiting import PATIENCE

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey


class Line:
    """One raw connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._file = connection.makefile("rb")

    def close(self) -> None:
        """Close the reading side; the opener of the socket closes the socket."""
        self._file.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def begin(self, head: bytes) -> int:
        """Send a head that waits for ``100 Continue``; returns the status of the first answer.

        100 means that the request has its place and that the service waits for its body.
        """
        self.send(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        return self.answer()[0]

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of one answer: its status (0 if there is none), and its headers."""
        start = self._file.readline()
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(start.split()[1]) if start else 0, headers

    def body(self, headers: dict[str, str]) -> bytes:
        """Read the body of one answer."""
        return self._file.read(int(headers.get("content-length", 0)))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: its status, its headers and its body."""
        status, headers = self.head()
        return status, headers, self.body(headers)

    def problem(self) -> tuple[int, dict[str, Any]]:
        """Read one problem answer."""
        status, headers, body = self.answer()
        assert headers["content-type"] == "application/problem+json", body
        return status, json.loads(body)

    def ended(self) -> bool:
        """Whether the service ends the connection; waits for it."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True


@pytest.fixture(scope="session")
def dial() -> Callable[..., Any]:
    """Open raw connections to a service; use as a context manager."""

    @contextmanager
    def dial_one(service: Any, source: str = "127.0.0.1") -> Iterator[Line]:
        where = urlsplit(service.url)
        address = (where.hostname, where.port)
        with socket.create_connection(
            address, timeout=PATIENCE, source_address=(source, 0)
        ) as client:
            line = Line(client)
            try:
                yield line
            finally:
                line.close()

    return dial_one


@pytest.fixture(scope="session")
def key_in() -> Callable[..., str]:
    """Make a key in a data folder; returns its text."""

    def make(data: Path, scope: str = "search", **wanted: Any) -> str:
        with closing(KeyStore(data / FILE)) as store:
            return store.create(NewKey(label="a", scope=scope, **wanted))[1]

    return make


@pytest.fixture(scope="session")
def upload() -> Callable[..., bytes]:
    """Write the head of an upload."""

    def head(length: int = 100_000, key: str | None = None, path: str = "/search") -> bytes:
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Length: {length}",
            "Content-Type: multipart/form-data; boundary=x",
            *([f"Authorization: Bearer {key}"] if key else []),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    return head
