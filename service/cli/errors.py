"""How commands fail: one line on stderr, and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from service.http.plain_lines import one_line

_OF_THE_SERVER = frozenset(
    {
        *("numpy", "scipy", "PIL", "fastapi", "starlette", "uvicorn", "pydantic_settings"),
        *("prometheus_client", "swagger_ui_bundle", "python_multipart", "onnxruntime", "faiss"),
    }
)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Report a failure that the user can fix in one line.

    Raises:
        typer.Exit: with 1 after a failure, with 130 after Ctrl-C.
    """
    from pydantic import ValidationError

    from service.client import ServiceError
    from service.errors import ReidError

    try:
        yield
    except (ReidError, ServiceError) as error:
        _fail(str(error))
    except ValidationError as error:
        rules = (
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()
        )
        _fail("; ".join(rules))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _OF_THE_SERVER:
            raise
        _fail(
            f"this command needs the server, and its package {package} is not installed; run: "
            "pip install 'hhcl-reid[server-cpu]', or server-gpu for an NVIDIA GPU"
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(130) from None


def _fail(message: str) -> None:
    print(f"error: {one_line(' '.join(message.split()))}", file=sys.stderr)
    raise typer.Exit(1) from None
