"""Expected numbers of objects, with intervals, from what detections' scores mean.

A detector's scores are no probabilities, and it misses objects. Both are measured on images with
known objects, for each class:

- the share of detections of a score that are right, by isotonic regression (B. Zadrozny, C. Elkan,
  KDD 2002, 694-699), which gives ranges of scores that have one probability;
- the share of objects that some detection finds.

The expected number in a new image is the sum of its detections' probabilities and the number that
is missed beside so many found ones, which together is the sum divided by the share that is found.
On the images of the calibration themselves, the sums of probabilities equal the right detections,
and the sums of expected numbers the objects.

An interval is made of draws of what the true number may be: the expected number with two errors.
One is that of the calibration, as it differs from those of images that were drawn with replacement
(a bootstrap over images, of the kind called basic or pivotal). The other is the deviation of each
new image, drawn from those of the known images, whose expected numbers were made without them.
Deviations are in units of a standard deviation that depends on the detections: images with doubtful
ones deviate more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import isotonic_regression, nnls

from frcnn.arrays import Array, FloatArray, IntArray
from frcnn.errors import ArgumentError, DatasetError
from frcnn.evaluate.counts import ImageCounts, true_numbers

# Fewer objects of a class than this say too little of how often it is found.
FEWEST_OBJECTS = 20
# Parts of the images that calibrate each other, so that no image judges itself.
FOLDS = 5
REPLICATES = 200  # bootstrap samples of the images
DRAWS = 2000  # of the true number; a multiple of REPLICATES
_IMAGES_AT_ONCE = 1000  # whose deviations are drawn together
_LEAST_VARIANCE = 0.01  # of a number in an image, in objects²
Interval: TypeAlias = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ClassCalibration:
    """What the scores of one class mean.

    Attributes:
        edges: scores from which the next range begins, rising, `[K - 1]`.
        probabilities: that a detection of a score in each range is right, rising, `[K]`.
        found: share of the objects that some detection finds, above 0.
        weights: expected number of objects for a detection in each range, by the calibration of
            bootstrap samples, `[REPLICATES, K]`.
        variance: the variance of an image's true number is about `variance[0]` times that of
            independent detections and misses, plus `variance[1]`.
        deviations: true minus expected number of each image with known objects, by its standard
            deviation, `[N]`; their mean is about 0.
        objects: number of objects that it was made from.
    """

    edges: FloatArray
    probabilities: FloatArray
    found: float
    weights: FloatArray
    variance: tuple[float, float]
    deviations: FloatArray
    objects: int

    @property
    def _weights(self) -> FloatArray:
        """Expected number of objects for a detection in each range of scores, `[K]`."""
        return self.probabilities / self.found

    def probability(self, scores: Array) -> FloatArray:
        """The probabilities that detections of these scores, `[P]`, are right, `[P]`."""
        return self.probabilities[self._ranges(scores)]

    def expected(self, scores: Array) -> float:
        """The number of objects to expect where detections have these scores, `[P]`."""
        return float(self.probability(scores).sum() / self.found)

    def interval(self, images: Sequence[Array], level: float = 0.9, seed: int = 0) -> Interval:
        """An interval for the number of objects in several images together.

        Its ends are whole numbers, and belong to it. They are chosen by the mid-P rule, so that
        intervals contain the truth as often as `level` says on average; where the number is all
        but certain, a single number does so more often.

        Args:
            images: the scores of the detections in each, `[P]`.
            level: share of such intervals that contain the truth.
            seed: of the draws; with one seed, an interval lies in those of higher levels.

        Raises:
            ArgumentError: the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ArgumentError(f"level is {level}; it must be between 0 and 1.")
        counts = np.array([self._tally(scores) for scores in images], float).reshape(
            len(images), len(self.probabilities))
        draws = self._draws(counts, np.random.default_rng(seed))
        expected = counts.sum(axis=0) @ self._weights
        low, high = _middle(np.maximum(np.rint(draws), 0), level)
        return min(low, round(float(expected))), max(high, round(float(expected)))

    def intervals(self, images: Sequence[Array], level: float = 0.9, seed: int = 0
                  ) -> list[Interval]:
        """The intervals of single images; images without a difference to this class have the same.
        """
        known: dict[bytes, Interval] = {}
        result = []
        for scores in images:
            key = self._tally(scores).tobytes()
            if key not in known:
                known[key] = self.interval([scores], level, seed)
            result.append(known[key])
        return result

    def _ranges(self, scores: Array) -> IntArray:
        return np.searchsorted(self.edges, np.asarray(scores, float), side="right")

    def _tally(self, scores: Array) -> IntArray:
        """How many detections are in each range of scores, `[K]`."""
        return np.bincount(self._ranges(scores), minlength=len(self.probabilities))

    def _draws(self, counts: FloatArray, random: np.random.Generator) -> FloatArray:
        """Possible true numbers of images with so many detections in each range, `[DRAWS]`."""
        # The calibration errs from the truth as those of bootstrap samples err from it.
        tallies = counts.sum(axis=0)
        errors = self.weights @ tallies - self._weights @ tallies
        sums = np.repeat(self._weights @ tallies - errors, DRAWS // len(self.weights))
        spread = np.sqrt(_variances(counts, self.probabilities, self.found) * self.variance[0]
                         + self.variance[1])
        for start in range(0, len(spread), _IMAGES_AT_ONCE):
            part = spread[start:start + _IMAGES_AT_ONCE]
            sums = sums + random.choice(self.deviations, (DRAWS, len(part))) @ part
        return sums


def calibrate(images: Sequence[ImageCounts], name: str = "the class", seed: int = 0
              ) -> ClassCalibration:
    """What the scores of one class mean, from images with known objects.

    Args:
        images: at least FOLDS of them.
        name: of the class, for messages.
        seed: of the bootstrap.

    Raises:
        DatasetError: there are too few images or objects.
    """
    objects = check_enough(images, name)
    expected, independent = _predicted_by_others(images)
    edges, right, all_ = _tallies(images)
    true, total = true_numbers(images), np.maximum(all_.sum(axis=0), 1)
    probabilities, found = right.sum(axis=0) / total, _found(right.sum(), objects)

    deviations = true - expected
    variance = _variance_model(independent, deviations)
    spread = np.sqrt(independent * variance[0] + variance[1])
    # On all images together there is no deviation, and so many degrees of freedom are left.
    deviations = (deviations / spread - deviations.sum() / spread.sum()) * np.sqrt(
        len(images) / (len(images) - 1))

    chosen = np.random.default_rng(seed).multinomial(
        len(images), np.full(len(images), 1 / len(images)), REPLICATES).astype(float)
    hits, counts = chosen @ right, chosen @ all_
    shares = np.where(counts > 0, hits / np.maximum(counts, 1), probabilities)
    rates = np.array([_found(*pair) for pair in zip(hits.sum(axis=1), chosen @ true)])
    return ClassCalibration(edges, probabilities, found, shares / rates[:, None], variance,
                            deviations, objects)


def check_enough(images: Sequence[ImageCounts], name: str = "the class") -> int:
    """The number of objects in images; raises DatasetError where they are too few to calibrate."""
    objects = sum(image.objects for image in images)
    if len(images) < FOLDS or objects < FEWEST_OBJECTS:
        raise DatasetError(
            f"{name} has {objects} objects in {len(images)} images; calibration needs at least "
            f"{FEWEST_OBJECTS} objects and {FOLDS} images. Use a larger subset.")
    return objects


def _tallies(images: Sequence[ImageCounts]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Edges `[K - 1]` of the ranges, and right and all detections of each image there, `[N, K]`."""
    edges = _fitted_edges(np.concatenate([image.scores for image in images]),
                          np.concatenate([image.right for image in images]).astype(float))
    right, all_ = (np.zeros((len(images), len(edges) + 1)) for _ in range(2))
    for row, image in enumerate(images):
        ranges = np.searchsorted(edges, image.scores, side="right")
        np.add.at(all_[row], ranges, 1)
        np.add.at(right[row], ranges, image.right)
    return edges, right, all_


def _fitted_edges(scores: FloatArray, right: FloatArray) -> FloatArray:
    """Where the probability of being right rises, by isotonic regression; midway between scores."""
    if not len(scores):
        return np.zeros(0)
    values, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    shares = np.bincount(place.ravel(), right) / counts
    blocks = isotonic_regression(shares, weights=counts.astype(float)).blocks[1:-1]
    return (values[blocks - 1] + values[blocks]) / 2


def _predicted_by_others(images: Sequence[ImageCounts]) -> tuple[FloatArray, FloatArray]:
    """Expected numbers and their variances, by calibrations on the other images, `[N]` each."""
    expected, independent = np.zeros(len(images)), np.zeros(len(images))
    for fold in range(FOLDS):
        others = [image for place, image in enumerate(images) if place % FOLDS != fold]
        edges, right, all_ = _tallies(others)
        probabilities = right.sum(axis=0) / np.maximum(all_.sum(axis=0), 1)
        found = _found(right.sum(), sum(image.objects for image in others))
        for place in range(fold, len(images), FOLDS):
            counts = np.bincount(np.searchsorted(edges, images[place].scores, side="right"),
                                 minlength=len(probabilities)).astype(float)
            expected[place] = counts @ probabilities / found
            independent[place] = _variances(counts[None], probabilities, found)[0]
    return expected, independent


def expected_by_others(images: Sequence[ImageCounts]) -> FloatArray:
    """Expected numbers of images by calibrations without them, `[N]`; see `calibrate`."""
    return _predicted_by_others(images)[0]


def _found(right: float, objects: float) -> float:
    """The share of the objects that are found; never 0."""
    return max(right / objects, 1 / (objects + 1)) if objects else 1.0


def _variances(counts: FloatArray, probabilities: FloatArray, found: float) -> FloatArray:
    """Variance of the true number, `[N]`, if detections and misses were independent.

    Of so many found ones with `found`, the missed ones have a negative binomial distribution.
    """
    uncertain = counts @ (probabilities * (1 - probabilities)) / found**2
    missed = counts @ probabilities / found * (1 - found) / found
    return uncertain + missed


def _variance_model(independent: FloatArray, deviations: FloatArray) -> tuple[float, float]:
    """Factor and constant that make variances of the squares of deviations, by least squares."""
    weights = 1 / (independent + 0.25)
    terms = np.stack([independent, np.ones_like(independent)], axis=1)
    factor, constant = nnls(terms * weights[:, None], deviations**2 * weights)[0]
    return float(factor), max(float(constant), _LEAST_VARIANCE)


def _middle(draws: FloatArray, level: float) -> Interval:
    """The numbers that are neither too low nor too high for a level, by the mid-P rule.

    A number is left out where lower ones and half of its own draws are less than half of what the
    level leaves; likewise with higher ones.
    """
    numbers, counts = np.unique(draws, return_counts=True)
    from_middle = np.abs((np.cumsum(counts) - counts / 2) / len(draws) - 0.5)
    # At least one number is kept, also where each of them has many draws.
    kept = numbers[from_middle <= max(level / 2, from_middle.min())]
    return int(kept[0]), int(kept[-1])
