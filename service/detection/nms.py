"""Non-maximum suppression: of boxes that overlap, keep the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float
) -> NDArray[np.intp]:
    """Keep the box with the highest score, drop those that overlap it, and so on (greedy NMS).

    Args:
        boxes: (K, 4) x1, y1, x2, y2, x1 <= x2 and y1 <= y2.
        scores: (K,); of equal scores the first counts as higher.
        iou: boxes whose intersection over union is larger are dropped, 0..1.

    Returns:
        The indices of the boxes kept, the highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    kept: list[np.intp] = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        shared = np.minimum(boxes[order, 2:], boxes[best, 2:])
        shared -= np.maximum(boxes[order, :2], boxes[best, :2])
        common = np.prod(np.maximum(shared, 0.0), axis=1)
        order = order[common <= iou * (areas[order] + areas[best] - common)]
    return np.array(kept, dtype=np.intp)
