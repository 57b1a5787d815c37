"""In which numbers a network runs forward: float32, or bfloat16 where a device has it in hardware.

Only the convolutions and matrix products of a backbone become bfloat16. Parameters, running
statistics, batch statistics, what follows the last map, losses and memories stay float32.
"""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def number_type(precision: Precision, device: torch.device) -> torch.dtype:
    """Choose the type of a network's forward passes.

    Args:
        precision: the option; ``auto`` takes bfloat16 only if the device computes it natively. An
            older GPU (T4, V100, RTX 2080 Ti) emulates it and is slower than in float32.
        device: where the network runs.

    Returns:
        ``torch.float32`` or ``torch.bfloat16``.
    """
    match precision:
        case "float32":
            return torch.float32
        case "bfloat16":
            return torch.bfloat16
        case "auto":
            native = device.type == "cuda" and _is_native()
            return torch.bfloat16 if native else torch.float32


def _is_native() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def passes_in(kind: torch.dtype, device: torch.device) -> torch.autocast:
    """Make a context whose forward passes compute in a type; the backward pass follows it.

    Args:
        kind: from :func:`number_type`.
        device: where the network runs.

    Returns:
        The context; with float32 it changes nothing.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=kind == torch.bfloat16)
