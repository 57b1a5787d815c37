"""The page turns any file path into an id that the service accepts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import service
from service.values.names import id_of

PIECES = [
    *("..", ".", "...", "/", "//", "\\", " ", "\u00a0", "\u200d", "e\u0301", "\u202e", "\x07", "a"),
    *("x" * 190, "\u4eba" * 60, "\U0001f3c3", "\ufffd", "%2e", "?", "\u05d0", "\ue000", "b.jpg"),
]
PATHS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map(
    lambda parts: "".join(parts) + ".jpg"
)
READER = """
import { idOf } from "./files.mjs";
let text = "";
for await (const chunk of process.stdin) text += chunk;
console.log(JSON.stringify(JSON.parse(text).map((path) => idOf(path))));
"""


@pytest.fixture(scope="module")
def ids_of(tmp_path_factory):
    """Run the page's own code on many paths, with the Node.js of Playwright."""
    driver = pytest.importorskip("playwright._impl._driver", reason="playwright is not installed")
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(Path(service.__file__).parent / "http" / "web" / "files.js", folder / "files.mjs")
    (folder / "reader.mjs").write_text(READER, encoding="utf-8")
    node, _ = driver.compute_driver_executable()

    def run(paths):
        command = [str(node), str(folder / "reader.mjs")]
        done = subprocess.run(
            command, input=json.dumps(paths), capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    return run


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(paths=st.lists(PATHS, unique=True, min_size=20, max_size=60))
def test_every_path_gets_its_own_id(ids_of, paths):
    ids = ids_of(paths)
    assert [id_of(crop_id) for crop_id in ids] == ids
    for path, crop_id in zip(paths, ids, strict=True):
        if fits(path):
            assert crop_id == id_of(path)
    marked = [one for path, one in zip(paths, ids, strict=True) if not fits(path)]
    assert len(set(marked)) == len(marked)


def fits(path):
    try:
        id_of(path)
    except ValueError:
        return False
    return True
