"""The RPN computed a second time, at the sampled anchors alone: the path of the gradient.

The loss counts some 256 anchors of an image, and a convolution's gradient does not profit from all
others being zero: over the whole pyramid it takes two thirds of the RPN's time. So the RPN over all
cells only proposes, and this layer repeats it, with the same weights, on the 3×3 patches that the
sampled anchors see.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from frcnn.arrays import Tensor
from frcnn.errors import ArgumentError
from frcnn.geometry.anchors import anchor_grid
from frcnn.network import ops as frcnn_ops
from frcnn.network.layers import producer
from frcnn.network.rpn import RPN_KERNEL


@keras.saving.register_keras_serializable(package="frcnn")
class SampledRPN(keras.layers.Layer):
    """Logits and deltas of the anchors that are not neutral.

    Source: Ren et al. 2015 (Faster R-CNN), section 3.1.3, for the sampling.

    Args:
        rpn: the model of `build_rpn_model`, whose weights are used; they are not this layer's. A
            layer without it, as a stored one is, takes the model that produces its `rpn_output`.
        anchors_per_location: number of ratios.
        anchor_stride: the RPN's.
        count: K, rows that come out of an image; further anchors that are not neutral are left out.

    Call: `[match int [B, A, 1], P2, …, P6 each [B, h, w, C]]`, match 1 object, −1 background, 0
    neutral → match int32 `[B, K, 1]` (0 where there are fewer than K), logits `[B, K, 2]` and
    deltas `[B, K, 4]`, float32, in the order of the anchors. `rpn_output` is any output of the RPN
    in the same graph; its values are not read.
    """

    def __init__(self, rpn: keras.Model | None = None, anchors_per_location: int = 3,
                 anchor_stride: int = 1, count: int = 256, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self._rpn = None if rpn is None else weakref.ref(rpn)
        self.anchors_per_location = int(anchors_per_location)
        self.anchor_stride = int(anchor_stride)
        self.count = int(count)

    @property
    def rpn(self) -> keras.Model:
        """The model whose weights are used.

        Raises:
            ValueError: the layer has none yet, or the model was deleted.
        """
        rpn = None if self._rpn is None else self._rpn()
        if rpn is None:
            raise ArgumentError(f"The layer {self.name!r} has no RPN: pass `rpn`, or call the "
                                "layer with an output of the RPN as `rpn_output` when the graph "
                                "is built.")
        return rpn

    def call(self, inputs: list[Tensor], rpn_output: Tensor = None) -> list[Tensor]:
        match, levels = ops.cast(inputs[0][..., 0], "int32"), inputs[1:]
        anchor, match = _first_sampled(match, self.count)
        cell, ratio = anchor // self.anchors_per_location, anchor % self.anchors_per_location
        patches = _patches(levels, cell, self.anchor_stride)
        logits, deltas = self._outputs(patches)
        return [match[..., None], frcnn_ops.take_of_each(logits, ratio),
                frcnn_ops.take_of_each(deltas, ratio)]

    def _outputs(self, patches: Tensor) -> list[Tensor]:
        """Patches `[B, K, 9·C]` → logits `[B, K, ratios, 2]` and deltas `[B, K, ratios, 4]`."""
        rpn, ratios = self.rpn, self.anchors_per_location
        shared = ops.relu(_dense(patches, rpn.get_layer("rpn_conv_shared")))
        return [ops.cast(ops.reshape(_dense(shared, rpn.get_layer(name)),
                                     (-1, self.count, ratios, size)), "float32")
                for name, size in (("rpn_class_raw", 2), ("rpn_bbox_pred", 4))]

    def compute_output_spec(self, inputs: list[Tensor], rpn_output: Tensor = None) -> list[Tensor]:
        if self._rpn is None and isinstance(producer(rpn_output), keras.Model):
            self._rpn = weakref.ref(producer(rpn_output))
        batch, count = inputs[0].shape[0], self.count
        return [keras.KerasTensor((batch, count, 1), "int32"),
                keras.KerasTensor((batch, count, 2), "float32"),
                keras.KerasTensor((batch, count, 4), "float32")]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "anchors_per_location": self.anchors_per_location,
                "anchor_stride": self.anchor_stride, "count": self.count}


def _first_sampled(match: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first anchors that are not neutral: their numbers and match, int32 `[B, count]`."""
    match = frcnn_ops.pad_rows(match, count)
    total = ops.shape(match)[1]
    # Counted from the end, earlier places are larger; those of neutral anchors are 0.
    place = ops.where(ops.equal(match, 0), 0, total - ops.arange(total, dtype="int32"))
    place, _ = frcnn_ops.top_k(place, k=count)
    is_sampled = place > 0
    anchor = ops.where(is_sampled, total - place, 0)
    return anchor, ops.where(is_sampled, frcnn_ops.take_rows(match, anchor), 0)


def _patches(levels: Sequence[Tensor], cell: Tensor, stride: int) -> Tensor:
    """What the convolution sees at the cells `[B, K]`: `[B, K, 9·C]`, zero beyond the edges.

    cell: number in the list of all levels' outputs, by level, row and column.
    """
    found, first = [], 0
    for level in levels:
        height, width = ops.shape(level)[1:3]
        rows, columns = anchor_grid((height, width), stride)
        place = cell - first
        on_level = ops.logical_and(place >= 0, place < rows * columns)
        row, row_inside = _reach(place // columns, height, rows, stride)
        column, column_inside = _reach(place % columns, width, columns, stride)
        inside = ops.logical_and(row_inside[..., :, None], column_inside[..., None, :])
        inside = ops.logical_and(inside, on_level[..., None, None])
        index = ops.where(inside, row[..., :, None] * width + column[..., None, :], 0)
        found.append(_cells(level, index, inside))
        first = first + rows * columns
    return sum(found[1:], found[0])


def _reach(place: Tensor, size: Any, outputs: Any, stride: int) -> tuple[Tensor, Tensor]:
    """Along one axis the three cells around each output `[B, K, 3]`, and which of them exist.

    "same" padding puts half of what is missing, rounded down, before the first cell.
    """
    missing = ops.maximum((outputs - 1) * stride + RPN_KERNEL - size, 0)
    index = (place * stride - missing // 2)[..., None] + ops.arange(RPN_KERNEL, dtype="int32")
    return index, ops.logical_and(index >= 0, index < size)


def _cells(level: Tensor, index: Tensor, inside: Tensor) -> Tensor:
    """Rows of a level's list of cells, index `[B, K, 3, 3]` → `[B, K, 9·C]`, 0 if not inside."""
    _, height, width, channels = ops.shape(level)
    cells = ops.reshape(level, (-1, height * width, channels))
    flat = ops.reshape(index, (-1, index.shape[1] * RPN_KERNEL**2))
    values = frcnn_ops.take_rows_summing(cells, flat)
    values = ops.reshape(values, (-1, *index.shape[1:], channels))
    values = ops.where(inside[..., None], values, ops.zeros((), values.dtype))
    return ops.reshape(values, (-1, index.shape[1], RPN_KERNEL**2 * channels))


def _dense(x: Tensor, conv: keras.layers.Conv2D) -> Tensor:
    """A convolution on patches of its kernel's size: `[B, K, n]` → `[B, K, filters]`."""
    kernel = ops.reshape(conv.kernel, (-1, conv.filters))
    dtype = conv.compute_dtype
    y = ops.matmul(ops.cast(x, dtype), ops.cast(kernel, dtype))
    return y + ops.cast(conv.bias, dtype)
