# ruff: noqa: INP001  (a program of the image, not part of a package)
"""Health check of the container: exits with 0 if the service is ready, else with 1 and a reason."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    """Request ``/readyz`` inside the container, with the standard library alone.

    Returns:
        The exit status for Docker.
    """
    url = f"http://127.0.0.1:{os.environ.get('REID_PORT', '8000')}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=4) as answer:
            print(answer.read(500).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        print(f"{url}: {error.code} {error.read(500).decode('utf-8', 'replace')}")
        return 1
    except OSError as error:
        print(f"{url}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
