"""Reject HTTP request heads that two programs could read differently.

h11 checks most of them. It accepts some forms that RFC 9112 lets a server accept or reject: a body
framed in two ways, a length given twice, folded header lines, lines that end without a carriage
return. A proxy in front of the service may read these differently, and then the rest of one
client's request becomes the start of another's.
"""

from __future__ import annotations

import re
from typing import Any

import h11

HEAD_BYTES = 16 * 1024
_MOST_HEADERS = 100
_LONGEST_METHOD = 20
_VERSIONS = frozenset({b"1.0", b"1.1"})
_LENGTH, _ENCODING, _HOST_NAME = b"content-length", b"transfer-encoding", b"host"
# Host and port as in RFC 3986: a name or IPv4 address, or an IP literal in brackets.
_HOST = re.compile(
    rb"(?:\[[0-9a-fA-F:.]{2,45}\]|(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}){1,255})(?::[0-9]{0,5})?"
)
_FOLD_OR_BARE_END = re.compile(rb"(?<!\r)\n|\n[ \t]")


class StrictConnection(h11.Connection):
    """The server's side of a connection; it rejects ambiguous request heads."""

    def next_event(self) -> Any:
        """Return h11's next event.

        Raises:
            h11.RemoteProtocolError: the client violates HTTP, or our stricter rules; the hint is
                the status to answer.
        """
        unread = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            _check(event, unread[: len(unread) - len(self.trailing_data[0])])
        return event


def _check(request: h11.Request, head: bytes) -> None:
    if len(head) > HEAD_BYTES or len(request.headers) > _MOST_HEADERS:
        raise _refusal(f"the head exceeds {HEAD_BYTES} bytes or {_MOST_HEADERS} headers", 431)
    if request.http_version not in _VERSIONS:
        raise _refusal("the service speaks HTTP/1.0 and HTTP/1.1", 505)
    if len(request.method) > _LONGEST_METHOD:
        raise _refusal("the service does not implement this method", 501)
    if not request.target.startswith(b"/"):
        raise _refusal("the request's target must begin with '/'", 400)
    if _FOLD_OR_BARE_END.search(head):
        raise _refusal("header lines must end with CR LF and must not be folded", 400)
    _check_body(request, head)
    _check_host(request)


def _check_body(request: h11.Request, head: bytes) -> None:
    """Reject a body whose end can be read in two ways."""
    fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    lengths = [value for name, _, value in fields if name.lower() == _LENGTH]
    chunked = any(name.lower() == _ENCODING for name, _, _ in fields)
    if lengths and chunked:
        raise _refusal("Content-Length and Transfer-Encoding must not be combined", 400)
    if len(lengths) > 1 or any(b"," in value for value in lengths):
        raise _refusal("Content-Length must be given once", 400)
    if chunked and request.http_version == b"1.0":
        raise _refusal("HTTP/1.0 has no Transfer-Encoding", 400)


def _check_host(request: h11.Request) -> None:
    for name, value in request.headers:
        if name == _HOST_NAME and not _HOST.fullmatch(value):
            raise _refusal("Host must be a name or an address, with an optional port", 400)


def _refusal(message: str, status: int) -> h11.RemoteProtocolError:
    return h11.RemoteProtocolError(message, error_status_hint=status)
