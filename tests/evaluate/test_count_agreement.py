"""Agreement of numbers over a data set: figures by hand and by brute force, and its text."""

import numpy as np
import pytest
from evaluate_tools import A, B, Boxes, C, perfect, random_set, result

from frcnn.evaluate import evaluate_counts, format_counts
from frcnn.evaluate.calibration import FEWEST_OBJECTS
from frcnn.evaluate.count_agreement import class_numbers
from frcnn.evaluate.counts import Agreement


def test_counted_numbers_by_hand():
    dataset = Boxes([([A, B], [1, 1]), ([A], [1]), ([A, C], [1, 2])])
    found = {0: result([A, B, C], [1, 1, 1], [0.9, 0.5, 0.6]),  # one more than there are
             1: result([A], [1], [0.4]),  # below the score
             2: result([A, C], [1, 2], [0.9, 0.9])}
    counts = evaluate_counts(dataset, found)
    assert (counts["score_threshold"], counts["level"]) == (0.5, 0.9)
    cast = counts["per_class"]["cast"]
    assert (cast["objects"], cast["images"], cast["expected"], cast["coverage"]) == (4, 3, None,
                                                                                     None)
    assert cast["counted"]["bias"] == 0 and cast["counted"]["mean_absolute_error"] == \
        pytest.approx(2 / 3)
    spread = 1.96 * np.std([1, -1, 0], ddof=1)
    assert cast["counted"]["limits"] == [pytest.approx(-spread), pytest.approx(spread)]
    assert "cast has 4 objects in 3 images; calibration needs at least 20" in cast["note"]
    assert counts["per_class"]["eryth"]["counted"]["correlation"] is None


def test_figures_of_a_random_set():
    truth, found = random_set(np.random.default_rng(2), 60)
    dataset = Boxes(truth)
    counts = evaluate_counts(dataset, found, score_threshold=0.4)
    for numbers, (name, figures) in zip(class_numbers(dataset, found, score_threshold=0.4),
                                        counts["per_class"].items()):
        class_id = dataset.class_names.index(name)
        true = [np.count_nonzero(np.asarray(ids) == class_id) for _, ids in truth]
        assert numbers.true.tolist() == true and figures["objects"] == sum(true) > FEWEST_OBJECTS
        assert figures["expected"]["bias"] == pytest.approx(Agreement.of(
            numbers.expected, numbers.true).bias)
        assert abs(figures["expected"]["bias"]) < 0.3 * np.mean(true)
        assert 0.75 <= figures["coverage"] <= 1 and not figures["note"]
        assert numbers.best is numbers.expected


def test_a_perfect_detector_agrees_perfectly():
    truth, _ = random_set(np.random.default_rng(3), 40)
    dataset = Boxes([(boxes, np.abs(ids)) for boxes, ids in truth])
    for figures in evaluate_counts(dataset, perfect(dataset))["per_class"].values():
        for kind in ("counted", "expected"):
            assert figures[kind]["limits"] == [0, 0] and figures[kind]["correlation"] == \
                pytest.approx(1)
        assert figures["coverage"] == 1


def test_some_parts_may_have_too_few_objects():
    """All together are enough; without the fold with most of them, they are not."""
    dataset = Boxes([([A, B, C] * 5, [1] * 15)] + [([A], [1])] * 9)
    figures = evaluate_counts(dataset, perfect(dataset))["per_class"]["cast"]
    assert figures["expected"] is not None and figures["coverage"] is None
    assert "expected" in format_counts(evaluate_counts(dataset, perfect(dataset)))


@pytest.mark.parametrize("truth", [[], [([], [])], [([A], [-1])] * 6])
def test_nothing_fails_without_objects(truth):
    dataset = Boxes(truth)
    text = format_counts(evaluate_counts(dataset, {}))
    assert "nan" not in text and (len(truth) == 0 or "cast has 0 objects" in text)


def test_the_table():
    dataset = Boxes([([A] * 10, [1] * 10), ([A], [1])])
    lines = format_counts(evaluate_counts(dataset, {0: result([A], [1])})).splitlines()
    assert lines[0] == ("Numbers of objects in an image: counted from a score of 0.5, and expected "
                        "by calibration on the other images, with 90% intervals")
    assert lines[2].split() == ["class", "number", "objects", "bias", "MAE", "r", "limits", "of",
                                "agreement", "covered"]
    assert lines[3].split() == ["cast", "counted", "11", "-5.00", "5.00", "1.000", "-16.09", "to",
                                "+6.09", "-"]
    assert lines[-3].startswith("cast has 11 objects in 2 images")
