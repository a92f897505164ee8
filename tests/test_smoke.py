"""Every step once, in seconds: a folder, training, checkpoint, detection, evaluation, report."""

import numpy as np
import pytest
from model_tools import array, small_config

from frcnn import evaluate, visualize
from frcnn.data import CocoDataset
from frcnn.model import MaskRCNN
from frcnn.report import Run, write_report
from frcnn.runs import load_metadata

pytestmark = pytest.mark.smoke


def tiny_config():
    """A network that trains a step at 64 × 64 pixels as fast as one can be built."""
    return small_config(NAME="smoke", IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64, TOP_DOWN_PYRAMID_SIZE=8,
                        FPN_CLASSIF_FC_LAYERS_SIZE=8, STEPS_PER_EPOCH=1, VALIDATION_STEPS=1)


@pytest.fixture(scope="module")
def val(coco_original):
    return CocoDataset.from_folder(coco_original, "val")


@pytest.fixture(scope="module")
def trained(coco_original, tmp_path_factory):
    """A model that has trained one step."""
    data = CocoDataset.from_folder(coco_original, "train")
    model = MaskRCNN("training", tiny_config(), tmp_path_factory.mktemp("logs"), seed=1)
    model.train(data, None, learning_rate=0.01, epochs=1, layers="all", verbose=0, workers=1)
    return model


@pytest.fixture(scope="module")
def detector(trained):
    """The same weights from the checkpoint, in a model that detects."""
    model = MaskRCNN("inference", tiny_config(), trained.model_dir)
    model.load_weights(model.find_last())
    return model


@pytest.fixture(scope="module")
def results(detector, val):
    return evaluate.detect_dataset(detector, val, progress=False)


def test_a_step_of_training(trained):
    assert trained.epoch == 1
    losses = {"loss", "rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss"}
    assert losses <= set(trained.history)
    assert np.isfinite(np.array(list(trained.history.values()), float)).all()


def test_a_checkpoint_round_trip(trained, detector):
    assert detector.epoch == 1
    assert load_metadata(trained.last_checkpoint).class_names == ["BG", "bar", "square", "slab"]
    written = {weight.path: array(weight) for weight in trained.keras_model.weights}
    read = {weight.path: array(weight) for weight in detector.keras_model.weights}
    assert len(read) > 40 and set(read) <= set(written)
    for path, values in read.items():
        np.testing.assert_array_equal(values, written[path], err_msg=path)


def test_a_detection(results, val):
    assert sorted(results) == val.image_ids.tolist()
    for result in results.values():
        count = len(result["boxes"])
        assert result["boxes"].dtype == np.float32 and result["boxes"].shape == (count, 4)
        assert result["class_ids"].shape == result["scores"].shape == (count,)
        assert (result["boxes"] >= 0).all() and (result["boxes"] <= [96, 128, 96, 128]).all()


def test_figures_pictures_and_a_report(results, val, trained, tmp_path):
    metrics = evaluate.evaluate_detections(val, results)
    assert metrics["settings"]["objects"] == 6 and 0 <= metrics["AP50"] <= 1
    assert "AP50" in evaluate.format_table(metrics)
    result = results[0]
    axes = visualize.display_instances(val.load_image(0), result["boxes"], result["class_ids"],
                                       val.class_names, result["scores"])
    visualize.save_figure(axes, tmp_path / "detections.png")
    assert (tmp_path / "detections.png").stat().st_size > 1000
    run = Run(config=trained.config, history=trained.history)
    page = write_report(tmp_path / "report.html", val, results, metrics, run, examples=1)
    assert "slab" in page.read_text("utf-8")
