"""Whether detections of low scores were left out of results, by a calibration of their detector.

A file of results says nothing of the least score that it was made with. If detections below some
score are missing, expected numbers are too low: the calibration counts with them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from frcnn.arrays import Array
from frcnn.evaluate.calibration_file import Calibration
from frcnn.evaluate.counts import ImageCounts

# Results are taken as complete unless what they lack had less than this probability.
UNLIKELY = 0.0001


class Gap(NamedTuple):
    """A range of scores without detections, where many were to be expected.

    Attributes:
        name: of the class; None: of all classes together.
        low: least score that there should be.
        high: least score that there is.
        expected: number of detections to expect from `low` to below `high`.
    """

    name: str | None
    low: float
    high: float
    expected: float


def find_gap(scores: Sequence[Array], images: int, limit: float, calibration: Calibration
             ) -> Gap | None:
    """Where detections seem to have been left out, in all classes or in one; or None.

    Where a share q of the calibration's detections lies above the least score of n detections, all
    n do so with a probability of q to the power of n. Where the calibration has m detections below
    it in as many images, there are none with a probability of exp(−m). The higher of the two is
    compared with UNLIKELY.

    Args:
        scores: of the detections by class, from class 1 as in the calibration, `[P]` each.
        images: how many were detected in.
        limit: least score that the detections are to have been made with.
        calibration: Calibration.
    """
    limit = max(limit, calibration.min_score)
    groups: Mapping[str | None, Sequence[int]] = {
        None: range(len(scores)),
        **{name: [place] for place, name in enumerate(calibration.class_names[1:])}}
    for name, places in groups.items():
        found = np.concatenate([np.zeros(0), *(scores[place] for place in places)])
        if not len(found):
            continue
        lowest = float(found.min())
        lacking = [_lacking(len(scores[place]), images, limit, lowest, calibration.classes[place])
                   for place in places]
        if math.exp(-sum(evidence for _, evidence in lacking)) < UNLIKELY:
            return Gap(name, limit, lowest, sum(expected for expected, _ in lacking))
    return None


def _lacking(count: int, images: int, low: float, high: float, known: Sequence[ImageCounts]
             ) -> tuple[float, float]:
    """What is to be expected of a class from `low` to below `high`, beside `count` from there on.

    Returns:
        The number of detections, and minus the logarithm of the probability that there are none.
    """
    scores = np.concatenate([np.zeros(0), *(image.scores for image in known)])
    above = np.count_nonzero(scores >= high)
    below = np.count_nonzero((scores >= low) & (scores < high))
    if not count or not below:
        return 0.0, 0.0
    by_images = below / len(known) * images
    if not above:
        return by_images, by_images
    ratio = below / above
    return min(by_images, ratio * count), min(by_images, count * math.log1p(ratio))
