"""Repeat-factor sampling: images with rare classes come more often, in epochs of the same length.

Gupta, Dollár, Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", 2019,
appendix. With f(c) the share of the images that contain class c, and t a threshold, the class's
factor is r(c) = max(1, √(t / f(c))), and an image's factor that of the class of its own with the
highest. There an epoch has about Σ r images, each r times, its fraction rounded at random.

Here an epoch keeps its N images, so that trainings with and without this see equally many: image i
is expected r(i) · N / Σ r times, and comes either that number rounded down or that rounded up
(systematic sampling: the images, in a random order, take up that much of a line each, on which N
marks lie at equal distances from a random start). With all factors at 1 it is every image once.
"""

from collections.abc import Iterable

import numpy as np

from frcnn.arrays import ClassIds, FloatArray, IntArray


def image_shares(class_ids: Iterable[ClassIds]) -> dict[int, float]:
    """f(c): the share of the images that contain an object of class c, crowds not counted.

    Args:
        class_ids: int `[N]` of each image.

    Returns:
        By class id; classes without objects are missing.
    """
    present = [np.unique(ids[ids > 0]) for ids in map(np.asarray, class_ids)]
    classes, counts = np.unique(np.concatenate([np.zeros(0, int), *present]), return_counts=True)
    return {int(name): float(count) / len(present) for name, count in zip(classes, counts)}


def repeat_factors(class_ids: Iterable[ClassIds], threshold: float) -> FloatArray:
    """How many times more often an image comes than one whose classes are all common.

    Args:
        class_ids: int `[N]` of each image; negative: crowd regions, which do not count.
        threshold: t, the share of the images below which a class is rare, above 0.

    Returns:
        float64 `[num_images]`, 1 or more; 1 for an image without objects.
    """
    images = [np.asarray(ids) for ids in class_ids]
    factor = {name: max(1.0, (threshold / share) ** 0.5)
              for name, share in image_shares(images).items()}
    return np.array([max([1.0, *(factor[int(name)] for name in np.unique(ids[ids > 0]))])
                     for ids in images])


def repeated_order(factors: FloatArray, rng: np.random.Generator) -> IntArray:
    """The images of one epoch in random order, as many as there are images.

    Args:
        factors: `[N]` of `repeat_factors`.
        rng: of the choice and the order.

    Returns:
        int `[N]`, positions in `factors`; position i comes `factors[i] * N / sum(factors)` times,
        rounded down or up.
    """
    count = len(factors)
    images = rng.permutation(count)
    ends = np.cumsum(factors[images])
    ends *= count / ends[-1]
    marks = np.searchsorted(np.arange(count) + rng.random(), ends)
    marks[-1] = count  # whatever the sum's rounding
    return rng.permutation(np.repeat(images, np.diff(marks, prepend=0)))
