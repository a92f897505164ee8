"""Presets, and what `augmentation=` may be."""

import numpy as np
import pytest
from augment_tools import drawn_scenes, extent, found
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.data import augment
from frcnn.data.clipping import keep_visible
from frcnn.errors import ConfigError

# --- flip -----------------------------------------------------------------------------------


@given(scene=drawn_scenes(), seed=st.integers(0, 2**32),
       preset=st.sampled_from([augment.flip, augment.flips]))
@settings(max_examples=120, deadline=None)
def test_the_flip_presets_keep_objects_crowds_and_seeds(scene, seed, preset):
    image, boxes = scene
    class_ids = np.where(np.arange(len(boxes)) % 2, 1, -2).astype(np.int32)
    results = [preset(image, boxes, class_ids, np.random.default_rng(seed))
               for _ in range(2)]
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)
    moved, moved_boxes, moved_ids = results[0]
    np.testing.assert_array_equal(moved_ids, class_ids)
    np.testing.assert_array_equal(moved_boxes, found(moved, 20 * np.arange(1, len(boxes) + 1)))


def test_the_flip_preset_flips_half_of_the_images():
    image = np.zeros((4, 8, 3), np.uint8)
    boxes, rng = np.float32([[0, 0, 2, 3]]), np.random.default_rng(1)
    flipped = [augment.flip(image, boxes, np.array([1]), rng)[1][0, 1] == 5 for _ in range(1000)]
    assert 430 < sum(flipped) < 570


def test_the_flips_preset_mirrors_both_ways_and_makes_all_four_equally_often():
    image = np.arange(15, dtype=np.uint8).reshape(3, 5, 1)
    boxes, rng = np.float32([[0, 0, 1, 1]]), np.random.default_rng(1)
    expected = {(0, 0): image, (0, 4): image[:, ::-1], (2, 0): image[::-1],
                (2, 4): image[::-1, ::-1]}
    counts = dict.fromkeys(expected, 0)
    for _ in range(1000):
        moved, moved_boxes, _ = augment.flips(image, boxes, np.array([1]), rng)
        corner = tuple(moved_boxes[0, :2].astype(int))
        np.testing.assert_array_equal(moved, expected[corner])
        counts[corner] += 1
    assert all(190 < count < 310 for count in counts.values())
    assert not getattr(augment.flips, "turns", False)  # the image keeps its shape


# --- microscopy -----------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), channels=st.sampled_from([1, 3, 4]), data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_microscopy_preset_moves_boxes_with_what_they_surround(seed, channels, data):
    """An object is drawn as a bright rectangle; its box is compared with what is bright after."""
    height, width = data.draw(st.integers(60, 120)), data.draw(st.integers(60, 120))
    y1, x1 = data.draw(st.integers(0, height - 20)), data.draw(st.integers(0, width - 20))
    y2, x2 = data.draw(st.integers(y1 + 15, height)), data.draw(st.integers(x1 + 15, width))
    if (y2 - y1) * (x2 - x1) > height * width / 3:
        return  # its color would count as the background's
    image = np.full((height, width, channels), 70, np.uint8)
    image[y1:y2, x1:x2] = 190
    before, boxes = image.copy(), np.float32([[y1, x1, y2, x2]])
    moved, moved_boxes, class_ids = augment.microscopy(
        image, boxes, np.array([-3]), np.random.default_rng(seed))
    assert moved.dtype == np.uint8 and moved_boxes.dtype == np.float32
    assert sorted(moved.shape[:2]) == sorted((height, width)) and moved.shape[2] == channels
    assert class_ids.tolist() == [-3]
    np.testing.assert_array_equal(image, before)
    assert boxes.tolist() == [[y1, x1, y2, x2]]
    cut, _ = keep_visible(moved_boxes, class_ids, moved.shape)
    smooth = moved[..., 0].astype(float)
    bright = smooth > (smooth.min() + smooth.max()) / 2
    if len(cut) and (cut[0, 2:] - cut[0, :2] > 4).all():
        # A pixel for rounding the scaled edge, and one for blur and noise on top of it.
        np.testing.assert_allclose(extent(bright), cut[0], atol=2)


def test_the_microscopy_preset_draws_all_that_it_promises():
    image, boxes = np.full((80, 120, 3), (60, 90, 60), np.uint8), np.float32([[35, 50, 42, 70]])
    image[35:42, 50:70] = (190, 220, 190)
    rng = np.random.default_rng(0)
    positions, sizes, means, tints, noise = set(), [], [], [], []
    for _ in range(300):
        moved, moved_boxes, _ = augment.microscopy(image, boxes, np.array([3]), rng)
        y1, x1, y2, x2 = moved_boxes[0]
        if (y2 - y1, x2 - x1) in ((7, 20), (20, 7)):
            positions.add((moved.shape[0], y1, x1))
        sizes.append((y2 - y1) * (x2 - x1) / 140)
        corner = moved[:8, :8].astype(float)
        means.append(corner.mean())
        tints.append(corner[..., 0].mean() - corner[..., 2].mean())
        noise.append(corner[..., 1].std())
    assert len(positions) >= 8  # shifted without being scaled counts for more
    assert min(sizes) < 0.7 and max(sizes) > 1.45 and 110 < sum(size != 1 for size in sizes) < 190
    assert max(means) - min(means) > 30
    assert min(tints) < -6 and max(tints) > 6
    assert sum(value < 0.01 for value in noise) > 100 and max(noise) > 4


def test_the_microscopy_preset_is_the_same_for_the_same_seed():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    boxes = np.float32([[1, 2, 30, 40]])
    for seed in range(20):
        one, other = (augment.microscopy(image, boxes, np.array([1]), np.random.default_rng(seed))
                      for _ in range(2))
        for a, b in zip(one, other):
            np.testing.assert_array_equal(a, b)


def test_the_microscopy_preset_without_objects():
    image = np.zeros((30, 20, 3), np.uint8)
    for seed in range(10):
        _, boxes, class_ids = augment.microscopy(
            image, np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.random.default_rng(seed))
        assert boxes.shape == (0, 4) and len(class_ids) == 0


# --- choosing -------------------------------------------------------------------------------


def test_resolving():
    assert augment.resolve(None) is None
    assert augment.resolve("flip") is augment.flip
    assert augment.resolve("flips") is augment.flips
    assert augment.resolve("microscopy") is augment.microscopy
    assert augment.resolve(max) is max
    for wrong in ("flop", 3, ["flip"]):
        with pytest.raises(ConfigError, match=r"presets flip, flips, microscopy, a K.* or a cal"):
            augment.resolve(wrong)


@pytest.mark.smoke
def test_composing_applies_in_order():
    def double(image, boxes, class_ids, rng):
        return image * 2, boxes, class_ids

    def add(image, boxes, class_ids, rng):
        return image + 1, boxes, class_ids + 1

    image, boxes = np.ones((2, 2, 3), np.uint8), np.zeros((0, 4), np.float32)
    result, _, class_ids = augment.compose(double, None, add)(image, boxes, np.array([5]), None)
    assert (result == 3).all() and class_ids.tolist() == [6]
    assert not augment.compose("flip", add).turns and augment.compose("microscopy", add).turns
