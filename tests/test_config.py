"""Config: defaults, checks that name the setting, and the way through JSON."""

import copy
import importlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.config import BACKBONES, IGNORED_SETTINGS, Config
from frcnn.errors import ConfigError

# The reference's own values, for settings that carry over.
REFERENCE_DEFAULTS = {
    "NAME": None, "GPU_COUNT": 1, "IMAGES_PER_GPU": 2, "BACKBONE": "resnet101",
    "COMPUTE_BACKBONE_SHAPE": None, "BACKBONE_STRIDES": [4, 8, 16, 32, 64],
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1024, "TOP_DOWN_PYRAMID_SIZE": 256, "NUM_CLASSES": 1,
    "RPN_ANCHOR_SCALES": (32, 64, 128, 256, 512), "RPN_ANCHOR_RATIOS": [0.5, 1, 2],
    "RPN_ANCHOR_STRIDE": 1, "RPN_NMS_THRESHOLD": 0.7, "RPN_TRAIN_ANCHORS_PER_IMAGE": 256,
    "PRE_NMS_LIMIT": 6000, "POST_NMS_ROIS_TRAINING": 2000, "POST_NMS_ROIS_INFERENCE": 1000,
    "IMAGE_RESIZE_MODE": "square", "IMAGE_MIN_DIM": 800, "IMAGE_MAX_DIM": 1024,
    "IMAGE_MIN_SCALE": 0, "IMAGE_CHANNEL_COUNT": 3, "MEAN_PIXEL": [123.7, 116.8, 103.9],
    "TRAIN_ROIS_PER_IMAGE": 200, "ROI_POSITIVE_RATIO": 0.33, "POOL_SIZE": 7,
    "MAX_GT_INSTANCES": 100, "RPN_BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2],
    "BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2], "DETECTION_MAX_INSTANCES": 100,
    "DETECTION_MIN_CONFIDENCE": 0.7, "DETECTION_NMS_THRESHOLD": 0.3, "LEARNING_RATE": 0.001,
    "LEARNING_MOMENTUM": 0.9, "WEIGHT_DECAY": 0.0001, "USE_RPN_ROIS": True, "TRAIN_BN": False,
    "GRADIENT_CLIP_NORM": 5.0,
    # Ours.
    "STEPS_PER_EPOCH": None, "VALIDATION_STEPS": None, "LABEL_SMOOTHING": 0.0,
    "PROPOSAL_APPEND_GT": False, "CASCADE_IOUS": [], "PYRAMID_ATTENTION": False,
    "REPEAT_THRESHOLD": 0.0, "PASTE_OBJECTS": 0.0,
    "MULTI_SCALE": None, "CROP_OBJECTS": 0.0, "DETECTION_FLIPS": [],
    "DETECTION_FUSION_IOU": 0.55, "DETECTION_BOX_VOTING": 0.0,
}  # fmt: skip


def build_backbone(image):
    return image


def backbone_shapes(image_shape):
    return [[image_shape[0] // stride, image_shape[1] // stride] for stride in (4, 8, 16, 32, 64)]


class Named(Config):
    """Names module functions in its body, as the reference's users do with a backbone."""

    NAME = "named"
    BACKBONE = build_backbone
    COMPUTE_BACKBONE_SHAPE = backbone_shapes
    MY_OWN = 3


class Methods(Config):
    """Has the shapes as a method of its own, which the reference's way of calling it needed."""

    BACKBONE = build_backbone

    def COMPUTE_BACKBONE_SHAPE(self, image_shape):
        return backbone_shapes(image_shape)[: len(self.BACKBONE_STRIDES)]


@pytest.mark.parametrize("name", REFERENCE_DEFAULTS)
def test_defaults_are_the_references(name):
    np.testing.assert_equal(np.asarray(getattr(Config(), name)).tolist(),
                            np.asarray(REFERENCE_DEFAULTS[name]).tolist())


def test_settings_come_from_a_subclass_or_by_keyword():
    class Cells(Config):
        NUM_CLASSES = 4
        IMAGES_PER_GPU = 3

    config = Cells(GPU_COUNT=2, IMAGE_MAX_DIM=896)
    assert (config.NUM_CLASSES, config.BATCH_SIZE) == (4, 6)
    assert config.IMAGE_SHAPE.tolist() == [896, 896, 3]
    assert config.IMAGE_META_SIZE == 1 + 3 + 3 + 4 + 1 + 4
    assert Config().NUM_CLASSES == 1  # untouched


@pytest.mark.parametrize("ious", [(), [], (0.5, 0.6, 0.7), [0.5, 0.55], np.array([0.5, 0.75])])
def test_a_cascade_is_kept_as_it_is(ious):
    config = Config(CASCADE_IOUS=ious)
    for same in (config, Config.from_json(config.to_json())):
        np.testing.assert_array_equal(same.CASCADE_IOUS, ious)


@pytest.mark.parametrize("flips", [(), [], ("horizontal",), ["both", "vertical"]])
def test_flips_are_kept_as_they_are(flips):
    config = Config(DETECTION_FLIPS=flips)
    for same in (config, Config.from_json(config.to_json())):
        assert list(same.DETECTION_FLIPS) == list(flips)


def test_a_crop_is_as_large_as_min_dim():
    config = Config(IMAGE_RESIZE_MODE="crop", IMAGE_MIN_DIM=512, IMAGE_MAX_DIM=256)
    assert config.IMAGE_SHAPE.tolist() == [512, 512, 3]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_is_allowed(backbone):
    assert Config(BACKBONE=backbone).to_dict()["BACKBONE"] == backbone


BAD = [
    ("NUM_CLASSES", 0), ("NUM_CLASSES", "4"), ("NUM_CLASSES", None), ("NUM_CLASSES", 2.5),
    ("IMAGES_PER_GPU", "2"), ("IMAGES_PER_GPU", None), ("GPU_COUNT", True), ("GPU_COUNT", -1),
    ("STEPS_PER_EPOCH", 0), ("VALIDATION_STEPS", 1.5),
    ("BACKBONE", "resnet152"), ("BACKBONE", None), ("BACKBONE", ["resnet50"]),
    ("IMAGE_RESIZE_MODE", "fill"), ("IMAGE_RESIZE_MODE", None),
    ("IMAGE_MAX_DIM", 1000), ("IMAGE_MIN_DIM", 1088), ("IMAGE_MIN_DIM", 0),
    ("IMAGE_MIN_SCALE", -1), ("IMAGE_CHANNEL_COUNT", 1),
    ("MEAN_PIXEL", [1, 2]), ("MEAN_PIXEL", None), ("MEAN_PIXEL", "dark"),
    ("MEAN_PIXEL", [1, 2, float("nan")]), ("MEAN_PIXEL", [[1, 2], [3]]),
    ("RPN_ANCHOR_SCALES", (32, 64)), ("RPN_ANCHOR_SCALES", 32), ("RPN_ANCHOR_SCALES", None),
    ("RPN_ANCHOR_SCALES", ("a",) * 5), ("RPN_ANCHOR_SCALES", (32, 64, 128, 256, 0)),
    ("RPN_ANCHOR_RATIOS", []), ("RPN_ANCHOR_RATIOS", [0.5, -1]), ("RPN_ANCHOR_RATIOS", 1),
    ("BACKBONE_STRIDES", [4, 8, 12]), ("BACKBONE_STRIDES", None),
    ("BACKBONE_STRIDES", [0, 8, 16, 32, 64]), ("BACKBONE_STRIDES", [2, 4, 8, 16, 32]),
    ("NAME", ""), ("NAME", "  "), ("NAME", "a/b"), ("NAME", "a\\b"), ("NAME", 7),
    ("TRAIN_BN", "false"), ("TRAIN_BN", 1), ("USE_RPN_ROIS", "False"),
    ("USE_RPN_ROIS", 0),
    ("RPN_BBOX_STD_DEV", [1, 1, 1]), ("BBOX_STD_DEV", [0.1, 0.1, 0.2, 0]),
    ("BBOX_STD_DEV", "abcd"),
    ("ROI_POSITIVE_RATIO", 1.5), ("ROI_POSITIVE_RATIO", 0), ("LEARNING_RATE", 0),
    ("DETECTION_MIN_CONFIDENCE", float("nan")), ("LEARNING_RATE", -0.1),
    ("LEARNING_RATE", "fast"), ("WEIGHT_DECAY", float("inf")),
    ("GRADIENT_CLIP_NORM", 0), ("PRECISION", "float16"),
    ("LOSS_WEIGHTS", {"rpn_loss": 1.0}), ("LOSS_WEIGHTS", [1, 1, 1, 1]),
    ("LOSS_WEIGHTS", {"rpn_class_loss": -1}), ("COMPUTE_BACKBONE_SHAPE", [4, 8]),
    ("LEARNING_RATE", np.complex64(1)),
    ("CASCADE_IOUS", (0.5,)), ("CASCADE_IOUS", (0.6, 0.7)), ("CASCADE_IOUS", (0.5, 0.5)),
    ("CASCADE_IOUS", (0.5, 0.7, 0.6)), ("CASCADE_IOUS", (0.5, 1.0)), ("CASCADE_IOUS", 3),
    ("CASCADE_IOUS", None), ("CASCADE_IOUS", True), ("CASCADE_IOUS", "0.5,0.6"),
    ("CASCADE_IOUS", ""), ("CASCADE_IOUS", {}), ("CASCADE_IOUS", (0.5, float("nan"))),
    ("PYRAMID_ATTENTION", "true"), ("PYRAMID_ATTENTION", None),
    ("REPEAT_THRESHOLD", -0.1), ("REPEAT_THRESHOLD", 1.5), ("REPEAT_THRESHOLD", None),
    ("CROP_OBJECTS", 2), ("CROP_OBJECTS", "0.5"), ("PASTE_OBJECTS", -1), ("PASTE_OBJECTS", True),
    ("PASTE_OBJECTS", float("inf")), ("MULTI_SCALE", (1.0, 0.7)), ("MULTI_SCALE", 0.7),
    ("DETECTION_FLIPS", "horizontal"), ("DETECTION_FLIPS", ("diagonal",)),
    ("DETECTION_FLIPS", ("both", "both")), ("DETECTION_FLIPS", None), ("DETECTION_FLIPS", (1,)),
    ("DETECTION_FUSION_IOU", 1.5), ("DETECTION_FUSION_IOU", None),
    ("DETECTION_BOX_VOTING", -0.1), ("DETECTION_BOX_VOTING", True), ("DETECTION_BOX_VOTING", 2),
    ("MULTI_SCALE", (0, 1)), ("MULTI_SCALE", (0.5, 1, 2)), ("MULTI_SCALE", "0.7,1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_name(name, value):
    with pytest.raises(ConfigError) as error:
        Config(**{name: value})
    named = "MEAN_PIXEL" if name == "IMAGE_CHANNEL_COUNT" else name
    assert str(error.value).startswith(f"{named} is ")
    assert "allowed is" in str(error.value)
    assert isinstance(error.value, ValueError)


def test_a_bad_value_of_a_subclass_is_refused_too():
    class Wrong(Config):
        IMAGE_MAX_DIM = 1000

    with pytest.raises(ConfigError, match=r"IMAGE_MAX_DIM is 1000; .*multiple of 64"):
        Wrong()


def test_sides_need_no_factor_where_images_are_padded_anyway():
    assert Config(IMAGE_RESIZE_MODE="pad64", IMAGE_MAX_DIM=1000).IMAGE_MAX_DIM == 1000


@pytest.mark.parametrize("name", ["TRAIN_BN", "USE_RPN_ROIS", "PROPOSAL_APPEND_GT",
                                  "PYRAMID_ATTENTION"])
def test_a_switch_given_as_text_is_refused_with_what_to_write(name):
    with pytest.raises(ConfigError, match=f"{name} is 'false'; allowed is True or False"):
        Config(**{name: "false"})
    assert Config.from_json(Config(**{name: np.True_}).to_json()).to_dict()[name] is True


def test_a_callable_backbone_may_have_strides_of_its_own():
    strides = np.array([2, 4, 8, 16, 32])
    config = Config(BACKBONE=build_backbone, COMPUTE_BACKBONE_SHAPE=backbone_shapes,
                    BACKBONE_STRIDES=strides)
    restored = Config.from_json(config.to_json(), allow_custom=True)
    np.testing.assert_array_equal(restored.BACKBONE_STRIDES, strides)
    assert Config(BACKBONE_STRIDES=np.array([4, 8, 16, 32, 64])).BACKBONE == "resnet101"


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "hint"), [
    ("NUM_CLASS", "did you mean NUM_CLASSES?"), ("num_classes", "did you mean NUM_CLASSES?"),
    ("IMAGE_SIZE", "did you mean IMAGE_"), ("QUUX", "display() lists all"),
])  # fmt: skip
def test_an_unknown_setting_is_refused_with_the_nearest_name(name, hint):
    for change in (Config, Config().replaced):
        with pytest.raises(ConfigError) as error:
            change(**{name: 4})
        assert f"Config has no setting {name!r}" in str(error.value) and hint in str(error.value)


@pytest.mark.parametrize(("name", "meant"), [
    ("NUM_CLASES", "NUM_CLASSES"), ("NUM_CLASS", "NUM_CLASSES"), ("IMG_MAX_DIM", "IMAGE_MAX_DIM"),
    ("RPN_ANCHOR_SCALE", "RPN_ANCHOR_SCALES"), ("STEPS_PER_EPOCHS", "STEPS_PER_EPOCH"),
    ("LEARNINGRATE", "LEARNING_RATE"), ("DETECTION_CONFIDENCE", "DETECTION_MIN_CONFIDENCE"),
])  # fmt: skip
def test_a_misspelled_name_is_refused_in_a_class_and_in_an_assignment(name, meant):
    message = rf"no setting '{name}'; did you mean {meant}\?"
    base = type("Base", (Config,), {name: 3})
    for wrong in (base, type("Further", (base,), {})):
        with pytest.raises(ConfigError, match=message):
            wrong()
    config = Config()
    with pytest.raises(ConfigError, match=message):
        setattr(config, name, 3)
    assert not hasattr(config, name)


def test_settings_of_the_users_own_are_kept():
    class Own(Config):
        LEARNING_RATE_DECAY = 0.5
        MY_LEARNING_RATE = 0.1
        VAL_SHARE = 0.2
        WINDOWS = ((1, 2), (3, 4))
        GRID = np.eye(2)
        FOLDERS = {"train": "a"}
        WHERE = object()
        _INTERNAL = 1
        lower_case = 2

        def HELPER(self):
            return self.VAL_SHARE

        @property
        def HALF_RATE(self):
            return self.LEARNING_RATE / 2

    config = Own(VAL_SHARE=0.3, LEARNING_RATE=0.4)
    config.EXTRA = [1]
    found = config.replaced(NUM_CLASSES=2, EXTRA=[2])
    assert type(found) is Own and (found.VAL_SHARE, found.NUM_CLASSES, found.EXTRA) == (0.3, 2, [2])
    assert found.HELPER() == 0.3 and found.HALF_RATE == 0.2
    listed = config.to_dict().keys()
    assert {"LEARNING_RATE_DECAY", "WINDOWS", "WHERE", "EXTRA", "HALF_RATE"} <= listed
    assert not {"HELPER", "_INTERNAL", "lower_case"} & listed

    stored = json.loads(config.to_json())
    assert (stored["VAL_SHARE"], stored["EXTRA"]) == (0.3, [1])
    assert not {"WHERE", "HELPER", "HALF_RATE"} & stored.keys()
    restored = Own.from_json(config.to_json())
    assert (restored.VAL_SHARE, restored.WHERE) == (0.3, Own.WHERE) and restored.HELPER() == 0.3
    np.testing.assert_array_equal(restored.GRID, np.eye(2))
    assert not hasattr(Config.from_json(config.to_json()), "VAL_SHARE")


def test_settings_of_the_references_mask_head_are_accepted_and_ignored():
    masks = type("Masks", (Config,), dict.fromkeys(IGNORED_SETTINGS, True))
    config = masks(NUM_CLASSES=2, MASK_SHAPE=[28, 28])
    config.USE_MINI_MASK = False
    assert config.MASK_SHAPE == [28, 28] and config.replaced().USE_MINI_MASK is False
    assert not {*IGNORED_SETTINGS} & {*config.to_dict(), *json.loads(config.to_json())}


def test_a_subclass_may_have_a_constructor_without_arguments():
    class Computed(Config):
        def __init__(self):
            self.IMAGE_MAX_DIM = self.IMAGE_MIN_DIM = 4 * 64
            super().__init__()

    config = Computed()
    assert config.IMAGE_SHAPE.tolist() == [256, 256, 3]
    assert config.replaced(NUM_CLASSES=3).IMAGE_MAX_DIM == 256


# --- derived values -------------------------------------------------------------------------


def test_derived_values_follow_their_sources():
    config = Config()
    config.IMAGES_PER_GPU, config.GPU_COUNT, config.NUM_CLASSES = 3, 2, 8
    config.IMAGE_MAX_DIM = 512
    assert (config.BATCH_SIZE, config.IMAGE_META_SIZE) == (6, 20)
    assert config.IMAGE_SHAPE.tolist() == [512, 512, 3]
    config.IMAGE_RESIZE_MODE, config.IMAGE_CHANNEL_COUNT = "crop", 1
    assert config.IMAGE_SHAPE.tolist() == [800, 800, 1]
    assert config.to_dict()["BATCH_SIZE"] == 6


@pytest.mark.parametrize(("name", "source"), [
    ("BATCH_SIZE", "IMAGES_PER_GPU"), ("IMAGE_SHAPE", "IMAGE_MAX_DIM"),
    ("IMAGE_META_SIZE", "NUM_CLASSES"),
])  # fmt: skip
def test_a_derived_value_cannot_be_set(name, source):
    config = Config()
    for change in (lambda: setattr(config, name, 4), lambda: Config(**{name: 4}),
                   type("Wrong", (Config,), {name: 4}), lambda: config.replaced(**{name: 4})):
        with pytest.raises(ConfigError, match=f"{name} follows from .*{source}.*; set these"):
            change()


# --- copies ---------------------------------------------------------------------------------


def test_no_two_instances_share_a_list_dict_or_array():
    class Own(Config):
        NESTED = {"a": [1]}, [2]

    scales = [1, 2, 3, 4, 5]
    before = Own().to_json()
    first = Own(RPN_ANCHOR_SCALES=scales)
    others = [Own(), Own(RPN_ANCHOR_SCALES=scales), first.replaced(), copy.copy(first)]
    texts = [other.to_json() for other in others]

    first.RPN_ANCHOR_RATIOS.append(3)
    first.BACKBONE_STRIDES[0] = 2
    first.LOSS_WEIGHTS["rpn_class_loss"] = 7
    first.MEAN_PIXEL[:] = 0
    first.RPN_BBOX_STD_DEV *= 2
    first.RPN_ANCHOR_SCALES.append(6)
    first.NESTED[0]["a"].append(1)
    assert [other.to_json() for other in others] == texts and Own().to_json() == before
    assert scales == [1, 2, 3, 4, 5]
    assert first.RPN_ANCHOR_RATIOS == [0.5, 1, 2, 3] and first.MEAN_PIXEL.tolist() == [0, 0, 0]

    first.RPN_ANCHOR_RATIOS = others[0].RPN_ANCHOR_RATIOS
    first.RPN_ANCHOR_RATIOS.append(4)
    assert others[0].RPN_ANCHOR_RATIOS == [0.5, 1, 2]


def test_a_copy_computes_shapes_by_its_own_settings():
    class Strided(Methods):
        def COMPUTE_BACKBONE_SHAPE(self, image_shape):
            return [[self.NUM_CLASSES] * 2] * 5

    assert Strided().replaced(NUM_CLASSES=9).COMPUTE_BACKBONE_SHAPE((64, 64, 3))[0] == [9, 9]


# --- functions and JSON ---------------------------------------------------------------------


def test_a_callable_backbone_needs_its_shapes():
    with pytest.raises(ConfigError, match="COMPUTE_BACKBONE_SHAPE is None"):
        Config(BACKBONE=build_backbone)


@pytest.mark.parametrize("make", [
    Named, Methods, lambda: Config(BACKBONE=build_backbone, COMPUTE_BACKBONE_SHAPE=backbone_shapes),
])  # fmt: skip
def test_functions_are_called_as_they_are_and_survive_json(make):
    config = make()
    for found in (config, Config.from_json(config.to_json(), allow_custom=True),
                  type(config).from_json(config.to_json(), allow_custom=type(config) is Config),
                  config.replaced(NUM_CLASSES=2)):
        assert found.BACKBONE("image") == "image"
        assert found.COMPUTE_BACKBONE_SHAPE((64, 128, 3))[0] == [16, 32]


def test_a_function_that_cannot_be_found_again_is_named():
    text = Named().to_json().replace("build_backbone", "gone")
    with pytest.raises(ConfigError, match=r"BACKBONE names .*gone.* cannot be imported"):
        Config.from_json(text, allow_custom=True)


FOREIGN = {
    "a program": "subprocess:Popen",
    "a module": "os:path",
    "a function of another module": "frcnn.files:os.system",
    "a module in a module": "frcnn.network.inspection:keras.utils.get_file",
    "a package of a similar name": "frcnn.networks:resnet",
    "a program of this package": "frcnn.cli.__main__:main",
    "a class of another module": "frcnn.network.resnet:Any",
}


@pytest.mark.parametrize("path", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("name", ["BACKBONE", "COMPUTE_BACKBONE_SHAPE"])
def test_nothing_is_imported_because_a_text_says_so(monkeypatch, name, path):
    text = json.dumps({"BACKBONE": build_path(build_backbone),
                       "COMPUTE_BACKBONE_SHAPE": build_path(backbone_shapes), name: path})
    allowed = {build_path(build_backbone), build_path(backbone_shapes)}
    import frcnn.network.inspection  # noqa: F401 - Keras imports much, which is not meant

    imported, load = [], importlib.import_module
    monkeypatch.setattr(importlib, "import_module",
                        lambda *args: imported.append(args[0]) or load(*args))
    with pytest.raises(ConfigError) as raised:
        Config.from_json(text, allow_custom=allowed)
    assert f"{name} names {path!r}" in str(raised.value)
    module, _, attribute = path.partition(":")
    assert f"the module {module} would be imported, and {attribute} called" in str(raised.value)
    assert "allow_custom=True" in str(raised.value) and "--trust" in str(raised.value)
    assert not [name for name in imported if not name.startswith(("frcnn.network.", __name__))]


def build_path(function):
    return f"{function.__module__}:{function.__qualname__}"


def test_a_text_may_name_what_the_class_has_and_what_is_allowed():
    text = Config(BACKBONE=build_backbone, COMPUTE_BACKBONE_SHAPE=backbone_shapes).to_json()
    with pytest.raises(ConfigError, match="is not done because a file says so"):
        Config.from_json(text)
    assert Config.from_json(text, {build_path(build_backbone), build_path(backbone_shapes)}
                            ).BACKBONE is build_backbone
    with pytest.raises(ConfigError, match="COMPUTE_BACKBONE_SHAPE names"):
        Config.from_json(text, [build_path(build_backbone)])
    assert Named.from_json(text).BACKBONE is build_backbone  # Named has both
    assert Named().custom_paths() == {build_path(build_backbone), build_path(backbone_shapes)}
    assert Config().custom_paths() == set()


def test_a_network_of_this_package_may_be_named():
    from frcnn.network.resnet import resnet_graph  # not at the top: it loads Keras

    text = Config(BACKBONE=resnet_graph, COMPUTE_BACKBONE_SHAPE=backbone_shapes).to_json()
    found = Config.from_json(text, [build_path(backbone_shapes)])
    assert found.BACKBONE is resnet_graph


def test_a_callable_without_a_name_cannot_be_stored():
    class Build:
        def __call__(self, image):
            return image

    config = Config(BACKBONE=Build(), COMPUTE_BACKBONE_SHAPE=backbone_shapes)
    with pytest.raises(ConfigError, match=r"BACKBONE .*no name to store it by"):
        config.to_json()


def test_a_value_that_json_cannot_represent_is_named():
    config = Config()
    config.WEIGHT_DECAY = float("nan")  # an assignment is not checked
    with pytest.raises(ConfigError, match=r"WEIGHT_DECAY cannot be stored: .*nan"):
        config.to_json()


@pytest.mark.smoke
def test_json_holds_every_setting_and_no_derived_one(tmp_path):
    config = Named(NUM_CLASSES=5, MEAN_PIXEL=[1, 2, 3], STEPS_PER_EPOCH=np.int64(7))
    config.save(tmp_path / "config.json")
    text = (tmp_path / "config.json").read_text()
    stored = json.loads(text)
    assert stored["NUM_CLASSES"] == 5
    assert stored["MY_OWN"] == 3
    assert not {"BATCH_SIZE", "IMAGE_SHAPE", "IMAGE_META_SIZE"} & stored.keys()

    restored = Named.from_json(text)
    assert restored.IMAGE_META_SIZE == 17
    for name, value in config.to_dict().items():
        np.testing.assert_array_equal(np.asarray(getattr(restored, name)), np.asarray(value))
    assert restored.to_json() == config.to_json()


@given(st.fixed_dictionaries({
    "NUM_CLASSES": st.integers(1, 100), "GPU_COUNT": st.integers(1, 8),
    "IMAGE_MAX_DIM": st.sampled_from([832, 1024, 1280]), "LEARNING_RATE": st.floats(1e-9, 1),
    "ROI_POSITIVE_RATIO": st.floats(0.01, 1).map(np.float64), "TRAIN_BN": st.booleans(),
    "RPN_ANCHOR_SCALES": st.tuples(*[st.integers(1, 900)] * 5).map(np.array),
    "BBOX_STD_DEV": st.tuples(*[st.floats(0.01, 10)] * 4),
    "LOSS_WEIGHTS": st.dictionaries(st.sampled_from(["rpn_class_loss", "mrcnn_bbox_loss"]),
                                    st.floats(0, 10).map(np.float32)),
}))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_any_allowed_settings_survive_json(values):
    config = Config(**values)
    restored = Config.from_json(config.to_json())
    for name, value in values.items():
        if isinstance(value, dict):
            assert getattr(restored, name) == value
        else:
            np.testing.assert_array_equal(getattr(restored, name), value)
    np.testing.assert_array_equal(restored.IMAGE_SHAPE, config.IMAGE_SHAPE)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ConfigError, match="configuration is not"):
        Config.from_json(text)


def test_a_stored_bad_value_is_refused_and_an_unknown_one_ignored():
    with pytest.raises(ConfigError, match="NUM_CLASSES is 0"):
        Config.from_json('{"NUM_CLASSES": 0}')
    with pytest.raises(ConfigError, match=r"MEAN_PIXEL is \[\[1, 2\], \[3\]\]; allowed"):
        Config.from_json('{"MEAN_PIXEL": [[1, 2], [3]]}')
    assert Config.from_json('{"FROM_A_LATER_VERSION": 1, "NUM_CLASSES": 3}').NUM_CLASSES == 3


def test_display_prints_every_setting(capsys):
    config = Config(NUM_CLASSES=7)
    config.display()
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()
                   if line.strip() and not line.endswith(":"))
    assert printed["NUM_CLASSES"] == "7"
    assert printed.keys() == config.to_dict().keys()
    assert {"BATCH_SIZE", "IMAGE_SHAPE"} <= printed.keys()
