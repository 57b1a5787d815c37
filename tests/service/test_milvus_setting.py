"""The whole service on Milvus, with one setting."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from service.errors import Unavailable
from service.http.app import create_app
from service.settings import Settings
from service.testing import FakeEmbedder, solid


@pytest.mark.slow
def test_a_service_stores_its_galleries_in_milvus(start, tmp_path: Path) -> None:
    for package in ("pymilvus", "milvus_lite"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    with start(milvus_uri=str(tmp_path / "milvus.db")) as service:
        assert service.http.get("/info").json()["providers"]["search"] == "milvus"
        red = solid((200, 20, 20), kind="PNG")
        assert service.put("default", "red-1", red, identity="red", camera="c1").status_code == 201
        (entry,) = service.search(("red.png", red)).json()["results"]
        assert entry["status"] == "matched"
        assert entry["matches"][0]["identity"] == "red"
        refused = service.search(("red.png", red), standardise=True)
        assert (refused.status_code, refused.json()["code"]) == (501, "unsupported")
    kept = {path.name for path in (tmp_path / "data").glob("**/*.sqlite3")}
    assert kept <= {"alerts.sqlite3", "jobs.sqlite3"}  # no gallery


def test_without_the_extra_the_error_says_what_to_install(monkeypatch, tmp_path: Path) -> None:
    for module in [name for name in sys.modules if name.startswith("service.gallery.milvus")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    settings = Settings(milvus_uri="http://127.0.0.1:19530", data=tmp_path)
    with pytest.raises(Unavailable, match=r"hhcl-reid\[milvus\]"):
        create_app(settings, embedder=FakeEmbedder())
