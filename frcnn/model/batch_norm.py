"""BatchNorm: Keras's layer with a fused kernel, and frozen or trained as the Config says."""

import keras
from keras import ops

from frcnn.model import ops as frcnn_ops


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
