"""The four losses: the reference's values, and plain sums."""

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import array, gradient

from frcnn.network import losses


def test_smooth_l1_by_hand():
    difference = np.array([0, 0.5, -0.5, 1, -2, 3], np.float32)
    found = losses.smooth_l1_loss(np.zeros(6, np.float32), difference)
    np.testing.assert_allclose(array(found), [0, 0.125, 0.125, 0.5, 1.5, 2.5])


# --- RPN ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rpn(functions):
    """The reference's inputs, filled in where only some anchors are given."""
    match = functions["loss_rpn_match"].astype(np.int32)
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 9, (*match.shape[:2], 2)).astype(np.float32)
    logits[match[..., 0] != 0] = functions["loss_rpn_logits_nonneutral"]
    bbox = rng.normal(0, 9, (*match.shape[:2], 4)).astype(np.float32)
    bbox[match[..., 0] == 1] = functions["loss_rpn_bbox_positive"]
    return {"match": match, "logits": logits, "bbox": bbox,
            "target": functions["loss_rpn_target_bbox"]}


def test_the_references_rpn_losses(functions, rpn):
    found = losses.rpn_class_loss_graph(rpn["match"], rpn["logits"])
    np.testing.assert_allclose(array(found), functions["loss_rpn_class"][0], rtol=1e-6)
    found = losses.rpn_bbox_loss_graph(None, rpn["target"], rpn["match"], rpn["bbox"])
    np.testing.assert_allclose(array(found), functions["loss_rpn_bbox"][0], rtol=1e-6)


def test_targets_as_the_host_makes_them_may_be_doubles(functions, rpn, head):
    target = rpn["target"].astype(np.float64)
    found = losses.rpn_bbox_loss_graph(None, target, rpn["match"].astype(np.int64), rpn["bbox"])
    np.testing.assert_allclose(array(found), functions["loss_rpn_bbox"][0], rtol=1e-6)
    found = losses.mrcnn_bbox_loss_graph(head["target_bbox"].astype(np.float64),
                                         head["target_class_ids"], head["pred_bbox"])
    np.testing.assert_allclose(array(found), functions["loss_head_bbox"][0], rtol=1e-5)


def test_neutral_anchors_have_no_slope(rpn):
    slope = gradient(lambda x: losses.rpn_class_loss_graph(rpn["match"], x), rpn["logits"])
    assert slope[rpn["match"][..., 0] != 0].any(axis=1).all()
    assert not slope[rpn["match"][..., 0] == 0].any()
    slope = gradient(lambda x: losses.rpn_bbox_loss_graph(
        None, rpn["target"], rpn["match"], x), rpn["bbox"])
    assert slope[rpn["match"][..., 0] == 1].any(axis=1).all()
    assert not slope[rpn["match"][..., 0] != 1].any()


def test_targets_belong_to_the_positives_of_their_own_image():
    match = np.array([[1, 0, 1, -1], [0, 0, 0, 1]])[..., None]
    target = np.arange(16, dtype=np.float32).reshape(2, 2, 4)
    bbox = np.zeros((2, 4, 4), np.float32)
    bbox[0, 0], bbox[0, 2], bbox[1, 3] = target[0, 0], target[0, 1], target[1, 0]
    found = losses.rpn_bbox_loss_graph(None, target, match, bbox)
    assert float(found) == 0
    bbox[1, 3] += 4  # 3.5 a coordinate, over three positives
    found = losses.rpn_bbox_loss_graph(None, target, match, bbox)
    np.testing.assert_allclose(float(found), 3.5 / 3, rtol=1e-6)


@pytest.mark.parametrize("value", [0, -1])
def test_rpn_losses_without_positives(value):
    match = np.full((2, 6, 1), value)
    logits, bbox = np.ones((2, 6, 2), np.float32), np.ones((2, 6, 4), np.float32)
    target = np.zeros((2, 3, 4), np.float32)
    assert float(losses.rpn_bbox_loss_graph(None, target, match, bbox)) == 0
    expected = np.log(2) if value else 0
    np.testing.assert_allclose(float(losses.rpn_class_loss_graph(match, logits)), expected,
                               rtol=1e-6)


# --- head ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def head(functions):
    return {name: functions[f"head_{name}"] for name in (
        "target_class_ids", "class_logits", "active_class_ids", "target_bbox", "pred_bbox")}


def test_the_references_head_losses(functions, head):
    # the reference takes the first image's active classes for all
    active = np.stack([head["active_class_ids"][0]] * 2)
    found = losses.mrcnn_class_loss_graph(head["target_class_ids"], head["class_logits"], active)
    np.testing.assert_allclose(array(found), functions["loss_head_class"][0], rtol=1e-5)
    found = losses.mrcnn_bbox_loss_graph(head["target_bbox"], head["target_class_ids"],
                                         head["pred_bbox"])
    np.testing.assert_allclose(array(found), functions["loss_head_bbox"][0], rtol=1e-5)


def cross_entropy(head):
    logits = head["class_logits"].astype(float)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels = head["target_class_ids"][..., None]
    return -np.take_along_axis(log_probabilities, labels, axis=2)[..., 0]


def test_better_than_the_reference_each_image_has_its_own_active_classes(functions, head):
    active = head["active_class_ids"]
    assert (active[0] != active[1]).any()
    predicted = head["class_logits"].argmax(-1)
    counts = np.take_along_axis(active, predicted, axis=1)
    expected = (cross_entropy(head) * counts).sum() / counts.sum()
    found = losses.mrcnn_class_loss_graph(head["target_class_ids"], head["class_logits"], active)
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)
    assert abs(float(found) - functions["loss_head_class"][0]) > 1e-3


def test_better_than_the_reference_nothing_active_is_0(head):
    active = np.zeros_like(head["active_class_ids"])
    found = losses.mrcnn_class_loss_graph(head["target_class_ids"], head["class_logits"], active)
    assert float(found) == 0


def test_without_positives_boxes_cost_nothing(head):
    found = losses.mrcnn_bbox_loss_graph(head["target_bbox"], 0 * head["target_class_ids"],
                                         head["pred_bbox"])
    assert float(found) == 0


def test_only_the_targets_class_moves_its_box(head):
    slope = gradient(lambda x: losses.mrcnn_bbox_loss_graph(
        head["target_bbox"], head["target_class_ids"], x), head["pred_bbox"])
    moved = slope.any(axis=-1)
    expected = np.eye(8, dtype=bool)[head["target_class_ids"]]
    expected[..., 0] = False  # background has no box
    np.testing.assert_array_equal(moved, expected)


def test_label_smoothing_spreads_the_target():
    logits = np.array([[[2.0, -1, 0.5]]], np.float32)
    log_probabilities = logits[0, 0] - np.log(np.exp(logits[0, 0]).sum())
    found = losses.mrcnn_class_loss_graph(np.array([[1]]), logits, np.ones((1, 3)), 0.3)
    expected = -(log_probabilities @ np.array([0.1, 0.8, 0.1]))
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


def test_losses_are_finite_for_large_logits():
    logits = np.array([[[1e4, -1e4], [-1e4, 1e4]]], np.float32)
    for labels in ([[0, 1]], [[1, 0]]):
        found = losses.mrcnn_class_loss_graph(np.array(labels), logits, np.ones((1, 2)))
        assert np.isfinite(float(found))
    half = ops.cast(logits, "bfloat16")
    assert np.isfinite(float(losses.rpn_class_loss_graph(np.array([[[1], [-1]]]), half)))


# --- options --------------------------------------------------------------------------------------


def test_smooth_l1_with_another_beta_by_hand():
    y_pred = np.array([0.0, 0.05, -0.1, 0.2, -2.0], np.float32)
    expected = [0, 0.5 * 0.05**2 / 0.1, 0.05, 0.15, 1.95]
    found = array(losses.smooth_l1_loss(np.zeros(5, np.float32), y_pred, 0.1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def boxes_of(deltas, std_dev):
    """Deltas applied to the unit square, y1, x1, y2, x2."""
    dy, dx, dh, dw = np.moveaxis(deltas * np.asarray(std_dev), -1, 0)
    height, width = np.exp(dh), np.exp(dw)
    return np.stack([0.5 + dy - height / 2, 0.5 + dx - width / 2,
                     0.5 + dy + height / 2, 0.5 + dx + width / 2], axis=-1)


def giou(a, b):
    """Rezatofighi et al. 2019, algorithm 1, for two boxes."""
    def area(box):
        return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)

    inside = area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])
    around = area([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
    union = area(a) + area(b) - inside
    return inside / union - (around - union) / around


def test_the_giou_loss_is_that_of_the_boxes():
    rng = np.random.default_rng(0)
    target, predicted = rng.normal(0, 4, (2, 60, 4)).astype(np.float32)
    predicted[0] = target[0]
    std_dev = [0.1, 0.2, 0.3, 0.25]
    expected = [1 - giou(*pair) for pair in zip(boxes_of(target, std_dev),
                                                boxes_of(predicted, std_dev))]
    assert max(expected) > 1.2  # boxes apart from each other, too
    found = array(losses.giou_loss(target, predicted, std_dev))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_heads_box_loss_may_be_giou():
    rng = np.random.default_rng(1)
    target, predicted = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 5, 4))
    labels = np.array([[2, 0, 4], [0, 1, 0]])
    chosen = [(0, 0, 2), (0, 2, 4), (1, 1, 1)]
    std_dev = [0.1, 0.1, 0.2, 0.2]
    expected = np.mean([1 - giou(boxes_of(target[i, j], std_dev),
                                 boxes_of(predicted[i, j, c], std_dev)) for i, j, c in chosen])
    found = losses.mrcnn_bbox_loss_graph(target, labels, predicted, giou_std_dev=std_dev)
    np.testing.assert_allclose(array(found), expected, rtol=1e-5)


def test_the_penalty_may_be_the_sum_of_squares():
    weights = [keras.Variable([[1.0, 2.0], [3.0, 4.0]], name="kernel"),
               keras.Variable([5.0], name="gamma")]
    np.testing.assert_allclose(array(losses.l2_penalty(weights, 0.1)), 0.1 * 30 / 4)
    np.testing.assert_allclose(array(losses.l2_penalty(weights, 0.1, of_mean=False)), 0.05 * 30)
