"""PyramidROIAlign: features of fixed size for each box, from the level that fits its size."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from frcnn.arrays import Shape, Tensor
from frcnn.network import ops as frcnn_ops

# Source: Lin et al. 2017 (FPN), equation 1: a box of 224x224, ImageNet's image size, has level 4.
CANONICAL_SIDE = 224
CANONICAL_LEVEL = 4
FIRST_LEVEL, LAST_LEVEL = 2, 5


@keras.saving.register_keras_serializable(package="frcnn")
class PyramidROIAlign(keras.layers.Layer):
    """Samples the feature maps bilinearly at a grid of points in each box.

    A box is first clipped to the image. With `samples` 0, as in the reference, the grid spans it
    from edge to edge, with one sample at each point, as in `tf.image.crop_and_resize`, which is
    used in detection on TensorFlow without XLA. That relates the first pixel of the image to the
    first cell of a map and the last to the last, so that the sampled place is off by up to a cell.
    With `samples` n the box is divided into bins, a bin is the mean of n×n samples, and a pixel's
    place on a map does not depend on where in the image it is: position `y / stride − 0.5`.

    All levels are concatenated to one list of cells, so that a box costs the same on any level and
    shapes stay static; with the fewer boxes of training this takes less time and memory than
    TensorFlow's kernel. The feature maps get a gradient, the boxes get none.

    Source: He et al. 2017 (Mask R-CNN), section 3 (RoIAlign); the half cell is Detectron2's.

    Args:
        pool_shape: (height, width) of the grid.
        image_shape: (height, width, …) in pixels of the image, whose area determines the levels;
            if None, four times the sides of P2.
        samples: n, samples of a bin along each axis; 0 for the reference's grid.

    Call: `[boxes [B, N, 4] normalized, P2, P3, P4, P5 each [B, h, w, C]]` → `[B, N, height, width,
    C]` in the maps' dtype.
    """

    def __init__(self, pool_shape: Sequence[int], image_shape: Shape | None = None,
                 samples: int = 0, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.pool_shape = tuple(int(side) for side in pool_shape)
        self.image_shape = None if image_shape is None \
            else tuple(int(side) for side in image_shape[:2])
        self.samples = int(samples)

    def call(self, inputs: Sequence[Tensor], training: bool | None = None) -> Tensor:
        boxes, maps = ops.cast(inputs[0], "float32"), inputs[1:]
        # A diverging network predicts boxes with NaN, whose cells would be outside the maps.
        boxes = ops.stop_gradient(ops.clip(ops.where(ops.isnan(boxes), 0.0, boxes), 0.0, 1.0))
        shapes: list[tuple[Any, ...]] = [tuple(ops.shape(level)[1:3]) for level in maps]
        image_shape = self.image_shape or tuple(4 * side for side in shapes[0])
        level = roi_levels(boxes, image_shape) - FIRST_LEVEL
        grid = tuple(side * max(self.samples, 1) for side in self.pool_shape)
        placed = _bins_in_cells(boxes, image_shape) if self.samples else boxes
        target = frcnn_ops.current_export_target()
        if target == "onnx":
            return frcnn_ops.crop_levels_for_onnx(maps, placed, level, self.pool_shape,
                                                  self.samples)
        corners, weights = _grid(placed, level, shapes, grid, in_bins=bool(self.samples))

        def values_of(*maps: Tensor) -> Tensor:
            if not (training or self.samples) and frcnn_ops.uses_tensorflow_kernels():
                return frcnn_ops.crop_levels(maps, boxes, level, self.pool_shape)
            return _of_each_image(partial(_sample, shapes), None, corners, weights, maps)

        if target is not None:
            return self._means_of_bins(values_of(*maps))

        @frcnn_ops.custom_gradient
        def sample(*maps: Tensor) -> tuple[Tensor, Any]:
            def slopes(*args: Tensor, upstream: Tensor = None) -> tuple[Tensor, ...]:
                return _of_each_image(_slopes, args[0] if upstream is None else upstream, corners,
                                      weights, maps)

            return values_of(*maps), slopes

        return self._means_of_bins(sample(*maps))

    def _means_of_bins(self, values: Tensor) -> Tensor:
        """`[B, N, h·n, w·n, C]` → the means of n×n samples `[B, N, h, w, C]`."""
        if self.samples <= 1:
            return values
        (height, width), count, channels = self.pool_shape, values.shape[1], values.shape[-1]
        if frcnn_ops.current_export_target() == "litert":  # it takes means of few axes only
            lines = width * self.samples * channels
            values = ops.mean(ops.reshape(values, (-1, self.samples, lines)), axis=1)
            values = ops.mean(ops.reshape(values, (-1, self.samples, channels)), axis=1)
            return ops.reshape(values, (-1, count, height, width, channels))
        values = ops.reshape(values, (-1, count, height, self.samples, width, self.samples,
                                      channels))
        return ops.mean(values, axis=(3, 5))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[0][:2], *self.pool_shape, input_shape[1][-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_shape": list(self.pool_shape),
                "image_shape": None if self.image_shape is None else list(self.image_shape),
                "samples": self.samples}


def roi_levels(boxes: Tensor, image_shape: Sequence[Any]) -> Tensor:
    """The pyramid level of each box.

    Args:
        boxes: `[..., 4]` normalized.
        image_shape: (height, width, …) of the image, numbers or scalar tensors.

    Returns:
        int32 `[...]`, 2 to 5.
    """
    height, width = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    area = ops.cast(image_shape[0], "float32") * ops.cast(image_shape[1], "float32")
    side = ops.sqrt(ops.maximum(height * width, 0.0)) * ops.sqrt(area)
    # A box without area, such as padding, belongs to the finest level.
    level = CANONICAL_LEVEL + ops.round(frcnn_ops.log2_graph(
        ops.maximum(side, 1e-6) / CANONICAL_SIDE))
    return ops.cast(ops.clip(level, FIRST_LEVEL, LAST_LEVEL), "int32")


def _bins_in_cells(boxes: Tensor, image_shape: Sequence[Any]) -> Tensor:
    """Normalized boxes, whose last pixel is at 1, as shares of the image from edge to edge."""
    height, width = (ops.cast(side, "float32") for side in image_shape)
    sides = ops.stack([height, width, height, width])
    return (boxes * (sides - 1.0) + ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])) / sides


def _grid(boxes: Tensor, level: Tensor, shapes: Sequence[Sequence[Any]],
          pool_shape: Sequence[int], in_bins: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """The cells around each box's samples, in the flat list of the pyramid's cells.

    Args:
        boxes: `[B, N, 4]`, normalized or, with `in_bins`, as shares of the image.
        level: `[B, N]`, 0 to 3.
        shapes: (height, width) of the levels.
        pool_shape: samples along each axis.
        in_bins: whether the samples are the centers of as many bins, not from edge to edge.

    Returns:
        Four index tensors int32 `[B, N, h, w]` (top left, top right, bottom left, bottom right
        cell) and their float32 weights `[B, N, h, w, 1]`.
    """
    heights, widths, offsets = _level_tables(shapes)
    positions = _bin_centers if in_bins else _edge_to_edge
    rows, top, down = _neighbors(
        positions(boxes[..., 0], boxes[..., 2], ops.take(heights, level), pool_shape[0]),
        ops.take(heights, level))
    columns, left, right = _neighbors(
        positions(boxes[..., 1], boxes[..., 3], ops.take(widths, level), pool_shape[1]),
        ops.take(widths, level))
    width = ops.take(widths, level)[..., None, None]
    start = ops.take(offsets, level)[..., None, None]
    top, down = (start + row[..., :, None] * width for row in (top, down))
    left, right = left[..., None, :], right[..., None, :]
    rows, columns = rows[..., :, None, None], columns[..., None, :, None]
    corners = [top + left, top + right, down + left, down + right]
    weights = [(1 - rows) * (1 - columns), (1 - rows) * columns,
               rows * (1 - columns), rows * columns]
    return corners, weights


def _level_tables(shapes: Sequence[Sequence[Any]]) -> tuple[Tensor, Tensor, Tensor]:
    """Height, width and first cell of each level, int32 `[levels]` each."""
    heights, widths = ([ops.cast(shape[i], "int32") for shape in shapes] for i in (0, 1))
    offsets = [ops.cast(0, "int32")]
    for height, width in zip(heights[:-1], widths[:-1]):
        offsets.append(offsets[-1] + height * width)
    return ops.stack(heights), ops.stack(widths), ops.stack(offsets)


def _edge_to_edge(start: Tensor, end: Tensor, size: Tensor, count: int) -> Tensor:
    """Positions `[B, N, count]` in cells from `start` to `end`, normalized."""
    last = ops.cast(size - 1, "float32")[..., None]
    if count == 1:
        return 0.5 * (start + end)[..., None] * last
    step = (end - start)[..., None] * last / (count - 1)
    return start[..., None] * last + ops.arange(count, dtype="float32") * step


def _bin_centers(start: Tensor, end: Tensor, size: Tensor, count: int) -> Tensor:
    """Positions `[B, N, count]` in cells of the centers of as many bins, shares of the image."""
    cells = ops.cast(size, "float32")[..., None]
    share = (ops.arange(count, dtype="float32") + 0.5) / count
    return (start[..., None] + (end - start)[..., None] * share) * cells - 0.5


def _neighbors(position: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of positions along an axis: fraction `[B, N, count]`, and the cells before and after."""
    last = ops.cast(size - 1, "float32")[..., None]
    position = ops.clip(position, 0.0, last)
    before = ops.floor(position)
    after = ops.minimum(before + 1.0, last)
    return position - before, ops.cast(before, "int32"), ops.cast(after, "int32")


def _of_each_image(function: Callable[..., Any], upstream: Tensor | None,
                   corners: Sequence[Tensor], weights: Sequence[Tensor],
                   maps: Sequence[Tensor]) -> Any:
    """`function([upstream, ]corners, weights, maps)` by `frcnn_ops.by_image`."""
    before = [] if upstream is None else [upstream]

    def call(*tensors: Tensor) -> Any:
        rest = tensors[len(before):]
        return function(*tensors[:len(before)], rest[:4], rest[4:8], rest[8:])

    return frcnn_ops.by_image(call, *before, *corners, *weights, *maps)


def _sample(shapes: Sequence[Sequence[Any]], corners: Sequence[Tensor],
            weights: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """The weighted sum of four cells a point; `[B, N, h, w, C]`."""
    channels = maps[0].shape[-1]
    cells = ops.concatenate([ops.reshape(level, (-1, height * width, channels))
                             for level, (height, width) in zip(maps, shapes)], axis=1)
    first = _image_numbers(maps[0]) * ops.shape(cells)[1]
    cells = ops.reshape(cells, (-1, channels))
    pooled = 0.0
    for corner, weight in zip(corners, weights):
        values = ops.take(cells, corner + first, axis=0)
        pooled = pooled + values * ops.cast(weight, values.dtype)
    return pooled


def _slopes(upstream: Tensor, corners: Sequence[Tensor], weights: Sequence[Tensor],
            maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradient with respect to each map, summed in float32.

    Each sample's gradient goes to its four cells, by their weights. TensorFlow's own kernel lets
    threads add to one cell at the same time, so that some additions are lost.
    """
    batch, channels = ops.shape(maps[0])[0], maps[0].shape[-1]
    upstream, image = ops.cast(upstream, "float32"), _image_numbers(maps[0])
    values = ops.concatenate([ops.reshape(upstream * weight, (-1, channels))
                              for weight in weights])
    found, first = [], 0
    for level in maps:  # one by one, so that no sum over the whole pyramid takes memory
        height, width = ops.shape(level)[1:3]
        size = height * width
        # The sum ignores negative places.
        places = [ops.where(ops.logical_and(corner >= first, corner < first + size),
                            corner - first + image * size, -1) for corner in corners]
        places = ops.concatenate([ops.reshape(place, (-1,)) for place in places])
        summed = ops.segment_sum(values, places, num_segments=batch * size)
        found.append(ops.cast(ops.reshape(summed, (-1, height, width, channels)), level.dtype))
        first = first + size
    return tuple(found)


def _image_numbers(level: Tensor) -> Tensor:
    """0, 1, … for the images of a map, int32 `[B, 1, 1, 1]`."""
    return ops.reshape(ops.arange(ops.shape(level)[0], dtype="int32"), (-1, 1, 1, 1))
