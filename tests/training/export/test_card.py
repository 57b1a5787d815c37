"""The card agrees with the manifest, and its command repeats the run."""

import re
import shlex
from pathlib import Path

import pytest

from service.model.manifest import Accuracy, Calibration, Manifest
from training.core.config import parse_config, read_config
from training.export.card import CARD_NAME, format_card, write_card

RECIPE = {
    "data.path": "my crops",
    "data.pattern": "{camera}/{name}",
    "model.backbone": "mobilenet_v2",
    "model.weights": "start.pth",
    "model.height": 160,
    "schedule.learning_rate": 1e-5,
    "data.skip_bad": True,
    "clustering.eps": 0.5,
    "seed": 7,
}
LINE = Accuracy(
    data="street",
    protocol="cross-camera",
    map=0.71234,
    rank1=0.8,
    rank5=0.9,
    rank10=0.95,
    queries=200,
    gallery=738,
)
MANIFEST = Manifest(
    name="small",
    created="2025-01-01T00:00:00+00:00",
    sha256="ab" * 32,
    input_height=160,
    input_width=80,
    dimension=1280,
    opset=20,
    recipe=read_config(None, RECIPE).as_dict(),
    training_data="street: its training crops, without any label",
    accuracy=(LINE,),
    accuracy_before=(LINE.model_copy(update={"map": 0.123}),),
    calibration=Calibration(
        slope=12.345,
        intercept=-6.5,
        threshold=0.6123,
        false_match_rate=0.0099,
        true_match_rate=0.81,
        genuine_pairs=2200,
        impostor_pairs=220_000,
        data="street: query and gallery",
    ),
    licence="For research only.",
)


def test_every_figure_is_on_the_card() -> None:
    card = format_card(MANIFEST, "## Limits\n\nSeen by day only.\n")
    in_one_line = " ".join(card.split())
    for text in (
        "# small\n",
        "uint8 (N, 160, 80, 3)",
        "float32 (N, 1280)",
        "ab" * 32,
        "opset 20",
        "street: its training crops, without any label",
        "mAP % (finite sum)",
        "71.2",
        "before training",
        "12.3",
        "12.35 * cosine -6.50",
        "0.6123",
        "0.99%",
        "81.0%",
        "2,200 genuine and 220,000 impostor",
        "For research only.",
    ):
        assert text in card or text in in_one_line, text
    assert card.index("Seen by day only.") < card.index("## Licence")
    assert card.endswith("\n")
    assert not re.search(r"\n{3}|[ \t]\n", card)


def test_the_command_repeats_the_run() -> None:
    block = re.search(r"```sh\n(.*?)\n```", format_card(MANIFEST), re.DOTALL)
    assert block
    words = shlex.split(block[1].replace("\\\n", " "))
    assert words[:4] == ["python", "-m", "training", "train"]
    options = list(zip(words[4::2], words[5::2], strict=True))
    named = {"--data": "data.path", "--weights": "model.weights"}
    values = {named[flag]: value for flag, value in options if flag in named}
    values |= dict(value.split("=", 1) for flag, value in options if flag == "--set")
    assert read_config(None, values) == parse_config(MANIFEST.recipe, "recipe")


SYNTHETIC = ("drawn people", "bodies")


def with_recipe(**options: object) -> Manifest:
    tree = {name.replace("__", "."): value for name, value in options.items()}
    recipe = read_config(None, {"seed": 7, **tree}).as_dict()
    labels = "of synthetic people only" if recipe["data"]["synthetic"] else "none"
    return MANIFEST.model_copy(update={"recipe": recipe, "identity_labels": labels})


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("", "pretrain --output RUN --data 'drawn people' --data bodies"),
        ("a", "train --output RUN --data a --synthetic 'drawn people' --synthetic bodies"),
    ],
)
def test_the_command_names_the_synthetic_people(path: str, command: str) -> None:
    card = format_card(with_recipe(data__path=path, data__synthetic=SYNTHETIC))
    told = " ".join(card.replace("\\\n", " ").split())
    assert f"python -m training {command} --set seed=7 ```" in told


@pytest.mark.parametrize(
    ("path", "synthetic", "labels", "learned"),
    [
        ("a", (), "none", "on crops without identity labels (resnet50)."),
        (
            "a",
            (),
            "of synthetic people only",
            "on crops without identity labels, from weights pretrained on synthetic people (r",
        ),
        (
            "a",
            SYNTHETIC,
            "of synthetic people only",
            "on crops without identity labels and synthetic people, whose identities are free (r",
        ),
        (
            "",
            SYNTHETIC,
            "of synthetic people only",
            "Trained by HHCL on synthetic people, whose identities are free (r",
        ),
    ],
)
def test_the_card_says_whose_labels_were_used(
    path: str, synthetic: tuple[str, ...], labels: str, learned: str
) -> None:
    manifest = with_recipe(data__path=path, data__synthetic=synthetic)
    card = format_card(manifest.model_copy(update={"identity_labels": labels}))
    assert f"\nidentity labels: {labels}\n" in card
    assert learned in " ".join(card.split())


def test_the_card_says_first_that_labels_of_real_people_were_used() -> None:
    for synthetic in ((), SYNTHETIC):
        manifest = with_recipe(data__path="a", data__synthetic=synthetic)
        card = format_card(manifest.model_copy(update={"identity_labels": "of real people"}))
        title, _, rest = card.partition("\n\n")
        assert title == "# small"
        assert rest.startswith("**Identity labels of real people were used to train it**, in this")
        assert "without identity labels (" not in " ".join(card.split())
        assert "\nidentity labels: of real people\n" in card
        assert "repeats the run, but without identity labels, which only" in " ".join(card.split())


def test_every_site_of_the_run_is_named() -> None:
    data = MANIFEST.recipe["data"] | {"path": "street", "also": ["yard", "our hall"]}
    text = format_card(MANIFEST.model_copy(update={"recipe": MANIFEST.recipe | {"data": data}}))
    assert "--data street \\\n    --data yard \\\n    --data 'our hall'" in text


def test_the_card_says_if_training_was_stopped_early() -> None:
    planned = MANIFEST.recipe["schedule"]["epochs"]
    assert "stopped" not in format_card(MANIFEST.model_copy(update={"trained_epochs": planned}))
    stopped = format_card(MANIFEST.model_copy(update={"trained_epochs": 18}))
    assert f"stopped after 18 of {planned} epochs" in stopped


def test_the_card_says_what_was_not_measured() -> None:
    bare = Manifest(
        name="bare", sha256="0" * 64, input_height=64, input_width=32, dimension=8, opset=20
    )
    card = format_card(bare)
    assert "Not measured." in card
    assert "Not calibrated" in card
    assert "No licence is stated" in card
    assert "None" not in card


def test_the_card_is_written_beside_the_manifest(tmp_path: Path) -> None:
    write_card(tmp_path, MANIFEST, "first")
    write_card(tmp_path, MANIFEST, "second")
    text = (tmp_path / CARD_NAME).read_text(encoding="utf-8")
    assert "second" in text
    assert "first" not in text


@pytest.mark.parametrize("notes", ["", "  \n"])
def test_notes_may_be_empty(notes: str) -> None:
    assert "\n\n\n" not in format_card(MANIFEST, notes)
