"""ImageNet files: a backbone with them computes what the model they come from computes."""

import h5py
import keras
import numpy as np
import pytest

from frcnn.errors import CheckpointError
from frcnn.network.densenet import densenet_graph
from frcnn.network.resnet import resnet_graph
from frcnn.weights.checkpoint import load_imagenet_weights, load_weights, model_layers
from frcnn.weights.hdf5 import write_weight_file
from frcnn.weights.names import reference_resnet_name

# RGB, as keras.applications subtracts it; its DenseNets and ResNets differ a little.
DENSENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
RESNET_MEAN = np.array([123.68, 116.779, 103.939], np.float32)
# The reference pads its first pooling as "same", keras.applications by one on each side: that is
# the same only where what is pooled has an odd side, 33 here.
SIDE = 66
DENSENET_STAGES = ["pool2_relu", "pool3_relu", "pool4_relu", "relu"]


def application(name):
    """The `keras.applications` model without top, all its weights random, BatchNorm's too."""
    make = {"resnet50": "ResNet50", "resnet101": "ResNet101", "densenet121": "DenseNet121",
            "densenet169": "DenseNet169", "densenet201": "DenseNet201"}[name]
    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, make)(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            # some variances as small as ImageNet's dead channels have them
            variance = np.where(rng.random(size) < 0.2, 1e-4, 1.0) * rng.uniform(0.5, 2, size)
            gamma = rng.uniform(0.5, 1, size) * np.sqrt(variance)
            layer.set_weights([gamma, rng.normal(0, 0.1, size), rng.normal(0, 0.1, size), variance])
        elif len(layer.weights) > 1:
            layer.set_weights([layer.kernel.numpy(), rng.normal(0, 0.1, layer.bias.shape)])
    return model


def backbone(name, channels=3):
    """Our backbone as a model: molded image → C2 to C5."""
    image = keras.Input((SIDE, SIDE, channels))
    graph = resnet_graph if name.startswith("resnet") else densenet_graph
    return keras.Model(image, graph(image, name, stage5=True, train_bn=False)[1:])


def keras_2_file(model, path, rename=lambda name: name, weight="{0}/{1}:0"):
    """Writes a model's weights in the layout of Keras 2, as the published files have it."""
    write_weight_file(path, [
        (rename(layer.name), [(weight.format(rename(layer.name), variable.name), variable.numpy())
                              for variable in layer.weights])
        for layer in model.layers])


def with_slashes(name):
    """DenseNet's first layers as Keras 2 called them."""
    return name.replace("conv1_", "conv1/") if name in ("conv1_conv", "conv1_bn") else name


def stage_names(name):
    if "dense" in name:
        return DENSENET_STAGES
    last = {"resnet50": 6, "resnet101": 23}[name]
    return ["conv2_block3_out", "conv3_block4_out", f"conv4_block{last}_out", "conv5_block3_out"]


def preprocess(name, image):
    """What `keras.applications` feeds its models; `image` is RGB in 0 to 255."""
    family = keras.applications.densenet if "dense" in name else keras.applications.resnet
    return family.preprocess_input(image.copy())


@pytest.mark.parametrize("name", [
    "resnet50", "densenet121", *(pytest.param(name, marks=pytest.mark.slow)
                                 for name in ("resnet101", "densenet169", "densenet201"))])
def test_features_equal_those_of_the_model_that_the_file_comes_from(name, tmp_path):
    theirs, ours = application(name), backbone(name)
    keras_2_file(theirs, tmp_path / "notop.h5", with_slashes)
    report = load_imagenet_weights(ours, tmp_path / "notop.h5")
    assert report.ignored == report.missing == []

    image = np.random.default_rng(2).uniform(0, 255, (1, SIDE, SIDE, 3)).astype(np.float32)
    outputs = [theirs.get_layer(stage).output for stage in stage_names(name)]
    stages = keras.Model(theirs.input, outputs)
    expected = stages(preprocess(name, image))
    found = ours(image - (DENSENET_MEAN if "dense" in name else RESNET_MEAN))
    for theirs_at, ours_at in zip(expected, found):
        theirs_at, ours_at = np.asarray(theirs_at), np.asarray(ours_at)
        assert theirs_at.std() > 1e-3
        np.testing.assert_allclose(ours_at, theirs_at, rtol=1e-4, atol=1e-4 * theirs_at.std())


def gray_image(seed=3):
    """A molded gray image `[1, SIDE, SIDE, 1]`, with the same mean pixel in all channels."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-115, 140, (1, SIDE, SIDE, 1)).astype(np.float32)


def first_kernel(model):
    layer = model.get_layer("conv1" if "conv1" in model_layers(model) else "conv1_conv")
    return layer.kernel.numpy()


def assert_features_alike(found, expected):
    for ours, theirs in zip(found, expected):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert theirs.std() > 1e-3
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.std())


@pytest.mark.parametrize("name", [
    "resnet50", pytest.param("densenet121", marks=pytest.mark.nightly)])
def test_a_network_for_gray_computes_what_that_for_colors_does_of_gray(name, tmp_path):
    theirs, colors, gray = application(name), backbone(name), backbone(name, 1)
    keras_2_file(theirs, tmp_path / "notop.h5", with_slashes)
    assert load_imagenet_weights(colors, tmp_path / "notop.h5").adapted == ""
    report = load_imagenet_weights(gray, tmp_path / "notop.h5")
    assert report.ignored == report.missing == report.mismatched == []
    layer = "conv1" if name == "resnet50" else "conv1_conv"
    assert str(report).endswith(f"; the first kernel, {layer}, is summed over red, green and blue "
                                "for images of one channel")
    image = gray_image()
    assert_features_alike(gray(image), colors(np.repeat(image, 3, axis=-1)))


@pytest.mark.parametrize("name", [
    "resnet50", pytest.param("densenet121", marks=pytest.mark.nightly)])
def test_kernels_are_repeated_for_more_channels(name, tmp_path):
    """As timm does: channels 0, 1, 2, 0, … of the kernel, scaled by 3/n."""
    theirs, colors = application(name), backbone(name)
    keras_2_file(theirs, tmp_path / "notop.h5", with_slashes)
    load_imagenet_weights(colors, tmp_path / "notop.h5")
    kernel, std_dev = first_kernel(colors), np.float32([58.395, 57.12, 57.375])
    if name == "densenet121":  # in units of the pixels, as the network sees these
        kernel = kernel * (std_dev.mean() / std_dev)[:, None]
    for count in (2, 4, 5, 6):
        model = backbone(name, count)
        report = load_imagenet_weights(model, tmp_path / "notop.h5")
        assert f"repeated for images of {count} channels and scaled by 3/{count}" in str(report)
        expected = np.stack([kernel[:, :, channel % 3] * 3 / count for channel in range(count)], 2)
        np.testing.assert_allclose(first_kernel(model), expected, rtol=1e-5, atol=1e-7)
    # Of six channels, each color twice: the same as in three.
    image = np.random.default_rng(4).uniform(-115, 140, (1, SIDE, SIDE, 3)).astype(np.float32)
    assert_features_alike(model(np.concatenate([image, image], axis=-1)), colors(image))


def test_a_detector_of_three_channels_is_not_adapted(resnets, tmp_path):
    """Only ImageNet's weights are: in a detector, another number of channels is a mistake."""
    theirs, _ = resnets
    keras_2_file(theirs, tmp_path / "notop.h5")
    with pytest.raises(CheckpointError, match=r"conv1/kernel is \[7, 7, 3, 64\] in the file, "
                                              r"\[7, 7, 1, 64\] in the model"):
        load_weights(backbone("resnet50", 1), tmp_path / "notop.h5")


@pytest.fixture(scope="module")
def resnets():
    return application("resnet50"), backbone("resnet50")


@pytest.mark.parametrize("kind", ["model.h5", "model.weights.h5"])
def test_files_as_keras_saves_them_now(resnets, tmp_path, kind):
    theirs, ours = resnets
    (theirs.save_weights if "weights" in kind else theirs.save)(tmp_path / kind)
    report = load_imagenet_weights(ours, tmp_path / kind)
    assert report.ignored == report.missing == []
    kernel = theirs.get_layer("conv4_block6_2_conv").kernel.numpy()
    np.testing.assert_array_equal(ours.get_layer("res4f_branch2b").kernel.numpy(), kernel)
    # trained on BGR, fed RGB
    kernel = theirs.get_layer("conv1_conv").kernel.numpy()
    np.testing.assert_array_equal(ours.get_layer("conv1").kernel.numpy(), kernel[:, :, ::-1])


@pytest.mark.parametrize("weight", ["{0}/{1}:0", "{0}_{1}_1:0"])
def test_the_classic_file_is_taken_as_it_is(resnets, tmp_path, weight):
    theirs, ours = resnets
    keras_2_file(theirs, tmp_path / "classic.h5", lambda name: reference_resnet_name(name) or name,
                 weight)
    with h5py.File(tmp_path / "classic.h5", "r+") as file:
        extra = file.create_group("fc1000")
        extra.attrs["weight_names"] = np.array([b"fc1000/kernel:0"])
        extra["fc1000/kernel:0"] = np.zeros((2048, 1000), np.float32)
        file.attrs["layer_names"] = np.append(file.attrs["layer_names"], b"fc1000")
    report = load_imagenet_weights(ours, tmp_path / "classic.h5")
    assert report.missing == [] and report.ignored == ["fc1000"]
    names = {reference_resnet_name(layer.name): layer for layer in theirs.layers if layer.weights}
    assert len(names) == len(model_layers(ours)) == 106
    for name, layer in names.items():
        for ours_in, theirs_in in zip(ours.get_layer(name).get_weights(), layer.get_weights()):
            np.testing.assert_array_equal(ours_in, theirs_in, name)
