"""Box arithmetic, against the reference's outputs, brute force, and boxes worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frcnn.geometry.boxes import (
    apply_box_deltas,
    box_areas,
    box_refinement,
    clip_boxes,
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    extract_bboxes,
    non_max_suppression,
    norm_boxes,
    resize_bbox,
    trim_zeros,
)


def some_boxes(count, seed=0, dtype=np.float64, side=100):
    rng = np.random.default_rng(seed)
    corners, sizes = rng.uniform(0, side, (count, 2)), rng.uniform(1, side / 2, (count, 2))
    return np.concatenate([corners, corners + sizes], axis=1).astype(dtype)


def plain_iou(a, b):
    """Intersection over union of two boxes, as one would by hand."""
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union > 0 else 0.0


def plain_suppression(boxes, scores, threshold):
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(plain_iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


def box_lists(max_size=12):
    """Boxes on a coarse grid, so that ties, touching and equal ones are common."""
    box = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 5)] * 2)
    return st.lists(box.map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])), max_size=max_size)


# --- the reference's outputs ----------------------------------------------------------------


def test_overlaps_are_the_references(functions):
    overlaps = compute_overlaps(functions["boxes1"], functions["boxes2"])
    np.testing.assert_allclose(overlaps, functions["overlaps"], rtol=0, atol=1e-6)


def test_refinement_and_deltas_are_the_references(functions):
    refined = box_refinement(functions["boxes1"], functions["refine_gt"])
    np.testing.assert_allclose(refined, functions["box_refinement"], rtol=1e-6, atol=1e-6)
    moved = apply_box_deltas(functions["boxes1"], 0.5 * functions["box_refinement"])
    np.testing.assert_allclose(moved, functions["apply_box_deltas"], rtol=1e-6, atol=1e-6)


def test_normalization_is_the_references(functions):
    normalized = norm_boxes(functions["boxes1"], (512, 512))
    np.testing.assert_allclose(normalized, functions["norm_boxes"], rtol=0, atol=1e-6)
    assert normalized.dtype == np.float32
    pixels = denorm_boxes(functions["denorm_input"], (480, 640))
    np.testing.assert_array_equal(pixels, functions["denorm_boxes"])
    assert pixels.dtype == np.int32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_suppression_keeps_what_the_reference_keeps(functions, dtype):
    boxes = functions["boxes1"].astype(dtype)
    kept = non_max_suppression(boxes, functions["nms_scores"], 0.3)
    np.testing.assert_array_equal(kept, functions["nms_keep"])
    assert kept.dtype == np.int32


# --- overlaps -------------------------------------------------------------------------------


@pytest.mark.smoke
def test_overlap_worked_out_by_hand():
    one, other = [[0, 0, 10, 10]], [[5, 5, 15, 15], [10, 0, 20, 10], [0, 0, 10, 10]]
    np.testing.assert_allclose(compute_overlaps(one, other), [[25 / 175, 0, 1]])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 70), (70, 3), (900, 60)])
def test_overlaps_equal_brute_force(n, m):
    boxes1, boxes2 = some_boxes(n, 1), some_boxes(m, 2)
    expected = [[plain_iou(a, b) for b in boxes2] for a in boxes1]
    overlaps = compute_overlaps(boxes1, boxes2)
    np.testing.assert_allclose(overlaps, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(compute_overlaps(boxes2, boxes1), overlaps.T)


def test_overlaps_of_one_box_equal_its_row():
    boxes1, boxes2 = some_boxes(1, 3), some_boxes(20, 4)
    row = compute_iou(boxes1[0], boxes2, box_areas(boxes1[0]), box_areas(boxes2))
    np.testing.assert_array_equal(row, compute_overlaps(boxes1, boxes2)[0])


def test_precision_is_that_of_the_input():
    for dtype, expected in ((np.float32, np.float32), (np.float64, np.float64),
                            (np.int32, np.float64)):
        boxes = some_boxes(5, dtype=dtype)
        assert compute_overlaps(boxes, boxes).dtype == expected
        assert box_refinement(boxes, boxes).dtype == expected


def test_empty_boxes_and_empty_sets_overlap_nothing():
    point = np.array([[3.0, 3, 3, 3]])
    np.testing.assert_array_equal(compute_overlaps(point, point), [[0]])
    assert compute_overlaps(np.zeros((0, 4)), some_boxes(3)).shape == (0, 3)
    assert compute_overlaps(some_boxes(3), np.zeros((0, 4))).shape == (3, 0)


@given(box_lists(), box_lists())
@settings(max_examples=50, deadline=None)
def test_overlaps_are_fractions_and_symmetric(boxes1, boxes2):
    overlaps = compute_overlaps(np.reshape(boxes1, (-1, 4)), np.reshape(boxes2, (-1, 4)))
    assert overlaps.shape == (len(boxes1), len(boxes2))
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    for i, a in enumerate(boxes1):
        for j, b in enumerate(boxes2):
            assert overlaps[i, j] == pytest.approx(plain_iou(a, b))
            assert (overlaps[i, j] == 1) == (a == b)


# --- deltas and normalization ---------------------------------------------------------------


@pytest.mark.smoke
def test_deltas_worked_out_by_hand():
    box, gt = np.array([0.0, 0, 10, 20]), np.array([5.0, 0, 25, 20])
    # The centre moves from 5 to 15, one height down; the height doubles.
    np.testing.assert_allclose(box_refinement(box, gt), [1, 0, np.log(2), 0])
    np.testing.assert_allclose(apply_box_deltas(box, [1, 0, np.log(2), 0]), gt)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_deltas_of_a_refinement_reach_the_ground_truth(seed):
    boxes, gt = some_boxes(6, seed).reshape(2, 3, 4), some_boxes(6, seed + 1).reshape(2, 3, 4)
    np.testing.assert_allclose(apply_box_deltas(boxes, box_refinement(boxes, gt)), gt, atol=1e-9)


def test_normalization_puts_the_last_pixel_at_one():
    np.testing.assert_array_equal(norm_boxes([[0, 0, 48, 64]], (48, 64)), [[0, 0, 1, 1]])
    np.testing.assert_array_equal(norm_boxes([[0, 0, 1, 1]], (1, 1)), [[0, 0, 0, 0]])


@given(arrays(np.int32, (5, 4), elements=st.integers(-50, 2000)),
       st.tuples(st.integers(1, 1500), st.integers(1, 1500), st.just(3)))
@settings(max_examples=50, deadline=None)
def test_pixels_survive_normalization(boxes, shape):
    boxes[:, 2:] = np.minimum(boxes[:, 2:], shape[:2])
    normalized = norm_boxes(boxes, shape)
    np.testing.assert_array_equal(denorm_boxes(normalized, shape), boxes)
    exact = denorm_boxes(normalized, shape, rounded=False)
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, boxes, atol=2e-3)


# --- suppression ----------------------------------------------------------------------------


@pytest.mark.smoke
def test_suppression_is_strictly_above_the_threshold():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 6]])  # IoU 0.5 and 0.6
    scores = np.array([0.9, 0.8, 0.1])
    assert non_max_suppression(boxes, scores, 0.5).tolist() == [0, 1]
    assert non_max_suppression(boxes[[0, 2]], scores[:2], 0.5).tolist() == [0]


def test_a_suppressed_box_suppresses_no_other():
    boxes = np.array([[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]])
    assert non_max_suppression(boxes, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_the_first_of_equal_scores_stays():
    boxes = np.array([[0, 0, 10, 10]] * 3)
    assert non_max_suppression(boxes, np.array([0.5, 0.5, 0.5]), 0.3).tolist() == [0]


def test_suppression_of_nothing():
    assert non_max_suppression(np.zeros((0, 4)), np.zeros(0), 0.3).shape == (0,)


@given(box_lists(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_suppression_equals_brute_force(boxes, threshold, random):
    scores = np.array([random.choice([0.1, 0.4, 0.5, 0.9]) for _ in boxes])
    kept = non_max_suppression(np.reshape(boxes, (-1, 4)), scores, threshold)
    assert kept.tolist() == plain_suppression(boxes, scores, threshold)


def test_suppression_of_more_boxes_than_one_block_holds():
    boxes = some_boxes(700, 5, side=300)
    scores = np.random.default_rng(6).random(700)
    kept = non_max_suppression(boxes, scores, 0.2)
    assert kept.tolist() == plain_suppression(boxes, scores, 0.2)


# --- the smaller ones -----------------------------------------------------------------------


def test_trim_zeros_removes_only_rows_of_zeros():
    rows = np.array([[0, 0, 0, 1], [0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(trim_zeros(rows), rows[[0, 2]])
    assert trim_zeros(np.zeros((0, 4))).shape == (0, 4)


def test_clipping_cuts_off_at_the_window():
    boxes = np.array([[-5.5, 2, 20, 9], [30, 30, 40, 40]], np.float32)
    clipped = clip_boxes(boxes, (0, 1, 10, 8))
    np.testing.assert_array_equal(clipped, np.float32([[0, 2, 10, 8], [10, 8, 10, 8]]))
    assert clipped.dtype == np.float32


def test_boxes_of_masks():
    mask = np.zeros((8, 9, 3), bool)
    mask[2:5, 3:9, 0] = True
    mask[7, 0, 2] = True
    boxes = extract_bboxes(mask)
    np.testing.assert_array_equal(boxes, [[2, 3, 5, 9], [0, 0, 0, 0], [7, 0, 8, 1]])
    assert boxes.dtype == np.int32
    assert extract_bboxes(np.zeros((8, 9, 0))).shape == (0, 4)


def test_boxes_follow_a_resized_image():
    padding = [(4, 5), (6, 7), (0, 0)]
    moved = resize_bbox([[1, 2, 3, 4]], 2.5, padding)
    np.testing.assert_array_equal(moved, np.float32([[6.5, 11, 11.5, 16]]))
    assert moved.dtype == np.float32
    cropped = resize_bbox([[1, 2, 3, 4]], 2, [(0, 0)] * 3, crop=(1, 3, 64, 64))
    np.testing.assert_array_equal(cropped, [[1, 1, 5, 5]])
