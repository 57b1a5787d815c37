"""The process around the app: socket, signals, log."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.access.keys import FILE, KeyStore
from service.errors import Unavailable
from service.http.app import create_app
from service.http.connections.open_connections import OpenConnections
from service.http.connections.protocol import Connection, ConnectionLimits
from service.http.line_budget import Summary
from service.http.plain_lines import OneLine
from service.machine.durable import keep_private, open_to_others
from service.machine.malloc import share_arenas
from service.settings import Settings, unknown_variables

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_HEAD_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 30
_SPARE_CONNECTIONS = 64  # idle ones, and those that are being rejected


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the running requests.

    Args:
        settings: every setting.

    Raises:
        ArtifactError: the model breaks the contract.
        Unavailable: the address, the device or the data folder cannot be used.
    """
    keep_private()
    share_arenas()
    _allow_open_files(2 * _connections(settings))
    _log_to_stderr(settings.log_level)
    # It logs a debug line per byte, and a warning per mistake of a client.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    for name in unknown_variables(os.environ):
        log.warning("%s is set but is not a setting; it may be misspelt", name)
    _warn_of_others(settings.data)
    with bind(_allowed_host(settings), settings.port) as listener:
        app = create_app(settings)
        log.info("listening on %s", url_of(listener))
        _Server(app, settings).run(sockets=[listener])


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _warn_of_others(data: Path) -> None:
    """Warn if other users of this machine can read data about people."""
    if mode := open_to_others(data):
        log.warning(
            "other users of this machine may look into %s (mode %s): chmod -R go= %s",
            data.absolute(),
            mode,
            data.absolute(),
        )


def _allowed_host(settings: Settings) -> str:
    """The host to listen on: beyond loopback only if keys exist or the operator allows it."""
    if KeyStore(settings.data / FILE).configured():
        return settings.host
    log.warning("no API key exists: anyone who can reach this port has full access")
    if settings.allow_anonymous or _is_loopback(settings.host):
        return settings.host
    log.warning(
        "the service therefore listens on %s only, not on %s; to open it, create a key "
        "(python -m service keys create) and restart, or set REID_ALLOW_ANONYMOUS=true",
        LOOPBACK,
        settings.host,
    )
    return LOOPBACK


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_PASSIVE)
    except OSError:
        return True  # binding will report what is wrong with it
    return all(ip_address(address[0]).is_loopback for *_, address in found)


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket to an address.

    Args:
        host: a name or an address, IPv4 or IPv6.
        port: 0 lets the system choose one.

    Returns:
        The bound socket.

    Raises:
        Unavailable: the address does not exist or is in use.
    """
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of a bound socket.

    Args:
        listener: bound to an IPv4 or IPv6 address.

    Returns:
        A URL without a path.
    """
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Configure Uvicorn.

    Args:
        app: answers the requests.
        settings: every setting.

    Returns:
        The configuration, with limits on what connections may cost.
    """
    limits = ConnectionLimits(
        head_seconds=min(_HEAD_SECONDS, settings.receive_seconds),
        write_seconds=settings.receive_seconds,
    )
    connections = OpenConnections(_connections(settings))
    malformed = Summary(log, "%d requests that are not valid HTTP since the last line like this")
    return uvicorn.Config(
        app,
        http=partial(Connection, limits, connections, malformed),  # type: ignore[arg-type]  # Uvicorn only calls it
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # http.middleware.proxies reads them, from trusted proxies only
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )


def _connections(settings: Settings) -> int:
    return 8 * settings.max_requests + _SPARE_CONNECTIONS


def _allow_open_files(count: int) -> None:
    """Raise the soft limit of open files, up to the hard limit."""
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Uvicorn, which tells the app when draining starts, and exits with status 0 afterwards."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(server_config(app, settings))
        self._lifecycle = app.state.parts.lifecycle

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        # After draining, Uvicorn raises the signal again for the previous handler.
        previous = {sig: signal.signal(sig, _nothing) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            super().run(sockets)
        finally:
            for sig, handler in previous.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._lifecycle.phase = "draining"
        super().handle_exit(sig, frame)


def _nothing(sig: int, frame: FrameType | None) -> None:
    """Ignore the signal, which has been handled already."""
