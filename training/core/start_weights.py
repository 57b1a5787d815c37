"""Read a backbone's start weights from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from service.errors import InvalidInput


def load_backbone(model: nn.Module, file: Path, unused: tuple[str, ...]) -> None:
    """Load a state dict into a network; all but its unused layers have to match.

    Args:
        model: a backbone, changed in place.
        file: tensors by name, as ``torch.save`` or safetensors writes them. Names may begin with
            ``module.``, and the tensors may lie under ``state_dict``, as training scripts do it.
        unused: how the names of layers begin that are not used, such as the classifier's. They may
            be missing, or of any size.

    Raises:
        InvalidInput: the file cannot be read, or its tensors do not fit.
    """
    state = {
        name: tensor for name, tensor in _read_state(file).items() if not name.startswith(unused)
    }
    try:
        missing, unknown = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise InvalidInput(f"--weights {file}: {error}") from error
    needed = [name for name in missing if not name.startswith(unused)]
    if needed or unknown:
        raise InvalidInput(
            f"--weights {file}: {len(needed)} tensors of the backbone are missing{_some(needed)} "
            f"and {len(unknown)} are unknown{_some(unknown)}"
        )


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:3])} ...)" if names else ""


def _read_state(file: Path) -> dict[str, Tensor]:
    try:
        found = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"--weights {file}: not a readable state dict ({error})") from error
    tensors = found.get("state_dict", found) if isinstance(found, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise InvalidInput(f"--weights {file}: not a state dict: tensors by name are expected")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _read_pickle(file: Path) -> object:
    return torch.load(file, map_location="cpu", weights_only=True)


def _read_safetensors(file: Path) -> object:
    try:
        from safetensors.torch import load_file  # noqa: PLC0415 - the extra timm brings it
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"--weights {file}: reading safetensors needs the extra timm "
            '(pip install "hhcl-reid[timm]")'
        ) from error
    return load_file(file)
