"""Training targets on the host, against the reference's outputs and the rules, cell by cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.config import Config
from frcnn.data.targets import build_detection_targets, build_rpn_targets, generate_random_rois
from frcnn.geometry.anchors import pyramid_anchors
from frcnn.geometry.boxes import apply_box_deltas, box_refinement, compute_overlaps

SHAPE = (256, 256, 3)


def small_config(**settings):
    values = {"NUM_CLASSES": 8, "IMAGE_MIN_DIM": 256, "IMAGE_MAX_DIM": 256,
              "RPN_ANCHOR_SCALES": (16, 32, 64, 128, 256)} | settings  # fmt: skip
    return Config(**values)


def unlimited():
    """As many places as the golden outputs had, so that nothing is drawn at random."""
    return small_config(RPN_TRAIN_ANCHORS_PER_IMAGE=40_000)


def boxes_from(rng, count, smallest=4, largest=120, side=256):
    sizes = rng.uniform(smallest, largest, (count, 2))
    corners = rng.uniform(0, 1, (count, 2)) * (side - sizes)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    boxes[::2] = boxes[::2].round() + [0, 0, 1, 1]  # whole numbers make anchors tie
    return boxes


def plain_match(anchors, class_ids, boxes):
    """The rules on the full matrix of overlaps, with nothing drawn at random."""
    objects, crowds = boxes[class_ids > 0], boxes[class_ids < 0]
    match = np.zeros(len(anchors), np.int32)
    overlaps = compute_overlaps(anchors, objects)
    largest = overlaps.max(axis=1, initial=0)
    touches_crowd = (compute_overlaps(anchors, crowds) >= 0.001).any(axis=1)
    match[(largest < 0.3) & ~touches_crowd] = -1
    for column in overlaps.T:
        if column.max() > 0:
            match[column == column.max()] = 1
    match[largest >= 0.7] = 1
    owners = overlaps.argmax(axis=1) if len(objects) else np.zeros(len(anchors), int)
    return match, objects, owners


# --- RPN ------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("known_grid", [True, False])
def test_rpn_targets_are_the_references(functions, known_grid):
    anchors = pyramid_anchors(unlimited(), SHAPE)
    if not known_grid:  # one anchor more, far outside, takes the way without a grid
        anchors = np.concatenate([anchors, [[900.0, 900, 910, 910]]])
    match, bbox = build_rpn_targets(SHAPE, anchors, functions["rpn_gt_class_ids"],
                                    functions["rpn_gt_boxes"], unlimited())
    assert match.dtype == np.int32
    np.testing.assert_array_equal(match[:16368], functions["rpn_match"])
    np.testing.assert_array_equal(np.flatnonzero(match == 1), functions["rpn_positive"])
    np.testing.assert_allclose(bbox[:17], functions["rpn_bbox"], rtol=0, atol=1e-6)
    assert bbox.shape == (40_000, 4)
    assert not bbox[17:].any()


@given(st.integers(0, 10_000), st.integers(0, 12), st.sampled_from([1, 2]),
       st.sampled_from([(256, 256, 3), (128, 320, 3), (100, 70, 3)]))
@settings(max_examples=25, deadline=None)
def test_rpn_targets_equal_the_full_matrix(seed, count, stride, shape):
    rng = np.random.default_rng(seed)
    config = small_config(RPN_TRAIN_ANCHORS_PER_IMAGE=40_000, RPN_ANCHOR_STRIDE=stride)
    anchors = pyramid_anchors(config, shape)
    boxes = boxes_from(rng, count)  # some lie outside of the smaller shapes
    class_ids = rng.choice([-2, 1, 2, 3], count)
    match, bbox = build_rpn_targets(shape, anchors, class_ids, boxes, config)
    expected, objects, owners = plain_match(anchors, class_ids, boxes)
    np.testing.assert_array_equal(match, expected)
    positive = np.flatnonzero(match == 1)
    deltas = box_refinement(anchors[positive], objects[owners[positive]]) / [0.1, 0.1, 0.2, 0.2]
    np.testing.assert_array_equal(bbox[:len(positive)], deltas)


def test_all_anchors_that_tie_for_an_object_are_positive():
    # In the middle of four cells of P2, with the anchors' own size: no IoU reaches 0.7.
    box = [[98 - 4, 98 - 4, 98 + 4, 98 + 4]]
    anchors = pyramid_anchors(unlimited(), SHAPE)
    match, _ = build_rpn_targets(SHAPE, anchors, [1], box, unlimited())
    centers = (anchors[match == 1][:, :2] + anchors[match == 1][:, 2:]) / 2
    assert {(96, 96), (96, 100), (100, 96), (100, 100)} <= {tuple(c) for c in centers.tolist()}
    overlaps = compute_overlaps(anchors, np.array(box, float))[:, 0]
    assert 0 < overlaps.max() < 0.7
    np.testing.assert_array_equal(match == 1, overlaps == overlaps.max())


def test_ties_between_levels_and_between_objects():
    # The same anchors at two levels, two objects in one place, one that many anchors contain.
    config = small_config(RPN_TRAIN_ANCHORS_PER_IMAGE=40_000,
                          RPN_ANCHOR_SCALES=(32, 32, 64, 128, 256))
    anchors = pyramid_anchors(config, SHAPE)
    boxes = np.array([[52.0, 48, 84, 80], [52, 48, 84, 80], [44, 48, 76, 80], [184, 184, 200, 200]])
    match, bbox = build_rpn_targets(SHAPE, anchors, [1, 2, 3, 4], boxes, config)
    expected, _, owners = plain_match(anchors, np.ones(4), boxes)
    np.testing.assert_array_equal(match, expected)
    positive = np.flatnonzero(match == 1)
    overlaps = compute_overlaps(anchors[positive], boxes)
    best_for_last = positive[overlaps[:, 3] == 0.25]
    assert best_for_last.min() < 64 * 64 * 3 <= best_for_last.max()
    assert (overlaps[:, 0] == overlaps[:, 2]).any()
    deltas = box_refinement(anchors[positive], boxes[owners[positive]]) / [0.1, 0.1, 0.2, 0.2]
    np.testing.assert_array_equal(bbox[:len(positive)], deltas)


def test_an_object_that_no_anchor_overlaps_makes_none_positive():
    anchors = pyramid_anchors(unlimited(), SHAPE)
    match, bbox = build_rpn_targets(SHAPE, anchors, [1], [[900, 900, 950, 950]], unlimited())
    assert (match == -1).all()
    assert not bbox.any()


def test_an_image_without_objects_has_negatives_only():
    config = small_config()
    anchors = pyramid_anchors(config, SHAPE)
    match, bbox = build_rpn_targets(SHAPE, anchors, np.zeros(0, int), np.zeros((0, 4)), config)
    assert (match == 1).sum() == 0
    assert (match == -1).sum() == 256
    assert not bbox.any()


def test_crowd_regions_keep_anchors_from_being_negative_and_are_no_objects():
    anchors = pyramid_anchors(unlimited(), SHAPE)
    crowd = np.array([[40.0, 40, 200, 200]])
    match, _ = build_rpn_targets(SHAPE, anchors, [-3], crowd, unlimited())
    touches = compute_overlaps(anchors, crowd)[:, 0] >= 0.001
    np.testing.assert_array_equal(match, np.where(touches, 0, -1))


def test_padding_and_degenerate_boxes_count_for_nothing():
    anchors = pyramid_anchors(unlimited(), SHAPE)
    boxes = np.array([[50.0, 50, 82, 82], [0, 0, 0, 0], [60, 60, 60, 90], [90, 90, 70, 70],
                      [np.nan, 1, 2, 3]])
    some = build_rpn_targets(SHAPE, anchors, [1, 0, 2, 2, 2], boxes, unlimited())
    one = build_rpn_targets(SHAPE, anchors, [1], boxes[:1], unlimited())
    np.testing.assert_array_equal(some[0], one[0])
    np.testing.assert_array_equal(some[1], one[1])


def test_what_is_too_much_turns_neutral_at_random_but_reproducibly():
    rng = np.random.default_rng(3)
    boxes, class_ids = boxes_from(rng, 80, 10, 60), np.ones(80, int)
    config = small_config(RPN_TRAIN_ANCHORS_PER_IMAGE=64)
    anchors = pyramid_anchors(config, SHAPE)
    everything, _, _ = plain_match(anchors, class_ids, boxes)
    assert (everything == 1).sum() > 32
    drawn = [build_rpn_targets(SHAPE, anchors, class_ids, boxes, config, rng=seed)
             for seed in (1, 1, 2)]
    for match, bbox in drawn:
        assert (match == 1).sum() == 32
        assert (match == -1).sum() == 32
        assert ((match == 0) | (match == everything)).all()
        moved = apply_box_deltas(anchors[match == 1], bbox[:32] * [0.1, 0.1, 0.2, 0.2])
        assert compute_overlaps(moved, boxes).max(axis=1) == pytest.approx(1)
        assert not bbox[32:].any()
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    assert (drawn[0][0] != drawn[2][0]).any()


def test_few_positives_leave_their_places_to_negatives():
    config = small_config()
    anchors = pyramid_anchors(config, SHAPE)
    match, _ = build_rpn_targets(SHAPE, anchors, [1], [[100, 100, 130, 130]], config, rng=0)
    positives = (match == 1).sum()
    assert 0 < positives < 128
    assert (match == -1).sum() == 256 - positives


def test_the_draw_of_negatives_favours_no_part_of_the_image():
    config = small_config()
    anchors = pyramid_anchors(config, SHAPE)
    rng, counts = np.random.default_rng(0), np.zeros(len(anchors))
    for _ in range(60):
        counts += build_rpn_targets(SHAPE, anchors, [], np.zeros((0, 4)), config, rng)[0] == -1
    quarters = counts.reshape(4, -1).sum(axis=1)
    np.testing.assert_allclose(quarters, 60 * 256 / 4, rtol=0.08)


def test_four_pixels_and_a_thousand_objects():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 250, (1000, 2))
    boxes = np.concatenate([corners, corners + 4], axis=1)
    config = small_config()
    match, _ = build_rpn_targets(SHAPE, pyramid_anchors(config, SHAPE), np.ones(1000), boxes,
                                 config, rng=0)
    assert (match == 1).sum() == 128


# --- random RoIs ----------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(0, 20), st.integers(0, 120),
       st.sampled_from([(256, 256, 3), (64, 300, 3), (1, 1, 3)]))
@settings(max_examples=40, deadline=None)
def test_random_rois_are_boxes_inside_the_image(seed, objects, count, shape):
    rng = np.random.default_rng(seed)
    rois = generate_random_rois(shape, count, rng.choice([-1, 1, 2], objects),
                                boxes_from(rng, objects), rng)
    assert rois.shape == (count, 4)
    assert rois.dtype == np.int32
    assert (rois[:, :2] >= 0).all()
    assert (rois[:, 2:] > rois[:, :2]).all()
    assert (rois[:, 2:] <= shape[:2]).all()


def test_nine_in_ten_rois_lie_around_the_objects():
    boxes = np.array([[300, 300, 320, 340], [700, 100, 730, 110]])
    rois = generate_random_rois((1024, 1024, 3), 1000, [1, 2], boxes, rng=0)
    sizes = boxes[:, 2:] - boxes[:, :2]
    near = np.concatenate([boxes[:, :2] - sizes, boxes[:, 2:] + sizes], axis=1)
    inside = [((rois[:, :2] >= region[:2]) & (rois[:, 2:] <= region[2:])).all(axis=1)
              for region in near]
    assert inside[0].sum() == inside[1].sum() == 450
    assert rois[inside[0]].min(axis=0)[:2].tolist() == [280, 260]  # the whole region is used
    assert rois[inside[0]].max(axis=0)[2:].tolist() == [340, 380]
    rest = rois[~(inside[0] | inside[1])]
    assert len(rest) == 100
    assert rest.min() < 100
    assert rest.max() > 924


def test_without_objects_rois_lie_anywhere():
    for class_ids, boxes in (([], np.zeros((0, 4))), ([-1], [[10, 10, 20, 20]])):
        rois = generate_random_rois((512, 512, 3), 400, class_ids, boxes, rng=0)
        assert rois.min() < 20
        assert rois.max() > 492


def test_random_rois_find_objects_to_learn_from():
    boxes = np.array([[100, 100, 160, 160]])
    rois = generate_random_rois(SHAPE, 2000, [1], boxes, rng=0)
    # Uniform pairs of corners in a region three times as high and wide: one in a hundred.
    assert 10 <= (compute_overlaps(rois, boxes) >= 0.5).sum() <= 40


# --- detection targets ----------------------------------------------------------------------


def test_positive_rois_are_those_of_the_reference(functions):
    config = small_config(TRAIN_ROIS_PER_IMAGE=400)
    rois, class_ids, bboxes = build_detection_targets(
        functions["dt_proposals"], functions["dt_gt_class_ids"], functions["dt_gt_boxes"], config)
    expected = {(*roi, class_id): delta for roi, class_id, delta in
                zip(functions["dt_rois"][:40].tolist(), functions["dt_class_ids"].tolist(),
                    functions["dt_deltas"])}
    found = {(*roi, class_id): bbox[class_id] for roi, class_id, bbox in
             zip(rois.tolist(), class_ids.tolist(), bboxes) if class_id}
    assert found.keys() == expected.keys()
    for key, delta in expected.items():
        np.testing.assert_allclose(found[key], delta, rtol=1e-4, atol=1e-5)
    negatives = {tuple(roi) for roi in functions["dt_rois"][40:].tolist()}
    assert negatives <= {tuple(roi) for roi in rois[class_ids == 0].tolist()}


def roi_case(count=300, seed=0):
    rng = np.random.default_rng(seed)
    boxes = boxes_from(rng, 6, 30, 90)
    shifts = rng.uniform(-8, 8, (count // 2, 4))
    near = boxes[rng.integers(0, 6, count // 2)] + shifts
    rois = np.concatenate([near, boxes_from(rng, count - len(near))]).astype(np.float32)
    return rois, np.array([1, 2, 3, 4, 5, -6]), boxes


def test_a_third_is_positive_and_the_rest_negative():
    rois, gt_class_ids, gt_boxes = roi_case()
    config = small_config(TRAIN_ROIS_PER_IMAGE=100)
    chosen, class_ids, bboxes = build_detection_targets(rois, gt_class_ids, gt_boxes, config, 0)
    assert (chosen.dtype, class_ids.dtype, bboxes.dtype) == (np.float32, np.int32, np.float32)
    assert bboxes.shape == (100, 8, 4)
    assert (class_ids[:33] > 0).all()
    assert (class_ids[33:] == 0).all()

    overlaps = compute_overlaps(chosen.astype(float), gt_boxes)
    assert (overlaps[:33, :5].max(axis=1) >= 0.5).all()
    assert (overlaps[33:, :5].max(axis=1) < 0.5).all()
    assert (overlaps[33:, 5] < 0.001).all()  # the last one is a crowd
    np.testing.assert_array_equal(class_ids[:33], gt_class_ids[overlaps[:33, :5].argmax(axis=1)])
    rows = np.arange(33), class_ids[:33]
    moved = apply_box_deltas(chosen[:33], bboxes[rows] * np.float32([0.1, 0.1, 0.2, 0.2]))
    np.testing.assert_allclose(moved, gt_boxes[class_ids[:33] - 1], atol=1e-3)
    bboxes[rows] = 0
    assert not bboxes.any()
    assert len({tuple(roi) for roi in chosen.tolist()}) == 100  # none twice while there are enough


def test_few_negatives_are_repeated():
    rois, gt_class_ids, gt_boxes = roi_case(40)
    config = small_config(TRAIN_ROIS_PER_IMAGE=100)
    chosen, class_ids, _ = build_detection_targets(rois, gt_class_ids, gt_boxes, config, 0)
    positives = (class_ids > 0).sum()
    assert 0 < positives <= 33
    assert len(chosen) == 100
    negatives = {tuple(roi) for roi in chosen[positives:].tolist()}
    assert negatives <= {tuple(roi) for roi in rois.tolist()}
    assert len(negatives) < 100 - positives


def test_without_negatives_zeros_fill_up():
    boxes = np.array([[10, 10, 60, 60]], np.int32)
    config = small_config(TRAIN_ROIS_PER_IMAGE=10)
    chosen, class_ids, _ = build_detection_targets(boxes, [3], boxes, config)
    np.testing.assert_array_equal(class_ids, [3] + [0] * 9)
    np.testing.assert_array_equal(chosen, np.concatenate([boxes, np.zeros((9, 4), int)]))
    assert chosen.dtype == np.int32


@pytest.mark.parametrize("class_ids", [[], [-2], [0]])
def test_without_objects_all_rois_are_negatives(class_ids):
    rois = np.concatenate([roi_case()[0], np.zeros((20, 4), np.float32)])
    boxes = np.zeros((len(class_ids), 4))
    config = small_config(TRAIN_ROIS_PER_IMAGE=50)
    chosen, found, bboxes = build_detection_targets(rois, class_ids, boxes, config, 0)
    assert chosen.any(axis=1).all()
    assert not found.any()
    assert not bboxes.any()


def test_no_rois_at_all():
    config = small_config(TRAIN_ROIS_PER_IMAGE=5)
    chosen, class_ids, _ = build_detection_targets(np.zeros((7, 4)), [1], [[1, 1, 9, 9]], config)
    assert not chosen.any()
    assert not class_ids.any()


def test_one_seed_draws_the_same_targets():
    case, config = roi_case(), small_config(TRAIN_ROIS_PER_IMAGE=60)
    one, same, other = (build_detection_targets(*case, config, rng=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    rois = [generate_random_rois(SHAPE, 20, case[1], case[2], rng=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(rois[0], rois[1])
    assert (rois[0] != rois[2]).any()
