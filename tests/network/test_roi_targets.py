"""DetectionTargetLayer: the reference's labels, how many are drawn, and what is left out."""

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import array, small_config

from frcnn.geometry import boxes as host
from frcnn.network.roi_targets import DetectionTargetLayer, detection_targets_graph

RATIO = 0.33


def targets(proposals, gt_class_ids, gt_boxes, seed=0, padded_to=8, **settings):
    """The targets of one image, as NumPy arrays."""
    config = small_config(ROI_POSITIVE_RATIO=RATIO, **settings)
    ids = np.zeros((1, padded_to), np.int32)
    boxes = np.zeros((1, padded_to, 4), np.float32)
    if len(gt_class_ids):
        ids[0, :len(gt_class_ids)], boxes[0, :len(gt_boxes)] = gt_class_ids, gt_boxes
    inputs = (np.asarray(proposals, np.float32)[None], ids, boxes)
    results = detection_targets_graph(*map(ops.convert_to_tensor, inputs), config,
                                      seed=keras.random.SeedGenerator(seed))
    return tuple(array(x)[0] for x in results)


def by_row(*columns):
    """Rows in an order that does not depend on which came first."""
    rows = np.concatenate([np.reshape(column, (len(columns[0]), -1)) for column in columns], axis=1)
    return rows[np.lexsort(rows.T[::-1])]


def test_the_references_targets_as_a_set(functions):
    rois, class_ids, deltas = targets(
        functions["dt_proposals"], functions["dt_gt_class_ids"], functions["dt_gt_boxes"],
        padded_to=100, TRAIN_ROIS_PER_IMAGE=400)
    positives = int((class_ids > 0).sum())
    assert positives == (functions["dt_class_ids"] > 0).sum() == 40
    used = int(rois.any(axis=1).sum())
    # Here P positives ask for more negatives than the 34 there are, so all of them come out.
    assert used == len(functions["dt_rois"]) == 74
    found = by_row(rois[:40], class_ids[:40], deltas[:40])
    expected = by_row(functions["dt_rois"][:40], functions["dt_class_ids"][:40],
                      functions["dt_deltas"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_row(rois[40:74]), by_row(functions["dt_rois"][40:]), rtol=1e-6)
    assert not class_ids[40:].any() and not deltas[40:].any() and not rois[74:].any()


GT = np.array([[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]], np.float32)


def proposals(positives, negatives, padding=0, seed=0):
    """Boxes near the objects of GT, boxes far from them, and zero rows, shuffled."""
    rng = np.random.default_rng(seed)
    near = GT[rng.integers(0, 2, positives)] + rng.uniform(-0.01, 0.01, (positives, 4))
    corner = np.stack([rng.uniform(0.35, 0.5, negatives), rng.uniform(0, 0.5, negatives)], axis=1)
    far = np.concatenate([corner, corner + rng.uniform(0.02, 0.08, (negatives, 2))], axis=1)
    rows = np.concatenate([near, far, np.zeros((padding, 4))])
    return rows[rng.permutation(len(rows))].astype(np.float32)


def counts(rois, class_ids):
    used = int(rois.any(axis=1).sum())
    positives = int((class_ids > 0).sum())
    # positives, negatives, padding: in this order
    assert (class_ids[:positives] > 0).all() and not class_ids[positives:].any()
    assert rois[:used].any(axis=1).all() and not rois[used:].any()
    return positives, used - positives


@pytest.mark.parametrize(("near", "far", "expected"), [
    (40, 100, (16, 32)),  # at most int(50 · 0.33) positives
    (10, 100, (10, 20)),  # int(10 / 0.33) − 10
    (1, 100, (1, 2)),
    (7, 5, (7, 5)),  # fewer negatives than wanted
    (0, 100, (0, 34)),  # on purpose unlike the reference, which gives none: 50 − int(50 · 0.33)
    (0, 20, (0, 20)),
    (20, 0, (16, 0)),
    (0, 0, (0, 0)),
])  # fmt: skip
def test_the_balance_of_positives_and_negatives(near, far, expected):
    rows = proposals(near, far, padding=60)
    rois, class_ids, deltas = targets(rows, [3, 1], GT, TRAIN_ROIS_PER_IMAGE=50)
    assert rois.shape == (50, 4) and class_ids.shape == (50,) and deltas.shape == (50, 4)
    assert counts(rois, class_ids) == expected
    drawn = rois[:sum(expected)]
    assert len(np.unique(drawn, axis=0)) == len(drawn)  # none twice
    assert all((rows == roi).all(axis=1).any() for roi in drawn)


def test_fewer_proposals_than_places():
    rois, class_ids, _ = targets(proposals(4, 5), [3, 1], GT, TRAIN_ROIS_PER_IMAGE=50)
    assert rois.shape == (50, 4) and counts(rois, class_ids) == (4, 5)


def test_class_and_deltas_are_those_of_the_best_object():
    rois, class_ids, deltas = targets(proposals(30, 0), [3, 1], GT, TRAIN_ROIS_PER_IMAGE=90)
    assert counts(rois, class_ids) == (29, 0)
    rois, class_ids, deltas = rois[:29], class_ids[:29], deltas[:29]
    best = host.compute_overlaps(rois, GT).argmax(axis=1)
    np.testing.assert_array_equal(class_ids, np.array([3, 1])[best])
    expected = host.box_refinement(rois, GT[best]) / small_config().BBOX_STD_DEV
    np.testing.assert_allclose(deltas, expected, rtol=1e-3, atol=1e-4)


def test_the_threshold_is_an_iou_of_one_half():
    box = np.array([[0, 0, 0.5, 0.5]], np.float32)
    half, less = [0, 0, 0.25, 0.5], [0, 0, 0.2499, 0.5]
    _, class_ids, _ = targets([half], [2], box, TRAIN_ROIS_PER_IMAGE=10)
    assert class_ids[0] == 2
    rois, class_ids, _ = targets([less], [2], box, TRAIN_ROIS_PER_IMAGE=10)
    assert class_ids[0] == 0 and rois[0].any()


def test_crowds_are_neither_positive_nor_negative():
    crowd_over_the_far = np.array([[0.3, 0.0, 0.6, 0.6]], np.float32)
    boxes = np.concatenate([GT, crowd_over_the_far])
    rows = proposals(9, 40)
    rois, class_ids, _ = targets(rows, [3, 1, -2], boxes, TRAIN_ROIS_PER_IMAGE=60)
    assert counts(rois, class_ids) == (9, 0)
    # a crowd in the way of an object takes nothing from it
    rois, class_ids, _ = targets(rows, [3, 1, -2], np.concatenate([GT, GT[:1]]),
                                 TRAIN_ROIS_PER_IMAGE=60)
    assert counts(rois, class_ids) == (9, 18)
    # below an IoU of 0.001 a box may be negative
    touching = np.array([[0, 0, 1, 1], [0, 0, 0.0005, 1]], np.float32)
    rois, _, _ = targets([[0, 0, 1, 1]], [-2], touching[1:], TRAIN_ROIS_PER_IMAGE=5)
    assert rois.any()
    rois, _, _ = targets([[0, 0, 1, 1]], [-2], touching[:1], TRAIN_ROIS_PER_IMAGE=5)
    assert not rois.any()


def test_an_image_without_objects_gives_negatives():
    rois, class_ids, deltas = targets(proposals(10, 30), [], [], TRAIN_ROIS_PER_IMAGE=40)
    assert counts(rois, class_ids) == (0, 40 - int(40 * RATIO))
    assert not deltas.any()


def test_padding_of_boxes_matches_no_padding_of_proposals():
    rois, class_ids, deltas = targets(np.zeros((30, 4)), [3, 1], GT, TRAIN_ROIS_PER_IMAGE=20)
    assert not rois.any() and not class_ids.any() and not deltas.any()
    assert np.isfinite(deltas).all()


def test_each_image_of_a_batch_by_itself():
    config = small_config(TRAIN_ROIS_PER_IMAGE=30, ROI_POSITIVE_RATIO=RATIO)
    rows = np.stack([proposals(20, 40), proposals(0, 60), proposals(3, 57)])
    ids = np.tile([[3, 1]], (3, 1))
    layer = DetectionTargetLayer(config, seed=1)
    rois, class_ids, deltas = map(array, layer([rows, ids, np.stack([GT] * 3)]))
    assert rois.shape == (3, 30, 4) and deltas.shape == (3, 30, 4)
    assert class_ids.dtype == np.int32
    assert [counts(rois[i], class_ids[i]) for i in range(3)] == [(9, 18), (0, 21), (3, 6)]
    for image in range(3):
        drawn = rois[image][rois[image].any(axis=1)]
        assert all((rows[image] == roi).all(axis=1).any() for roi in drawn)


def test_without_a_batch_axis():
    config = small_config(TRAIN_ROIS_PER_IMAGE=30)
    single = detection_targets_graph(proposals(5, 40), np.array([3, 1]), GT, config, seed=3)
    assert [tuple(x.shape) for x in single] == [(30, 4), (30,), (30, 4)]
    assert counts(*map(array, single[:2])) == (5, 10)


def test_chance_comes_from_the_seed():
    config = small_config(TRAIN_ROIS_PER_IMAGE=20)
    inputs = [proposals(40, 100)[None], np.array([[3, 1]]), GT[None]]

    def drawn(seed):
        layer = DetectionTargetLayer(config, seed=seed)
        return [array(layer(inputs)[0]) for _ in range(2)]

    first, again, other = drawn(7), drawn(7), drawn(8)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != other[0]).any()
    assert (first[0] != first[1]).any()  # not the same RoIs in every step


def test_every_candidate_is_drawn_sometimes():
    config = small_config(TRAIN_ROIS_PER_IMAGE=20)
    rows = proposals(12, 30)
    layer = DetectionTargetLayer(config, seed=0)
    batch = [np.stack([x] * 60) for x in (rows, np.array([3, 1]), GT)]
    rois = array(layer(batch)[0])
    seen = {tuple(roi) for roi in rois.reshape(-1, 4) if roi.any()}
    assert seen == {tuple(row) for row in rows}


def test_a_symbolic_call_has_shapes_and_dtypes():
    config = small_config(TRAIN_ROIS_PER_IMAGE=20)
    outputs = DetectionTargetLayer(config)([
        keras.Input((50, 4)), keras.Input((8,), dtype="int32"), keras.Input((8, 4))])
    assert [(tensor.shape, tensor.dtype) for tensor in outputs] == [
        ((None, 20, 4), "float32"), ((None, 20), "int32"), ((None, 20, 4), "float32")]


@pytest.mark.parametrize("append", [False, True])
def test_true_boxes_train_the_head_where_no_proposal_finds_them_if_asked(append):
    crowd = np.array([[0.0, 0.6, 0.2, 0.9]], np.float32)
    rois, class_ids, deltas = targets(
        proposals(0, 30), [3, 2, -1], np.concatenate([GT, crowd]), TRAIN_ROIS_PER_IMAGE=20,
        PROPOSAL_APPEND_GT=append)
    if not append:
        assert not class_ids.any()
        return
    found = by_row(rois[:2], class_ids[:2])
    np.testing.assert_allclose(found, by_row(GT, np.array([3, 2])), rtol=1e-6)
    assert not class_ids[2:].any() and not (rois == crowd).all(axis=1).any()
    np.testing.assert_allclose(deltas, 0, atol=1e-5)


@pytest.mark.parametrize(("near", "far", "expected"), [
    (40, 100, (16, 34)), (1, 100, (1, 49)), (7, 5, (7, 5)), (0, 100, (0, 50)), (20, 0, (16, 0)),
])  # fmt: skip
def test_negatives_fill_the_rows_if_asked(near, far, expected):
    rois, class_ids, _ = targets(proposals(near, far, padding=60), [3, 1], GT,
                                 TRAIN_ROIS_PER_IMAGE=50, ROI_FILL_NEGATIVES=True)
    assert counts(rois, class_ids) == expected
