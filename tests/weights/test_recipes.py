"""Files that were trained with or without an optional part, and models with others."""

import keras
import numpy as np
import pytest
from model_tools import set_random_statistics, small_config

from frcnn.config import Config
from frcnn.errors import CheckpointError
from frcnn.network.graph import build_detector
from frcnn.weights import recipes
from frcnn.weights.architecture import read_architecture
from frcnn.weights.checkpoint import load_imagenet_weights, load_weights, save_weights

PARTS = {
    "plain": {},
    "two": {"CASCADE_IOUS": (0.5, 0.65)},
    "three": {"CASCADE_IOUS": (0.5, 0.6, 0.7)},
    "attention": {"PYRAMID_ATTENTION": True},
    "norms": {"PYRAMID_BATCH_NORM": True},
    "both": {"CASCADE_IOUS": (0.5, 0.6, 0.7), "PYRAMID_ATTENTION": True},
}
STAGE = ["mrcnn_class_conv1", "mrcnn_class_bn1", "mrcnn_class_conv2", "mrcnn_class_bn2",
         "mrcnn_class_logits", "mrcnn_bbox_fc"]


def stage_layers(*stages):
    return {f"{name}_s{stage}" for name in STAGE for stage in stages}


def build(mode, part, **settings):
    return build_detector(mode, small_config(**PARTS[part], **settings))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint of each kind of network, by its name; and the networks."""
    folder, models = tmp_path_factory.mktemp("files"), {}
    for seed, part in enumerate(PARTS):
        keras.utils.set_random_seed(seed)
        models[part] = build("training", part)
        set_random_statistics(models[part], seed)
        save_weights(models[part], folder / f"{part}.h5")
    return {part: folder / f"{part}.h5" for part in PARTS}, models


def assert_loaded(model, source, names):
    """The layers of these names have the source's weights."""
    for name in names:
        ours, theirs = (keras.tree.flatten(one.get_layer(name).get_weights())
                        for one in (model, source))
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("mode", ["training", "inference"])
def test_what_is_saved_comes_back(files, part, mode):
    model = build(mode, part)
    report = load_weights(model, files[0][part])
    assert not report.missing and not report.ignored
    assert_loaded(model, files[1][part], [layer.name for layer in model.layers if layer.weights
                                          and layer.name != "proposal_targets"])


@pytest.mark.parametrize(("file", "part", "new"), [
    ("plain", "three", stage_layers(2, 3)), ("two", "three", stage_layers(3)),
    ("attention", "both", stage_layers(2, 3)), ("plain", "two", stage_layers(2)),
])  # fmt: skip
def test_training_may_add_stages_and_detection_may_not(files, file, part, new):
    model = build("training", part)
    report = load_weights(model, files[0][file])
    assert set(report.missing) == new and not report.ignored
    assert_loaded(model, files[1][file], STAGE)
    detector = build("inference", part)
    before = detector.get_weights()
    with pytest.raises(CheckpointError, match=r"the model a cascade of \d: set CASCADE_IOUS to "
                                              r".* to detect with it") as error:
        load_weights(detector, files[0][file])
    assert "\n" not in str(error.value)
    assert ("CASCADE_IOUS to () to" in str(error.value)) == (file != "two")
    assert ("CASCADE_IOUS to its 2 IoUs" in str(error.value)) == (file == "two")
    assert all(map(np.array_equal, before, detector.get_weights()))
    assert set(load_weights(detector, files[0][file], allow_missing=True).missing) == new


@pytest.mark.parametrize("file", ["plain", "three"])
def test_attention_may_be_added(files, file):
    for mode in ("training", "inference"):
        model = build_detector(mode, small_config(**PARTS[file], PYRAMID_ATTENTION=True))
        report = load_weights(model, files[0][file])
        assert len(report.missing) == 16 and recipes.has_attention(report.missing)
        assert_loaded(model, files[1][file], ["fpn_p2", "mrcnn_class_conv1"])


@pytest.mark.parametrize(("file", "part", "advice"), [
    ("three", "plain", r"has a cascade of 3 stages, the model a head of one stage: set "
                       r"CASCADE_IOUS to 3 IoUs, such as \(0.5, 0.6, 0.7\), or exclude"),
    ("three", "two", r"has a cascade of 3 stages, the model a cascade of 2 stages: set "
                     r"CASCADE_IOUS to 3"),
    ("attention", "plain", r"attention on the pyramid, which the model lacks: set "
                           r"PYRAMID_ATTENTION to True"),
    ("both", "three", "set PYRAMID_ATTENTION to True"),
    ("norms", "plain", "BatchNorm in the pyramid, which the model lacks: set PYRAMID_BATCH_NORM to "
                       "True"),
])  # fmt: skip
def test_a_part_that_the_model_lacks_is_an_error_that_names_the_setting(files, file, part, advice):
    for mode in ("training", "inference"):
        model = build(mode, part)
        before = model.get_weights()
        with pytest.raises(CheckpointError, match=advice) as error:
            load_weights(model, files[0][file])
        assert "\n" not in str(error.value) and error.value.report.ignored
        assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_a_pyramid_without_batch_norm_does_not_fit_one_with_it(files, mode):
    model = build(mode, "norms")
    before = model.get_weights()
    with pytest.raises(CheckpointError, match="set PYRAMID_BATCH_NORM to False"):
        load_weights(model, files[0]["plain"])
    assert all(map(np.array_equal, before, model.get_weights()))
    norms = [f"fpn_c{n}p{n}_bn" for n in (2, 3, 4, 5)] + [f"fpn_p{n}_bn" for n in (2, 3, 4, 5)]
    report = load_weights(model, files[0]["plain"], allow_missing=norms)
    assert set(report.missing) == set(norms)


def test_stages_can_be_excluded(files):
    model = build("inference", "plain")
    load_weights(model, files[0]["three"], exclude=stage_layers(2, 3))
    assert_loaded(model, files[1]["three"], STAGE)


def test_a_layer_that_is_lost_from_a_stage_is_still_missing(files, tmp_path):
    model = files[1]["three"]
    model.get_layer("mrcnn_bbox_fc_s2").name = "other"
    try:
        save_weights(model, tmp_path / "lost.h5")
    finally:
        model.get_layer("other").name = "mrcnn_bbox_fc_s2"
    with pytest.raises(CheckpointError, match=r"lacks layers of the model: mrcnn_bbox_fc_s2"):
        load_weights(build("training", "three"), tmp_path / "lost.h5")


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_a_file_without_a_head_is_no_stage(files, tmp_path, mode):
    """A detector that only detects cannot do without its head; one that is trained can."""
    plain = files[1]["plain"]
    backbone = keras.Model(plain.get_layer("input_image").output,
                           plain.get_layer("small5_relu").output)
    save_weights(backbone, tmp_path / "backbone.h5")
    model = build(mode, "both")
    if mode == "inference":
        with pytest.raises(CheckpointError, match=r"lacks layers of the model: .*backbone alone"):
            load_weights(model, tmp_path / "backbone.h5")
    else:
        assert len(load_weights(model, tmp_path / "backbone.h5").loaded) == 10
    report = load_imagenet_weights(model, tmp_path / "backbone.h5")
    assert len(report.loaded) == 10 and stage_layers(2, 3) <= set(report.missing)


@pytest.mark.parametrize("part", PARTS)
def test_the_file_says_its_parts(files, part):
    found = read_architecture(files[0][part])
    assert found["NUM_CLASSES"] == 4 and found["POOL_SIZE"] == 7
    optional = ("CASCADE_IOUS", "PYRAMID_ATTENTION", "PYRAMID_BATCH_NORM")
    found = {name: found[name] for name in optional if name in found}
    expected = dict(PARTS[part])
    if part == "two":
        expected["CASCADE_IOUS"] = (0.5, 0.6)  # the thresholds are not in the file
    assert found == expected


@pytest.mark.parametrize("part", ["plain", "both"])
def test_other_classes_need_new_layers_in_every_stage(files, part):
    model = build("training", part, NUM_CLASSES=6)
    names = recipes.class_layers(layer.name for layer in model.layers)
    expected = {"mrcnn_class_logits", "mrcnn_bbox_fc"}
    if part == "both":
        expected |= {f"{name}_s{stage}" for name in expected for stage in (2, 3)}
        expected |= {f"fpn_attention_p{n}_class_{kind}" for n in (2, 3, 4, 5)
                     for kind in ("maps", "gate")}
    assert set(names) == expected
    with pytest.raises(CheckpointError, match="another number of classes") as error:
        load_weights(model, files[0][part])
    assert str(names) in str(error.value)
    report = load_weights(model, files[0][part], exclude=names)
    assert set(report.excluded) == expected and not report.missing


@pytest.mark.parametrize("stages", range(2, 12))
def test_default_thresholds_are_allowed(stages):
    ious = recipes.default_ious(stages)
    assert len(Config(CASCADE_IOUS=ious).CASCADE_IOUS) == stages
    assert stages != 3 or ious == (0.5, 0.6, 0.7)
