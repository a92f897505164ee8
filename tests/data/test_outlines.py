"""Boxes of polygons and run-length encoded masks, against pycocotools and pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from frcnn.data.outlines import outline_box

HEIGHT, WIDTH = 11, 14


def random_mask(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    y, x = rng.integers(0, HEIGHT - 3), rng.integers(0, WIDTH - 3)
    mask[y:y + rng.integers(1, 9), x:x + rng.integers(1, 9)] = 1
    return mask & (rng.random(mask.shape) < 0.7)


def box_of(mask):
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]


def runs_of(mask):
    """Run lengths, column by column, beginning with background."""
    flat = mask.T.ravel().tolist()
    runs, value = [0], 0
    for pixel in flat:
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@pytest.mark.parametrize("seed", range(60))
def test_masks(seed):
    mask = random_mask(seed)
    if not mask.any():
        return
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    for counts in (text, runs_of(mask)):
        outline = {"size": [HEIGHT, WIDTH], "counts": counts}
        assert outline_box(outline, WIDTH, HEIGHT) == box_of(mask)


def test_a_large_mask():
    mask = np.zeros((700, 900), np.uint8)
    mask[100:650, 5:880] = np.random.default_rng(0).random((550, 875)) < 0.5
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    assert outline_box({"size": [700, 900], "counts": text}, 900, 700) == box_of(mask)


def test_polygons():
    assert outline_box([[1.5, 2, 10, 2.5, 6, 9]], WIDTH, HEIGHT) == [1.5, 2, 8.5, 7]
    assert outline_box([[1, 2, 3, 2, 3, 4], [5, 6, 7, 6, 7, 9]], WIDTH, HEIGHT) == [1, 2, 6, 7]
    assert outline_box([1, 2, 3, 2, 3, 4], WIDTH, HEIGHT) == [1, 2, 2, 2]  # not nested


SIZE = {"size": [HEIGHT, WIDTH]}


@pytest.mark.parametrize("outline", [
    None, [], [[]], [[1, 2]], [[1, 2, 3, 4, 5]], [[1, 2, "3", 4, 5, 6]], [[1, 2, 3, None, 5, 6]],
    [[1, 2, 1, 2, 1, 2]], "text", 7, {}, {"counts": [1]}, {**SIZE, "counts": [HEIGHT * WIDTH]},
    {**SIZE, "counts": [1, 2]}, {**SIZE, "counts": [-1, HEIGHT * WIDTH + 1]},
    {**SIZE, "counts": [1.5, 2]}, {**SIZE, "counts": "\x00"}, {**SIZE, "counts": "~" * 99},
    {**SIZE, "counts": "é"}, {"size": [WIDTH, HEIGHT], "counts": [0, HEIGHT * WIDTH]},
    {"size": [10**9, 10**9], "counts": [0, 10**18]}, [[float("nan")] * 6],
])
def test_what_is_no_outline(outline):
    assert outline_box(outline, WIDTH, HEIGHT) is None


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40))
def test_no_text_of_runs_fails_otherwise(text):
    box = outline_box({**SIZE, "counts": text}, WIDTH, HEIGHT)
    assert box is None or (box[2] > 0 and box[0] + box[2] <= WIDTH and box[1] + box[3] <= HEIGHT)
