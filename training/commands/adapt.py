"""``python -m training adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import (
    Device,
    DeviceChoice,
    LayoutName,
    Pattern,
    Resume,
    SkipBad,
    torch_device,
)

Model = Annotated[
    Path, typer.Option(help="Model to adapt: exported model folder, run, or checkpoint.")
]
Data = Annotated[
    Path | None, typer.Option(help="Your crops: a data set's folder or a manifest file.")
]
Key = Annotated[str | None, typer.Option(envvar="REID_KEY", help="API key for --gallery.")]
Gallery = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        help="Instead of --data: the stored pictures of a running service's gallery, such as "
        "http://127.0.0.1:8000/galleries/station. They are copied to OUTPUT-crops.",
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option("--rounds", min=1, max=99, help="Maximum number of rounds, instead of 10."),
]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", min=0.0, help="Instead of 1e-4. A lower rate forgets less."),
]
Share = Annotated[
    float,
    typer.Option("--share", min=0.0, max=1.0, help="Share of the adapted weights in the result."),
]

K1 = Annotated[
    int | None,
    typer.Option("--k1", min=1, help="Neighbours of a crop that are compared. [default: auto]"),
]
K2 = Annotated[
    int | None,
    typer.Option("--k2", min=1, help="Crops of an average neighbourhood. [default: auto]"),
]
Eps = Annotated[
    float | None,
    typer.Option("--eps", min=0.01, max=0.99, help="Radius of a cluster. [default: auto]"),
]
MinSamples = Annotated[
    int | None,
    typer.Option(
        "--min-samples", min=1, help="Crops within eps that start a cluster. [default: auto]"
    ),
]


def adapt(
    model: Model,
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Data = None,
    gallery: Gallery = None,
    key: Key = None,
    pattern: Pattern = None,
    layout: LayoutName = "auto",
    rounds: Rounds = None,
    learning_rate: LearningRate = None,
    share: Share = 0.5,
    k1: K1 = None,
    k2: K2 = None,
    eps: Eps = None,
    min_samples: MinSamples = None,
    seed: Annotated[int, typer.Option(min=0, help="Source of every random choice.")] = 1,
    skip_bad: SkipBad = False,
    resume: Resume = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Adapt a model to your own cameras with unlabelled crops.

    A fifth of the crops is held out. The model trains on the rest in short
    rounds. After each round, cycle agreement measures how well a held-out
    crop's group is found again through another camera. The rounds stop when
    that no longer improves. The result is half way between the start and the
    best round, which keeps most of the gain and forgets little. If it is not
    clearly better than the start, the start is kept. Identities are never
    read. How crops are clustered is fitted to them: --k1, --k2, --eps and
    --min-samples set it by hand.

    To export the result:
    python -m training export --run OUTPUT --output models/NAME
    """
    from training.adapt.adaptation import adapt as run_adaptation
    from training.adapt.fitting import Asked
    from training.adapt.request import Request
    from training.data.datasets import DataSource

    crops = _crops(data, gallery, key, output)
    source = DataSource(crops, layout=layout, pattern=pattern, skip_bad=skip_bad)
    asked = Asked(k1, k2, eps, min_samples)
    request = Request(model, source, output, rounds, learning_rate, share, seed, asked)
    found = run_adaptation(request, torch_device(device), resume=resume)
    change = f"agreement {found.start:.3f} -> {found.agreement:.3f}"
    if found.better:
        typer.echo(f"better than the start: {change}, round {found.best}: {found.checkpoint}")
    else:
        typer.echo(f"no better: nothing changed; the start model is in {found.checkpoint}")


def _crops(data: Path | None, gallery: str | None, key: str | None, output: Path) -> Path:
    from training.data.gallery_crops import fetch_crops

    match data, gallery:
        case Path(), None:
            return data
        case None, str():
            folder = output.with_name(f"{output.name}-crops")
            fetched = fetch_crops(gallery, key, folder)
            typer.echo(
                f"{fetched.crops} pictures of people copied to {folder} (delete them when you are "
                f"done); {fetched.without_picture} crops have no picture"
            )
            return fetched.manifest
        case _:
            raise typer.BadParameter("give either --data or --gallery")
