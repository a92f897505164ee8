"""The cascade head: boxes and targets of its stages, losses, gradients, and detection."""

import functools
import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import (
    Rectangles,
    array,
    gradient,
    one_batch,
    set_random_statistics,
    small_config,
)
from places import PROJECT

from frcnn.config import LOSS_NAMES
from frcnn.geometry import boxes as host
from frcnn.inference.folding import FoldedModel
from frcnn.network.cascade import RefinedBoxes, StageTargets
from frcnn.network.graph import build_detector
from frcnn.network.losses import LossSettings, mrcnn_bbox_loss_graph, mrcnn_class_loss_graph
from frcnn.network.postprocess import refine_detections
from frcnn.training.layer_selection import layer_pattern, set_trainable
from frcnn.training.trainer import compile_detector

IOUS = (0.5, 0.6, 0.7)
STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
STAGE_LAYERS = ["mrcnn_class_conv1", "mrcnn_class_bn1", "mrcnn_class_conv2", "mrcnn_class_bn2",
                "mrcnn_class_logits", "mrcnn_bbox_fc"]


def cascade_config(**settings):
    return small_config(**{"CASCADE_IOUS": IOUS, "PROPOSAL_APPEND_GT": True, **settings})


# --- by NumPy ---------------------------------------------------------------------------------


def refined(rois, probabilities, deltas, std_dev):
    """The boxes of the next stage, one row after the other: `[N, 4]`."""
    found = np.zeros_like(rois)
    for row, (y1, x1, y2, x2) in enumerate(rois.astype(np.float64)):
        class_id = max(range(1, probabilities.shape[1]), key=lambda c: probabilities[row, c])
        dy, dx, dh, dw = deltas[row, class_id] * std_dev
        height, width = (y2 - y1) * np.exp(dh), (x2 - x1) * np.exp(dw)
        center = (y1 + y2) / 2 + dy * (y2 - y1), (x1 + x2) / 2 + dx * (x2 - x1)
        box = np.clip([center[0] - height / 2, center[1] - width / 2,
                       center[0] + height / 2, center[1] + width / 2], 0, 1)
        if box[2] > box[0] and box[3] > box[1]:  # neither empty nor NaN
            found[row] = box
    return found


def reassigned(rois, gt_class_ids, gt_boxes, iou, std_dev):
    """Boxes, class ids and deltas of a stage, one row after the other."""
    rois, class_ids = rois.copy(), np.zeros(len(rois), int)
    deltas = np.zeros((len(rois), 4))
    for row, roi in enumerate(rois):
        if not roi.any():
            continue
        overlaps = host.compute_overlaps(roi[None], gt_boxes)[0]
        objects = np.where(gt_class_ids > 0, overlaps, 0)
        best = objects.argmax()
        if objects[best] >= iou:
            class_ids[row] = gt_class_ids[best]
            deltas[row] = host.box_refinement(roi[None], gt_boxes[best][None])[0] / std_dev
        elif np.where(gt_class_ids < 0, overlaps, 0).max() >= 0.001:
            rois[row] = 0
    return rois, class_ids, deltas


def random_boxes(rng, count, sides=(0.05, 0.4)):
    corners = rng.uniform(0, 0.6, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(*sides, (count, 2))], axis=1)


# --- boxes of a stage -------------------------------------------------------------------------


def test_boxes_are_refined_by_the_best_foreground_class():
    rng = np.random.default_rng(0)
    rois = random_boxes(rng, 60).astype(np.float32)
    rois[50:] = 0  # padding
    probabilities = rng.dirichlet(np.ones(4), 60).astype(np.float32)
    assert (probabilities.argmax(axis=1) == 0).sum() > 5  # background is never the class
    deltas = rng.normal(0, 2, (60, 4, 4)).astype(np.float32)
    deltas[7, :, 0] = 1000  # far below the image: nothing is left in it
    deltas[8] = np.nan
    found = array(RefinedBoxes(STD_DEV)([x[None] for x in (rois, probabilities, deltas)]))[0]
    expected = refined(rois, probabilities, deltas, STD_DEV)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not found[50:].any() and not found[7:9].any() and found[:7].any(axis=1).all()
    assert found.max() <= 1 and (expected == 1).any() and (expected[:7] == 0).any()


def test_one_box_by_hand():
    """Down by half its height, twice as wide; then cut at the left edge of the image."""
    deltas = np.zeros((1, 1, 3, 4), np.float32)
    deltas[0, 0, 2] = [5, 0, 0, np.log(2) / 0.2]
    found = RefinedBoxes(STD_DEV)([
        ops.convert_to_tensor([[[0.1, 0.1, 0.3, 0.5]]]),
        ops.convert_to_tensor([[[0.7, 0.1, 0.2]]]), ops.convert_to_tensor(deltas)])
    np.testing.assert_allclose(array(found)[0, 0], [0.2, 0.0, 0.4, 0.7], atol=1e-6)


def test_boxes_and_targets_pass_no_gradient():
    rng = np.random.default_rng(0)
    rois = random_boxes(rng, 5).astype(np.float32)[None]
    probabilities = rng.dirichlet(np.ones(4), (1, 5)).astype(np.float32)

    def total(deltas):
        boxes = RefinedBoxes(STD_DEV)([rois, probabilities, deltas])
        _, _, targets = StageTargets(0.5, STD_DEV)([boxes, np.array([[1]]), rois[:, :1]])
        return ops.sum(boxes) + ops.sum(targets)

    assert not gradient(total, rng.normal(0, 0.1, (1, 5, 4, 4)).astype(np.float32)).any()


# --- targets of a stage -----------------------------------------------------------------------


def test_an_object_for_stage_2_by_hand():
    """Of heights 0.55, 0.6 and 0.7 of an object's: the IoU is that, and the threshold 0.6."""
    gt = np.array([[[0.0, 0.0, 0.5, 0.4], [0.6, 0.6, 0.9, 0.9]]], np.float32)
    rois = np.array([[[0.0, 0.0, 0.275, 0.4], [0.0, 0.0, 0.3, 0.4], [0, 0, 0, 0],
                      [0.0, 0.0, 0.35, 0.4], [0.6, 0.6, 0.9, 0.9]]], np.float32)
    found, class_ids, deltas = map(array, StageTargets(0.6, STD_DEV / 2)(
        [rois, np.array([[3, 1]]), gt]))
    np.testing.assert_array_equal(found, rois)  # the same rows in the same places
    np.testing.assert_array_equal(class_ids, [[0, 3, 0, 3, 1]])
    # Centers 0.25 and 0.15: a third of the height 0.3; divided by 0.05. Log of 5/3, by 0.1.
    expected = np.zeros((5, 4))
    expected[1] = [1 / 3 / 0.05, 0, np.log(5 / 3) / 0.1, 0]
    expected[3] = [0.075 / 0.35 / 0.05, 0, np.log(0.5 / 0.35) / 0.1, 0]
    np.testing.assert_allclose(deltas[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("iou", IOUS)
def test_targets_are_those_of_brute_force(iou):
    rng = np.random.default_rng(1)
    gt = random_boxes(rng, 6, (0.1, 0.3))
    gt_class_ids = np.array([1, 2, 3, -1, 2, 0])
    gt[5] = 0  # padding
    near = gt[rng.integers(0, 5, 80)] + rng.normal(0, 0.02, (80, 4))
    rois = np.concatenate([near, random_boxes(rng, 40), np.zeros((10, 4))])
    rois = rois[rng.permutation(len(rois))].astype(np.float32)
    found = StageTargets(iou, STD_DEV)([rois[None], gt_class_ids[None], gt[None]])
    boxes, class_ids, deltas = (array(x)[0] for x in found)
    expected = reassigned(rois, gt_class_ids, gt, iou, STD_DEV)
    np.testing.assert_array_equal(class_ids, expected[1])
    np.testing.assert_allclose(boxes, expected[0], atol=1e-6)
    np.testing.assert_allclose(deltas, expected[2], rtol=1e-3, atol=1e-3)
    assert set(class_ids) == {0, 1, 2, 3} and class_ids.dtype == np.int32
    crowded = rois.any(axis=1) & ~boxes.any(axis=1)
    assert crowded.sum() > 5 and not class_ids[crowded].any()


def test_without_objects_all_is_background():
    rois = random_boxes(np.random.default_rng(0), 4).astype(np.float32)[None]
    boxes, class_ids, deltas = map(array, StageTargets(0.6, STD_DEV)(
        [rois, np.zeros((1, 3), int), np.zeros((1, 3, 4))]))
    np.testing.assert_array_equal(boxes, rois)
    assert not class_ids.any() and not deltas.any()


# --- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config():
    return cascade_config(WEIGHT_DECAY=0.0)


@pytest.fixture(scope="module")
def batch(config):
    return one_batch(config)


@pytest.fixture(scope="module")
def model(config):
    """A training model whose stages move their boxes a little, by class."""
    keras.utils.set_random_seed(3)
    model = build_detector("training", config, seed=3)
    rng = np.random.default_rng(0)
    for suffix in ("", "_s2", "_s3"):
        layer = model.get_layer("mrcnn_bbox_fc" + suffix)
        kernel, _ = layer.get_weights()
        layer.set_weights([kernel, rng.normal(0, 0.4, kernel.shape[1])])
    return model


@pytest.fixture(scope="module")
def outputs(model, batch):
    return {name: array(value) for name, value in model(batch, training=False).items()}


def test_each_stage_trains_on_the_boxes_of_the_one_before(outputs, batch):
    side = 127.0  # of the normalized image
    gt_boxes = (batch["input_gt_boxes"] - [0, 0, 1, 1]) / side
    gt_boxes[~batch["input_gt_boxes"].any(axis=2)] = 0
    ids = batch["input_gt_class_ids"]
    positives = []
    for stage, (before, after) in enumerate([("", "_s2"), ("_s2", "_s3")], start=2):
        for image in range(2):
            names = ("output_rois", "mrcnn_class", "mrcnn_bbox")
            boxes = refined(*(outputs[name + before][image] for name in names),
                            STD_DEV / (stage - 1))
            expected = reassigned(boxes, ids[image], gt_boxes[image], IOUS[stage - 1],
                                  STD_DEV / stage)
            names = ("output_rois", "target_class_ids", "target_bbox")
            found = [outputs[name + after][image] for name in names]
            for one, other in zip(found, expected):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
        positives.append((outputs["target_class_ids" + after] > 0).sum())
    assert (outputs["target_class_ids"] > 0).sum() >= 6 and min(positives) > 0
    assert not np.allclose(outputs["output_rois"], outputs["output_rois_s2"], atol=1e-3)


def test_a_stage_has_the_outputs_of_the_head(outputs):
    of_head = ["output_rois", "target_class_ids", "target_bbox", "mrcnn_class_logits",
               "mrcnn_class", "mrcnn_bbox"]
    for suffix in ("_s2", "_s3"):
        assert {name for name in outputs if name.endswith(suffix)} == {
            name + suffix for name in of_head}
        for name in of_head:
            assert outputs[name + suffix].shape == outputs[name].shape
            assert outputs[name + suffix].dtype == outputs[name].dtype


def test_the_losses_of_the_stages_count_1_half_and_quarter(model, batch, outputs):
    found = {name: float(value) for name, value in model.loss_values(batch, outputs).items()}
    active = np.ones((2, 4), np.float32)
    expected = {"mrcnn_class_loss": 0.0, "mrcnn_bbox_loss": 0.0}
    for suffix, weight in (("", 1), ("_s2", 0.5), ("_s3", 0.25)):
        ids = outputs["target_class_ids" + suffix]
        expected["mrcnn_class_loss"] += weight * float(mrcnn_class_loss_graph(
            ids, outputs["mrcnn_class_logits" + suffix], active))
        expected["mrcnn_bbox_loss"] += weight * float(mrcnn_bbox_loss_graph(
            outputs["target_bbox" + suffix], ids, outputs["mrcnn_bbox" + suffix]))
    assert tuple(found) == LOSS_NAMES
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)


def giou(box, other):
    inside = np.prod(np.maximum(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0))
    around = np.prod(np.maximum(box[2:], other[2:]) - np.minimum(box[:2], other[:2]))
    union = np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - inside
    return inside / union - (around - union) / around


def test_the_giou_loss_is_that_of_the_boxes_of_each_stage(model, batch, outputs):
    settings = LossSettings.from_settings(cascade_config(BBOX_LOSS="giou"))
    plain, model.loss_settings = model.loss_settings, settings
    try:
        found = float(model.loss_values(batch, outputs)["mrcnn_bbox_loss"])
    finally:
        model.loss_settings = plain
    expected = 0.0
    for stage, suffix in enumerate(("", "_s2", "_s3"), start=1):
        rois, ids, targets, deltas = (outputs[name + suffix] for name in (
            "output_rois", "target_class_ids", "target_bbox", "mrcnn_bbox"))
        losses = []
        for place in zip(*np.nonzero(ids)):
            box, other = (host.apply_box_deltas(rois[place][None], x[None] * STD_DEV / stage)[0]
                          for x in (targets[place], deltas[place][ids[place]]))
            losses.append(1 - giou(box, other))
        expected += 0.5 ** (stage - 1) * np.mean(losses)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("settings", [
    {}, {"PRECISION": "mixed_bfloat16", "TRAIN_BN": False}], ids=["float32", "bfloat16"])
def test_a_step_trains_every_stage(batch, settings):
    config = cascade_config(WEIGHT_DECAY=0.0, **settings)
    keras.utils.set_random_seed(0)
    model = build_detector("training", config, seed=0)
    compile_detector(model, config, 0.01)
    before = {layer: layer.get_weights() for layer in model.layers if layer.weights}
    for _ in range(2):  # the output layers' gradient needs inputs that are not zero
        logs = model.train_on_batch(batch, return_dict=True)
    assert np.isfinite(float(logs["loss"]))
    changed = {layer.name for layer, weights in before.items()
               if not all(map(np.array_equal, weights, layer.get_weights()))}
    assert {name + suffix for name in STAGE_LAYERS for suffix in ("", "_s2", "_s3")} <= changed


def test_training_of_the_heads_includes_all_stages():
    model = build_detector("training", cascade_config(PYRAMID_ATTENTION=True))
    names = set_trainable(model, layer_pattern("heads"))
    assert {name + suffix for name in STAGE_LAYERS for suffix in ("", "_s2", "_s3")} <= set(names)
    assert {f"fpn_attention_p{n}_squeeze" for n in (2, 3, 4, 5)} <= set(names)
    assert not any(name.startswith("small") for name in names)


def test_two_stages_and_no_cascade():
    both = [build_detector("training", small_config(CASCADE_IOUS=ious), seed=0)
            for ious in ((), (0.5, 0.55))]
    plain, two = ([layer.name for layer in model.layers if layer.weights] for model in both)
    assert [name for name in two if name in plain] == plain
    assert {name for name in two if name not in plain} == {name + "_s2" for name in STAGE_LAYERS}


# --- detection --------------------------------------------------------------------------------


@functools.cache
def detector():
    """A detector with a cascade and attention, whose classes and boxes differ from box to box."""
    config = cascade_config(PYRAMID_ATTENTION=True)
    keras.utils.set_random_seed(1)
    model = build_detector("inference", config)
    set_random_statistics(model)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith(("mrcnn_class_logits", "mrcnn_bbox_fc")) \
                or layer.name.endswith(("_excite", "_class_gate")):
            kernel, bias = layer.get_weights()
            layer.set_weights([rng.normal(0, 0.3, kernel.shape), bias])
    return model, config


@pytest.fixture(scope="module")
def inputs():
    batch = one_batch(small_config())
    return [batch["input_image"], batch["input_image_meta"]]


def test_detection_averages_the_scores_and_goes_on_from_the_last_boxes(inputs):
    model, config = detector()
    stages = [[model.get_layer(name + suffix).output for name in ("mrcnn_class", "mrcnn_bbox")]
              for suffix in ("", "_s2", "_s3")]
    shown = keras.Model(model.inputs, [model.get_layer("ROI").output, *stages, model.outputs])
    rois, *stages, outputs = keras.tree.map_structure(array, shown(inputs))
    detections, probabilities, deltas, last = outputs[:4]
    for image in range(2):
        boxes = rois[image]
        for stage in (1, 2):
            boxes = refined(boxes, *(x[image] for x in stages[stage - 1]), STD_DEV / stage)
        np.testing.assert_allclose(last[image], boxes, atol=1e-4)
        assert not np.allclose(boxes, rois[image], atol=0.02)
        mean = np.mean([scores[image] for scores, _ in stages], axis=0)
        np.testing.assert_allclose(probabilities[image], mean, atol=1e-6)
        np.testing.assert_allclose(deltas[image], stages[2][1][image] / 3, rtol=1e-5)
        # The outputs mean what they do without a cascade, so that they can be inspected alike.
        expected = refine_detections(last[image], probabilities[image], deltas[image],
                                     [0, 0, 128, 128], config)
        found = detections[image][detections[image].any(axis=1)]
        assert len(found) > 3
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    plain = build_detector("inference", small_config())
    assert [x.shape for x in model.outputs] == [x.shape for x in plain.outputs]


def test_batch_norm_of_all_stages_is_folded(inputs):
    model, _ = detector()
    folded = FoldedModel(model)
    assert {f"mrcnn_class_bn{n}{suffix}" for n in (1, 2) for suffix in ("", "_s2", "_s3")} <= set(
        folded.folded)
    found, expected = (one.predict_on_batch(inputs) for one in (folded.model, model))
    for one, other in zip(found[1:], expected[1:]):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


IN_A_FRESH_PROCESS = """
import sys
import numpy as np
import frcnn.model
import keras
folder = sys.argv[1]
arrays = np.load(f"{folder}/arrays.npz")
head = keras.models.load_model(f"{folder}/head.keras")
np.savez(f"{folder}/found.npz", *head.predict_on_batch([arrays["image"], arrays["rois"]]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_backend_computes_the_same(backend, inputs, tmp_path):
    """From the image and the proposals on, so that all of them go through the stages."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    model, _ = detector()
    head = keras.Model([model.inputs[0], model.get_layer("ROI").output], model.outputs[1:4])
    rois = random_boxes(np.random.default_rng(0), 80).reshape(2, 40, 4).astype(np.float32)
    expected = head.predict_on_batch([inputs[0], rois])
    head.save(tmp_path / "head.keras")
    np.savez(tmp_path / "arrays.npz", image=inputs[0], rois=rois)
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path)], cwd=PROJECT, text=True,
        capture_output=True, env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu",
                                  "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(tmp_path / "found.npz") as file:
        for place, wanted in enumerate(expected):
            np.testing.assert_allclose(file[f"arr_{place}"], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.nightly
def test_a_cascade_learns_the_drawn_rectangles(tmp_path):
    """It finds the objects of a few images that it has seen often, with boxes that fit."""
    from frcnn.evaluate import matching
    from frcnn.model.mask_rcnn import MaskRCNN

    settings = {"CASCADE_IOUS": IOUS, "PROPOSAL_APPEND_GT": True, "IMAGES_PER_GPU": 4,
                "STEPS_PER_EPOCH": 150, "DETECTION_MIN_CONFIDENCE": 0.5}
    dataset = Rectangles([(128, 128)] * 4)
    model = MaskRCNN("training", small_config(**settings), tmp_path, seed=0)
    model.train(dataset, None, 0.02, epochs=1, layers="all", verbose=0, workers=1)
    detecting = MaskRCNN("inference", small_config(**settings), tmp_path)
    detecting.load_weights(model.last_checkpoint)
    scores = []
    for image_id, found in enumerate(detecting.detect(
            [dataset.load_image(i) for i in range(4)])):
        boxes, class_ids = dataset.load_boxes(image_id)
        ap, *_ = matching.compute_ap(boxes, class_ids, found["boxes"], found["class_ids"],
                                     found["scores"], iou_threshold=0.7)
        scores.append(ap)
    assert np.mean(scores) > 0.9
