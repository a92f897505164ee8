"""The whole detector with known weights gives the reference's numbers, on every backend."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from model_tools import array
from places import PROJECT

from frcnn.config import Config
from frcnn.data.targets import build_rpn_targets
from frcnn.geometry.boxes import compute_overlaps
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network.postprocess import DetectionLayer
from frcnn.network.proposals import ProposalLayer

ON_JAX = keras.backend.backend() == "jax"
LEVELS = [f"fpn_p{level}" for level in range(2, 7)]
NAMES = [*LEVELS, "rpn_class", "rpn_bbox", "ROI", "mrcnn_class", "mrcnn_bbox", "mrcnn_detection"]
WEIGHTS_VARIABLE = "FRCNN_TEST_PARITY_WEIGHTS"  # so that a second process need not write them


class GoldenConfig(Config):
    NAME = "gold"
    BACKBONE = "resnet50"
    NUM_CLASSES = 4
    IMAGES_PER_GPU = 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 384
    POST_NMS_ROIS_INFERENCE = 500
    DETECTION_MIN_CONFIDENCE = 0.5


@pytest.fixture(scope="session")
def checkpoint(golden_dir, reference_weights, tmp_path_factory):
    """A checkpoint of the formula's weights in the reference's layout, mask head included."""
    if WEIGHTS_VARIABLE in os.environ:
        return Path(os.environ[WEIGHTS_VARIABLE])
    path = tmp_path_factory.mktemp("weights") / "mask_rcnn_gold_0007.h5"
    layout = json.loads((golden_dir / "layout_resnet50.json").read_text())
    reference_weights.write_checkpoint(path, layout, seed=5)
    return path


@pytest.fixture(scope="session")
def detector(checkpoint):
    model = MaskRCNN("inference", GoldenConfig(), checkpoint.parent)
    report = model.load_weights(checkpoint, by_name=True)
    assert not report.missing and model.epoch == 7
    assert all("mask" in name or "anchors" in name for name in report.ignored)
    return model


@pytest.fixture(scope="session")
def outputs(detector, golden_model):
    """Every named tensor for the golden image, without its batch axis."""
    model = detector.keras_model
    tensors = [(name, model.get_layer(name).output) for name in NAMES]
    found = detector.run_graph([golden_model["image"]], tensors)
    return {name: value[0] for name, value in found.items()}


# --- step by step -------------------------------------------------------------------------------


def test_what_goes_in(detector, golden_model):
    molded, metas, windows = detector.mold_inputs([golden_model["image"]])
    np.testing.assert_array_equal(molded[0, ::8, ::8], golden_model["molded_image_sample"])
    np.testing.assert_allclose(metas[0], golden_model["image_meta"])
    np.testing.assert_array_equal(windows[0], golden_model["window"])
    anchors = detector.get_anchors(molded.shape[1:])
    np.testing.assert_allclose(anchors, golden_model["anchors_normalized"], atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_of_the_pyramid(outputs, golden_model, level):
    found = outputs[level]
    assert found.shape == tuple(golden_model[f"{level}_shape"])
    expected = golden_model[f"{level}_value"]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found.ravel()[golden_model[f"{level}_index"]], expected, atol=1e-4)


def test_the_rpn(outputs, golden_model):
    np.testing.assert_allclose(outputs["rpn_class"], golden_model["rpn_class"], atol=1e-4)
    np.testing.assert_allclose(outputs["rpn_bbox"], golden_model["rpn_bbox"], atol=1e-4)


def test_the_proposals(outputs, golden_model):
    overlaps = compute_overlaps(outputs["ROI"].astype(float), golden_model["ROI"].astype(float))
    assert outputs["ROI"].shape == (500, 4)
    assert (overlaps.max(axis=0) > 0.99).mean() >= 0.99
    assert (overlaps.max(axis=1) > 0.99).mean() >= 0.99


def test_the_proposals_row_by_row_from_the_stored_scores(golden_model):
    layer = ProposalLayer(500, 0.7, GoldenConfig())
    inputs = (golden_model[name][None] for name in ("rpn_class", "rpn_bbox", "anchors_normalized"))
    rois = array(layer([ops.convert_to_tensor(x) for x in inputs]))[0]
    np.testing.assert_allclose(rois, golden_model["ROI"], rtol=1e-5, atol=1e-6)


def test_the_head_on_the_stored_proposals(detector, outputs, golden_model):
    model = detector.keras_model
    starts = ["ROI", *LEVELS[:4]]
    head = keras.Model([model.get_layer(name).output for name in starts],
                       [model.get_layer(name).output for name in ("mrcnn_class", "mrcnn_bbox")])
    inputs = [golden_model["ROI"][None], *(outputs[name][None] for name in LEVELS[:4])]
    probabilities, deltas = (array(x)[0] for x in head(inputs))
    np.testing.assert_allclose(probabilities, golden_model["mrcnn_class"], atol=1e-3)
    np.testing.assert_allclose(deltas, golden_model["mrcnn_bbox"], atol=1e-3)


def test_the_detections_row_by_row_from_the_stored_head(golden_model):
    inputs = [golden_model[name][None] for name in ("ROI", "mrcnn_class", "mrcnn_bbox")]
    meta = golden_model["image_meta"][None].astype(np.float32)
    rows = array(DetectionLayer(GoldenConfig())([*map(ops.convert_to_tensor, inputs), meta]))[0]
    expected = golden_model["detections"]
    boxes = expected[:28, :4] * 383 + [0, 0, 1, 1]  # normalized in the reference, pixels in ours
    np.testing.assert_allclose(rows[:28, :4], boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(rows[:28, 4:], expected[:28, 4:], rtol=1e-5)
    assert not rows[28:].any() and not expected[28:].any()


def test_detect_finds_what_the_reference_finds(detector, golden_model):
    (result,) = detector.detect([golden_model["image"]])
    expected = golden_model["result_rois"]
    assert len(result["scores"]) == len(expected) == 28
    distance = np.abs(result["rois"][:, None] - expected[None]).max(axis=2)
    other_class = result["class_ids"][:, None] != golden_model["result_class_ids"][None]
    match = np.where(other_class, np.inf, distance).argmin(axis=1)
    assert sorted(match) == list(range(28))
    assert distance[np.arange(28), match].max() <= 1
    np.testing.assert_allclose(result["scores"], golden_model["result_scores"][match], atol=1e-3)


def test_boxes_go_back_by_the_scale_that_the_image_came_by(detector, golden_model):
    """Unlike the reference on purpose: it goes back by (480 − 1) / (288 − 1), and rounds.

    That is off by up to two thirds of a pixel from the objects of training, whose boxes
    were multiplied by 288 / 480.
    """
    (result,) = detector.detect([golden_model["image"]])
    molded = golden_model["detections"][:28, :4] * 383 + [0, 0, 1, 1]
    expected = (molded - [48, 0, 48, 0]) * (480 / 288)
    distance = np.abs(result["boxes"][:, None] - expected[None]).max(axis=2)
    assert distance.min(axis=1).max() < 0.1
    assert 0.5 < np.abs(expected - golden_model["result_rois"]).max() < 1.2


# --- training -----------------------------------------------------------------------------------

GT_BOXES = np.array([[100, 60, 180, 150], [120, 200, 240, 330], [60, 300, 90, 330]], np.float32)


@pytest.mark.skipif(ON_JAX, reason="the same arithmetic; only takes time")
def test_training_has_the_references_losses(checkpoint, golden_model):
    """RPN losses from the stored outputs by the reference's formulas, and its regularization."""
    config = GoldenConfig()
    model = MaskRCNN("training", config, checkpoint.parent, seed=0)
    model.load_weights(checkpoint)
    molded, metas, _ = model.mold_inputs([golden_model["image"]])
    metas[:, 12:] = 1  # every class is active
    match, deltas = build_rpn_targets(
        (384, 384, 3), golden_model["anchors_normalized"] * 383 + [0, 0, 1, 1], np.array([1, 2, 3]),
        GT_BOXES, config, rng=0)
    batch = {
        "input_image": molded, "input_image_meta": metas,
        "input_rpn_match": match[None, :, None], "input_rpn_bbox": deltas[None],
        "input_gt_class_ids": np.zeros((1, 100), np.int32),
        "input_gt_boxes": np.zeros((1, 100, 4), np.float32),
    }
    batch["input_gt_class_ids"][0, :3], batch["input_gt_boxes"][0, :3] = [1, 2, 3], GT_BOXES
    found = model.keras_model.loss_values(batch, model.keras_model(batch, training=True))

    positive, negative = match == 1, match == -1
    probabilities = golden_model["rpn_class"].astype(float)
    chosen = np.append(probabilities[positive, 1], probabilities[negative, 0])
    np.testing.assert_allclose(float(found["rpn_class_loss"]), -np.log(chosen).mean(), rtol=1e-3)
    size = np.abs(deltas[:positive.sum()] - golden_model["rpn_bbox"][positive])
    expected = np.where(size < 1, size**2 / 2, size - 0.5).mean()
    np.testing.assert_allclose(float(found["rpn_bbox_loss"]), expected, rtol=1e-3)
    assert np.isfinite([float(value) for value in found.values()]).all()
    np.testing.assert_allclose(float(model.keras_model.regularization()),
                               regularization_of(checkpoint), rtol=1e-4)


def regularization_of(checkpoint):
    """1e-4 times the mean square of each kernel and bias outside the mask head."""
    penalties = []

    def add(name, weight):
        if name.endswith(("kernel:0", "bias:0")) and "mask" not in name:
            penalties.append(np.square(weight[()].astype(float)).mean())

    with h5py.File(checkpoint) as file:
        file.visititems(add)
    assert len(penalties) == 2 * (53 + 8 + 3 + 4)  # ResNet, pyramid, RPN, head
    return 1e-4 * sum(penalties)


# --- JAX ----------------------------------------------------------------------------------------


# This file's tests, less those of training and of JAX itself, and two of the whole detector.
ON_JAX_TOO = [
    *(f"tests/model/test_parity.py::{name}" for name, value in list(globals().items())
      if name.startswith("test_") and not any(
          mark.name == "skipif" for mark in getattr(value, "pytestmark", ()))),
    "tests/model/test_mask_rcnn.py::test_an_epoch_leaves_its_files",
    "tests/model/test_mask_rcnn.py::test_images_of_any_number_and_size",
]


def outcomes(report):
    """Outcomes of a pytest run by test, from its JUnit XML; the cases of one test in one set."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        path = case.get("classname").replace(".", "/") + ".py"
        name = f"{path}::{case.get('name').split('[')[0]}"
        results = {child.tag for child in case} & {"skipped", "failure", "error"}
        found.setdefault(name, set()).update(results or {"passed"})
    return found


@pytest.mark.skipif(ON_JAX or importlib.util.find_spec("jax") is None,
                    reason="from TensorFlow, where JAX is installed")
def test_jax_gives_the_references_numbers_trains_and_detects(checkpoint, tmp_path):
    """In another process, which optimizes little, since all it compiles runs once or twice."""
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
               f"--junitxml={report}", *ON_JAX_TOO]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env={
        **os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", WEIGHTS_VARIABLE: str(checkpoint)})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert outcomes(report) == {name: {"passed"} for name in ON_JAX_TOO}
