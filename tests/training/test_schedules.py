"""How the learning rate runs."""

import numpy as np

from frcnn.training.schedules import WarmupSchedule


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
    rest = WarmupSchedule(0.1, 100, first_step=60)
    np.testing.assert_allclose(rates(rest, range(40)), rates(whole, range(60, 100)), rtol=1e-5)
    again = WarmupSchedule.from_config(rest.get_config())
    assert rates(again, [7]) == rates(rest, [7])
