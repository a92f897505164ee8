"""What scripts written for the reference do with weights, in their words."""

import logging
import os

import h5py
import keras
import numpy as np
import pytest
from interface_tools import CONFIG, Drawn, same
from model_tools import array, small_backbone

import frcnn.model as modellib
from frcnn.errors import CheckpointError, LeftOutError, OutputError
from frcnn.weights import checkpoint, download
from frcnn.weights.names import is_backbone_layer


@pytest.fixture
def model(tmp_path):
    return modellib.MaskRCNN(mode="training", config=CONFIG, model_dir=str(tmp_path / "logs"))


def kernels(model):
    return {name: array(layer.variables["kernel"])
            for name, layer in checkpoint.model_layers(model.keras_model).items()
            if "kernel" in layer.variables}


def backbone_file(path):
    """A file with the backbone of CONFIG, as ImageNet files are."""
    image = keras.Input((64, 64, 3))
    backbone = keras.Model(image, small_backbone(image))
    for layer in backbone.layers:
        if layer.name.endswith("conv"):
            layer.set_weights([np.full(weight.shape, 0.25) for weight in layer.weights])
    checkpoint.save_weights(backbone, path)
    return str(path)


# --- ImageNet and COCO --------------------------------------------------------------------------


def test_imagenet_weights_by_name(model, tmp_path, monkeypatch, caplog):
    path = backbone_file(tmp_path / "imagenet.h5")
    monkeypatch.setattr(download, "get_imagenet_weights", lambda *_, **__: path)
    before = kernels(model)
    with caplog.at_level(logging.WARNING):
        report = model.load_weights(model.get_imagenet_weights(), by_name=True)
    for name, kernel in kernels(model).items():
        assert (kernel == 0.25).all() if is_backbone_layer(name) else (kernel == before[name]).all()
    assert "rpn_conv_shared" in report.missing and "small1_conv" in report.loaded
    assert "imagenet.h5 holds the backbone alone: pyramid, RPN and head stay as they are" \
        in caplog.text


def first_layers(name):
    """A backbone as `small_backbone`, whose first layer has the name of a ResNet's or DenseNet's.

    The layer's kernel is what ImageNet's weights are adapted in.
    """
    def stages(image, stage5=True, train_bn=True):
        x, found = image, []
        for stage, channels in enumerate((8, 16, 16, 24, 32), start=1):
            x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu",
                                    name=name if stage == 1 else f"small{stage}_conv")(x)
            found.append(x)
        return found
    return stages


@pytest.mark.parametrize("name", ["conv1", "conv1_conv"])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("mode", ["training", "inference"])
def test_imagenet_weights_by_name_for_other_channels(tmp_path, name, channels, mode):
    """The idiom of the reference does what `load_imagenet_weights` does."""
    stages = first_layers(name)
    image = keras.Input((64, 64, 3))
    checkpoint.save_weights(keras.Model(image, stages(image)), tmp_path / "imagenet.h5")
    config = CONFIG.replaced(BACKBONE=stages, IMAGE_CHANNEL_COUNT=channels,
                             MEAN_PIXEL=[114.8] * channels)
    model, expected = (modellib.MaskRCNN(mode, config, str(tmp_path)) for _ in range(2))
    expected.load_imagenet_weights(str(tmp_path / "imagenet.h5"))
    if mode == "inference":
        with pytest.raises(CheckpointError, match=r"lacks layers .* the backbone alone"):
            model.load_weights(str(tmp_path / "imagenet.h5"), by_name=True)
        return
    report = model.load_weights(str(tmp_path / "imagenet.h5"), by_name=True)
    assert f"the first kernel, {name}, is " in report.adapted
    found, others = kernels(model), kernels(expected)
    assert found[name].shape == (3, 3, channels, 8)
    assert all((found[layer] == others[layer]).all() for layer in found if is_backbone_layer(layer))


def test_a_detector_for_other_channels_is_not_adapted(tmp_path):
    config = CONFIG.replaced(BACKBONE=first_layers("conv1"))
    modellib.MaskRCNN("training", config, str(tmp_path)).save_weights(tmp_path / "colors.h5")
    gray = modellib.MaskRCNN("training", config.replaced(
        IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=[114.8]), str(tmp_path))
    with pytest.raises(CheckpointError, match=r"conv1/kernel is \[3, 3, 3, 8\] in the file, .* The "
                                              "file is for images of 3 channels: set "
                                              "IMAGE_CHANNEL_COUNT"):
        gray.load_weights(str(tmp_path / "colors.h5"), by_name=True)


def test_the_backbone_of_another_detector(model, tmp_path, caplog):
    """What else the file has is named: it is no file with a backbone alone."""
    image = keras.Input((64, 64, 3))
    stages = small_backbone(image)
    head = keras.layers.Conv2D(4, 1, name="pyramid_regression")(stages[-1])
    checkpoint.save_weights(keras.Model(image, [*stages, head]), tmp_path / "other.h5")
    with caplog.at_level(logging.WARNING):
        report = model.load_weights(str(tmp_path / "other.h5"), by_name=True)
    assert report.ignored == ["pyramid_regression"] and "small1_conv" in report.loaded
    assert "other.h5 holds the backbone, and layers that the model lacks (pyramid_regression): " \
        "pyramid, RPN and head stay as they are" in caplog.text
    detector = modellib.MaskRCNN("inference", CONFIG, str(tmp_path))
    with pytest.raises(CheckpointError, match=r"layers that the model lacks \(pyramid_regression"):
        detector.load_weights(str(tmp_path / "other.h5"), by_name=True)


def test_a_file_with_less_than_the_backbone_is_an_error(model, tmp_path):
    image = keras.Input((64, 64, 3))
    checkpoint.save_weights(keras.Model(image, small_backbone(image)[2]), tmp_path / "half.h5")
    with pytest.raises(CheckpointError, match=r"lacks layers of the model: small4_conv"):
        model.load_weights(str(tmp_path / "half.h5"), by_name=True)


def test_a_detector_that_only_detects_needs_its_head(tmp_path):
    path = backbone_file(tmp_path / "imagenet.h5")
    detector = modellib.MaskRCNN("inference", CONFIG, str(tmp_path))
    with pytest.raises(CheckpointError, match="the backbone alone"):
        detector.load_weights(path, by_name=True)


def block_names(letters):
    return ["conv1", *(f"res4{letter}_branch2a" for letter in letters)]


def test_weights_of_a_deeper_resnet_layer_by_layer(tmp_path):
    """As the reference does it; the layers' names and shapes are those of ResNet's stage 4."""
    def chain(names):
        x = image = keras.Input((8, 8, 3))
        for name in names:
            x = keras.layers.Conv2D(3, 1, name=name)(x)
        return keras.Model(image, x)

    deep, shallow = chain(block_names("abcdefghijklmnopqrstuvw")), chain(block_names("abcdef"))
    path = tmp_path / "mask_rcnn_coco.h5"
    checkpoint.save_weights(deep, path)
    with pytest.raises(CheckpointError, match=r"another backbone.* pass allow_missing=True to load "
                                              r"the layers that both have, as the reference does"):
        checkpoint.load_weights(shallow, path, by_name=True)
    report = checkpoint.load_weights(shallow, path, by_name=True, allow_missing=True)
    assert report.loaded == block_names("abcdef") and "res4w_branch2a" in report.ignored
    for name in report.loaded:
        np.testing.assert_array_equal(array(shallow.get_layer(name).kernel),
                                      array(deep.get_layer(name).kernel))


# --- finding and saving -------------------------------------------------------------------------


def test_find_last_of_an_early_release(tmp_path):
    folder = tmp_path / "names20180101T0000"
    folder.mkdir()
    (folder / "mask_rcnn_names_0001.h5").touch()
    model = modellib.MaskRCNN(mode="inference", config=CONFIG, model_dir=str(tmp_path))
    model_path = model.find_last()[1]
    with pytest.raises(FileNotFoundError, match=r"find_last returns the path itself, not a pair; "
                                                r"drop the \[1\]"):
        model.load_weights(model_path, by_name=True)


@pytest.mark.parametrize("name", ["mask_rcnn_shapes.h5", "final.hdf5", "deep/folder/Final.H5"])
def test_weights_saved_by_keras_model(model, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.makedirs("logs", exist_ok=True)
    model.keras_model.save_weights(name)
    with h5py.File(name) as file:  # the reference's layout
        names = [text.decode() for text in file.attrs["layer_names"]]
        assert "rpn_model" in names and file["fpn_p2/fpn_p2/kernel:0"].shape == (3, 3, 16, 16)
    detector = modellib.MaskRCNN(mode="inference", config=CONFIG, model_dir="logs")
    detector.load_weights(name, by_name=True)
    expected = kernels(model)
    assert all((kernel == expected[name]).all() for name, kernel in kernels(detector).items())


def test_weights_saved_by_the_model(model, tmp_path):
    model.save_weights(str(tmp_path / "a.h5"))
    model.keras_model.save_weights(str(tmp_path / "b.h5"), save_format="h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "b.h5"]
    with pytest.raises(OutputError, match=r"a\.h5 exists already"):
        model.keras_model.save_weights(tmp_path / "a.h5", overwrite=False)


def test_weights_loaded_by_keras_model(model, tmp_path):
    expected = kernels(model)
    model.save_weights(tmp_path / "a.h5")
    other = modellib.MaskRCNN(mode="inference", config=CONFIG, model_dir=str(tmp_path))
    other.keras_model.load_weights(str(tmp_path / "a.h5"), by_name=True)
    assert all((kernel == expected[name]).all() for name, kernel in kernels(other).items())
    backbone_file(tmp_path / "b.h5")
    with pytest.raises(CheckpointError, match="lacks layers"):
        other.keras_model.load_weights(tmp_path / "b.h5")
    other.keras_model.load_weights(tmp_path / "b.h5", by_name=True)  # Keras 2 loads what there is
    assert (kernels(other)["small1_conv"] == 0.25).all()


def test_the_files_of_keras_stay_its_own(model, tmp_path):
    model.keras_model.save_weights(tmp_path / "a.weights.h5")
    expected = kernels(model)
    other = modellib.MaskRCNN("training", CONFIG, str(tmp_path))
    other.keras_model.load_weights(tmp_path / "a.weights.h5")
    assert all((kernel == expected[name]).all() for name, kernel in kernels(other).items())
    with h5py.File(tmp_path / "a.weights.h5") as file:
        assert "layer_names" not in file.attrs


# --- other methods ------------------------------------------------------------------------------


def test_set_trainable_as_in_the_reference(model):
    assert model.set_trainable(r"fpn\_p2", model.keras_model, 2, 0) == ["fpn_p2"]
    assert model.set_trainable(r"fpn\_p2", indent=2, verbose=0) == ["fpn_p2"]


def test_find_trainable_layer(model):
    dense = keras.layers.Dense(3)
    assert model.find_trainable_layer(keras.layers.TimeDistributed(dense)) is dense
    assert model.find_trainable_layer(dense) is dense


def test_ancestor_says_what_to_write_instead(model):
    roi = model.keras_model.get_layer("ROI").output
    with pytest.raises(LeftOutError, match=r"get_layer\('rpn_class'\)\.output.*proposal_steps"):
        model.ancestor(roi, "ROI/rpn_class:0")


def test_training_on_a_list_of_arrays(model):
    """`data_generator` yields lists; the model's inputs have names."""
    generator = modellib.data_generator(Drawn(), CONFIG, shuffle=False, augment=False, batch_size=1)
    inputs, outputs = next(generator)
    model.compile(0.001, 0.9)
    before = kernels(model)["fpn_p2"]
    losses = model.keras_model.train_on_batch(inputs, outputs, return_dict=True)
    assert np.isfinite(losses["loss"]) and losses["rpn_class_loss"] > 0
    assert not (kernels(model)["fpn_p2"] == before).all()
    named = dict(zip(("input_image", "input_image_meta", "input_rpn_match", "input_rpn_bbox",
                      "input_gt_class_ids", "input_gt_boxes"), inputs, strict=True))
    same(model.keras_model(inputs)["rpn_class"], array(model.keras_model(named)["rpn_class"]))
