"""Learning rate schedules."""

import math
from numbers import Real
from typing import Any, TypeAlias

import keras
from keras import ops

from frcnn.arrays import Tensor

SCHEDULES = ("constant", "warmup_step", "warmup_cosine")
# Share of the steps used for warm-up, and their limit (Goyal et al. 2017 warm up for 5 epochs).
WARMUP_SHARE, MAX_WARMUP_STEPS = 0.1, 500
# "warmup_step" trains the last fifth at a tenth of the peak rate.
STEP_AT, STEP_FACTOR = 0.8, 0.1

LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable(package="frcnn")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly during the warm-up and decays towards the end.

    The warm-up takes a tenth of the steps, at most 500.

    Args:
        peak: the highest rate, after the warm-up.
        steps: number of steps of the whole schedule.
        kind: "warmup_step" (a tenth of the peak in the last fifth of the steps) or "warmup_cosine"
            (along a cosine to a hundredth of the peak; Loshchilov & Hutter 2017, equation 5).
        first_step: the step of the schedule at which training starts; above 0 for a resumed run.
    """

    def __init__(
        self, peak: float, steps: int, kind: str = "warmup_cosine", first_step: int = 0,
    ) -> None:
        super().__init__()
        self.peak, self.steps, self.kind, self.first_step = peak, max(steps, 1), kind, first_step
        self.warmup = min(MAX_WARMUP_STEPS, max(1, int(WARMUP_SHARE * self.steps)))

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate at a step of training, a float32 scalar."""
        step = ops.cast(step, "float32") + self.first_step
        rise = ops.minimum((step + 1.0) / self.warmup, 1.0)
        done = ops.clip(step / self.steps, 0.0, 1.0)
        if self.kind == "warmup_step":
            decay = ops.where(done < STEP_AT, 1.0, STEP_FACTOR)
        else:
            decay = 0.01 + 0.99 * 0.5 * (1.0 + ops.cos(math.pi * done))
        return self.peak * rise * decay

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {"peak": self.peak, "steps": self.steps, "kind": self.kind,
                "first_step": self.first_step}


def scheduled(
    learning_rate: LearningRate, schedule: str, steps: int, *, start: int, epoch: int, epochs: int,
    counts_on: bool = False,
) -> LearningRate:
    """The learning rate for the optimizer of a run.

    Args:
        learning_rate: the constant or peak rate, or a Keras schedule.
        schedule: one of SCHEDULES.
        steps: steps per epoch.
        start: the epoch at which the schedule began.
        epoch: the epoch at which the run begins.
        epochs: the epoch at which the schedule ends.
        counts_on: whether the optimizer's count of steps is that since `start`, as in a run whose
            state is restored; else it begins at 0.

    Returns:
        `learning_rate` itself for "constant" or a Keras schedule, else a `WarmupSchedule`.
    """
    if schedule == "constant" or not isinstance(learning_rate, Real):
        return learning_rate
    return WarmupSchedule(float(learning_rate), steps * (epochs - start), schedule,
                          first_step=0 if counts_on else steps * (epoch - start))
