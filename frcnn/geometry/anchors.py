"""Anchors: the boxes that the region proposal network refines (Faster R-CNN, section 3.1.1).

They are in pixels, float64, in the order of the RPN's outputs: pyramid level, then row, then
column, then ratio.
"""

import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from frcnn.arrays import ArrayLike, FloatArray, IntArray, NormalizedBoxes, Shape
from frcnn.geometry.boxes import norm_boxes


class AnchorSettings(Protocol):
    """The settings of `Config` that anchors depend on."""

    @property
    def BACKBONE(self) -> str | Callable[..., Any]: ...
    @property
    def COMPUTE_BACKBONE_SHAPE(self) -> Any: ...  # a function if BACKBONE is one
    @property
    def BACKBONE_STRIDES(self) -> Sequence[int]: ...
    @property
    def RPN_ANCHOR_SCALES(self) -> Sequence[float]: ...
    @property
    def RPN_ANCHOR_RATIOS(self) -> Sequence[float]: ...
    @property
    def RPN_ANCHOR_STRIDE(self) -> int: ...


def cell_anchors(scales: ArrayLike, ratios: ArrayLike) -> FloatArray:
    """The anchors of one cell, around the origin.

    Args:
        scales: side length of a square anchor in pixels, or several.
        ratios: width / height, or several; the area does not depend on it.

    Returns:
        `[A, 4]` float64 pixels; A counts ratios, then scales, the last one fastest.
    """
    ratios, scales = np.meshgrid(np.asarray(ratios, np.float64), np.asarray(scales, np.float64),
                                 indexing="ij")
    half = 0.5 * np.stack([scales / np.sqrt(ratios), scales * np.sqrt(ratios)], axis=-1)
    half = half.reshape(-1, 2)
    return np.concatenate([-half, half], axis=1)


def anchor_grid(shape: Sequence[Any], anchor_stride: int) -> tuple[Any, Any]:
    """Rows and columns of the cells that have anchors, on a map of `shape` (height, width).

    The sides may be numbers or integer tensors; the results are of the same kind.
    """
    return -(-shape[0] // anchor_stride), -(-shape[1] // anchor_stride)


def generate_anchors(scales: ArrayLike, ratios: ArrayLike, shape: Shape, feature_stride: int,
                     anchor_stride: int) -> FloatArray:
    """Anchors of one feature map.

    Args:
        scales: side length of a square anchor in pixels, or several.
        ratios: width / height, or several; the area does not depend on it.
        shape: `(height, width)` of the feature map.
        feature_stride: pixels of the image between neighbouring cells of the map.
        anchor_stride: cells of the map between neighbouring anchors; 1 for every cell.

    Returns:
        `[A, 4]` float64 pixels (y1, x1, y2, x2), for each row, column, ratio and scale, the last
        one fastest.
    """
    cell = cell_anchors(scales, ratios)
    rows = np.arange(0, shape[0], anchor_stride) * feature_stride
    columns = np.arange(0, shape[1], anchor_stride) * feature_stride

    boxes = np.empty((len(rows), len(columns), *cell.shape))
    boxes[..., 0::2] = (rows[:, None, None] + cell[:, 0::2])[:, None]
    boxes[..., 1::2] = columns[:, None, None] + cell[:, 1::2]
    return boxes.reshape(-1, 4)


def generate_pyramid_anchors(scales: Sequence[float], ratios: ArrayLike,
                             feature_shapes: Sequence[Shape] | IntArray,
                             feature_strides: Sequence[int], anchor_stride: int) -> FloatArray:
    """Anchors of all pyramid levels, one scale a level (FPN, section 4.1), the finest level first.

    Args:
        scales: `[L]`, side length in pixels for each level.
        ratios: width / height, the same ones at every level.
        feature_shapes: `[L, 2]`, `(height, width)` of each level's map.
        feature_strides: `[L]`, pixels between neighbouring cells of each level.
        anchor_stride: cells between neighbouring anchors.

    Returns:
        `[A, 4]` float64 pixels.

    Raises:
        ValueError: scales, shapes and strides differ in number.
    """
    return np.concatenate([
        generate_anchors(scale, ratios, shape, stride, anchor_stride)
        for scale, shape, stride in zip(scales, feature_shapes, feature_strides, strict=True)
    ])  # fmt: skip


def compute_backbone_shapes(config: AnchorSettings, image_shape: Shape) -> IntArray:
    """Shapes of the feature maps P2 to P6.

    Args:
        config: for `BACKBONE_STRIDES`, or `COMPUTE_BACKBONE_SHAPE` when `BACKBONE` is a callable.
        image_shape: `(height, width, ...)` of the molded image.

    Returns:
        `[5, 2]` integers, `(height, width)` of each level that has anchors.
    """
    if callable(config.BACKBONE):
        return np.asarray(config.COMPUTE_BACKBONE_SHAPE(image_shape))
    strides = np.asarray(config.BACKBONE_STRIDES)[:, None]
    return np.ceil(np.asarray(image_shape[:2]) / strides).astype(np.int64)


def pyramid_anchors(config: AnchorSettings, image_shape: Shape) -> FloatArray:
    """All anchors for a molded image of a shape; cached, and safe to call from any thread.

    Args:
        config: for the anchors' settings.
        image_shape: `(height, width, ...)` of the molded image.

    Returns:
        `[A, 4]` float64 pixels, read-only, since callers share the array.
    """
    key = _key(config, image_shape)
    with _lock:
        return _made_anchors(*key)


def normalized_pyramid_anchors(config: AnchorSettings, image_shape: Shape) -> NormalizedBoxes:
    """`pyramid_anchors` in normalized coordinates; cached, and safe to call from any thread.

    Args:
        config: for the anchors' settings.
        image_shape: `(height, width, ...)` of the molded image.

    Returns:
        `[A, 4]` float32 (y1, x1, y2, x2), read-only, since callers share the array. Anchors that
        extend beyond the image have coordinates below 0 or above 1.
    """
    height, width = image_shape[:2]
    key = _key(config, image_shape)
    with _lock:
        return _made_normalized_anchors(int(height), int(width), key)


def anchor_levels(config: AnchorSettings, image_shape: Shape) -> list[tuple[int, int, int]]:
    """The layout of `pyramid_anchors`: `[(rows, columns, anchors a cell), ...]`, one a level.

    The anchors of a level can be reshaped to `[rows, columns, anchors a cell, 4]`.
    """
    stride = config.RPN_ANCHOR_STRIDE
    return [(*anchor_grid((int(height), int(width)), stride), len(config.RPN_ANCHOR_RATIOS))
            for height, width in compute_backbone_shapes(config, image_shape)]


_Key = tuple[tuple[float, ...], tuple[float, ...], tuple[tuple[int, int], ...],
             tuple[int, ...], int]  # fmt: skip


def _key(config: AnchorSettings, image_shape: Shape) -> _Key:
    shapes = compute_backbone_shapes(config, image_shape)
    return (tuple(float(scale) for scale in config.RPN_ANCHOR_SCALES),
            tuple(float(ratio) for ratio in config.RPN_ANCHOR_RATIOS),
            tuple((int(height), int(width)) for height, width in shapes),
            tuple(config.BACKBONE_STRIDES), config.RPN_ANCHOR_STRIDE)  # fmt: skip


# Several threads may ask for the same anchors at once: one makes them, the others wait.
_lock = threading.RLock()


def _renew_lock() -> None:
    """A process forked while another thread holds the lock would wait for it forever."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


# Images in the mode "pad64" have many shapes. For one of 1024x1024 the anchors take 8 MB in pixels
# (float64) and 4 MB normalized (float32).
@lru_cache(maxsize=16)
def _made_anchors(scales: tuple[float, ...], ratios: tuple[float, ...],
                  shapes: tuple[tuple[int, int], ...], strides: tuple[int, ...],
                  anchor_stride: int) -> FloatArray:
    anchors = generate_pyramid_anchors(scales, ratios, shapes, strides, anchor_stride)
    anchors.flags.writeable = False
    return anchors


@lru_cache(maxsize=16)
def _made_normalized_anchors(height: int, width: int, key: _Key) -> NormalizedBoxes:
    anchors = norm_boxes(_made_anchors(*key), (height, width))
    anchors.flags.writeable = False
    return anchors
