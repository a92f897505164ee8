"""Convolution, BatchNorm, the head's convolution, and normalization of boxes, as Keras layers."""

import math
import weakref
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from frcnn.arrays import Tensor
from frcnn.errors import ArgumentError
from frcnn.network import ops as frcnn_ops
from frcnn.network.pairs import Pairing, pairing


@keras.saving.register_keras_serializable(package="frcnn")
class Conv2D(layers.Conv2D):
    """Keras's convolution, which `conv_norm` may join with the BatchNorm that follows it.

    In training on stored statistics that BatchNorm is `scale · y + shift`, in each channel. Scaling
    the kernel instead saves a pass over the maps forwards and two backwards, and the memory of one
    copy of them; gamma and beta still get their gradients. In a model that was cut out between the
    two, or that has another reader of this layer's output, each does its own work.

    Args: as of `keras.layers.Conv2D`. Weights, their names and their shapes are Keras's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Kernel and scale are multiplied in float32, before they are cast for the convolution.
        super().__init__(*args, **{"autocast": False, **kwargs})
        self._norm_behind: weakref.ref[BatchNorm] | None = None
        # Outputs that were scaled and shifted outside of any functional model, by id.
        self._normalized: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    @property
    def joined_norm(self) -> "BatchNorm | None":
        """The BatchNorm that this layer is joined with."""
        return None if self._norm_behind is None else self._norm_behind()

    def join(self, norm: "BatchNorm") -> None:
        """Makes this layer do the work of `norm`, which must be the only reader of its output.

        Raises:
            ValueError: one of the layers is joined with another one.
        """
        for layer, partner in ((self, self.joined_norm), (norm, norm.joined_conv())):
            if partner not in (None, self, norm):
                raise ArgumentError(f"The convolution {self.name!r} cannot be joined with "
                                    f"{norm.name!r}: {layer.name!r} is already joined with "
                                    f"{partner.name!r}.")
        self._norm_behind = weakref.ref(norm)  # not a sublayer: its weights stay its own
        norm.joined_conv_ref = weakref.ref(self)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """`[B, H, W, C]` → `[B, h, w, filters]`, of the layer's compute dtype."""
        norm = self.joined_norm
        kernel, bias = self.kernel, self.bias
        pair = Pairing.CUT
        if norm is not None and norm.is_frozen_in(training):
            pair = pairing(self, norm)
        if norm is not None and pair is not Pairing.CUT:
            scale, shift = norm.scale_and_shift()
            kernel = kernel * scale
            bias = shift if bias is None else bias * scale + shift
        y = self.convolution_op(ops.cast(inputs, self.compute_dtype),
                                ops.cast(kernel, self.compute_dtype))
        y = y if bias is None else ops.add(y, ops.cast(bias, y.dtype))
        y = y if self.activation is None else self.activation(y)
        if pair is Pairing.NO_GRAPH:
            self._normalized[id(y)] = y
        return y

    def has_normalized(self, x: Tensor) -> bool:
        """Whether x is an output that this layer has scaled and shifted outside of any model."""
        return self._normalized.get(id(x)) is x


def conv_norm(x: Tensor, conv: Conv2D, norm: "BatchNorm") -> Tensor:
    """A convolution and the BatchNorm behind it, joined: `[B, H, W, C]` → `[B, h, w, filters]`."""
    conv.join(norm)
    return norm(conv(x))


@keras.saving.register_keras_serializable(package="frcnn")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization of feature maps `[B, H, W, C]` or rows `[B, N, C]`.

    Args:
        train_bn: True: in training the batch's statistics are used, and the stored ones follow
            them. False: the stored statistics are used always, while gamma and beta still train
            if the layer does.
        momentum: of the stored statistics. Lower than Keras's 0.99, since a run on a few hundred
            images takes too few steps for that to forget its initial values.
        joined: whether the layer is to be joined with the Conv2D whose output it reads, when a
            graph is built; `get_config` sets it for layers that `conv_norm` has joined.

    Call: `x`, and `is_row` bool `[B, N]` for rows: others do not count in the batch's statistics.
    """

    def __init__(self, train_bn: bool = False, momentum: float = 0.9, joined: bool = False,
                 **kwargs: Any) -> None:
        super().__init__(momentum=momentum, **kwargs)
        self.train_bn = bool(train_bn)
        self._joins = bool(joined)
        self.joined_conv_ref: weakref.ref[Conv2D] | None = None

    # No property: Keras would store the convolution's weights with this layer's.
    def joined_conv(self) -> Conv2D | None:
        """The convolution that does this layer's work in training, while it is frozen."""
        return None if self.joined_conv_ref is None else self.joined_conv_ref()

    @property
    def is_joined(self) -> bool:
        """Whether there is such a convolution."""
        return self.joined_conv_ref is not None

    def compute_output_spec(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Keras's, for a symbolic call: there a stored or cloned graph is joined again."""
        conv = producer(inputs)
        if self._joins and not self.is_joined and isinstance(conv, Conv2D):
            conv.join(self)
        return super().compute_output_spec(inputs, *args, **kwargs)

    def call(self, inputs: Tensor, is_row: Tensor = None, training: bool | None = None) -> Tensor:
        x = ops.cast(inputs, self.compute_dtype)
        if self.is_frozen_in(training) and self._is_done_by_conv(inputs):
            return x
        gamma, beta = (ops.cast(w, "float32") for w in (self.gamma, self.beta))
        if training and self.train_bn and self.trainable:
            return self._normalize_batch(x, gamma, beta, is_row)
        return _as_maps(x, lambda maps: frcnn_ops.normalize_by_statistics(
            maps, gamma, beta, ops.cast(self.moving_mean, "float32"),
            ops.cast(self.moving_variance, "float32"), self.epsilon))

    def is_frozen_in(self, training: bool | None) -> bool:
        """Whether this is a training in which the layer normalizes by its stored statistics."""
        return bool(training) and not (self.train_bn and self.trainable)

    def _is_done_by_conv(self, inputs: Tensor) -> bool:
        """Whether the joined convolution has scaled and shifted what comes in, in this call.

        Raises:
            ValueError: that cannot be known: the layer was called by itself, on something that
                the convolution has not returned.
        """
        conv = self.joined_conv()
        if conv is None:
            return False
        pair = pairing(conv, self)
        if pair is Pairing.NO_GRAPH and not conv.has_normalized(inputs):
            raise ArgumentError(
                f"The BatchNorm {self.name!r} is joined with the convolution {conv.name!r}, which "
                "does its work in training; it was called with training=True on something that "
                "the convolution has not returned. Call a model that has both, or make a layer "
                "with the same weights that is not joined (joined=False in its config).")
        return pair is not Pairing.CUT

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The float32 scale and shift `[C]` equivalent to normalizing by stored statistics."""
        gamma, beta, mean, variance = (ops.cast(weight, "float32") for weight in (
            self.gamma, self.beta, self.moving_mean, self.moving_variance))
        scale = gamma / ops.sqrt(variance + self.epsilon)
        return scale, beta - mean * scale

    def _normalize_batch(self, x: Tensor, gamma: Tensor, beta: Tensor, is_row: Tensor) -> Tensor:
        if is_row is not None:
            return super().call(x, training=True, mask=is_row)
        statistics: list[Tensor] = []

        def normalize(maps: Tensor) -> Tensor:
            y, *found = frcnn_ops.normalize_batch(maps, gamma, beta, self.epsilon)
            statistics.extend(found)
            return y

        y = _as_maps(x, normalize)
        for stored, found in zip((self.moving_mean, self.moving_variance), statistics):
            found = ops.stop_gradient(found)
            stored.assign(stored * self.momentum + found * (1.0 - self.momentum))
        return y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "train_bn": self.train_bn,
                "joined": self._joins or self.is_joined}


def producer(tensor: Tensor) -> keras.Operation | None:
    """The layer or model whose output a symbolic tensor is; None for any other tensor."""
    history = getattr(tensor, "_keras_history", None)
    return None if history is None else history.operation


def _as_maps(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Applies a function of `[B, H, W, C]` to x of that rank, or of `[B, N, C]`."""
    if len(x.shape) == 4:
        return function(x)
    return ops.squeeze(function(x[:, :, None, :]), axis=2)


@keras.saving.register_keras_serializable(package="frcnn")
class RoiConv(layers.Layer):
    """A convolution whose kernel covers each RoI's patch entirely, as one matrix product.

    The kernel has a convolution's shape, so that the reference's checkpoints fit; as a product
    on flattened patches it takes half the time of the convolution.

    Args:
        filters: channels that come out (D).
        kernel_initializer: as of Keras's layers.

    Call: `[B, N, h, w, C]` → `[B, N, D]`. Weights: kernel `[h, w, C, D]`, bias `[D]`.
    """

    def __init__(self, filters: int, kernel_initializer: Any = "glorot_uniform",
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = int(filters)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(name="kernel", shape=(*input_shape[2:], self.filters),
                                      initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        flat = ops.reshape(inputs, (-1, inputs.shape[1], math.prod(self.kernel.shape[:3])))
        kernel = ops.reshape(self.kernel, (flat.shape[-1], self.filters))
        return ops.matmul(flat, kernel) + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:2], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters,
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}


@keras.saving.register_keras_serializable(package="frcnn")
class NormBoxes(layers.Layer):
    """`[boxes [B, N, 4] in pixels, image [B, H, W, C]]` → normalized boxes; zero rows stay zero."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: list[Tensor]) -> Tensor:
        boxes, image = inputs
        is_box = ops.any(ops.not_equal(boxes, 0), axis=-1, keepdims=True)
        return ops.where(is_box, frcnn_ops.norm_boxes_graph(boxes, ops.shape(image)[1:3]), 0.0)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]
                             ) -> tuple[int | None, ...]:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())  # Keras's own is only for layers that define one
