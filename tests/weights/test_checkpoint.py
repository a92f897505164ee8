"""Checkpoints: written for the reference, read from all who wrote them.

Most tests work on a model of few weights with the reference's layer names; the last ones compare
the real detectors with the layouts of real files.
"""

import json
import logging
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from places import GOLDEN

from frcnn.errors import CheckpointError
from frcnn.weights.checkpoint import (
    load_coco_weights,
    load_imagenet_weights,
    load_weights,
    model_layers,
    save_weights,
)
from frcnn.weights.hdf5 import write_weight_file

RECIPE = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
BACKBONE = ["conv1", "bn_conv1", "res2a_branch2a", "bn2a_branch2a"]
RPN = ["rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"]
HEAD = ["mrcnn_class_logits", "mrcnn_bbox_fc"]
ALL = [*BACKBONE, "fpn_c5p5", *RPN, *HEAD]


def tiny_model(classes=3, seed=0, block="res2a_branch2a", dtype="float32"):
    """A model with some of the reference's layers, and random weights."""
    with_policy = {"dtype": dtype}
    shared = keras.Input((None, None, 6))
    x = layers.Conv2D(5, 3, padding="same", name="rpn_conv_shared", **with_policy)(shared)
    outputs = [layers.Conv2D(12, 1, name="rpn_bbox_pred", **with_policy)(x),
               layers.Conv2D(6, 1, name="rpn_class_raw", **with_policy)(x)]
    rpn = keras.Model(shared, outputs, name="rpn_model")

    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv1", **with_policy)(image)
    x = layers.BatchNormalization(name="bn_conv1", epsilon=1e-3, **with_policy)(x)
    x = layers.Conv2D(4, 1, name=block, **with_policy)(x)
    x = layers.BatchNormalization(name=block.replace("res", "bn"), epsilon=1e-3, **with_policy)(x)
    x = layers.Conv2D(6, 1, name="fpn_c5p5", **with_policy)(x)
    pooled = layers.GlobalAveragePooling2D()(x)
    head = [layers.Dense(4 * classes, name="mrcnn_bbox_fc", **with_policy)(pooled),
            layers.Dense(classes, name="mrcnn_class_logits", **with_policy)(pooled)]
    model = keras.Model(image, [*rpn(x), *head])
    randomize(model, seed)
    return model


def randomize(model, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.weights])


def values(model):
    """`{(layer, variable): array}`."""
    return {(name, key): variable.numpy() for name, layer in model_layers(model).items()
            for key, variable in layer.variables.items()}


def assert_same(model, expected, names=ALL):
    found = values(model)
    for key, value in found.items():
        if key[0] in names:
            np.testing.assert_allclose(value, expected[key], rtol=1e-6, err_msg=str(key))


def write(path, arrays, group=lambda layer: layer, weight="{0}/{1}:0"):
    """Writes `{(layer, variable): array}` with names of the test's choice."""
    groups = {}
    for (layer, variable), array in arrays.items():
        groups.setdefault(group(layer), []).append((weight.format(layer, variable), array))
    write_weight_file(path, list(groups.items()))


def layout(path):
    """`[[group, [[weight name, shape], ...]], ...]` as h5py alone reads it, all of it float32."""
    with h5py.File(path) as file:
        layers = [(group.decode(), [name.decode() for name in file[group].attrs["weight_names"]])
                 for group in file.attrs["layer_names"].tolist()]
        assert {file[group][name].dtype.str for group, names in layers for name in names} == {"<f4"}
        return [[group, [[name, list(file[group][name].shape)] for name in names]]
                for group, names in layers]


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def saved(tmp_path):
    """A file that a model of other weights wrote, and those weights."""
    source = tiny_model(seed=1)
    save_weights(source, tmp_path / "saved.h5")
    return tmp_path / "saved.h5", values(source)


# --- out ------------------------------------------------------------------------------------


def test_what_is_saved_comes_back(model, saved):
    path, expected = saved
    report = load_weights(model, path)
    assert_same(model, expected)
    assert sorted(report.loaded) == sorted(ALL)
    assert report.ignored == report.missing == report.mismatched == report.excluded == []


def test_groups_and_weights_are_in_the_references_order(saved):
    found = layout(saved[0])
    assert [group for group, _ in found] == [*BACKBONE, "fpn_c5p5", "rpn_model",
                                            "mrcnn_bbox_fc", "mrcnn_class_logits"]
    assert found[0][1] == [["conv1/kernel:0", [3, 3, 3, 4]], ["conv1/bias:0", [4]]]
    assert found[1][1] == [[f"bn_conv1/{name}:0", [4]] for name in BATCH_NORM]
    assert [name for name, _ in found[5][1]] == [
        f"{layer}/{name}:0" for layer in RPN for name in ("kernel", "bias")]


@pytest.mark.filterwarnings("ignore:Skipping loading weights for layer #5 .named rpn_model")
def test_keras_own_loader_takes_our_files(model, saved):
    path, expected = saved
    # by position within the group, so that only the plain layers show what is where
    model.load_weights(path, by_name=True, skip_mismatch=True)
    assert_same(model, expected, [*BACKBONE, "fpn_c5p5", *HEAD])


def test_half_precision_models_are_saved_in_float32(tmp_path):
    save_weights(tiny_model(dtype="mixed_float16"), tmp_path / "half.h5")
    layout(tmp_path / "half.h5")


def test_a_failed_save_leaves_the_old_checkpoint(model, saved, monkeypatch):
    path, expected = saved

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(h5py.Group, "create_dataset", full)
        with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left"):
            save_weights(model, path)
    assert [file.name for file in path.parent.iterdir()] == ["saved.h5"]
    load_weights(model, path)
    assert_same(model, expected)


def test_a_folder_that_cannot_be(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_weights(model, tmp_path / "file" / "w.h5")


class TwoGates(layers.Layer):
    """A layer with sublayers, whose weights share their names."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [layers.Dense(2, name="query"), layers.Dense(2, name="key")]

    def build(self, input_shape):
        for part in self.parts:
            part.build(input_shape)

    def call(self, inputs):
        return self.parts[0](inputs) * self.parts[1](inputs)


def test_layers_made_of_layers_keep_all_their_weights(tmp_path):
    def build(seed):
        image = keras.Input((2,))
        model = keras.Model(image, TwoGates(name="gates")(image))
        randomize(model, seed)
        return model

    source, target = build(0), build(1)
    save_weights(source, tmp_path / "w.h5")
    load_weights(target, tmp_path / "w.h5")
    assert layout(tmp_path / "w.h5")[0][1][2][0] == "gates/key/kernel:0"
    assert_same(target, values(source), ["gates"])


# --- in: who writes what --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model.h5", "model.weights.h5"])
def test_files_that_keras_itself_writes(model, tmp_path, kind):
    source = tiny_model(seed=1)
    (source.save_weights if "weights" in kind else source.save)(tmp_path / kind)
    load_weights(model, tmp_path / kind)
    assert_same(model, values(source))


@pytest.mark.parametrize(("group", "weight"), [
    (lambda layer: "rpn_model" if layer in RPN else layer, "{0}/{1}:0"),
    (lambda layer: layer, "{0}/{1}"),
    (lambda layer: layer, "tower_0/mask_rcnn/{0}/{1}:0"),
    (lambda layer: layer, "{0}_1/{1}:0"),
    (lambda layer: layer, "{0}/{1}_2:0"),
    (lambda layer: f"mask_rcnn/{layer}", "mask_rcnn/{0}/{1}:0"),
    (lambda layer: f"{layer}_1", "{0}_1/{1}:0"),
    (lambda layer: "mask_rcnn", "mask_rcnn/{0}/{1}:0"),
    (lambda layer: "mask_rcnn", "mask_rcnn/{0}_1/{1}:0"),
    (lambda layer: layer, "{0}_{1}_1:0"),
])  # fmt: skip
def test_scopes_counters_and_flat_names(model, tmp_path, saved, group, weight):
    write(tmp_path / "w.h5", saved[1], group, weight)
    report = load_weights(model, tmp_path / "w.h5")
    assert_same(model, saved[1])
    assert report.ignored == []


@pytest.mark.parametrize("old", [
    {"moving_mean": "running_mean", "moving_variance": "running_std"},
    {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}])
@pytest.mark.parametrize("weight", ["{0}/{1}:0", "{0}_{1}_1:0"])
def test_names_of_keras_1(model, tmp_path, saved, old, weight):
    renamed = {(layer, old.get(key, key)): array for (layer, key), array in saved[1].items()}
    write(tmp_path / "w.h5", renamed, weight=weight)
    load_weights(model, tmp_path / "w.h5")
    assert_same(model, saved[1])


def test_weights_without_names_go_by_their_order_in_the_layer(model, tmp_path, saved):
    order = ("kernel", "bias", *BATCH_NORM)
    numbered = {(layer, f"param_{order.index(key)}"): array
                for (layer, key), array in saved[1].items()}
    write(tmp_path / "w.h5", numbered)
    load_weights(model, tmp_path / "w.h5")
    assert_same(model, saved[1])


def test_a_name_that_fits_exactly_goes_before_one_with_a_counter(model, tmp_path, saved):
    arrays = {}
    for (layer, key), array in saved[1].items():
        arrays[f"{layer}_1", key] = array + 1
        arrays[layer, key] = array
    write(tmp_path / "w.h5", arrays)
    report = load_weights(model, tmp_path / "w.h5")
    assert_same(model, saved[1])
    assert set(report.ignored) == {f"{name}_1" for name in ALL}


def test_two_that_fit_equally_are_an_error(model, tmp_path, saved):
    arrays = {(f"{layer}_{number}", key): array
              for (layer, key), array in saved[1].items() for number in (1, 2)}
    write(tmp_path / "w.h5", arrays)
    with pytest.raises(CheckpointError, match="holds conv1/kernel twice"):
        load_weights(model, tmp_path / "w.h5")


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_precisions_become_float32(model, tmp_path, saved, dtype):
    with h5py.File(saved[0], "r+") as file:
        array = file["conv1/conv1/kernel:0"][()].astype(dtype)
        del file["conv1/conv1/kernel:0"]
        file["conv1/conv1/kernel:0"] = array
    load_weights(model, saved[0])
    np.testing.assert_array_equal(model.get_layer("conv1").kernel.numpy(), array.astype("float32"))


def test_by_order_instead_of_by_name(model, tmp_path, saved):
    in_order = [*BACKBONE, "fpn_c5p5", *RPN, "mrcnn_bbox_fc", "mrcnn_class_logits"]
    arrays = {(f"other{number}", key): saved[1][layer, key] for number, layer in
              enumerate(in_order) for key in ("kernel", "bias", *BATCH_NORM)
              if (layer, key) in saved[1]}
    write(tmp_path / "w.h5", arrays)
    with pytest.raises(CheckpointError, match="no layer of the model's names"):
        load_weights(model, tmp_path / "w.h5")
    load_weights(model, tmp_path / "w.h5", by_name=False)
    assert_same(model, saved[1])
    write(tmp_path / "w.h5", {("conv1", "kernel"): np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"has 1 weights and the model 24.*by_name=True"):
        load_weights(model, tmp_path / "w.h5", by_name=False)


# --- in: what does not fit ------------------------------------------------------------------


def fails(model, path, *parts, **kwargs):
    """Asserts that loading fails, says these things, and changes nothing; returns the report."""
    before = values(model)
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, path, **kwargs)
    for part in (str(path), *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert_same(model, before)
    return getattr(caught.value, "report", None)


def test_another_number_of_classes(saved):
    path, expected = saved
    model = tiny_model(classes=5)
    shapes = "mrcnn_class_logits/kernel is [6, 3] in the file, [6, 5] in the model"
    report = fails(model, path, shapes, "number of classes",
                   "exclude=['mrcnn_class_logits', 'mrcnn_bbox_fc']")
    assert ("mrcnn_bbox_fc/bias", (12,), (20,)) in report.mismatched
    before = values(model)
    report = load_weights(model, path, by_name=True, exclude=RECIPE)
    assert set(report.excluded) == set(HEAD) and report.ignored == []
    assert set(report.loaded) == set(ALL) - set(HEAD)
    assert_same(model, expected, set(ALL) - set(HEAD))
    assert_same(model, before, HEAD)


@pytest.mark.parametrize("exclude", ["rpn_model", ["rpn_model"], RPN])
def test_a_nested_model_is_excluded_by_its_name_or_its_layers(model, saved, exclude):
    before = values(model)
    report = load_weights(model, saved[0], exclude=exclude)
    assert set(report.excluded) == set(RPN) and "rpn_model" not in report.ignored
    assert_same(model, before, RPN)
    assert_same(model, saved[1], set(ALL) - set(RPN))


def test_a_layer_of_another_shape(model, tmp_path, saved):
    arrays = {**saved[1], ("fpn_c5p5", "kernel"): np.zeros((3, 3, 4, 6))}
    write(tmp_path / "w.h5", arrays)
    fails(model, tmp_path / "w.h5", "fpn_c5p5/kernel is [3, 3, 4, 6] in the file, [1, 1, 4, 6] in",
          "exclude fpn_c5p5", allow_missing=True)


def test_a_layer_that_the_file_lacks(model, tmp_path, saved):
    arrays = {key: array for key, array in saved[1].items()
              if key[0] != "res2a_branch2a" and key != ("bn_conv1", "beta")}
    path = tmp_path / "w.h5"
    write(path, arrays)
    report = fails(model, path, "lacks", "res2a_branch2a", "bn_conv1/beta", "allow_missing=True")
    assert report.missing == ["bn_conv1/beta", "res2a_branch2a"]
    fails(model, path, "bn_conv1/beta", allow_missing=["res2a_branch2a"])
    fails(model, path, "bn_conv1/beta", exclude=["res2a_branch2a"])
    before = values(model)
    for kwargs in ({"allow_missing": True}, {"allow_missing": ["bn_conv1", "res2a_branch2a"]}):
        report = load_weights(model, path, **kwargs)
        assert report.missing == ["bn_conv1/beta", "res2a_branch2a"]
    assert_same(model, before, ["res2a_branch2a"])
    np.testing.assert_array_equal(values(model)["bn_conv1", "beta"], before["bn_conv1", "beta"])
    np.testing.assert_array_equal(values(model)["bn_conv1", "gamma"], saved[1]["bn_conv1", "gamma"])


@pytest.mark.parametrize("allow_missing", [False, True])
def test_a_file_of_another_model(model, tmp_path, allow_missing):
    write(tmp_path / "w.h5", {("block1_conv1", "kernel"): np.zeros((3, 3, 3, 64))})
    fails(model, tmp_path / "w.h5", "nothing would be loaded", "block1_conv1",
          allow_missing=allow_missing)


def test_a_larger_resnets_file_is_refused(model, tmp_path, saved):
    arrays = {**saved[1], ("res2d_branch2a", "kernel"): np.zeros((1, 1, 4, 4)),
              ("res5c_branch2a", "kernel"): np.zeros((1, 1, 4, 4))}
    path = tmp_path / "w.h5"
    write(path, arrays)
    report = fails(model, path, "another backbone", "res2d_branch2a")
    assert "res5c_branch2a" in report.ignored  # a stage that the model does not have at all
    load_weights(model, path, exclude=["res2d_branch2a"])
    assert_same(model, saved[1])


def test_arrays_of_the_wrong_kind_change_nothing(model, saved):
    with h5py.File(saved[0], "r+") as file:
        del file["mrcnn_bbox_fc/mrcnn_bbox_fc/bias:0"]
        file["mrcnn_bbox_fc/mrcnn_bbox_fc/bias:0"] = [b"text"] * 12
    fails(model, saved[0], "not numbers")


def test_missing_and_truncated_files(model, tmp_path, saved):
    with pytest.raises(FileNotFoundError, match="no weight file"):
        load_weights(model, tmp_path / "absent.h5")
    content = saved[0].read_bytes()
    saved[0].write_bytes(content[: len(content) // 2])
    fails(model, saved[0], "truncated")


def test_nothing_in_a_file_is_run(tmp_path, saved, model):
    with h5py.File(saved[0], "r+") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Lambda", "config": {"function": ["exit", None, None]}})
    load_weights(model, saved[0])
    source = "".join(Path(sys.modules[name].__file__).read_text() for name in (
        "frcnn.weights.checkpoint", "frcnn.weights.hdf5", "frcnn.weights.matching",
        "frcnn.weights.names"))
    assert not any(word in source for word in ("import pickle", "eval(", "exec(", "marshal"))


def test_the_report_is_logged_and_damage_is_warned_of(model, tmp_path, saved, caplog):
    arrays = {**saved[1], ("mrcnn_mask", "kernel"): np.zeros(1)}
    arrays["conv1", "bias"] = np.array([0, np.nan, 0, 0])
    write(tmp_path / "w.h5", arrays)
    with caplog.at_level(logging.INFO, "frcnn.weights.checkpoint"):
        report = load_weights(model, tmp_path / "w.h5", exclude="rpn_model")
    assert caplog.messages[-1] == str(report)
    assert "loaded 7 layers; ignored 1 (mrcnn_mask); excluded 3 (rpn_" in str(report)
    assert "conv1/bias" in caplog.messages[0] and "diverged" in caplog.messages[0]


# --- files with a meaning of their own ------------------------------------------------------


def test_imagenet_files_fill_the_backbone_and_nothing_else(model, tmp_path, saved):
    path = tmp_path / "w.h5"
    write(path, {key: array for key, array in saved[1].items() if key[0] in BACKBONE})
    fails(model, path, "ImageNet weights for the backbone alone", "fpn_c5p5")
    before = values(model)
    report = load_imagenet_weights(model, path)
    assert report.loaded == BACKBONE and set(report.missing) == set(ALL) - set(BACKBONE)
    assert_same(model, saved[1], BACKBONE)
    assert_same(model, before, set(ALL) - set(BACKBONE))
    write(path, {key: array for key, array in saved[1].items() if key[0] in BACKBONE[:3]})
    with pytest.raises(CheckpointError, match=r"lacks .*bn2a_branch2a"):
        load_imagenet_weights(model, path)


def test_coco_weights_leave_a_head_of_other_classes_as_it_is(tmp_path):
    path = tmp_path / "mask_rcnn_coco.h5"
    source = tiny_model(classes=81, seed=1, block="res4w_branch2a")
    save_weights(source, path)
    model = tiny_model(classes=3, block="res4w_branch2a")
    report = load_coco_weights(model, path)
    assert set(report.excluded) == set(HEAD)
    assert set(load_coco_weights(model, path, exclude="rpn_model").excluded) == {*HEAD, *RPN}
    assert_same(model, values(source), ["conv1", "res4w_branch2a", *RPN])
    same = tiny_model(classes=81, block="res4w_branch2a")
    assert load_coco_weights(same, path).excluded == []
    with pytest.raises(CheckpointError, match="BACKBONE='resnet101'"):
        load_coco_weights(tiny_model(), path)


# --- the real thing -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[
    "resnet50", pytest.param("resnet101", marks=pytest.mark.slow)])
def detector(request):
    """`(architecture, model)` with all layers that have weights, 4 or 81 classes."""
    return request.param, build(request.param)


def build(backbone):
    from frcnn.config import Config
    from frcnn.network.graph import build_detector

    expected = json.loads((GOLDEN / f"layout_{backbone}.json").read_text())
    classes = dict(next(entry["weights"] for entry in expected
                        if entry["layer"] == "mrcnn_class_logits"))["mrcnn_class_logits/bias:0"][0]
    return build_detector("inference", Config(BACKBONE=backbone, NUM_CLASSES=classes,
                                              IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128))


def test_real_layouts_in_and_out(detector, tmp_path):
    """Reads a file that the golden script wrote in the reference's layout, and writes its like."""
    architecture, model = detector
    sys.path.insert(0, str(GOLDEN))
    from reference_weights import formula_weight, write_checkpoint

    expected = json.loads((GOLDEN / f"layout_{architecture}.json").read_text())
    write_checkpoint(tmp_path / "reference.h5", expected, seed=5)
    report = load_weights(model, tmp_path / "reference.h5")
    assert report.missing == [] and set(report.ignored) == {
        entry["layer"] for entry in expected
        if entry["weights"] and ("mask" in entry["layer"] or entry["layer"] == "anchors")}
    for (layer, variable), value in values(model).items():
        if layer.endswith(("_branch2c", "fc", "raw", "bn1", "conv1")):
            np.testing.assert_array_equal(
                value, formula_weight(layer, variable, value.shape, 5), f"{layer}/{variable}")

    save_weights(model, tmp_path / "ours.h5")
    assert layout(tmp_path / "ours.h5") == [
        [entry["layer"], entry["weights"]] for entry in expected
        if entry["weights"] and entry["layer"] not in report.ignored]
