"""A network that was trained elsewhere is wrapped, checked, filled and searched."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training, which wraps networks, is not installed")

from typer.testing import CliRunner

from service.__main__ import cli
from service.model.manifest import read_manifest
from service.testing import solid
from training.export.wrapping.wrap import WrapOptions, wrap

PUBLISHED = (
    Path(__file__).resolve().parents[4]
    / "shared/thirdparty/person-reidentification-retail-0267.ortfix.onnx"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with one wrapped network."""
    if not PUBLISHED.exists():
        pytest.skip("../shared: the published network is not here")
    folder = tmp_path_factory.mktemp("models")
    wrap(PUBLISHED, folder / "retail-0267", WrapOptions("retail-0267"))
    return folder


def test_a_wrapped_network_passes_the_check(models):
    done = CliRunner().invoke(cli, ["check", str(models / "retail-0267")])
    assert done.exit_code == 0, done.output


def test_a_wrapped_network_is_listed_filled_and_searched(start, models):
    manifest = read_manifest(models / "retail-0267")
    red, blue = solid((200, 20, 20)), solid((20, 20, 200))
    with start(models=models) as service:
        listed = service.http.get("/models").json()
        assert [model["name"] for model in listed["models"]] == ["fake", "retail-0267"]
        assert listed["unusable"] == []
        service.parts.store.create("theirs", manifest.sha256, manifest.dimension)
        for name, crop in (("red", red), ("blue", blue)):
            assert service.put("theirs", name, crop).status_code == 201
        answer = service.search(("a", red), gallery="theirs").json()
        assert answer["model"] == {"name": "retail-0267", "sha256": manifest.sha256}
        assert answer["min_score"] is None
        best = answer["results"][0]["matches"][0]
        assert (best["crop_id"], best["probability"]) == ("red", None)
        assert best["score"] == pytest.approx(1.0, abs=1e-4)
