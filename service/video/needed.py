"""Whether videos can be read here."""

from __future__ import annotations

from importlib.util import find_spec

from service.errors import Unsupported

_PACKAGES = ("av", "PIL")


def require_video(extras: str = "server-cpu,video") -> None:
    """Check that the packages that read videos are installed.

    Args:
        extras: what to install otherwise.

    Raises:
        Unsupported: one is missing; the message says how to install it.
    """
    missing = next((name for name in _PACKAGES if find_spec(name) is None), None)
    if missing is not None:
        raise Unsupported(
            f"videos need the package {missing}, which is not installed here: "
            f'pip install "hhcl-reid[{extras}]"'
        )
