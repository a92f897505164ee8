"""Repeat-factor sampling: factors worked by hand, and what an epoch consists of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.data.repeat import image_shares, repeat_factors, repeated_order


def ids(*lists):
    return [np.array(values, np.int32) for values in lists]


# Class 1 in all of four images, class 2 in one; class 3 only as a crowd.
IMAGES = ids([1, 1, 2], [1], [1, -3], [1, 1])


def test_the_share_of_the_images_counts_a_class_once_an_image_and_no_crowds():
    assert image_shares(IMAGES) == {1: 1.0, 2: 0.25}
    assert image_shares(ids([], [-1])) == {}


@pytest.mark.parametrize(("threshold", "expected"), [
    (1.0, [2, 1, 1, 1]),  # √(1 / 0.25)
    (0.5, [2**0.5, 1, 1, 1]),
    (0.25, [1, 1, 1, 1]),  # not below the threshold
    (0.01, [1, 1, 1, 1]),
])  # fmt: skip
def test_factors_worked_by_hand(threshold, expected):
    np.testing.assert_allclose(repeat_factors(IMAGES, threshold), expected, rtol=1e-12)


def test_an_image_has_the_factor_of_its_rarest_class():
    # Shares: class 1 4/8, class 2 2/8, class 3 1/8; the last image has no objects.
    images = ids([1], [1, 2], [1, 2, 3], [1], [-2], [-3], [-1], [])
    np.testing.assert_allclose(repeat_factors(images, 0.5),
                               [1, 2**0.5, 2, 1, 1, 1, 1, 1], rtol=1e-12)


@given(st.lists(st.floats(1, 30), min_size=1, max_size=40), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_an_epoch_is_as_long_as_ever_and_counts_are_rounded_down_or_up(factors, seed):
    factors = np.array(factors)
    order = repeated_order(factors, np.random.default_rng(seed))
    assert len(order) == len(factors)
    counts = np.bincount(order, minlength=len(factors))
    expected = factors * len(factors) / factors.sum()
    assert (counts >= np.floor(expected - 1e-6)).all()
    assert (counts <= np.ceil(expected + 1e-6)).all()
    np.testing.assert_array_equal(order, repeated_order(factors, np.random.default_rng(seed)))


def test_with_all_factors_at_one_every_image_comes_once():
    orders = [repeated_order(np.ones(50), np.random.default_rng(seed)) for seed in range(20)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 20


def test_over_many_epochs_images_come_in_proportion_to_their_factors():
    factors = np.array([1, 1, 1, 1.5, 2, 3.7, 1, 1.2])
    epochs = 4000
    orders = [repeated_order(factors, np.random.default_rng([7, epoch]))
              for epoch in range(epochs)]
    counts = np.bincount(np.concatenate(orders), minlength=8) / epochs
    np.testing.assert_allclose(counts, factors * 8 / factors.sum(), atol=0.03)
    # No place in the epoch prefers an image.
    first = np.bincount([order[0] for order in orders], minlength=8) / epochs
    np.testing.assert_allclose(first, factors / factors.sum(), atol=0.03)
