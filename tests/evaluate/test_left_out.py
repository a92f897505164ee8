"""Results that lack their lower scores are noticed, and complete ones are not refused."""

import numpy as np
import pytest
from counts_tools import calibration, drawn

from frcnn.evaluate.left_out import find_gap

NAMES = ("red", "white")
KNOWN = calibration(NAMES, images=60)


def found(seed, images=30, means=(8, 8)):
    """Scores of complete detections by class, in new images."""
    random = np.random.default_rng(seed)
    return [np.concatenate([image.scores for image in drawn(random, images, mean)])
            for mean in means]


def kept(scores, least):
    return [part[part >= limit] for part, limit in zip(scores, least)]


@pytest.mark.parametrize("limit", [0.05, 0.3, 0.7, 0.9])
@pytest.mark.parametrize("images", [1, 5, 30])
def test_complete_results_have_no_gap(limit, images):
    gaps = [find_gap(kept(found(seed, images), (limit, limit)), images, limit, KNOWN)
            for seed in range(150)]
    # Three times with a probability of 0.0001, were shares of detections known exactly.
    assert sum(gap is not None for gap in gaps) <= 1


@pytest.mark.parametrize("limit", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("least", [0.8, 0.9, 0.95])
def test_filtered_results_have_one(limit, least):
    for seed in range(20):
        scores = kept(found(seed), (least, least))
        gap = find_gap(scores, 30, limit, KNOWN)
        assert gap.name is None and gap.low == limit
        assert gap.high == np.concatenate(scores).min()
        missing = sum(np.count_nonzero((part >= limit) & (part < gap.high))
                      for part in found(seed))
        assert gap.expected == pytest.approx(missing, rel=0.35)
        assert find_gap(scores, 30, gap.high, KNOWN) is None


def test_one_class_may_be_filtered():
    for seed in range(20):
        gap = find_gap(kept(found(seed), (0.3, 0.95)), 30, 0.3, KNOWN)
        assert gap.name == "white"


def test_scores_below_those_of_the_calibration_are_not_missed():
    known = calibration(NAMES, images=60, min_score=0.9)
    scores = kept(found(0), (0.9, 0.9))
    assert find_gap(scores, 30, 0.05, known) is None


def test_a_class_that_is_rare_is_not_missed():
    """Doubtful detections come with images: two objects in one image bring few of them."""
    assert find_gap([np.array([0.99, 0.98]), np.zeros(0)], 1, 0.9, KNOWN) is None
    assert find_gap([np.zeros(0), np.zeros(0)], 30, 0.05, KNOWN) is None
