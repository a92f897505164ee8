"""Numbers of objects: right on average, and in their intervals as often as these say."""

import itertools

import numpy as np
import pytest
from counts_tools import drawn
from evaluate_tools import A, B, Boxes, random_set, result
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.errors import ArgumentError, DatasetError
from frcnn.evaluate.calibration import (
    DRAWS,
    FOLDS,
    REPLICATES,
    calibrate,
    expected_by_others,
)
from frcnn.evaluate.counts import Agreement, ImageCounts, dataset_counts, image_counts


def test_probabilities_and_the_share_that_is_found():
    found = calibrate(drawn(np.random.default_rng(0), 2000))
    np.testing.assert_allclose(found.probability([0.3, 0.5, 0.8, 0.95]),
                               np.square([0.3, 0.5, 0.8, 0.95]), atol=0.04)
    assert found.found == pytest.approx(0.85, abs=0.01)
    assert (np.diff(found.probabilities) > 0).all() and (np.diff(found.edges) > 0).all()


def test_expected_numbers_are_right_on_average():
    random = np.random.default_rng(1)
    made = calibrate(drawn(random, 300))
    new = drawn(random, 400)
    expected = [made.expected(image.scores) for image in new]
    true = [image.objects for image in new]
    assert np.mean(expected) == pytest.approx(np.mean(true), rel=0.05)


@pytest.mark.parametrize(("images", "mean", "spread", "group"), [
    (40, 12, 0, 1), (40, 12, 0.15, 5), (120, 12, 0.15, 1), (120, 12, 0, 20),
    (40, 1, 0, 1), (40, 1, 0.15, 5), (120, 1, 0.15, 20)])
def test_nine_of_ten_intervals_contain_the_truth(images, mean, spread, group):
    """Also where the share that is found differs from image to image, and in several images
    together, whose numbers are as uncertain as the calibration."""
    random, inside = np.random.default_rng(2), []
    for _ in range(60):
        made = calibrate(drawn(random, images, mean, spread=spread))
        new = drawn(random, 8 * group, mean, spread=spread)
        for start in range(0, len(new), group):
            part = new[start:start + group]
            low, high = made.interval([image.scores for image in part])
            inside.append(low <= sum(image.objects for image in part) <= high)
    assert 0.85 <= np.mean(inside) <= 0.95


def test_a_small_calibration_by_hand():
    """Scores of 0.2 are right once in two times, those of 0.9 always; two of six are missed."""
    image = ImageCounts(np.array([0.2, 0.2, 0.9, 0.9, 0.9]),
                        np.array([True, False, True, True, True]), 6)
    made = calibrate([image] * 10)
    assert made.edges.tolist() == [pytest.approx(0.55)]
    assert made.probabilities.tolist() == [0.5, 1.0] and made.found == pytest.approx(4 / 6)
    assert made.expected([0.1, 0.3]) == pytest.approx(1.5)
    assert made.expected([0.99]) == pytest.approx(1.5) and made.expected([]) == 0
    # All images are alike, so that there is neither a deviation nor another calibration.
    assert made.interval([image.scores]) == (6, 6)
    assert made.interval([image.scores] * 7) == (42, 42)


def test_falling_shares_are_one_range():
    """Isotonic regression pools scores of 0.5 and 0.6, of which the lower is right more often."""
    image = ImageCounts(np.array([0.4, 0.5, 0.6, 0.7]), np.array([False, True, False, True]), 2)
    made = calibrate([image] * 10)
    assert made.probabilities.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(made.edges, [0.45, 0.65])
    assert made.found == 1


# --- properties ---------------------------------------------------------------------------------


@st.composite
def calibrations(draw):
    """Images with enough objects, with equal scores among them and images without detections."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    images = drawn(random, draw(st.integers(FOLDS, 30)), mean=draw(st.sampled_from([0.5, 4, 15])),
                   found=draw(st.floats(0.1, 1)))
    digits = draw(st.integers(1, 6))
    images = [ImageCounts(image.scores.round(digits), image.right, image.objects)
              for image in images]
    return [*images, ImageCounts(np.array([0.5]), np.array([True]), 20)]


@given(calibrations())
@settings(max_examples=60, deadline=None)
def test_sums_on_the_images_of_the_calibration(images):
    """Probabilities sum to the right detections, and expected numbers to the objects."""
    made = calibrate(images)
    scores = np.concatenate([image.scores for image in images])
    right = sum(image.right.sum() for image in images)
    assert made.probability(scores).sum() == pytest.approx(right)
    expected = sum(made.expected(image.scores) for image in images)
    assert expected == pytest.approx(made.objects) == sum(image.objects for image in images)
    assert (np.diff(made.probabilities) >= 0).all()
    assert made.probabilities[0] >= 0 and made.probabilities[-1] <= 1


@given(calibrations(), st.lists(st.floats(0, 1), max_size=30), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_intervals(images, scores, count):
    """They grow with the level, contain the expected number, and do not depend on the order."""
    made = calibrate(images)
    parts = np.array_split(np.array(scores), count)
    # What is expected in several images together is the sum.
    assert made.expected(scores) == pytest.approx(sum(map(made.expected, parts)))
    ends = [made.interval(parts, level) for level in (0.01, 0.5, 0.8, 0.9, 0.95, 0.999)]
    for (low, high), (wider_low, wider_high) in itertools.pairwise(ends):
        assert 0 <= wider_low <= low <= high <= wider_high
    low, high = ends[0]
    assert low <= round(made.expected(scores)) <= high
    assert made.interval([part[::-1] for part in parts], 0.8) == ends[2]
    assert made.intervals(parts) == [made.interval([part]) for part in parts]


def test_numbers_of_draws():
    assert DRAWS % REPLICATES == 0


def test_nothing_found_is_nothing_expected_but_not_certain():
    made = calibrate(drawn(np.random.default_rng(4), 100, found=0.3))
    assert made.expected(np.zeros(0)) == 0
    low, high = made.interval([np.zeros(0)])
    assert low == 0 and high >= 0
    # In a hundred images in which nothing is found, something may well be.
    assert made.interval([np.zeros(0)] * 100)[1] > high
    assert made.interval([]) == (0, 0)


def test_a_detector_that_finds_nothing_has_a_calibration():
    none = ImageCounts(np.zeros(0), np.zeros(0, bool), 4)
    made = calibrate([none] * 6)
    assert made.expected([0.9, 0.8]) == 0 and made.found == pytest.approx(1 / 25)
    low, high = made.interval([np.array([0.9])])
    assert 0 == low <= high


def test_no_image_judges_itself():
    """The two images of 0.5 are all that is known of this score, and in different parts; so each
    is expected to have what the other has."""
    images = [ImageCounts(np.array([0.1]), np.array([False]), 0)] * 8
    images = [ImageCounts(np.array([0.5]), np.array([True]), 1),
              ImageCounts(np.array([0.5, 0.5]), np.array([False, False]), 0), *images]
    assert expected_by_others(images).tolist() == [0, 2, *[0] * 8]


@pytest.mark.parametrize(("images", "message"), [
    ([ImageCounts(np.array([0.5]), np.array([True]), 30)] * 3, "90 objects in 3 images"),
    ([ImageCounts(np.array([0.5]), np.array([True]), 1)] * 10, "the class has 10 objects in 10"),
])
def test_too_little_to_calibrate(images, message):
    with pytest.raises(DatasetError, match=message):
        calibrate(images)


def test_a_level_is_a_share():
    made = calibrate(drawn(np.random.default_rng(5), 50))
    for level in (0, 1, -1, 2):
        with pytest.raises(ArgumentError, match="it must be between 0 and 1"):
            made.interval([np.ones(1)], level)


# --- agreement ----------------------------------------------------------------------------------


def test_agreement_by_hand():
    found = Agreement.of(np.array([3, 5, 10]), np.array([2, 5, 12]))
    assert found.bias == pytest.approx(-1 / 3) and found.mean_absolute_error == pytest.approx(1)
    spread = 1.96 * np.std([1, 0, -2], ddof=1)
    assert found.limits == (pytest.approx(-1 / 3 - spread), pytest.approx(-1 / 3 + spread))
    assert found.correlation == pytest.approx(np.corrcoef([3, 5, 10], [2, 5, 12])[0, 1])


def test_agreement_without_variation_has_no_correlation():
    assert Agreement.of(np.array([2, 2]), np.array([1, 3])).correlation is None
    assert Agreement.of(np.array([0.1] * 3), np.array([1, 3, 2])).correlation is None
    assert Agreement.of(np.array([2]), np.array([1])).limits == (1, 1)
    with pytest.raises(ArgumentError, match="1 counted and 2 true numbers"):
        Agreement.of(np.array([2]), np.array([1, 3]))


def test_detections_beside_the_objects_of_an_image():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [0, 50, 40, 90]], np.float32)
    result = {"boxes": np.array([[0, 0, 10, 9], [1, 0, 10, 10], [60, 60, 70, 70], [5, 55, 15, 65]],
                                np.float32),
              "class_ids": np.array([1, 1, 2, 1]), "scores": np.array([0.9, 0.8, 0.7, 0.6])}
    first, second = image_counts(boxes, np.array([1, 2, -1]), result, 3)
    assert first.objects == 1 and second.objects == 1
    np.testing.assert_allclose(first.scores, [0.9, 0.8])  # the one in the crowd does not count
    assert first.right.tolist() == [True, False] and second.right.tolist() == [False]
    assert first.above(0.85).scores.tolist() == [0.9] and first.above(0.85).right.tolist() == [True]


def test_detections_beside_the_objects_of_a_data_set():
    """Sums are those of brute force, and images without a result have no detections."""
    truth, found = random_set(np.random.default_rng(7), 15)
    found.pop(3)
    dataset = Boxes(truth)
    for class_id, images in enumerate(dataset_counts(dataset, found), start=1):
        assert [image.objects for image in images] == [
            sum(int(number) == class_id for number in ids) for _, ids in truth]
        assert len(images[3].scores) == 0
        assert all(image.right.sum() <= image.objects for image in images)
    chosen = dataset_counts(dataset, found, [2, 5])
    assert [len(images) for images in chosen] == [2, 2, 2]


def test_images_without_labels_for_a_class_do_not_count_for_it():
    dataset = Boxes([([A, B], [1, 2]), ([A], [1])])
    dataset.add_class("other", 1, "yeast")
    dataset.add_image("other", 200, path=None)
    dataset.truth.append(([B], [4]))
    dataset.prepare()
    images = dataset_counts(dataset, {0: result([A], [1]), 2: result([A, B], [1, 4])})
    assert [len(of_class) for of_class in images] == [2, 2, 2, 1]
    assert images[3][0].right.tolist() == [True]
