"""How the learning rate runs over the steps of a training."""

import math

import keras
from keras import ops

SCHEDULES = ("constant", "warmup_step", "warmup_cosine")
# Share of the steps that warm up, and at most how many (Goyal et al. 2017 warm up for 5 epochs).
WARMUP_SHARE, MOST_WARMUP_STEPS = 0.1, 500
# "warmup_step" trains the last fifth at a tenth.
STEP_AT, STEP_FACTOR = 0.8, 0.1


@keras.saving.register_keras_serializable(package="frcnn")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly at first, and falls at the end.

    Args:
        peak: the rate after the warm-up.
        steps: of the whole schedule.
        kind: "warmup_step" (a tenth in the last fifth) or "warmup_cosine" (down to a hundredth;
            Loshchilov & Hutter 2017, equation 5).
        first_step: where in the schedule step 0 is, for a run that goes on.
    """

    def __init__(self, peak, steps, kind="warmup_cosine", first_step=0):
        super().__init__()
        self.peak, self.steps, self.kind, self.first_step = peak, max(steps, 1), kind, first_step
        self.warmup = min(MOST_WARMUP_STEPS, max(1, int(WARMUP_SHARE * self.steps)))

    def __call__(self, step):
        step = ops.cast(step, "float32") + self.first_step
        rise = ops.minimum((step + 1.0) / self.warmup, 1.0)
        done = ops.clip(step / self.steps, 0.0, 1.0)
        if self.kind == "warmup_step":
            fall = ops.where(done < STEP_AT, 1.0, STEP_FACTOR)
        else:
            fall = 0.01 + 0.99 * 0.5 * (1.0 + ops.cos(math.pi * done))
        return self.peak * rise * fall

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "kind": self.kind,
                "first_step": self.first_step}
