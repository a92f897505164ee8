"""Public names: `frcnn.model`'s layers, graphs and losses.

A row checks a name's parameters, and what one small call of it returns. Behaviour beyond that is
tested beside each module.
"""

import math

import keras
import numpy as np
from interface_tools import CONFIG, PAIR, Drawn, Table, same, shapes
from keras import ops
from model_tools import one_batch

import frcnn.model as modellib
from frcnn import utils
from frcnn.config import Config

TABLE = Table()
row = TABLE.row


@row(modellib, "rpn_graph", "feature_map, anchors_per_location, anchor_stride")
def _(rpn_graph):
    outputs = rpn_graph(keras.Input((8, 6, 16)), 3, 2)
    assert [array.shape[-1] for array in outputs] == [2, 2, 4]


@row(modellib, "build_rpn_model", "anchor_stride, anchors_per_location, depth")
def _(build_rpn_model):
    logits, probabilities, deltas = build_rpn_model(2, 3, 16)(np.ones((2, 8, 6, 16), np.float32))
    assert shapes([logits, probabilities, deltas]) == [(2, 36, 2), (2, 36, 2), (2, 36, 4)]
    same(probabilities, ops.convert_to_numpy(ops.softmax(logits)))


@row(modellib, "ProposalLayer", "proposal_count, nms_threshold, config")
def _(ProposalLayer):
    anchors = np.array([[[0, 0, 0.4, 0.4], [0, 0, 0.4, 0.41], [0.5, 0.5, 0.9, 1.2]]], np.float32)
    scores = np.array([[[0.2, 0.8], [0.3, 0.7], [0.1, 0.9]]], np.float32)
    boxes = ProposalLayer(3, 0.7, CONFIG)([scores, np.zeros((1, 3, 4), np.float32), anchors])
    same(boxes, [[[0.5, 0.5, 0.9, 1], [0, 0, 0.4, 0.4], [0] * 4]])


@row(modellib, "proposal_steps", "rpn_class, rpn_bbox, anchors, config")
def _(proposal_steps):
    anchors = np.array([[0, 0, 0.4, 0.4], [0.5, 0.5, 0.9, 1.2]], np.float32)
    scores = np.array([[0.2, 0.8], [0.1, 0.9]], np.float32)
    steps = proposal_steps(scores, np.zeros((2, 4), np.float32), anchors, CONFIG)
    same(steps["clipped"], [[0.5, 0.5, 0.9, 1], [0, 0, 0.4, 0.4]])
    assert steps["keep"].tolist() == [0, 1]


@row(modellib, "apply_box_deltas_graph", "boxes, deltas")
@row(utils, "apply_box_deltas", "boxes, deltas")
def _(apply):
    same(apply(PAIR[0], np.array([[0, 0.5, 0, 0]], np.float32)), PAIR[1])


@row(modellib, "box_refinement_graph", "box, gt_box")
@row(utils, "box_refinement_graph", "box, gt_box")
@row(utils, "box_refinement", "box, gt_box")
def _(refinement):
    same(refinement(*PAIR), [[0, 0.5, 0, 0]])


@row(modellib, "clip_boxes_graph", "boxes, window")
def _(clip_boxes_graph):
    for window in (np.array([2, 0, 8, 12], np.float32), [2, 0, 8, 12]):
        same(clip_boxes_graph(PAIR[1], window), [[2, 5, 8, 12]])


@row(modellib, "overlaps_graph", "boxes1, boxes2")
@row(utils, "compute_overlaps", "boxes1, boxes2")
def _(overlaps):
    same(overlaps(PAIR[0], np.concatenate(PAIR)), [[1, 1 / 3]])


def check_target_rows(rois, class_ids, deltas):
    positives = int(12 * CONFIG.ROI_POSITIVE_RATIO)
    assert shapes([rois, class_ids, deltas]) == [(1, 12, 4), (1, 12), (1, 12, 4)]
    expected = [2] * positives + [0] * (12 - positives)
    assert ops.convert_to_numpy(class_ids)[0].tolist() == expected
    same(deltas[0, :positives], [[0, 1, 0, 0]] * positives, 1e-4)


TARGET_INPUTS = (
    np.array([[[0.1, 0.1, 0.3, 0.3]] * 9 + [[0.6, 0.6, 0.9, 0.9]] * 20], np.float32),
    np.array([[2, 0]], np.int32),
    np.array([[[0.1, 0.12, 0.3, 0.32], [0] * 4]], np.float32))


@row(modellib, "DetectionTargetLayer", "config")
def _(DetectionTargetLayer):
    check_target_rows(*DetectionTargetLayer(CONFIG)(list(TARGET_INPUTS)))


@row(modellib, "detection_targets_graph", "proposals, gt_class_ids, gt_boxes, config")
def _(detection_targets_graph):
    check_target_rows(*detection_targets_graph(*TARGET_INPUTS, CONFIG))
    single = detection_targets_graph(*(array[0] for array in TARGET_INPUTS), CONFIG)
    check_target_rows(*(rows[None] for rows in single))


@row(modellib, "PyramidROIAlign", "pool_shape, image_shape=None")
def _(PyramidROIAlign):
    maps = [np.full((1, side, side, 3), level, np.float32)
            for level, side in ((2, 16), (3, 8), (4, 4), (5, 2))]
    boxes = np.array([[[0, 0, 1, 1], [0, 0, 0.5, 0.5]]], np.float32)
    for image_shape, found in ((None, [2, 2]), ((448, 448, 3), [5, 4]), ((112, 112), [3, 2])):
        pooled = PyramidROIAlign((2, 4), image_shape)([boxes, *maps])
        assert tuple(pooled.shape) == (1, 2, 2, 4, 3)
        same(pooled[0, :, 0, 0, 0], found)


@row(modellib, "fpn_classifier_graph", "rois, feature_maps, image_shape, pool_size, num_classes, "
                                       "train_bn=True, fc_layers_size=1024")
def _(fpn_classifier_graph):
    maps = [keras.Input((side, side, 16)) for side in (16, 8, 4, 2)]
    outputs = fpn_classifier_graph(keras.Input((5, 4)), maps, (64, 64, 3), 7, 3, fc_layers_size=8)
    assert shapes(outputs) == [(None, 5, 3), (None, 5, 3), (None, 5, 3, 4)]


@row(modellib, "rpn_class_loss_graph", "rpn_match, rpn_class_logits")
def _(loss):
    match = np.array([[[1], [0], [-1]]], np.int32)
    same(loss(match, np.array([[[0, 0], [9, 0], [0, 0]]], np.float32)), math.log(2))


@row(modellib, "rpn_bbox_loss_graph", "config, target_bbox, rpn_match, rpn_bbox")
def _(loss):
    match, predicted = np.array([[[-1], [1]]], np.int32), np.array([[[9] * 4, [2] * 4]], np.float32)
    same(loss(CONFIG, np.zeros((1, 3, 4), np.float32), match, predicted), 1.5)


@row(modellib, "mrcnn_class_loss_graph", "target_class_ids, pred_class_logits, active_class_ids")
def _(loss):
    logits = np.zeros((1, 2, 4), np.float32)
    logits[0, 1, 3] = 50  # wrong, but of a class that the source has no labels for
    same(loss(np.array([[1, 0]]), logits, np.array([[1, 1, 1, 0]])), math.log(4))


@row(modellib, "mrcnn_bbox_loss_graph", "target_bbox, target_class_ids, pred_bbox")
def _(loss):
    predicted = np.full((1, 2, 4, 4), 9, np.float32)
    predicted[0, 0, 2] = 0.5
    same(loss(np.zeros((1, 2, 4), np.float32), np.array([[2, 0]]), predicted), 0.125)


DETECTION_INPUTS = (  # the same object twice, and background
    np.array([[0, 0, 0.5, 0.5]] * 2 + [[0.6, 0.6, 0.9, 0.9]], np.float32),
    np.array([[0.2, 0.8, 0, 0], [0.1, 0.9, 0, 0], [0.9, 0, 0.1, 0]], np.float32),
    np.zeros((3, 4, 4), np.float32))
DETECTION = [0, 0, 32.5, 32.5, 1, 0.9]  # 0.5 · 63 + 1


@row(modellib, "DetectionLayer", "config")
def _(DetectionLayer):
    meta = np.array([[0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 1, 1]], np.float32)
    rows = DetectionLayer(CONFIG)([*(array[None] for array in DETECTION_INPUTS), meta])
    same(rows, [[DETECTION] + [[0] * 6] * 6])


@row(modellib, "detection_steps", "rois, probs, deltas, window, config, image_shape=None")
def _(detection_steps):
    steps = detection_steps(*DETECTION_INPUTS, (0, 0, 64, 64), CONFIG)
    assert steps["class_ids"][steps["keep"]].tolist() == [1]
    same(steps["scores"][steps["keep"]], [0.9])


@row(modellib, "refine_detections", "rois, probs, deltas, window, config, image_shape=None")
def _(refine_detections):
    same(refine_detections(*DETECTION_INPUTS, (0, 0, 64, 64), CONFIG), [DETECTION])
    wide = refine_detections(*DETECTION_INPUTS, (0, 0, 64, 128), CONFIG, (64, 128, 3))
    same(wide, [[0, 0, 32.5, 64.5, 1, 0.9]])


@row(modellib, "trim_zeros_graph", "boxes, name=None")
def _(trim_zeros_graph):
    rows, mask = trim_zeros_graph(np.array([[0, 0, 0, 0], [0, 0, 1, 1]], np.float32), name="trim")
    same(rows, [[0, 0, 1, 1]])
    assert ops.convert_to_numpy(mask).tolist() == [False, True]


@row(modellib, "batch_pack_graph", "x, counts, num_rows")
def _(batch_pack_graph):
    same(batch_pack_graph(np.arange(6).reshape(2, 3), [1, 2], 2), [0, 3, 4])
    boxes = np.concatenate(PAIR)
    same(batch_pack_graph(np.stack([boxes, boxes]), [1, 2], 2), boxes[[0, 0, 1]])


@row(modellib, "log2_graph", "x")
def _(log2_graph):
    same(log2_graph(np.array([1, 8, 0.5], np.float32)), [0, 3, -1])
    same(log2_graph(8.0), 3)


@row(modellib, "compute_backbone_shapes", "config, image_shape")
def _(compute_backbone_shapes):
    sides = compute_backbone_shapes(Config(), (1024, 512, 3))
    assert sides.tolist() == [[256, 128], [128, 64], [64, 32], [32, 16], [16, 8]]
    assert compute_backbone_shapes(CONFIG, (64, 32, 3))[0].tolist() == [16, 8]  # a callable's


@row(modellib, "resnet_graph", "input_image, architecture, stage5=False, train_bn=True")
def _(resnet_graph):
    *stages, last = resnet_graph(keras.Input((64, 64, 3)), "resnet50")
    assert last is None and shapes(stages) == [
        (None, 16, 16, 64), (None, 16, 16, 256), (None, 8, 8, 512), (None, 4, 4, 1024)]


@row(modellib, "densenet_graph", "input_image, architecture, stage5, train_bn=True")
def _(densenet_graph):
    stages = densenet_graph(keras.Input((64, 64, 3)), "densenet121", stage5=True)
    assert shapes(stages[1:]) == [
        (None, 16, 16, 256), (None, 8, 8, 512), (None, 4, 4, 1024), (None, 2, 2, 1024)]


@row(modellib, "norm_boxes_graph", "boxes, shape")
@row(utils, "norm_boxes", "boxes, shape")
def _(norm_boxes):
    same(norm_boxes(np.array([[0, 0, 11, 41]]), (21, 41)), [[0, 0, 0.5, 1]])


@row(modellib, "denorm_boxes_graph", "boxes, shape")
@row(utils, "denorm_boxes", "boxes, shape")
def _(denorm_boxes):
    boxes = ops.convert_to_numpy(denorm_boxes(np.array([[0, 0, 0.51, 1]]), (21, 41)))
    assert boxes.dtype == np.int32 and boxes.tolist() == [[0, 0, 11, 41]]


@row(modellib, "smooth_l1_loss", "y_true, y_pred")
def _(smooth_l1_loss):
    same(smooth_l1_loss(np.zeros(2, np.float32), np.array([0.5, -2], np.float32)), [0.125, 1.5])
    same(smooth_l1_loss(np.float32(0), np.float32(3)), 2.5)


test_each_name = TABLE.test()


# --- several together ---------------------------------------------------------------------------


def test_from_feature_maps_to_detections():
    """The parts of the head fit together, and the layer detects what the host's function does."""
    maps = [ops.convert_to_tensor(np.random.default_rng(0).normal(size=(1, side, side, 8)),
                                  "float32") for side in (16, 8, 4, 2)]
    logits, probabilities, deltas = modellib.build_rpn_model(1, 3, 8)(maps[0])
    anchors = np.random.default_rng(1).uniform(0, 1, (1, logits.shape[1], 4)).astype(np.float32)
    anchors[..., 2:] = anchors[..., :2] + 0.2
    rois = modellib.ProposalLayer(proposal_count=20, nms_threshold=0.7, config=CONFIG)(
        [probabilities, deltas, ops.convert_to_tensor(anchors)])
    assert modellib.PyramidROIAlign([7, 7])([rois, *maps]).shape == (1, 20, 7, 7, 8)

    inputs = [keras.Input((20, 4)), *(keras.Input(x.shape[1:]) for x in maps)]
    outputs = modellib.fpn_classifier_graph(
        inputs[0], inputs[1:], (64, 64, 3), pool_size=7, num_classes=4, fc_layers_size=16)
    _, probs, bbox = keras.Model(inputs, list(outputs))([rois, *maps])
    probs = probs * np.float32([0, 1, 1, 1])  # nothing is background
    config = CONFIG.replaced(DETECTION_MIN_CONFIDENCE=0.0)
    window = np.array([0, 0, 64, 64])
    rows = modellib.refine_detections(
        *(ops.convert_to_numpy(x)[0] for x in (rois, probs, bbox)), window, config)
    meta = modellib.compose_image_meta(0, (64, 64, 3), (64, 64, 3), window, 1.0, [1] * 4)
    meta = ops.convert_to_tensor(meta[None], "float32")
    padded = ops.convert_to_numpy(modellib.DetectionLayer(config)([rois, probs, bbox, meta]))
    assert padded.shape == (1, 7, 6) and len(rows)
    np.testing.assert_allclose(padded[0, :len(rows)], rows, rtol=1e-4, atol=1e-3)


def test_targets_and_losses_of_a_batch():
    batch = one_batch(CONFIG, Drawn(), batch_size=2)
    ids, boxes = batch["input_gt_class_ids"], batch["input_gt_boxes"] / 63
    proposals = np.concatenate([boxes[:, :2], boxes[:, :2] * 0.5], axis=1)
    rois, class_ids, deltas = modellib.DetectionTargetLayer(CONFIG)([proposals, ids, boxes])
    assert rois.shape == deltas.shape == (2, 12, 4)
    assert (ops.convert_to_numpy(class_ids) > 0).sum() == 3  # the fourth object is a crowd

    match = batch["input_rpn_match"]
    anchors = match.shape[:2]
    same(modellib.rpn_class_loss_graph(match, np.zeros((*anchors, 2), np.float32)), math.log(2))
    assert float(modellib.rpn_bbox_loss_graph(
        CONFIG, batch["input_rpn_bbox"], match, np.zeros((*anchors, 4), np.float32))) > 0
    same(modellib.mrcnn_class_loss_graph(
        class_ids, np.zeros((2, 12, 4), np.float32), np.ones((2, 4))), math.log(4))
    assert float(modellib.mrcnn_bbox_loss_graph(
        deltas, class_ids, np.zeros((2, 12, 4, 4), np.float32))) >= 0
