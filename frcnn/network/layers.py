"""The layers that the network is made of: convolution, BatchNorm, and the head's convolution."""

import math
import weakref

import keras
from keras import layers, ops

from frcnn.network import ops as frcnn_ops


class Conv2D(layers.Conv2D):
    """Keras's convolution, which `conv_norm` may join with the BatchNorm that follows it.

    In training on stored statistics that BatchNorm is `scale · y + shift`, in each channel. Scaling
    the kernel instead saves a pass over the maps forwards and two backwards, and the memory of one
    copy of them; gamma and beta still get their gradients.

    Args: as of `keras.layers.Conv2D`. Weights, their names and their shapes are Keras's.
    """

    def __init__(self, *args, **kwargs):
        # Kernel and scale meet in float32, before they are cast for the product.
        super().__init__(*args, **{"autocast": False, **kwargs})
        self._norm_behind = None

    def join(self, norm):
        """Makes this layer do the work of `norm`, which must read its output and nothing else."""
        self._norm_behind = weakref.ref(norm)  # no sublayer, its weights are not this layer's
        norm.is_joined = True

    def call(self, inputs, training=None):
        """`[B, H, W, C]` → `[B, h, w, filters]`, of the layer's compute dtype."""
        norm = self._norm_behind and self._norm_behind()
        kernel, bias = self.kernel, self.bias
        if norm is not None and norm.is_done_by_conv(training):
            scale, shift = norm.scale_and_shift()
            kernel = kernel * scale
            bias = shift if bias is None else bias * scale + shift
        y = self.convolution_op(ops.cast(inputs, self.compute_dtype),
                                ops.cast(kernel, self.compute_dtype))
        y = y if bias is None else ops.add(y, ops.cast(bias, y.dtype))
        return y if self.activation is None else self.activation(y)


def conv_norm(x, conv, norm):
    """A convolution and the BatchNorm behind it, joined: `[B, H, W, C]` → `[B, h, w, filters]`."""
    conv.join(norm)
    return norm(conv(x))


class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization of feature maps `[B, H, W, C]` or rows `[B, N, C]`.

    Args:
        train_bn: True: in training the batch's statistics are used, and the stored ones follow
            them. False: the stored statistics are used always, while gamma and beta still train
            if the layer does.
        momentum: of the stored statistics. Lower than Keras's 0.99, since a run on a few hundred
            images takes too few steps for that to forget its start.

    Call: `x`, and `is_row` bool `[B, N]` for rows: others do not count in the batch's statistics.
    """

    def __init__(self, train_bn=False, momentum=0.9, **kwargs):
        super().__init__(momentum=momentum, **kwargs)
        self.train_bn = train_bn
        self.is_joined = False  # a Conv2D does its work while it is frozen

    def call(self, inputs, is_row=None, training=None):
        x = ops.cast(inputs, self.compute_dtype)
        if self.is_done_by_conv(training):
            return x
        gamma, beta = (ops.cast(w, "float32") for w in (self.gamma, self.beta))
        if training and self.train_bn and self.trainable:
            return self._normalize_batch(x, gamma, beta, is_row)
        return _as_maps(x, lambda maps: frcnn_ops.normalize_by_statistics(
            maps, gamma, beta, ops.cast(self.moving_mean, "float32"),
            ops.cast(self.moving_variance, "float32"), self.epsilon))

    def is_done_by_conv(self, training):
        """Whether the joined convolution scales and shifts already: in training, if frozen."""
        return self.is_joined and bool(training) and not (self.train_bn and self.trainable)

    def scale_and_shift(self):
        """Scale and shift `[C]`, float32, that a normalization by stored statistics comes to."""
        gamma, beta, mean, variance = (ops.cast(weight, "float32") for weight in (
            self.gamma, self.beta, self.moving_mean, self.moving_variance))
        scale = gamma / ops.sqrt(variance + self.epsilon)
        return scale, beta - mean * scale

    def _normalize_batch(self, x, gamma, beta, is_row):
        if is_row is not None:
            return super().call(x, training=True, mask=is_row)
        statistics = []

        def normalize(maps):
            y, *found = frcnn_ops.normalize_batch(maps, gamma, beta, self.epsilon)
            statistics.extend(found)
            return y

        y = _as_maps(x, normalize)
        for stored, found in zip((self.moving_mean, self.moving_variance), statistics):
            found = ops.stop_gradient(found)
            stored.assign(stored * self.momentum + found * (1.0 - self.momentum))
        return y

    def get_config(self):
        return {**super().get_config(), "train_bn": self.train_bn}


def _as_maps(x, function):
    """Applies a function of `[B, H, W, C]` to x of that rank, or of `[B, N, C]`."""
    if len(x.shape) == 4:
        return function(x)
    return ops.squeeze(function(x[:, :, None, :]), axis=2)


class RoiConv(layers.Layer):
    """A convolution that covers each RoI's patch whole, as one matrix product.

    The kernel has a convolution's shape, so that the reference's checkpoints fit; as a product
    on flattened patches it takes half the time of the convolution.

    Args:
        filters: channels that come out (D).
        kernel_initializer: as of Keras's layers.

    Call: `[B, N, h, w, C]` → `[B, N, D]`. Weights: kernel `[h, w, C, D]`, bias `[D]`.
    """

    def __init__(self, filters, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_initializer = filters, kernel_initializer

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(*input_shape[2:], self.filters),
                                      initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs):
        flat = ops.reshape(inputs, (-1, inputs.shape[1], math.prod(self.kernel.shape[:3])))
        kernel = ops.reshape(self.kernel, (flat.shape[-1], self.filters))
        return ops.matmul(flat, kernel) + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters,
                "kernel_initializer": self.kernel_initializer}
