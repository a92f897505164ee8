"""Layers, optimizer and whole detectors are stored, loaded and cloned by Keras's own functions."""

import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops
from model_tools import array, dtype_of, one_batch, set_random_statistics, small_config
from places import PROJECT

import frcnn.network
import frcnn.training
from frcnn.config import Config
from frcnn.network.attention import Gate
from frcnn.network.cascade import RefinedBoxes, StageTargets
from frcnn.network.detector import Detector
from frcnn.network.fpn import Doubling
from frcnn.network.graph import build_detector
from frcnn.network.layers import BatchNorm, Conv2D, NormBoxes, RoiConv, conv_norm
from frcnn.network.losses import LossSettings
from frcnn.network.postprocess import DetectionLayer
from frcnn.network.proposals import ProposalLayer
from frcnn.network.roi_align import PyramidROIAlign
from frcnn.network.roi_head import RowMask
from frcnn.network.roi_targets import DetectionTargetLayer
from frcnn.network.rpn import Anchors
from frcnn.network.sampled_rpn import SampledRPN
from frcnn.training.layer_selection import set_trainable
from frcnn.training.optimizer import DecayingAdamW, DecayingSGD
from frcnn.training.schedules import WarmupSchedule
from frcnn.training.trainer import compile_detector

# --- each layer ---------------------------------------------------------------------------------

# Arguments, none of which has its default value, of every class that Keras has to rebuild.
ARGUMENTS = {
    Conv2D: {"filters": 3, "kernel_size": (5, 5), "padding": "same", "use_bias": False},
    BatchNorm: {"train_bn": True, "momentum": 0.8, "joined": True, "epsilon": 0.01},
    RoiConv: {"filters": 7, "kernel_initializer": keras.initializers.RandomNormal(stddev=0.5)},
    NormBoxes: {},
    Doubling: {},
    RowMask: {},
    Gate: {},
    RefinedBoxes: {"bbox_std_dev": (1, 2, 3, 4)},
    StageTargets: {"iou": np.float32(0.625), "bbox_std_dev": np.array([1, 2, 3, 4])},
    Anchors: {"scales": np.array([8, 16.5]), "ratios": (0.5, 1), "strides": np.array([4, 8]),
              "anchor_stride": 2},
    SampledRPN: {"anchors_per_location": 2, "anchor_stride": 2, "count": 9},
    ProposalLayer: {"proposal_count": 30, "nms_threshold": 0.6, "pre_nms_limit": 50,
                    "per_level": 7,
                    "bbox_std_dev": np.array([0.1, 0.2, 0.3, 0.4], np.float32)},
    DetectionTargetLayer: {"seed": 4, "rois_per_image": np.int64(12), "positive_ratio": 0.5,
                           "bbox_std_dev": (1, 2, 3, 4), "append_gt": True,
                           "fill_negatives": True},
    DetectionLayer: {"max_instances": 5, "min_confidence": np.float32(0.5), "nms_threshold": 0.25,
                     "bbox_std_dev": [1, 2, 3, 4], "all_classes": True, "soft_nms_sigma": 0.5,
                     "box_voting": 0.75},
    PyramidROIAlign: {"pool_shape": (3, 5), "image_shape": np.array([64, 96, 3]), "samples": 2},
    DecayingSGD: {"learning_rate": 0.5, "momentum": 0.5, "decay": 0.25, "clip_norm": 2.0,
                  "decay_of_mean": False},
    DecayingAdamW: {"learning_rate": 0.5, "weight_decay": 0.25, "global_clipnorm": 2.0},
    WarmupSchedule: {"peak": 0.5, "steps": 70, "kind": "warmup_step", "first_step": 3},
}
# Arguments that supply others' values or cannot be stored.
NOT_STORED = {"self", "args", "kwargs", "config", "rpn"}


def classes_of(package):
    """The classes of a package that Keras stores by their configuration."""
    kinds = (keras.Layer, keras.optimizers.Optimizer,
             keras.optimizers.schedules.LearningRateSchedule)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, kinds) \
                    and value.__module__ == module.name:
                yield value


FOUND = [*classes_of(frcnn.network), *classes_of(frcnn.training)]


def build(kind, **more):
    """An instance with the arguments above; layers in half precision, with a name, frozen."""
    if issubclass(kind, keras.Layer):
        more = {"trainable": False, "dtype": "mixed_bfloat16", **more}
    if not issubclass(kind, WarmupSchedule):
        more["name"] = "one"
    return kind(**ARGUMENTS[kind], **more)


def test_every_class_is_tested_here():
    assert set(FOUND) - {Detector} == set(ARGUMENTS)


@pytest.mark.parametrize("kind", FOUND, ids=lambda kind: kind.__name__)
def test_every_class_is_registered(kind):
    assert keras.saving.get_registered_name(kind) == f"frcnn>{kind.__name__}"


@pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)
def test_a_configuration_is_plain_and_complete(kind):
    config = build(kind).get_config()
    stored = json.loads(json.dumps(config))
    own = inspect.signature(vars(kind).get("__init__", lambda: None)).parameters
    for name in set(own) - NOT_STORED:
        assert stored[name] == config[name]  # neither a tuple nor a number of NumPy
        assert own[name].default is inspect.Parameter.empty \
            or not np.array_equal(config[name], own[name].default), name
    for name, value in ARGUMENTS[kind].items():
        if not isinstance(value, keras.initializers.Initializer):
            np.testing.assert_array_equal(np.ravel(config[name])[:2], np.ravel(value)[:2])


@pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)
def test_a_configuration_makes_an_equal_instance(kind):
    config = build(kind).get_config()
    assert kind.from_config(config).get_config() == config
    stored = json.dumps(keras.saving.serialize_keras_object(build(kind)))
    loaded = keras.saving.deserialize_keras_object(json.loads(stored))
    assert type(loaded) is kind and loaded.get_config() == config


@pytest.mark.parametrize(("layer", "settings"), [
    (lambda config: ProposalLayer(9, 0.7, config), {
        "pre_nms_limit": "PRE_NMS_LIMIT", "bbox_std_dev": "RPN_BBOX_STD_DEV"}),
    (lambda config: DetectionTargetLayer(config, 3), {
        "rois_per_image": "TRAIN_ROIS_PER_IMAGE", "positive_ratio": "ROI_POSITIVE_RATIO",
        "bbox_std_dev": "BBOX_STD_DEV", "append_gt": "PROPOSAL_APPEND_GT"}),
    (lambda config: DetectionLayer(config), {
        "max_instances": "DETECTION_MAX_INSTANCES", "min_confidence": "DETECTION_MIN_CONFIDENCE",
        "nms_threshold": "DETECTION_NMS_THRESHOLD", "bbox_std_dev": "BBOX_STD_DEV",
        "all_classes": "DETECTION_ALL_CLASSES", "soft_nms_sigma": "DETECTION_SOFT_NMS_SIGMA",
        "box_voting": "DETECTION_BOX_VOTING"}),
], ids=["ROI", "proposal_targets", "mrcnn_detection"])  # fmt: skip
def test_a_config_supplies_the_values(layer, settings):
    """And without one they are the Config's defaults."""
    changed = Config(PRE_NMS_LIMIT=50, RPN_BBOX_STD_DEV=np.full(4, 0.5), TRAIN_ROIS_PER_IMAGE=7,
                     ROI_POSITIVE_RATIO=0.9, BBOX_STD_DEV=np.arange(1, 5), PROPOSAL_APPEND_GT=True,
                     DETECTION_MAX_INSTANCES=3, DETECTION_MIN_CONFIDENCE=0.1,
                     DETECTION_NMS_THRESHOLD=0.9, DETECTION_ALL_CLASSES=True,
                     DETECTION_SOFT_NMS_SIGMA=0.5, DETECTION_BOX_VOTING=0.75)
    for given, config in ((changed, changed), (None, Config())):
        values = layer(given).get_config()
        for name, setting in settings.items():
            np.testing.assert_array_equal(values[name], getattr(config, setting))


# --- whole models -------------------------------------------------------------------------------


def joined_backbone(input_image, stage5=True, train_bn=True):
    """C1 to C5 by one convolution each, joined with its BatchNorm."""
    x, stages = layers.Rescaling(1 / 64)(input_image), []
    for stage, channels in enumerate((8, 16, 16, 24, 32), start=1):
        x = conv_norm(x, Conv2D(channels, 3, strides=2, padding="same", name=f"joined{stage}"),
                      BatchNorm(train_bn=train_bn, name=f"bn_joined{stage}"))
        x = layers.Activation("relu")(x)
        stages.append(x)
    return stages


CASES = {
    "batch statistics": {"RPN_ANCHOR_STRIDE": 2, "LABEL_SMOOTHING": 0.1, "WEIGHT_DECAY": 0.01,
                         "LOSS_WEIGHTS": {"rpn_class_loss": 2.0, "mrcnn_bbox_loss": 0.5}},
    "joined, bfloat16": {"BACKBONE": joined_backbone, "TRAIN_BN": False, "PROPOSAL_APPEND_GT": True,
                         "PRECISION": "mixed_bfloat16"},
    "cascade, attention, bfloat16": {
        "CASCADE_IOUS": (0.5, 0.6, 0.7), "PYRAMID_ATTENTION": True, "PROPOSAL_APPEND_GT": True,
        "PRECISION": "mixed_bfloat16"},
    "float16, boxes from the host": {"PRECISION": "mixed_float16", "USE_RPN_ROIS": False},
}


def joins(model):
    """The joined layers' names, those of nested models too."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found.update(joins(layer))
        if isinstance(layer, Conv2D) and layer.joined_norm is not None:
            assert layer.joined_norm.is_joined
            assert layer.joined_norm in model.layers
            found[layer.name] = layer.joined_norm.name
    return found


def assert_same_structure(model, other):
    assert type(model) is type(other) is Detector
    assert [layer.name for layer in model.layers] == [layer.name for layer in other.layers]
    assert [tensor.name for tensor in model.inputs] == [tensor.name for tensor in other.inputs]
    assert [(t.shape, dtype_of(t)) for t in model.outputs] == [
        (t.shape, dtype_of(t)) for t in other.outputs]
    assert joins(model) == joins(other)
    for kind in ("weights", "trainable_variables"):
        assert [v.path for v in getattr(model, kind)] == [v.path for v in getattr(other, kind)]
    for layer, copy in zip(model.layers, other.layers):
        assert type(layer) is type(copy) and layer is not copy
        assert layer.dtype_policy == copy.dtype_policy and layer.trainable == copy.trainable


def assert_equal(found, expected):
    """Bit for bit, whatever structure the arrays are in."""
    keras.tree.assert_same_structure(found, expected)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected)):
        np.testing.assert_array_equal(array(one), array(other))


def state(model):
    """All that a step changes: weights, the optimizer's variables, and the seed of the RoIs."""
    return [array(v) for v in (*model.weights, *model.non_trainable_variables,
                               *model.optimizer.variables)]


@pytest.fixture(scope="module", params=CASES, ids=str)
def trained(request):
    """A detector after a step, and the batch."""
    config = small_config(**CASES[request.param])
    batch = one_batch(
        config, random_rois=0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING)
    keras.utils.set_random_seed(5)
    model = build_detector("training", config, seed=5)
    set_random_statistics(model)
    compile_detector(model, config, WarmupSchedule(0.01, 100))
    model.train_on_batch(batch)
    return model, batch, config


def test_a_training_goes_on_from_a_loaded_model(trained, tmp_path):
    model, batch, config = trained
    model.save(tmp_path / "one.keras")
    loaded = keras.models.load_model(tmp_path / "one.keras")
    assert_same_structure(loaded, model)
    assert bool(joins(loaded)) == (config.BACKBONE is joined_backbone)
    assert loaded.loss_settings == model.loss_settings == LossSettings.from_settings(config)
    assert_equal(state(loaded), state(model))
    outputs = [one(batch, training=False) for one in (loaded, model)]
    assert_equal(*outputs)  # the RoIs that are drawn, too
    assert_equal(*(one.loss_values(batch, outputs[0]) for one in (loaded, model)))
    # The step after: losses, gradients, the optimizer with its schedule and the next RoIs.
    model.reset_metrics()
    assert_equal(*(one.train_on_batch(batch, return_dict=True) for one in (loaded, model)))
    assert_equal(state(loaded), state(model))


def test_weights_are_stored_once(trained, tmp_path):
    model, _, _ = trained
    model.save(tmp_path / "one.keras")
    with zipfile.ZipFile(tmp_path / "one.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    kernels = []

    def note(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            kernels.extend([name] if item.shape[-1:] == (512,) and item.ndim == 4 else [])

    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(note)
    assert len(kernels) == 1


def test_a_clone_of_a_compiled_model_can_train(trained):
    model, batch, _ = trained
    clone = keras.models.clone_model(model)
    assert_same_structure(clone, model)
    assert clone.loss_settings == model.loss_settings
    clone.set_weights(model.get_weights())
    names = ("rpn_class", "rpn_bbox", "rpn_rois", "rpn_sampled_logits", "rpn_sampled_bbox")
    found, expected = clone(batch), model(batch)
    assert_equal([found[name] for name in names], [expected[name] for name in names])
    losses = [float(one.compute_loss(batch, y_pred=expected)) for one in (clone, model)]
    assert losses[0] == losses[1] > 0
    assert clone.optimizer.get_config() == model.optimizer.get_config()
    assert len(clone.optimizer.variables) == len(model.optimizer.variables)


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_or_cloned_model_detects_the_same(case, tmp_path):
    config = small_config(**CASES[case])
    model = build_detector("inference", config)
    set_random_statistics(model)
    inputs = [one_batch(small_config())[name] for name in ("input_image", "input_image_meta")]
    expected = model.predict_on_batch(inputs)
    assert expected[0].any()
    model.save(tmp_path / "one.keras")
    loaded, clone = keras.models.load_model(tmp_path / "one.keras"), keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for copy in (loaded, clone):
        assert_same_structure(copy, model)
        assert_equal(copy.predict_on_batch(inputs), expected)
        with pytest.raises(ValueError, match="'mask_rcnn' has no loss settings"):
            copy.regularization()


def test_the_choice_of_trained_layers_is_stored(tmp_path):
    config = small_config()
    model = build_detector("training", config)
    set_trainable(model, r"mrcnn_.*|rpn_class_raw")
    compile_detector(model, config, 0.01)
    model.save(tmp_path / "one.keras")
    loaded = keras.models.load_model(tmp_path / "one.keras")
    assert_same_structure(loaded, model)
    assert 0 < len(loaded.trainable_variables) < len(loaded.weights) / 2
    assert not loaded.get_layer("rpn_model").get_layer("rpn_bbox_pred").trainable
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)


def test_a_model_that_is_not_compiled(tmp_path):
    config = small_config(WEIGHT_DECAY=0.5)
    model = build_detector("training", config)
    model.save(tmp_path / "one.keras")
    for copy in (keras.models.load_model(tmp_path / "one.keras"),
                 Detector.from_config(model.get_config())):
        assert_same_structure(copy, model)
        assert not copy.compiled and copy.loss_settings == model.loss_settings
    clone = keras.models.clone_model(model)
    assert_same_structure(clone, model)
    with pytest.raises(ValueError, match=r"no loss settings.*Detector.from_config"):
        clone.compute_loss(x={}, y_pred={})


IN_A_FRESH_PROCESS = """
import sys
import numpy as np
import frcnn.model
import keras
folder = sys.argv[1]
arrays = np.load(f"{folder}/arrays.npz")
detector = keras.models.load_model(f"{folder}/detector.keras")
outputs = detector.predict_on_batch([arrays["image"], arrays["meta"]])
np.savez(f"{folder}/found.npz", *outputs)
training = keras.models.load_model(f"{folder}/training.keras")
assert training.optimizer.get_config()["decay"] == training.loss_settings.weight_decay == 0.25
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with a detector, a batch for it, a training model; and the detector's outputs."""
    folder = tmp_path_factory.mktemp("stored")
    config = small_config(BACKBONE=joined_backbone, TRAIN_BN=False, WEIGHT_DECAY=0.25)
    batch = one_batch(config)
    detector, model = (build_detector(mode, config) for mode in ("inference", "training"))
    compile_detector(model, config, WarmupSchedule(0.01, 100))
    set_random_statistics(detector)
    detector.save(folder / "detector.keras")
    model.save(folder / "training.keras")
    image, meta = batch["input_image"], batch["input_image_meta"]
    np.savez(folder / "arrays.npz", image=image, meta=meta)
    return folder, detector.predict_on_batch([image, meta])


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_fresh_process_with_any_backend_loads_it(stored, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder, expected = stored
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, str(folder)], cwd=PROJECT, text=True,
        capture_output=True, env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu",
                                  "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "found.npz") as file:
        found = [file[f"arr_{place}"] for place in range(len(expected))]
    if backend == keras.backend.backend():
        assert_equal(found, expected)
    for one, other in zip(found[4:], expected[4:]):  # later, other boxes may be chosen
        np.testing.assert_allclose(one, other, atol=1e-4)


# --- joined layers --------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["resnet", "densenet"])
def test_a_backbone_by_itself_is_joined_again(backbone, request):
    model = request.getfixturevalue(backbone)
    copy = keras.Model.from_config(model.get_config())
    assert len(joins(model)) > 50 and joins(copy) == joins(model)
    copy.set_weights(model.get_weights())
    image = np.random.default_rng(0).normal(0, 50, (1, 64, 96, 3)).astype(np.float32)
    for training in (False, True):
        assert_equal([x for x in copy(image, training=training) if x is not None],
                     [x for x in model(image, training=training) if x is not None])


def test_layers_that_were_not_joined_stay_so():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, BatchNorm()(Conv2D(4, 3)(image)))
    assert not joins(model) and not joins(keras.Model.from_config(model.get_config()))


def test_a_batch_norm_without_its_convolution_normalizes():
    """As when a stored layer is used behind another layer."""
    image = keras.Input((8, 8, 3))
    norm = BatchNorm(name="norm")
    conv_norm(image, Conv2D(4, 3), norm)
    config = norm.get_config()
    assert config["joined"]
    alone = BatchNorm.from_config(config)
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 4)).astype(np.float32)
    model = keras.Model(image, alone(layers.Conv2D(4, 3)(image)))
    assert not alone.is_joined and not joins(model)
    alone.moving_mean.assign(np.full(4, 3.0))
    np.testing.assert_allclose(array(alone(x, training=True)), x - 3, atol=0.01)


def test_a_convolution_is_joined_with_one_batch_norm():
    conv = Conv2D(4, 3, name="conv")
    first, second = BatchNorm(name="first"), BatchNorm(name="second")
    conv.join(first)
    conv.join(first)
    with pytest.raises(ValueError, match=r"'conv' cannot be joined with 'second'.*'first'"):
        conv.join(second)
    assert not second.is_joined


def test_the_sampled_rpn_needs_an_rpn():
    layer = SampledRPN(anchors_per_location=1, count=2)
    with pytest.raises(ValueError, match=r"has no RPN.*rpn_output"):
        layer([np.ones((1, 4, 1), np.int32), ops.ones((1, 2, 2, 3))])
