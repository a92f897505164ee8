"""A convolution that does the work of the BatchNorm behind it while that is frozen."""

import weakref

from keras import layers, ops


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
