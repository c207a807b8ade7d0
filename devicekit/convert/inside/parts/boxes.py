"""Box post-processing as TensorFlow does it: non-maximum suppression, for one sample.

Runs behind the .tflite that lies beside it: postprocess(model(**inputs)). Needs numpy only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def check_outputs(outputs: Mapping[str, Any], own: Mapping[str, tuple[str, Sequence[Any]]]) -> None:
    """Raises ValueError where an output is quantized, or holds several samples.

    `own` is the dtype, of which the kind counts, and the shape of each; a size that is None is any.
    """
    for name, (dtype, shape) in own.items():
        found = np.asarray(outputs[name])
        suits = found.ndim == len(shape) and all(
            size in (None, found.shape[axis]) for axis, size in enumerate(shape)
        )
        if found.dtype.kind != np.dtype(dtype).kind or not suits:
            raise ValueError(
                f"{name} is {found.dtype} {list(found.shape)}, expected {dtype} {list(shape)}: give one "
                "sample at a time, and of integer outputs (value - zero_point) * scale"
            )


def combined_non_max_suppression(
    boxes: Any,
    scores: Any,
    *,
    max_per_class: int,
    max_total: int,
    iou_threshold: float,
    score_threshold: float,
    pad_per_class: bool,
    clip_boxes: bool,
) -> tuple[Any, Any, Any, Any]:
    """Returns boxes [1, n, 4], scores and classes [1, n] (best first, zeros behind), and how many there are.

    `boxes` are [1, count, classes or 1, 4], two opposite corners each; `scores` are [1, count, classes].
    Of equal scores the earlier box comes first, where TensorFlow leaves the order to chance.
    """
    boxes, scores = np.asarray(boxes, np.float32)[0], np.asarray(scores, np.float32)[0]
    found = []
    for label in range(scores.shape[1]):
        own = boxes[:, label if boxes.shape[1] > 1 else 0]
        kept = non_max_suppression(
            own,
            scores[:, label],
            max_count=max_per_class,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
        )
        found += [(scores[index, label], label, own[index]) for index in kept]
    found = sorted(found, key=lambda one: -one[0])[:max_total]
    size = min(max_total, max_per_class * scores.shape[1]) if pad_per_class else max_total
    found = found[:size]
    out_boxes, out_scores = np.zeros((1, size, 4), np.float32), np.zeros((1, size), np.float32)
    out_classes = np.zeros((1, size), np.float32)
    for place, (score, label, box) in enumerate(found):
        out_boxes[0, place] = np.clip(box, 0, 1) if clip_boxes else box
        out_scores[0, place], out_classes[0, place] = score, label
    return out_boxes, out_scores, out_classes, np.array([len(found)], np.int32)


def non_max_suppression(
    boxes: Any, scores: Any, *, max_count: int, iou_threshold: float, score_threshold: float
) -> Any:
    """Returns the indices of the boxes to keep, best first: int32 [at most max_count].

    `boxes` are [count, 4], two opposite corners each; `scores` are [count]. A box goes where one that is
    kept overlaps it by more than `iou_threshold`.
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    areas = (high[:, 0] - low[:, 0]) * (high[:, 1] - low[:, 1])
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if len(kept) >= max_count or not scores[index] > np.float32(score_threshold):
            break
        sides = np.minimum(high[index], high[kept]) - np.maximum(low[index], low[kept])
        shared = np.maximum(sides[:, 0], 0) * np.maximum(sides[:, 1], 0)
        union = areas[index] + areas[kept] - shared
        is_box = (areas[index] > 0) & (areas[kept] > 0)
        overlaps = np.where(is_box, shared / np.where(is_box, union, 1), 0)
        if not (overlaps > np.float32(iou_threshold)).any():
            kept.append(int(index))
    return np.array(kept, np.int32)
