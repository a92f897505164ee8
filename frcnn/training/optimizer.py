"""The optimizer: SGD that adds the gradient of the L2 penalty and clips by the global norm."""

import math

import keras
from keras import ops

from frcnn.network import ops as frcnn_ops
from frcnn.network.losses import is_decayed


@keras.saving.register_keras_serializable(package="frcnn")
class DecayingSGD(keras.optimizers.SGD):
    """SGD whose gradients take in that of `decay · mean(weight²)`, for each decayed weight.

    As a part of the loss the penalty has a gradient that is ready when the backward pass begins,
    and waits to its end: a few hundred megabytes at the peak of a step. Here it is added to each
    gradient in place, before they are clipped, which gives the same numbers.

    Keras's clipping squares each gradient into a copy of it, at the peak of a step; this does not.

    Args:
        decay: `WEIGHT_DECAY`.
        clip_norm: the norm of all gradients together that they are scaled down to if it is larger;
            None leaves them as they are. An infinite norm makes every weight no number, as in
            Keras, so that it does not pass unseen.
        **kwargs: of `keras.optimizers.SGD`, but those of `REFUSED`.

    Raises:
        ValueError: a refused argument is set. Keras would clip, scale or gather the gradients after
            this has decayed and clipped them.
    """

    adds_decay = True  # the penalty's gradient, which the loss then leaves out
    REFUSED = ("clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor",
               "gradient_accumulation_steps")

    def __init__(self, *args, decay=0.0, clip_norm=None, **kwargs):
        refused = [name for name in self.REFUSED if kwargs.get(name) is not None]
        if refused:
            raise ValueError(f"DecayingSGD does not take {', '.join(refused)}; it clips by "
                             "clip_norm.")
        super().__init__(*args, **kwargs)
        self.decay, self.clip_norm = decay, clip_norm

    def apply(self, grads, trainable_variables=None):
        """Takes a step; arguments as of `keras.optimizers.Optimizer.apply`."""
        variables = trainable_variables or self._trainable_variables
        grads = [self._decayed(*pair) for pair in zip(grads, variables)]
        return super().apply(self._clipped(grads), trainable_variables)

    def _decayed(self, gradient, variable):
        if gradient is None or not self.decay or not is_decayed(variable):
            return gradient
        rate = 2.0 * self.decay / math.prod(variable.shape)
        # Not `gradient + rate * variable`: that product would be ready, and wait, early as well.
        return rate * (gradient / rate + ops.cast(variable, gradient.dtype))

    def _clipped(self, gradients):
        present = [gradient for gradient in gradients if gradient is not None]
        if self.clip_norm is None or not present:
            return gradients
        norm = frcnn_ops.global_norm(present)
        factor = self.clip_norm / ops.maximum(norm, self.clip_norm) + (norm - norm)
        return [None if gradient is None else gradient * ops.cast(factor, gradient.dtype)
                for gradient in gradients]

    def get_config(self):
        return {**super().get_config(), "decay": self.decay, "clip_norm": self.clip_norm}
