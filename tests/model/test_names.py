"""Every name that scripts written for the reference use: where it is, what it takes, what it gives.

The tables are those of the interface; a parameter not in them must have a default.
"""

import inspect

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import Rectangles, array, one_batch, small_config

import frcnn.model as modellib
from frcnn import utils, visualize
from frcnn.data.dataset import Dataset
from frcnn.geometry.anchors import pyramid_anchors
from frcnn.model import MaskRCNN

MODEL = {
    "log": "text array",
    "data_generator": "dataset config shuffle augment random_rois batch_size detection_targets",
    "load_image_gt": "dataset config image_id augment",
    "build_rpn_targets": "image_shape anchors gt_class_ids gt_boxes config",
    "generate_random_rois": "image_shape count gt_class_ids gt_boxes",
    "build_detection_targets": "rpn_rois gt_class_ids gt_boxes config",
    "mold_image": "images config",
    "unmold_image": "images config",
    "compose_image_meta": "image_id original_image_shape image_shape window scale "
                          "active_class_ids",
    "parse_image_meta": "meta",
    "parse_image_meta_graph": "meta",
    "rpn_graph": "feature_map anchors_per_location anchor_stride",
    "build_rpn_model": "anchor_stride anchors_per_location depth",
    "ProposalLayer": "proposal_count nms_threshold config",
    "apply_box_deltas_graph": "boxes deltas",
    "clip_boxes_graph": "boxes window",
    "overlaps_graph": "boxes1 boxes2",
    "box_refinement_graph": "box gt_box",
    "DetectionTargetLayer": "config",
    "detection_targets_graph": "proposals gt_class_ids gt_boxes config",
    "PyramidROIAlign": "pool_shape image_shape",
    "fpn_classifier_graph": "rois feature_maps image_shape pool_size num_classes train_bn "
                            "fc_layers_size",
    "rpn_class_loss_graph": "rpn_match rpn_class_logits",
    "rpn_bbox_loss_graph": "config target_bbox rpn_match rpn_bbox",
    "mrcnn_class_loss_graph": "target_class_ids pred_class_logits active_class_ids",
    "mrcnn_bbox_loss_graph": "target_bbox target_class_ids pred_bbox",
    "DetectionLayer": "config",
    "refine_detections": "rois probs deltas window config image_shape",
    "trim_zeros_graph": "boxes name",
    "batch_pack_graph": "x counts num_rows",
    "log2_graph": "x",
    "compute_backbone_shapes": "config image_shape",
    "resnet_graph": "input_image architecture stage5 train_bn",
    "densenet_graph": "input_image architecture",
    "norm_boxes_graph": "boxes shape",
    "denorm_boxes_graph": "boxes shape",
    "smooth_l1_loss": "y_true y_pred",
    "MaskRCNN": "mode config model_dir",
}  # fmt: skip
DEFAULTS = {
    "data_generator": {"shuffle": True, "augment": True, "random_rois": 0, "batch_size": 1,
                       "detection_targets": False},
    "load_image_gt": {"augment": False},
    "PyramidROIAlign": {"image_shape": None},
    "fpn_classifier_graph": {"train_bn": True, "fc_layers_size": 1024},
    "refine_detections": {"image_shape": None},
    "resnet_graph": {"stage5": False, "train_bn": True},
}
METHODS = {
    "build": "mode config", "compile": "learning_rate momentum",
    "set_trainable": "layer_regex keras_model verbose",
    "train": "train_dataset val_dataset learning_rate epochs layers augmentation "
             "custom_callbacks no_augmentation_sources",
    "detect": "images verbose", "detect_molded": "molded_images image_metas verbose",
    "mold_inputs": "images",
    "unmold_detections": "detections original_image_shape image_shape window",
    "load_weights": "filepath by_name exclude", "get_imagenet_weights": "", "find_last": "",
    "set_log_dir": "model_path", "get_anchors": "image_shape",
    "run_graph": "images outputs image_metas", "get_trainable_layers": "",
}  # fmt: skip
DATASET = {
    "add_class": "source class_id class_name", "add_image": "source image_id path",
    "prepare": "class_map", "load_image": "image_id", "load_boxes": "image_id",
    "image_reference": "image_id", "map_source_class_id": "source_class_id",
    "get_source_class_id": "class_id source", "source_image_link": "image_id",
}  # fmt: skip
UTILS = {
    "extract_bboxes": "mask", "resize_image": "image min_dim max_dim padding min_scale mode",
    "resize_bbox": "bbox scale padding",
    "generate_anchors": "scales ratios shape feature_stride anchor_stride",
    "generate_pyramid_anchors": "scales ratios feature_shapes feature_strides anchor_stride",
    "compute_overlaps": "boxes1 boxes2", "compute_iou": "box boxes box_area boxes_area",
    "box_refinement": "box gt_box", "apply_box_deltas": "boxes deltas",
    "box_refinement_graph": "box gt_box", "batch_slice": "inputs graph_fn batch_size names",
    "norm_boxes": "boxes shape", "denorm_boxes": "boxes shape",
    "non_max_suppression": "boxes scores threshold", "trim_zeros": "x",
    "compute_matches": "gt_boxes gt_class_ids pred_boxes pred_class_ids pred_scores "
                       "iou_threshold score_threshold",
    "compute_ap": "gt_boxes gt_class_ids pred_boxes pred_class_ids pred_scores iou_threshold",
    "compute_ap_range": "gt_boxes gt_class_ids pred_boxes pred_class_ids pred_scores",
    "compute_recall": "pred_boxes gt_boxes iou", "download_trained_weights": "path",
}  # fmt: skip
VISUALIZE = {
    "display_images": "images",
    "display_instances": "image boxes class_ids class_names scores title figsize ax",
    "random_colors": "N",
    "draw_boxes": "image boxes refined_boxes captions visibilities title ax",
    "draw_rois": "image rois refined_rois class_ids class_names limit ax",
    "display_differences": "image gt_boxes gt_class_ids pred_boxes pred_class_ids pred_scores "
                           "class_names",
    "plot_precision_recall": "ap precisions recalls",
    "plot_overlaps": "gt_class_ids pred_class_ids pred_scores overlaps class_names",
    "display_table": "table", "display_weight_stats": "model",
}  # fmt: skip
TABLES = [(modellib, MODEL), (MaskRCNN, METHODS), (Dataset, DATASET), (utils, UTILS),
          (visualize, VISUALIZE)]


@pytest.mark.parametrize(("owner", "name", "expected"), [
    (owner, name, expected) for owner, table in TABLES for name, expected in table.items()])
def test_each_name_takes_its_parameters_in_order(owner, name, expected):
    parameters = dict(inspect.signature(getattr(owner, name)).parameters)
    parameters.pop("self", None)
    names = expected.split()
    assert list(parameters)[:len(names)] == names
    for extra in list(parameters.values())[len(names):]:
        assert extra.default is not inspect.Parameter.empty or extra.kind in (
            inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for parameter, default in DEFAULTS.get(name, {}).items():
        assert parameters[parameter].default == default


def test_what_happens_inside_is_open():
    assert callable(modellib.proposal_steps) and callable(modellib.detection_steps)


# --- each called with small real arguments ------------------------------------------------------


@pytest.fixture(scope="module")
def config():
    return small_config(POST_NMS_ROIS_TRAINING=20)


@pytest.fixture(scope="module")
def data():
    return Rectangles([(96, 128)] * 2)


def test_from_a_data_set_to_batches(data, config, capsys):
    image, meta, class_ids, boxes = modellib.load_image_gt(data, config, 0, augment=False)
    assert image.shape == (128, 128, 3) and boxes.shape == (3, 4)
    np.testing.assert_array_equal(class_ids, [1, 2, 3])
    parts = modellib.parse_image_meta(meta[None])
    assert parts["image_shape"].tolist() == [[128, 128, 3]]
    assert list(modellib.parse_image_meta_graph(meta[None])) == list(parts)
    modellib.log("image", image)
    assert "(128, 128, 3)" in capsys.readouterr().out
    np.testing.assert_array_equal(
        modellib.unmold_image(modellib.mold_image(image, config), config), image)

    inputs, outputs = next(modellib.data_generator(data, config, random_rois=30,
                                                   detection_targets=True))
    anchors = len(pyramid_anchors(config, (128, 128)))
    assert [x.shape for x in inputs] == [
        (1, 128, 128, 3), (1, 16), (1, anchors, 1), (1, 64, 4), (1, 8), (1, 8, 4), (1, 30, 4),
        (1, 24, 4)]
    assert [x.shape for x in outputs] == [(1, 24, 1), (1, 24, 4, 4)]


def test_targets_on_the_host(data, config):
    _, _, class_ids, boxes = modellib.load_image_gt(data, config, 0)
    anchors = pyramid_anchors(config, (128, 128))
    match, deltas = modellib.build_rpn_targets((128, 128, 3), anchors, class_ids, boxes, config)
    assert set(match) == {-1, 0, 1} and deltas.shape == (64, 4)
    rois = modellib.generate_random_rois((128, 128, 3), 30, class_ids, boxes)
    assert rois.shape == (30, 4)
    rois, ids, deltas = modellib.build_detection_targets(rois, class_ids, boxes, config)
    assert (rois.shape, ids.shape, deltas.shape) == ((24, 4), (24,), (24, 4, 4))


def test_tensors_of_boxes(config):
    boxes = np.array([[0, 0, 10, 10], [5, 5, 30, 20]], np.float32)
    zero = np.zeros((2, 4), np.float32)
    np.testing.assert_allclose(array(modellib.apply_box_deltas_graph(boxes, zero)), boxes)
    np.testing.assert_allclose(array(modellib.box_refinement_graph(boxes, boxes)), zero, atol=1e-6)
    np.testing.assert_allclose(array(modellib.clip_boxes_graph(boxes, [0, 0, 8, 8]))[0],
                               [0, 0, 8, 8])
    np.testing.assert_allclose(np.diag(array(modellib.overlaps_graph(boxes, boxes))), 1)
    normalized = modellib.norm_boxes_graph(boxes, (100, 100))
    np.testing.assert_array_equal(array(modellib.denorm_boxes_graph(normalized, (100, 100))), boxes)
    assert float(modellib.log2_graph(8.0)) == pytest.approx(3)
    rows, mask = modellib.trim_zeros_graph(np.concatenate([boxes, zero]), name="trim")
    assert rows.shape == (2, 4) and array(mask).tolist() == [True, True, False, False]
    packed = modellib.batch_pack_graph(np.stack([boxes, boxes]), [1, 2], 2)
    assert packed.shape == (3, 4)
    assert float(modellib.smooth_l1_loss(np.float32(0), np.float32(3))) == 2.5
    np.testing.assert_array_equal(modellib.compute_backbone_shapes(config, (128, 64, 3))[0],
                                  [32, 16])
    meta = modellib.compose_image_meta(3, (9, 9, 3), (128, 128, 3), (0, 0, 128, 128), 1.0, [1] * 4)
    assert len(meta) == config.IMAGE_META_SIZE


def test_from_the_graphs_to_detections(config):
    maps = [ops.convert_to_tensor(np.random.default_rng(0).normal(size=(1, side, side, 8)),
                                  "float32") for side in (32, 16, 8, 4)]
    logits, probabilities, deltas = modellib.build_rpn_model(1, 3, 8)(maps[0])
    assert logits.shape == probabilities.shape == (1, 3072, 2) and deltas.shape == (1, 3072, 4)
    assert len(modellib.rpn_graph(keras.Input((8, 8, 8)), 3, 2)) == 3
    anchors = np.random.default_rng(1).uniform(0, 1, (1, 3072, 4)).astype(np.float32)
    anchors[..., 2:] = anchors[..., :2] + 0.2
    rois = modellib.ProposalLayer(proposal_count=20, nms_threshold=0.7, config=config)(
        [probabilities, deltas, ops.convert_to_tensor(anchors)])
    assert rois.shape == (1, 20, 4)
    patches = modellib.PyramidROIAlign([7, 7])([rois, *maps])
    assert patches.shape == (1, 20, 7, 7, 8)

    inputs = [keras.Input((20, 4)), *(keras.Input(x.shape[1:]) for x in maps)]
    outputs = modellib.fpn_classifier_graph(
        inputs[0], inputs[1:], (128, 128, 3), pool_size=7, num_classes=4, fc_layers_size=16)
    _, probs, bbox = keras.Model(inputs, list(outputs))([rois, *maps])
    assert probs.shape == (1, 20, 4) and bbox.shape == (1, 20, 4, 4)
    window = np.array([0, 0, 128, 128])
    rows = modellib.refine_detections(*(array(x)[0] for x in (rois, probs, bbox)), window, config)
    meta = modellib.compose_image_meta(0, (128, 128, 3), (128, 128, 3), window, 1.0, [1] * 4)
    meta = ops.convert_to_tensor(meta[None], "float32")
    padded = array(modellib.DetectionLayer(config)([rois, probs, bbox, meta]))
    assert padded.shape == (1, 20, 6)
    np.testing.assert_allclose(padded[0, :len(rows)], rows, rtol=1e-4, atol=1e-3)
    image = keras.Input((64, 64, 3))
    assert modellib.resnet_graph(image, "resnet50")[4] is None


def test_head_targets_and_losses(config):
    batch = one_batch(config)
    ids, boxes = batch["input_gt_class_ids"], batch["input_gt_boxes"] / 127
    proposals = np.concatenate([boxes[:, :3], boxes[:, :3] * 0.5], axis=1)
    rois, class_ids, deltas = modellib.DetectionTargetLayer(config)([proposals, ids, boxes])
    assert rois.shape == deltas.shape == (2, 24, 4)
    assert (array(class_ids) > 0).sum() >= 6
    single = modellib.detection_targets_graph(proposals[0], ids[0], boxes[0], config)
    assert single[0].shape == (24, 4)

    match = batch["input_rpn_match"]
    logits = np.zeros((*match.shape[:2], 2), np.float32)
    assert float(modellib.rpn_class_loss_graph(match, logits)) == pytest.approx(np.log(2), rel=1e-5)
    assert float(modellib.rpn_bbox_loss_graph(
        config, batch["input_rpn_bbox"], match, np.zeros((*match.shape[:2], 4), np.float32))) > 0
    scores = np.zeros((2, 24, 4), np.float32)
    assert float(modellib.mrcnn_class_loss_graph(
        class_ids, scores, np.ones((2, 4)))) == pytest.approx(np.log(4), rel=1e-5)
    assert float(modellib.mrcnn_bbox_loss_graph(
        deltas, class_ids, np.zeros((2, 24, 4, 4), np.float32))) >= 0


def test_a_detectors_attributes(detecting):
    for name in ("anchors", "keras_model", "log_dir", "checkpoint_path", "epoch", "config", "mode",
                 "model_dir"):
        assert hasattr(detecting, name)
    assert detecting.epoch == 0


def test_a_data_sets_attributes(data):
    for name in ("image_info", "image_ids", "num_images", "num_classes", "class_names",
                 "class_ids", "class_info", "source_class_ids", "sources"):
        assert hasattr(data, name)
    assert data.map_source_class_id("drawn.2") == 2 and data.get_source_class_id(2, "drawn") == 2
    assert data.class_names == ["BG", "red", "green", "blue"]


def test_small_utilities():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
    np.testing.assert_array_equal(utils.non_max_suppression(boxes, np.array([3, 2, 1]), 0.5),
                                  [0, 2])
    assert utils.compute_overlaps(boxes, boxes).shape == (3, 3)
    mask = np.zeros((10, 10, 1), bool)
    mask[2:5, 3:9] = True
    np.testing.assert_array_equal(utils.extract_bboxes(mask), [[2, 3, 5, 9]])
    assert len(utils.trim_zeros(np.array([[0, 0], [1, 2]]))) == 1
    assert len(utils.resize_image(np.zeros((10, 20, 3), np.uint8), 16, 32, padding=True)) == 4
    assert len(utils.resize_image(np.zeros((10, 20, 3), np.uint8), 16, 32, mode="square")) == 5
    ids = np.array([1, 2, 1])
    scores = np.array([0.9, 0.8, 0.7])
    assert utils.compute_ap(boxes, ids, boxes, ids, scores)[0] == pytest.approx(1)
    assert len(utils.compute_matches(boxes, ids, boxes, ids, scores)) == 3
