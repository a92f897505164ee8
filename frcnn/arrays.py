"""Names for the arrays and tensors that functions take and return.

The names say what an array holds; its shape is in the docstring of the function. Boxes are
`(y1, x1, y2, x2)`, with `(y2, x2)` outside the box.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Array",
    "ArrayLike",
    "BoolArray",
    "Boxes",
    "ClassIds",
    "Deltas",
    "DetectionResult",
    "FloatArray",
    "Image",
    "ImageMeta",
    "IntArray",
    "NormalizedBoxes",
    "Scores",
    "Seed",
    "Shape",
    "Tensor",
    "Window",
]

Array: TypeAlias = NDArray[Any]
BoolArray: TypeAlias = NDArray[np.bool_]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]

Boxes: TypeAlias = NDArray[np.float32]
"""`[N, 4]`, pixels of the image."""
NormalizedBoxes: TypeAlias = NDArray[np.float32]
"""`[N, 4]`, 0 to 1 over the molded image."""
Deltas: TypeAlias = NDArray[np.float32]
"""`[N, 4]` (dy, dx, log dh, log dw), divided by `*_STD_DEV`."""
ClassIds: TypeAlias = NDArray[np.int32]
"""`[N]`, 0 is the background, negative a crowd region."""
Scores: TypeAlias = NDArray[np.float32]
"""`[N]`, 0 to 1."""
Image: TypeAlias = NDArray[Any]
"""`[H, W, C]`, uint8 unless said otherwise."""
ImageMeta: TypeAlias = NDArray[Any]
"""`[12 + NUM_CLASSES]`, see `frcnn.data.image_meta`."""
Shape: TypeAlias = Sequence[int] | IntArray
"""(height, width) or (height, width, channels)."""
Window: TypeAlias = tuple[int, int, int, int]
"""(y1, x1, y2, x2), pixels of the molded image."""

Seed: TypeAlias = np.random.Generator | int | Sequence[int] | None
"""What `numpy.random.default_rng` takes; None draws a seed."""

Tensor: TypeAlias = Any
"""A tensor of the backend, or a KerasTensor while a graph is built."""


class DetectionResult(TypedDict):
    """What `MaskRCNN.detect` finds in one image: N objects, best first.

    Boxes are in the image's own pixels: `boxes` sub-pixel, `rois` the same rounded, int32.
    """

    rois: IntArray
    boxes: Boxes
    class_ids: ClassIds
    scores: Scores
