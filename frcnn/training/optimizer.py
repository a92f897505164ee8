"""The optimizer: SGD that adds the gradient of the L2 penalty and clips by the global norm."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Tensor
from frcnn.config import Config
from frcnn.errors import ArgumentError
from frcnn.network import ops as frcnn_ops
from frcnn.network.losses import is_decayed
from frcnn.training.schedules import LearningRate


class _Averaging:
    """An optimizer whose moving average can be in the model, with the weights in its place.

    Attributes:
        average_is_in_model: whether the two are exchanged now, see `exchange_average`.
    """

    average_is_in_model = False

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """At the end of `fit`, Keras has the average overwrite the weights of the model.

        Not where it is there already: what is in its place are the weights, with which the training
        goes on.
        """
        if not self.average_is_in_model:
            super().finalize_variable_values(var_list)  # type: ignore[misc]


def exchange_average(optimizer: keras.optimizers.Optimizer) -> None:
    """Exchanges the trained weights and their moving average, to the bit.

    Keras's `SwapEMAWeights` adds and subtracts them on TensorFlow, which rounds.

    Args:
        optimizer: one of `make_optimizer` with EMA_MOMENTUM, or a `LossScaleOptimizer` of it.
    """
    optimizer = averaging(optimizer)
    for variable, average in zip(optimizer._trainable_variables,
                                 optimizer._model_variables_moving_average):
        if average is not None:
            kept = np.array(ops.convert_to_numpy(variable))
            variable.assign(np.array(ops.convert_to_numpy(average)))
            average.assign(kept)
    optimizer.average_is_in_model = not optimizer.average_is_in_model


def averaging(optimizer: keras.optimizers.Optimizer) -> Any:
    """The optimizer that has the average: the inner one of a `LossScaleOptimizer`."""
    return getattr(optimizer, "inner_optimizer", optimizer)


@keras.saving.register_keras_serializable(package="frcnn")
class DecayingSGD(_Averaging, keras.optimizers.SGD):
    """SGD that adds the gradient of `decay · mean(weight²)` to that of each decayed weight.

    As part of the loss, the penalty's gradient would be computed when the backward pass begins and
    kept until it ends: a few hundred megabytes at the peak of a step. Here it is added to each
    gradient in place, before clipping, which gives the same numbers. Clipping needs no squared
    copy of the gradients either, unlike Keras's own.

    Args:
        decay: `WEIGHT_DECAY`.
        decay_of_mean: False adds the gradient of `decay / 2 · sum(weight²)` instead.
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
        self, *args: Any, decay: float = 0.0, clip_norm: float | None = None,
        decay_of_mean: bool = True, **kwargs: Any,
    ) -> None:
        refused = [name for name in self.REFUSED if kwargs.get(name) is not None]
        if refused:
            raise ArgumentError(f"DecayingSGD does not take {', '.join(refused)}; it clips by "
                                "clip_norm.")
        super().__init__(*args, **kwargs)
        self.decay, self.clip_norm, self.decay_of_mean = decay, clip_norm, decay_of_mean

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
        rate = 2.0 * self.decay / math.prod(variable.shape) if self.decay_of_mean else self.decay
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
        return {**super().get_config(), "decay": self.decay, "clip_norm": self.clip_norm,
                "decay_of_mean": self.decay_of_mean}


@keras.saving.register_keras_serializable(package="frcnn")
class DecayingAdamW(_Averaging, keras.optimizers.AdamW):
    """AdamW with decoupled decay of the weights that `DecayingSGD` decays.

    Source: Loshchilov & Hutter 2019 (Decoupled Weight Decay Regularization), algorithm 2.

    Args: as of `keras.optimizers.AdamW`.
    """

    adds_decay = True

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the slots; BatchNorm's gamma and beta and all biases are not decayed."""
        self.exclude_from_weight_decay(
            var_list=[v for v in variables if not is_decayed(v) or v.name == "bias"])
        super().build(variables)


def make_optimizer(config: Config, learning_rate: LearningRate,
                   momentum: float | None = None) -> keras.optimizers.Optimizer:
    """The optimizer that a Config asks for by `OPTIMIZER`.

    Args:
        config: Config; `LEARNING_MOMENTUM`, `GRADIENT_CLIP_NORM`, `WEIGHT_DECAY`,
            `WEIGHT_DECAY_OF_MEAN` and `EMA_MOMENTUM` are read, too.
        learning_rate: a number or a Keras schedule.
        momentum: of SGD; default `LEARNING_MOMENTUM`.
    """
    # A fixed name: TensorFlow remembers every name of a variable for ever, with 35 kB, and Keras
    # would number the optimizers.
    common: dict[str, Any] = {"name": config.OPTIMIZER}
    if config.EMA_MOMENTUM:
        common |= {"use_ema": True, "ema_momentum": config.EMA_MOMENTUM}
    if config.OPTIMIZER == "adamw":
        return DecayingAdamW(learning_rate, weight_decay=config.WEIGHT_DECAY,
                             global_clipnorm=config.GRADIENT_CLIP_NORM, **common)
    return DecayingSGD(
        learning_rate, momentum=config.LEARNING_MOMENTUM if momentum is None else momentum,
        clip_norm=config.GRADIENT_CLIP_NORM, decay=config.WEIGHT_DECAY,
        decay_of_mean=config.WEIGHT_DECAY_OF_MEAN, **common)
