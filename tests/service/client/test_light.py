"""The client needs httpx and pydantic, and nothing of the server."""

from __future__ import annotations

import subprocess
import sys

from waiting import PATIENCE

SCRIPT = """
import sys, types

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"the client must not import {name}")

BLOCKED = {
    "numpy", "scipy", "PIL", "onnxruntime", "faiss", "fastapi", "starlette", "uvicorn",
    "multipart", "python_multipart", "prometheus_client", "pydantic_settings", "regex",
    "swagger_ui_bundle", "pyarrow", "pymilvus", "torch", "typer", "tqdm",
}
sys.meta_path.insert(0, Blocked())
import service.client
rooms = {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("service.")}
print(*sorted(rooms))
"""


def test_the_client_imports_no_part_of_the_server():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {
        "service.api",
        "service.client",
        "service.errors",
        "service.values",
    }
