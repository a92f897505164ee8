"""The optimizer: SGD that adds the gradient of the L2 penalty and clips by the global norm."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from frcnn.arrays import Tensor
from frcnn.network import ops as frcnn_ops
from frcnn.network.losses import is_decayed


@keras.saving.register_keras_serializable(package="frcnn")
class DecayingSGD(keras.optimizers.SGD):
    """SGD that adds the gradient of `decay · mean(weight²)` to that of each decayed weight.

    As part of the loss, the penalty's gradient would be computed when the backward pass begins and
    kept until it ends: a few hundred megabytes at the peak of a step. Here it is added to each
    gradient in place, before clipping, which gives the same numbers. Clipping needs no squared
    copy of the gradients either, unlike Keras's own.

    Args:
        decay: `WEIGHT_DECAY`.
        clip_norm: the largest global norm of the gradients; larger ones are scaled down to it.
            None does not clip. With an infinite norm every weight becomes NaN, as in Keras, so
            that the failure is noticed.
        **kwargs: of `keras.optimizers.SGD`, except those in `REFUSED`.

    Raises:
        ValueError: a refused argument is set. Keras would clip, scale or accumulate the gradients
            after this class has decayed and clipped them.
    """

    adds_decay = True  # read by the Detector, whose loss then leaves the penalty's gradient out
    REFUSED = ("clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor",
               "gradient_accumulation_steps")

    def __init__(
        self, *args: Any, decay: float = 0.0, clip_norm: float | None = None, **kwargs: Any,
    ) -> None:
        refused = [name for name in self.REFUSED if kwargs.get(name) is not None]
        if refused:
            raise ValueError(f"DecayingSGD does not take {', '.join(refused)}; it clips by "
                             "clip_norm.")
        super().__init__(*args, **kwargs)
        self.decay, self.clip_norm = decay, clip_norm

    def apply(
        self, grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Takes a step; arguments as of `keras.optimizers.Optimizer.apply`."""
        variables = trainable_variables or self._trainable_variables
        grads = [self._decayed(*pair) for pair in zip(grads, variables)]
        return super().apply(self._clipped(grads), trainable_variables)

    def _decayed(self, gradient: Tensor | None, variable: keras.Variable) -> Tensor | None:
        if gradient is None or not self.decay or not is_decayed(variable):
            return gradient
        rate = 2.0 * self.decay / math.prod(variable.shape)
        # Not `gradient + rate * variable`: that product could be computed, and kept, early too.
        return rate * (gradient / rate + ops.cast(variable, gradient.dtype))

    def _clipped(self, gradients: list[Tensor | None]) -> list[Tensor | None]:
        present = [gradient for gradient in gradients if gradient is not None]
        if self.clip_norm is None or not present:
            return gradients
        norm = frcnn_ops.global_norm(present)
        factor = self.clip_norm / ops.maximum(norm, self.clip_norm) + (norm - norm)
        return [None if gradient is None else gradient * ops.cast(factor, gradient.dtype)
                for gradient in gradients]

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {**super().get_config(), "decay": self.decay, "clip_norm": self.clip_norm}
