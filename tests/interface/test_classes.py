"""Public methods and attributes of Dataset and MaskRCNN."""

import numpy as np
import pytest
from interface_tools import (
    ANCHOR_COUNT,
    CONFIG,
    GRAY,
    NAMES,
    Drawn,
    check_parameters,
    same,
    shapes,
)

import frcnn.model as modellib
from frcnn.data.dataset import Dataset


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


def test_images_and_classes_of_a_dataset():
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
    "set_trainable": "self, layer_regex, keras_model=None, indent=0, verbose=0",
    "train": "self, train_dataset, val_dataset, learning_rate, epochs, layers, augmentation=None, "
             "custom_callbacks=None, no_augmentation_sources=None",
    "detect": "self, images, verbose=0",
    "detect_molded": "self, molded_images, image_metas, verbose=0",
    "mold_inputs": "self, images",
    "unmold_detections": "self, detections, original_image_shape, image_shape, window",
    "load_weights": "self, filepath, by_name, exclude=None", "save_weights": "self, filepath",
    "get_imagenet_weights": "self",
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


def test_attributes_of_a_detector(detecting):
    assert detecting.mode == "inference" and detecting.config is CONFIG and detecting.epoch == 0
    assert detecting.log_dir.startswith(detecting.model_dir)
    assert detecting.checkpoint_path.startswith(detecting.log_dir)


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
    assert {"small1_conv", "fpn_p2", "rpn_conv_shared", "mrcnn_class_logits"} <= names


def test_training_leaves_a_checkpoint_that_is_found_and_loaded(detecting, tmp_path, monkeypatch):
    model = modellib.MaskRCNN("training", CONFIG, str(tmp_path))
    assert model.epoch == 0 and model.keras_model.name == "mask_rcnn"
    model.train(Drawn(), None, learning_rate=1e-4, epochs=1, layers="heads", verbose=0)
    assert model.epoch == 1
    trained = {variable.path.split("/")[-2] for variable in model.keras_model.trainable_variables}
    assert "fpn_p2" in trained and "small1_conv" not in trained

    path = model.find_last()
    assert path.startswith(model.log_dir) and path.endswith("mask_rcnn_names_0001.h5")
    assert model.checkpoint_path.replace("*epoch*", "0001") == path
    monkeypatch.setattr(detecting, "model_dir", str(tmp_path))
    assert detecting.find_last() == path
    model.set_log_dir()
    assert model.epoch == 0
    model.load_weights(path, by_name=True)
    assert model.epoch == 1 and path.startswith(model.log_dir)
    monkeypatch.setattr("frcnn.weights.download.get_imagenet_weights",
                        lambda *args, **options: "file.h5")
    assert model.get_imagenet_weights() == "file.h5"
