"""The names that notebooks and scripts use: each face has them, with these parameters, and each
does what the table of the interface says, shown by one small call.

A row is `@row(face, name, parameters)` over a function that calls it. Behaviour beyond that is
tested beside each module.
"""

import contextlib
import inspect
import io
import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import frcnn.download
import frcnn.model as modellib
from frcnn import utils, visualize
from frcnn.anchors import pyramid_anchors
from frcnn.config import Config
from frcnn.dataset import Dataset

ROWS = {}
NAMES = ["BG", "red", "green", "blue"]
GRAY = np.full((64, 64, 3), 170, np.uint8)
BOXES = np.array([[8, 4, 28, 30], [30, 34, 60, 50]], np.float32)
CLASS_IDS = np.array([1, 3], np.int32)
FOUND = (BOXES, CLASS_IDS, np.array([0.9, 0.8]))
PAIR = np.array([[0, 0, 10, 10]], np.float32), np.array([[0, 5, 10, 15]], np.float32)  # IoU 1/3


def row(face, name, parameters):
    def enter(call):
        assert (face, name) not in ROWS
        ROWS[face, name] = parameters, call
        return call
    return enter


def small_backbone(input_image, stage5=True, train_bn=True):
    x, stages = layers.Rescaling(1 / 64, name="small_scale")(input_image), []
    for stage in range(1, 6):
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu",
                          name=f"small{stage}")(x)
        stages.append(x)
    return stages


def small_shapes(image_shape):
    return np.array([[-(-side // stride) for side in image_shape[:2]]
                     for stride in (4, 8, 16, 32, 64)])


CONFIG = Config(
    NAME="names", BACKBONE=small_backbone, COMPUTE_BACKBONE_SHAPE=small_shapes, NUM_CLASSES=4,
    IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64, IMAGES_PER_GPU=1, TOP_DOWN_PYRAMID_SIZE=16, TRAIN_BN=True,
    FPN_CLASSIF_FC_LAYERS_SIZE=8, RPN_ANCHOR_SCALES=(8, 12, 24, 36, 48), PRE_NMS_LIMIT=100,
    RPN_TRAIN_ANCHORS_PER_IMAGE=32, POST_NMS_ROIS_TRAINING=20, POST_NMS_ROIS_INFERENCE=20,
    TRAIN_ROIS_PER_IMAGE=12, MAX_GT_INSTANCES=5, DETECTION_MAX_INSTANCES=7,
    DETECTION_MIN_CONFIDENCE=0.5, STEPS_PER_EPOCH=1, VALIDATION_STEPS=1)
ANCHOR_COUNT = 3 * (16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1)


class Drawn(utils.Dataset):
    """Two gray images with the same two objects; the second object of the second is a crowd."""

    def __init__(self):
        super().__init__()
        for class_id, name in enumerate(NAMES[1:], start=1):
            self.add_class("drawn", class_id, name)
        for image_id in ("a", "b"):
            self.add_image("drawn", image_id, f"{image_id}.png", width=64, height=64)
        self.prepare()

    def load_image(self, image_id):
        return GRAY

    def load_boxes(self, image_id):
        return BOXES, CLASS_IDS * np.array([1, -1 if image_id else 1], np.int32)


def same(actual, expected, atol=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(actual), expected, atol=atol)


def shapes(arrays):
    return [tuple(array.shape) for array in arrays]


def printed(function, *args):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        function(*args)
    return text.getvalue()


def check_parameters(function, text):
    """Those of the table, in order, with the table's defaults; what else there is has defaults."""
    expected = inspect.signature(eval(f"lambda {text}: None")).parameters
    actual = inspect.signature(function).parameters
    assert list(actual)[:len(expected)] == list(expected)
    for name, parameter in actual.items():
        if name not in expected:
            assert parameter.default is not parameter.empty or parameter.kind in (
                parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            continue
        assert parameter.kind == expected[name].kind
        if expected[name].default is not parameter.empty:
            assert parameter.default == expected[name].default


# --- frcnn.model: data and targets --------------------------------------------------------------


@row(modellib, "log", "text, array=None")
def _(log):
    text = printed(log, "pixels", np.array([[1, 2, 3]], np.int16))
    assert all(part in text for part in ("pixels", "(1, 3)", "1.0", "3.0", "int16"))


@row(modellib, "data_generator", "dataset, config, shuffle=True, augment=True, random_rois=0, "
                                 "batch_size=1, detection_targets=False")
def _(data_generator):
    given = [(2, 64, 64, 3), (2, 16), (2, ANCHOR_COUNT, 1), (2, 32, 4), (2, 5), (2, 5, 4)]
    inputs, outputs = next(data_generator(Drawn(), CONFIG, batch_size=2))
    assert shapes(inputs) == given and outputs == []
    inputs, outputs = next(data_generator(Drawn(), CONFIG, random_rois=9, batch_size=2,
                                          detection_targets=True))
    assert shapes(inputs) == [*given, (2, 9, 4), (2, 12, 4)]
    assert shapes(outputs) == [(2, 12, 1), (2, 12, 4, 4)]


@row(modellib, "load_image_gt", "dataset, config, image_id, augment=False")
def _(load_image_gt):
    image, image_meta, class_ids, boxes = load_image_gt(Drawn(), CONFIG, 1)
    assert image_meta.shape == (16,) and boxes.dtype == np.float32
    for actual, expected in ((image, GRAY), (class_ids, [1, -3]), (boxes, BOXES)):
        np.testing.assert_array_equal(actual, expected)


@row(modellib, "build_rpn_targets", "image_shape, anchors, gt_class_ids, gt_boxes, config")
def _(build_rpn_targets):
    anchors = pyramid_anchors(CONFIG, (64, 64, 3))
    match, bbox = build_rpn_targets((64, 64, 3), anchors, CLASS_IDS[:1], anchors[[400]], CONFIG)
    assert match.shape == (ANCHOR_COUNT,) and match.dtype == np.int32 and bbox.shape == (32, 4)
    assert match[400] == 1 and 1 <= (match == 1).sum() <= 16 and (match != 0).sum() == 32
    same(bbox[np.flatnonzero(match == 1).tolist().index(400)], np.zeros(4))


@row(modellib, "generate_random_rois", "image_shape, count, gt_class_ids, gt_boxes")
def _(generate_random_rois):
    rois = generate_random_rois((64, 64, 3), 20, [1], [[5, 5, 15, 15]])
    assert rois.shape == (20, 4) and (rois >= 0).all() and (rois <= 64).all()
    assert (rois[:, 2:] > rois[:, :2]).all() and (rois.max(axis=1) <= 25).sum() >= 18


@row(modellib, "build_detection_targets", "rpn_rois, gt_class_ids, gt_boxes, config")
def _(build_detection_targets):
    rois = np.array([[10, 10, 30, 30]] * 9 + [[40, 40, 60, 60]])
    rois, class_ids, bboxes = build_detection_targets(rois, [2], [[10, 12, 30, 32]], CONFIG)
    assert shapes([rois, class_ids, bboxes]) == [(12, 4), (12,), (12, 4, 4)]
    positives = int(12 * CONFIG.ROI_POSITIVE_RATIO)
    assert class_ids.tolist() == [2] * positives + [0] * (12 - positives)
    same(bboxes[0], [[0] * 4, [0] * 4, [0, 1, 0, 0], [0] * 4])  # 2 of 20 pixels, over 0.1
    np.testing.assert_array_equal(rois[positives:], [[40, 40, 60, 60]] * (12 - positives))


@row(modellib, "mold_image", "images, config")
def _(mold_image):
    molded = mold_image(GRAY, CONFIG)
    assert molded.dtype == np.float32
    same(molded[0, 0], [46.3, 53.2, 66.1])


@row(modellib, "unmold_image", "images, config")
def _(unmold_image):
    pixels = unmold_image(GRAY - CONFIG.MEAN_PIXEL, CONFIG)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, GRAY)


META = [7, 50, 100, 3, 64, 64, 3, 16, 0, 48, 64, 0.625, 1, 1, 0, 1]
META_PARTS = {"image_id": 7, "original_image_shape": [50, 100, 3], "image_shape": [64, 64, 3],
              "window": [16, 0, 48, 64], "scale": 0.625, "active_class_ids": [1, 1, 0, 1]}


@row(modellib, "compose_image_meta",
     "image_id, original_image_shape, image_shape, window, scale, active_class_ids")
def _(compose_image_meta):
    same(compose_image_meta(**META_PARTS), META)


@row(modellib, "parse_image_meta", "meta")
@row(modellib, "parse_image_meta_graph", "meta")
def _(parse):
    parts = parse(np.array([META], np.float32))
    assert set(parts) == set(META_PARTS)
    for name, value in META_PARTS.items():
        same(parts[name][0], value)


# --- frcnn.model: graphs ------------------------------------------------------------------------


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
    same(clip_boxes_graph(PAIR[1], np.array([2, 0, 8, 12], np.float32)), [[2, 5, 8, 12]])


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


@row(modellib, "refine_detections", "rois, probs, deltas, window, config, image_shape=None")
def _(refine_detections):
    same(refine_detections(*DETECTION_INPUTS, (0, 0, 64, 64), CONFIG), [DETECTION])
    wide = refine_detections(*DETECTION_INPUTS, (0, 0, 64, 128), CONFIG, (64, 128, 3))
    same(wide, [[0, 0, 32.5, 64.5, 1, 0.9]])


@row(modellib, "trim_zeros_graph", "boxes, name=None")
def _(trim_zeros_graph):
    rows, mask = trim_zeros_graph(np.array([[0, 0, 0, 0], [0, 0, 1, 1]], np.float32))
    same(rows, [[0, 0, 1, 1]])
    assert ops.convert_to_numpy(mask).tolist() == [False, True]


@row(modellib, "batch_pack_graph", "x, counts, num_rows")
def _(batch_pack_graph):
    same(batch_pack_graph(np.arange(6).reshape(2, 3), [1, 2], 2), [0, 3, 4])


@row(modellib, "log2_graph", "x")
def _(log2_graph):
    same(log2_graph(np.array([1, 8, 0.5], np.float32)), [0, 3, -1])


@row(modellib, "compute_backbone_shapes", "config, image_shape")
def _(compute_backbone_shapes):
    sides = compute_backbone_shapes(Config(), (1024, 512, 3))
    assert sides.tolist() == [[256, 128], [128, 64], [64, 32], [32, 16], [16, 8]]


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


# --- frcnn.utils --------------------------------------------------------------------------------


@row(utils, "Dataset", "class_map=None")
def _(Dataset_):
    assert Dataset_ is Dataset and Dataset_().class_names == ["BG"]


@row(utils, "extract_bboxes", "mask")
def _(extract_bboxes):
    mask = np.zeros((9, 9, 2), bool)
    mask[2:5, 3:7, 0] = True
    assert extract_bboxes(mask).tolist() == [[2, 3, 5, 7], [0, 0, 0, 0]]


@row(utils, "resize_image",
     "image, min_dim=None, max_dim=None, padding=False, *, min_scale=None, mode=None")
def _(resize_image):
    image, window, scale, padding = resize_image(GRAY[:32], 64, 128, True)
    assert image.shape == (128, 128, 3) and scale == 2 and image.dtype == np.uint8
    assert tuple(window) == (32, 0, 96, 128)
    assert [tuple(side) for side in padding] == [(32, 32), (0, 0), (0, 0)]
    assert resize_image(GRAY, 32, mode="crop")[4][2:] == (32, 32)


@row(utils, "resize_bbox", "bbox, scale, padding")
def _(resize_bbox):
    boxes = resize_bbox(PAIR[1], 0.5, [(4, 0), (1, 1), (0, 0)])
    assert boxes.dtype == np.float32
    same(boxes, [[4, 3.5, 9, 8.5]])


@row(utils, "generate_anchors", "scales, ratios, shape, feature_stride, anchor_stride")
def _(generate_anchors):
    same(generate_anchors(8, [1, 4], (2, 2), 4, 2), [[-4, -4, 4, 4], [-2, -8, 2, 8]])


@row(utils, "generate_pyramid_anchors",
     "scales, ratios, feature_shapes, feature_strides, anchor_stride")
def _(generate_pyramid_anchors):
    anchors = generate_pyramid_anchors((8, 16), [1], [(2, 1), (1, 1)], (4, 8), 1)
    same(anchors, [[-4, -4, 4, 4], [0, -4, 8, 4], [-8, -8, 8, 8]])


@row(utils, "compute_iou", "box, boxes, box_area, boxes_area")
def _(compute_iou):
    same(compute_iou(PAIR[0][0], np.concatenate(PAIR), 100, np.array([100, 100])), [1, 1 / 3])


@row(utils, "batch_slice", "inputs, graph_fn, batch_size, names=None")
def _(batch_slice):
    both = batch_slice([np.array([1, 2]), np.array([3, 4])], lambda x, y: [x + y, x * y], 2)
    same(both[0], [4, 6])
    same(both[1], [3, 8])


@row(utils, "non_max_suppression", "boxes, scores, threshold")
def _(non_max_suppression):
    kept = non_max_suppression(np.concatenate(PAIR), np.array([0.5, 0.9]), 0.3)
    assert kept.tolist() == [1] and kept.dtype == np.int32


@row(utils, "trim_zeros", "x")
def _(trim_zeros):
    same(trim_zeros(np.array([[0, 0, 0, 0], [0, 1, 2, 3]])), [[0, 1, 2, 3]])


IMAGE = "gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores"


@row(utils, "compute_matches", f"{IMAGE}, iou_threshold=0.5, score_threshold=0.0")
def _(compute_matches):
    gt_match, pred_match, overlaps = compute_matches(BOXES, [3, 1], BOXES[::-1], [1, 1], [0.5, 0.9])
    assert gt_match.tolist() == [-1, 1] and pred_match.tolist() == [-1, 1]  # best score first
    same(overlaps, np.eye(2))


@row(utils, "compute_ap", f"{IMAGE}, iou_threshold=0.5")
def _(compute_ap):
    average, precisions, recalls, overlaps = compute_ap(BOXES, CLASS_IDS, *(x[:1] for x in FOUND))
    assert average == 0.5 and overlaps.shape == (1, 2)
    same(precisions, [1, 1, 0])
    same(recalls, [0, 0.5, 1])


@row(utils, "compute_ap_range", IMAGE)
def _(compute_ap_range):
    assert compute_ap_range(BOXES, CLASS_IDS, *FOUND) == 1.0


@row(utils, "compute_recall", "pred_boxes, gt_boxes, iou")
def _(compute_recall):
    recall, positive_ids = compute_recall(BOXES[:1], BOXES, 0.5)
    assert recall == 0.5 and positive_ids.tolist() == [0]


@row(utils, "download_trained_weights", "path")
def _(download_trained_weights, tmp_path, monkeypatch):
    (tmp_path / "source").write_bytes(b"weights")
    source = frcnn.download.WeightFile((tmp_path / "source").as_uri(), "coco.h5", size=7)
    monkeypatch.setattr(frcnn.download, "COCO", source)
    download_trained_weights(str(tmp_path / "coco.h5"))
    assert (tmp_path / "coco.h5").read_bytes() == b"weights"


# --- frcnn.visualize ----------------------------------------------------------------------------


def check_axes(draw, *args, **options):
    """Draws on new axes, and on those that it is given."""
    assert isinstance(draw(*args, **options), Axes)
    ax = Figure().subplots()
    assert draw(*args, **options, ax=ax) is ax
    assert ax.has_data() or ax.patches
    return ax


@row(visualize, "display_images", "images")
def _(display_images):
    figure = display_images([GRAY, GRAY[:20]], titles=["one", "two"])
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]


@row(visualize, "display_instances", "image, boxes, class_ids, class_names, scores=None, title='', "
                                     "figsize=(16, 16), ax=None")
def _(display_instances):
    ax = check_axes(display_instances, GRAY, BOXES, CLASS_IDS, NAMES, FOUND[2], "objects")
    assert ax.get_title() == "objects" and len(ax.patches) >= 2
    assert {"red 0.90", "blue 0.80"} <= {text.get_text() for text in ax.texts}


@row(visualize, "random_colors", "N")
def _(random_colors):
    colors = random_colors(5)
    assert len(set(colors)) == 5 and np.shape(colors) == (5, 3)


@row(visualize, "draw_boxes", "image, boxes=None, refined_boxes=None, captions=None, "
                              "visibilities=None, title='', ax=None")
def _(draw_boxes):
    ax = check_axes(draw_boxes, GRAY, BOXES, BOXES + 2, ["a", "b"], [1, 2], "boxes")
    assert ax.get_title() == "boxes" and len(ax.patches) >= 4


@row(visualize, "draw_rois",
     "image, rois, refined_rois, class_ids, class_names, limit=10, ax=None")
def _(draw_rois):
    check_axes(draw_rois, GRAY, BOXES, BOXES + 2, [1, 0], NAMES)


@row(visualize, "display_differences",
     "image, gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores, class_names")
def _(display_differences):
    check_axes(display_differences, GRAY, BOXES, CLASS_IDS, *FOUND, NAMES)


@row(visualize, "plot_precision_recall", "ap, precisions, recalls")
def _(plot_precision_recall):
    ax = check_axes(plot_precision_recall, 0.5, [1, 1, 0], [0, 0.5, 1])
    same(ax.lines[0].get_xydata(), [[0, 1], [0.5, 1], [1, 0]])


@row(visualize, "plot_overlaps",
     "gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names")
def _(plot_overlaps):
    check_axes(plot_overlaps, CLASS_IDS, CLASS_IDS, FOUND[2], np.eye(2), NAMES)


@row(visualize, "display_table", "table")
def _(display_table):
    assert printed(display_table, [["name", "value"], ["a", 3]]).split() == [
        "name", "value", "a", "3"]


@row(visualize, "display_weight_stats", "model")
def _(display_weight_stats):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3, name="thick")])
    assert "thick/kernel" in printed(display_weight_stats, model)


# --- the walk -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("face", "name"), ROWS, ids=[
    f"{face.__name__.split('.')[1]}-{name}" for face, name in ROWS])
def test_each_name_of_the_faces(face, name, tmp_path, monkeypatch):
    parameters, call = ROWS[face, name]
    function = getattr(face, name)
    check_parameters(function, parameters)
    fixtures = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
    call(function, **{key: value for key, value in fixtures.items()
                      if key in inspect.signature(call).parameters})


# --- Dataset ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), {
    "add_class": "self, source, class_id, class_name",
    "add_image": "self, source, image_id, path, **kwargs",
    "prepare": "self, class_map=None",
    "load_image": "self, image_id", "load_boxes": "self, image_id",
    "image_reference": "self, image_id", "source_image_link": "self, image_id",
    "map_source_class_id": "self, source_class_id",
    "get_source_class_id": "self, class_id, source",
}.items())
def test_methods_of_a_dataset(name, parameters):
    check_parameters(getattr(Dataset, name), parameters)


def test_a_dataset_knows_its_images_and_classes():
    data = Drawn()
    assert data.class_names == NAMES and list(data.class_ids) == [0, 1, 2, 3]
    assert (data.num_classes, data.num_images, list(data.image_ids)) == (4, 2, [0, 1])
    assert data.class_info[3] == {"source": "drawn", "id": 3, "name": "blue"}
    assert data.image_info[1] == {"id": "b", "source": "drawn", "path": "b.png", "width": 64,
                                  "height": 64}
    assert data.sources == ["", "drawn"] and data.source_class_ids["drawn"] == [0, 1, 2, 3]
    assert data.map_source_class_id("drawn.3") == data.get_source_class_id(3, "drawn") == 3
    assert data.source_image_link(0) == data.image_reference(0) == "a.png"


def test_a_dataset_of_masks_gives_boxes():
    class Masks(Dataset):
        def load_mask(self, image_id):
            mask = np.zeros((20, 30, 1), bool)
            mask[4:9, 5:25] = True
            return mask, np.array([2])

    boxes, class_ids = Masks().load_boxes(0)
    assert boxes.tolist() == [[4, 5, 9, 25]] and boxes.dtype == np.float32
    assert class_ids.tolist() == [2] and class_ids.dtype == np.int32


# --- MaskRCNN -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), {
    "__init__": "self, mode, config, model_dir",
    "build": "self, mode, config", "compile": "self, learning_rate, momentum",
    "set_trainable": "self, layer_regex, keras_model=None, verbose=0",
    "train": "self, train_dataset, val_dataset, learning_rate, epochs, layers, augmentation=None, "
             "custom_callbacks=None, no_augmentation_sources=None",
    "detect": "self, images, verbose=0", "detect_molded": "self, molded_images, image_metas",
    "mold_inputs": "self, images",
    "unmold_detections": "self, detections, original_image_shape, image_shape, window",
    "load_weights": "self, filepath, by_name, exclude=None", "get_imagenet_weights": "self",
    "find_last": "self", "set_log_dir": "self, model_path=None",
    "get_anchors": "self, image_shape", "get_trainable_layers": "self",
    "run_graph": "self, images, outputs, image_metas=None",
}.items())
def test_methods_of_mask_rcnn(name, parameters):
    check_parameters(getattr(modellib.MaskRCNN, name), parameters)


@pytest.fixture(scope="module")
def detecting(tmp_path_factory):
    """A detector that calls everything green."""
    model = modellib.MaskRCNN("inference", CONFIG, str(tmp_path_factory.mktemp("logs")))
    head = model.keras_model.get_layer("mrcnn_class_logits")
    kernel, bias = head.get_weights()
    head.set_weights([0 * kernel, np.array([0, 0, 9, 0], bias.dtype)])
    return model


def test_detection(detecting):
    images = [GRAY, GRAY[:32]]
    results = detecting.detect(images)
    for image, result in zip(images, results):
        count = len(result["scores"])
        assert count >= 1 and result["class_ids"].tolist() == [2] * count
        assert shapes([result["rois"], result["boxes"]]) == [(count, 4)] * 2
        assert (result["boxes"] >= 0).all() and (result["boxes"][:, 2:] <= image.shape[:2]).all()
    molded, metas, windows = detecting.mold_inputs(images[:1])
    assert shapes([molded, metas, windows]) == [(1, 64, 64, 3), (1, 16), (1, 4)]
    same(detecting.detect_molded(molded, metas)[0]["boxes"], results[0]["boxes"], 1e-2)
    boxes, class_ids, scores = detecting.unmold_detections(
        np.array([[16, 0, 48, 64, 1, 0.9], [0] * 6]), (64, 128, 3), (64, 64, 3), (16, 0, 48, 64))
    same(boxes, [[0, 0, 64, 128]], 1e-3)
    assert class_ids.tolist() == [1] and scores.tolist() == pytest.approx([0.9])


def test_tensors_inside_by_name(detecting):
    expected = {f"fpn_p{level}": (1, 64 >> level, 64 >> level, 16) for level in range(2, 7)}
    expected |= {
        "rpn_class_logits": (1, ANCHOR_COUNT, 2), "rpn_class": (1, ANCHOR_COUNT, 2),
        "rpn_bbox": (1, ANCHOR_COUNT, 4), "ROI": (1, 20, 4), "mrcnn_class": (1, 20, 4),
        "mrcnn_bbox": (1, 20, 4, 4), "mrcnn_detection": (1, 7, 6)}
    found = detecting.run_graph([GRAY], [
        (name, detecting.keras_model.get_layer(name).output) for name in expected])
    assert {name: array.shape for name, array in found.items()} == expected
    assert list(found) == list(expected)
    same(found["rpn_class"].sum(axis=-1), 1)


def test_anchors_and_layers(detecting):
    anchors = detecting.get_anchors((64, 64, 3))
    assert anchors.shape == (ANCHOR_COUNT, 4)
    same(detecting.anchors, anchors * 63 + [0, 0, 1, 1], 1e-3)
    names = {layer.name for layer in detecting.get_trainable_layers()}
    assert {"small1", "fpn_p2", "rpn_conv_shared", "mrcnn_class_logits"} <= names


def test_training_leaves_a_checkpoint_that_is_found_and_loaded(detecting, tmp_path, monkeypatch):
    model = modellib.MaskRCNN("training", CONFIG, str(tmp_path))
    assert model.epoch == 0 and model.keras_model.name == "mask_rcnn"
    model.train(Drawn(), None, learning_rate=1e-4, epochs=1, layers="heads", verbose=0)
    assert model.epoch == 1
    trained = {variable.path.split("/")[-2] for variable in model.keras_model.trainable_variables}
    assert "fpn_p2" in trained and "small1" not in trained

    path = model.find_last()
    assert path.startswith(model.log_dir) and path.endswith("mask_rcnn_names_0001.h5")
    assert model.checkpoint_path.replace("*epoch*", "0001") == path
    monkeypatch.setattr(detecting, "model_dir", str(tmp_path))
    assert detecting.find_last() == path
    model.set_log_dir()
    assert model.epoch == 0
    model.load_weights(path, by_name=True)
    assert model.epoch == 1 and path.startswith(model.log_dir)
    monkeypatch.setattr(frcnn.download, "get_imagenet_weights", lambda *args, **options: "file.h5")
    assert model.get_imagenet_weights() == "file.h5"
