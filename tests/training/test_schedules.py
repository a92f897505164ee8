"""Learning rate schedules."""

import keras
import numpy as np
import pytest

from frcnn.training.schedules import WarmupSchedule, scheduled


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_warmup_and_step_by_hand():
    schedule = WarmupSchedule(0.1, 100, "warmup_step")  # ten steps of warm-up
    np.testing.assert_allclose(rates(schedule, [0, 4, 9, 10, 79, 80, 99, 150]),
                               [0.01, 0.05, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01], rtol=1e-5)


def test_warmup_and_cosine_by_hand():
    schedule = WarmupSchedule(1.0, 200, "warmup_cosine")
    halfway = 0.01 + 0.99 / 2
    np.testing.assert_allclose(rates(schedule, [100, 200, 500]), [halfway, 0.01, 0.01], rtol=1e-5)
    np.testing.assert_allclose(rates(schedule, [0])[0], 1 / 20, rtol=1e-3)
    late = rates(schedule, range(20, 201))
    assert (np.diff(late) < 0).all()


def test_a_warmup_has_a_limit_and_at_least_one_step():
    schedule = WarmupSchedule(1.0, 100_000, "warmup_step")
    np.testing.assert_allclose(rates(schedule, [249, 499, 500]), [0.5, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(rates(WarmupSchedule(1.0, 3, "warmup_step"), [0, 1, 2]),
                               [1, 1, 1], rtol=1e-5)
    assert rates(WarmupSchedule(1.0, 0), [0])[0] <= 1


def test_a_run_that_goes_on_goes_on_with_its_schedule():
    whole = WarmupSchedule(0.1, 100)
    resumed = WarmupSchedule(0.1, 100, first_step=60)
    np.testing.assert_allclose(rates(resumed, range(40)), rates(whole, range(60, 100)), rtol=1e-5)
    again = WarmupSchedule.from_config(resumed.get_config())
    assert rates(again, [7]) == rates(resumed, [7])


@pytest.mark.parametrize("rate", [0.1, np.float32(0.1)])
def test_the_schedule_of_a_run(rate):
    """From epoch 2 of a schedule of 5 epochs of 20 steps that began at epoch 0."""
    run = scheduled(rate, "warmup_cosine", 20, start=0, epoch=2, epochs=5)
    whole = WarmupSchedule(0.1, 100)
    np.testing.assert_allclose(rates(run, range(60)), rates(whole, range(40, 100)), rtol=1e-5)


def test_constant_rates_and_schedules_of_keras_stay_as_they_are():
    steps = {"start": 0, "epoch": 0, "epochs": 2}
    assert scheduled(0.1, "constant", 20, **steps) == 0.1
    cosine = keras.optimizers.schedules.CosineDecay(0.1, 50)
    assert scheduled(cosine, "warmup_cosine", 20, **steps) is cosine
