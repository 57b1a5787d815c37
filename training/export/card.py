"""Write CARD.md: what people need to know about a model before they use it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from service.model.manifest import Calibration, Manifest
from training.export.card_command import format_command
from training.measure.tables import format_results

CARD_NAME = "CARD.md"

_PROTOCOLS = """\
Measured on the query and gallery of each data set, which show people who were not trained on. The
protocol `market1501` removes gallery crops of the query's person from the query's camera (Zheng et
al., ICCV 2015); `cross-camera` removes all gallery crops from the query's camera."""


_FLIPPED = "; the sum of the crop's and its mirror image's, which takes twice the time"
_LEARNED_ELSEWHERE = {
    "none": "It was trained elsewhere.",
    "of real people": "It was trained elsewhere, with the identity labels of real people.",
    "of synthetic people only": "It was trained elsewhere, with the identity labels of synthetic "
    "people only.",
    "not known": "It was trained elsewhere; whether real people's identity labels were used is not "
    "known.",
}


def write_card(folder: Path, manifest: Manifest, notes: str = "") -> None:
    """Write a model's card beside its manifest, replacing an older one.

    Args:
        folder: ``models/<name>``; must exist.
        manifest: the model's manifest, the source of every figure on the card.
        notes: Markdown with what figures cannot say: limits, origin of the data.
    """
    (folder / CARD_NAME).write_text(format_card(manifest, notes), encoding="utf-8")


def update_card(folder: Path, manifest: Manifest) -> None:
    """Write new figures into a model's card; everything else on it stays.

    Args:
        folder: ``models/<name>``. If there is no card, a whole one is written.
        manifest: the model's manifest with the new figures.
    """
    file = folder / CARD_NAME
    if not file.exists():
        write_card(folder, manifest)
        return
    text = file.read_text(encoding="utf-8")
    for section in (_accuracy(manifest), _calibration(manifest)):
        title = section.split("\n", 1)[0]
        found = re.search(rf"^{re.escape(title)}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        if found is None:
            text = f"{text.rstrip()}\n\n{section}\n"
        else:
            rest = text[found.end() :]
            gap = "\n" if rest else ""
            text = f"{text[: found.start()]}{section}\n{gap}{rest}"
    file.write_text(text, encoding="utf-8")


def format_card(manifest: Manifest, notes: str = "") -> str:
    """Format a model's card as Markdown.

    Args:
        manifest: the model's manifest.
        notes: Markdown, placed before the licence.

    Returns:
        The text, ending with a newline.
    """
    sections = [
        _heading(manifest),
        _wrapping(manifest),
        _data(manifest),
        _recipe(manifest),
        _precision(manifest),
        _accuracy(manifest),
        _calibration(manifest),
        notes.strip(),
        _licence(manifest),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _heading(manifest: Manifest) -> str:
    what = (
        "A model for person re-identification: it turns a crop of one person into an embedding. "
        "Crops of the same person have a high cosine, whichever camera took them. "
    )
    return f"""# {manifest.name}

{_wrap(_warning(manifest) + what + _learned(manifest))}

| | |
| --- | --- |
| input | `images`: uint8 (N, {manifest.input_height}, {manifest.input_width}, 3), RGB, \
resized {manifest.resize}; normalisation is inside the graph |
| output | `embeddings`: float32 (N, {manifest.dimension}), unit length; compare by cosine\
{_FLIPPED * manifest.flip} |
| file | `{manifest.file}`, ONNX opset {manifest.opset or "unknown"}, sha256 `{manifest.sha256}` |
| made | {manifest.created or "unknown"} |"""


def _warning(manifest: Manifest) -> str:
    """The first sentence of a card, if labels of real people were used by our own program."""
    if not _saw_real_labels(manifest):
        return ""
    return (
        "**Identity labels of real people were used to train it**, in this run or in one that it "
        "started from. "
    )


def _saw_real_labels(manifest: Manifest) -> bool:
    """Whether this network, or an earlier one that it started from, got true identities here."""
    return manifest.identity_labels == "of real people" and manifest.wrapped is None


def _learned(manifest: Manifest) -> str:
    """What the last run learned from, and what its start weights had learned from."""
    recipe = manifest.recipe
    if manifest.wrapped is not None:
        return _LEARNED_ELSEWHERE[manifest.identity_labels]
    data, backbone = recipe.get("data", {}), recipe.get("model", {}).get("backbone", "a network")
    sources = []
    if data.get("path") or not data.get("synthetic"):
        known = _saw_real_labels(manifest)
        sources.append("crops" if known else "crops without identity labels")
    if data.get("synthetic"):
        sources.append("synthetic people, whose identities are free")
    elif manifest.identity_labels == "of synthetic people only":
        sources[-1] += ", from weights pretrained on synthetic people"
    method = recipe.get("method", "hhcl").upper()
    return f"Trained by {method} on {' and '.join(sources)} ({backbone})."


def _wrapping(manifest: Manifest) -> str:
    """Where a wrapped network comes from, and what was put around it."""
    wrapped = manifest.wrapped
    if wrapped is None:
        return ""
    found = "recognised by names in its graph" if wrapped.recognised else "as asked for"
    origin = f"preset `{wrapped.preset}`, {found}" if wrapped.preset else "as asked for"
    mean, scale = (",".join(f"{v:g}" for v in each) for each in (wrapped.mean, wrapped.scale))
    told = (
        f"The network is `{wrapped.file}`, which another program made. The graph here computes "
        f"(pixel - mean) / scale before it and unit length after it: mean {mean}, scale {scale}, "
        f"channels in the order {wrapped.colour.upper()} ({origin}). Nobody has confirmed that the "
        "network was trained with that. It was checked that crops alone and in batches get the "
        f"original's embeddings; a batch runs {wrapped.batches}."
    )
    return f"""## Origin

{_wrap(told)}

sha256 of the original: `{wrapped.sha256}`"""


def _data(manifest: Manifest) -> str:
    return f"""## Data

{_wrap(f"Trained on: {manifest.training_data or 'not known'}.")}

identity labels: {manifest.identity_labels}"""


def _recipe(manifest: Manifest) -> str:
    recipe = manifest.recipe
    if not recipe:
        return ""
    what = "This command repeats the run; its paths are your files:"
    if _saw_real_labels(manifest):
        what = (
            "This command repeats the run, but without identity labels, which only "
            "`benchmarks/ceiling.py` gives to a run; its paths are your files:"
        )
    return f"""## Recipe

{_wrap(f"The manifest contains the whole config. {what}")}

```sh
{format_command(recipe)}
```{_stopped(manifest)}"""


def _stopped(manifest: Manifest) -> str:
    finished, planned = manifest.trained_epochs, manifest.recipe["schedule"]["epochs"]
    if finished is None or finished == planned:
        return ""
    return (
        f"\n\nTraining was stopped after {finished} of {planned} epochs: this is epoch {finished}."
    )


def _precision(manifest: Manifest) -> str:
    """From which model a quantised one was made, and what has 8 bits."""
    quantised = manifest.quantised
    if quantised is None:
        return ""
    told = (
        f"Made from `{quantised.name}`: {quantised.convolutions} of "
        f"{quantised.convolutions + quantised.kept} convolutions multiply integers of 8 bits, and "
        f"the first {quantised.kept} do not. Ranges were measured on {quantised.crops} unlabelled "
        f"training crops. On as many others, the mean cosine of an embedding with the float "
        f"model's is {quantised.cosine:.4f}. Embeddings of the two models do not mix. It is meant "
        "for processors; a GPU runs the float model faster."
    )
    return f"""## Precision

{_wrap(told)}

sha256 of the float model: `{quantised.sha256}`"""


def _accuracy(manifest: Manifest) -> str:
    if not manifest.accuracy:
        return "## Accuracy\n\nNot measured."
    parts = [
        "## Accuracy",
        _PROTOCOLS,
        format_results(manifest.accuracy, "markdown"),
    ]
    if manifest.quantised is not None and manifest.quantised.accuracy:
        parts += [
            f"The float model, `{manifest.quantised.name}`:",
            format_results(manifest.quantised.accuracy, "markdown"),
        ]
    if manifest.accuracy_before:
        parts += [
            "The same network before training, with its start weights:",
            format_results(manifest.accuracy_before, "markdown"),
        ]
    return "\n\n".join(parts)


def _calibration(manifest: Manifest) -> str:
    calibration = manifest.calibration
    if calibration is None:
        return "## Scores\n\nNot calibrated: the model gives the service no default threshold."
    if calibration.slope is None or calibration.true_match_rate is None:
        return _threshold_only(calibration)
    origin = (
        f"Fitted on {calibration.genuine_pairs:,} genuine and {calibration.impostor_pairs:,} "
        f"impostor pairs ({calibration.data}):"
    )
    probability = (
        f"- P(same identity) = 1 / (1 + exp(-({calibration.slope:.2f} * cosine "
        f"{calibration.intercept:+.2f}))), if genuine and impostor pairs are equally frequent "
        "(Platt 1999)."
    )
    rates = (
        f"- At the default threshold, cosine {calibration.threshold:.4f}, "
        f"{calibration.false_match_rate:.2%} of the impostor pairs and "
        f"{calibration.true_match_rate:.1%} of the genuine pairs match."
    )
    return f"""## Scores

{_wrap(origin)}

{_wrap(probability)}
{_wrap(rates)}

Other cameras change both. Measure on crops of your own before you rely on a threshold."""


def _threshold_only(calibration: Calibration) -> str:
    told = (
        f"At the default threshold, cosine {calibration.threshold:.4f}, "
        f"{calibration.false_match_rate:.2%} of {calibration.impostor_pairs:,} impostor pairs "
        f"match ({calibration.data}). No labels were used. How many genuine pairs match, and the "
        "probability of a match, are not known: that needs labelled pairs."
    )
    return f"""## Scores

{_wrap(told)}

Other cameras change the threshold. Measure on crops of your own before you rely on it."""


def _wrap(text: str) -> str:
    """Wrap a paragraph or a list item at 100 columns, so that changes are easy to review."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _licence(manifest: Manifest) -> str:
    return f"""## Licence and privacy

{_wrap(manifest.licence or "No licence is stated for these weights.")}

If a crop is personal data, so is its embedding, because it finds the same person again. Store,
protect and delete it like the picture."""
