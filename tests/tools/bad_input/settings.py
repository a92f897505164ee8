"""Configurations as JSON, the JSON beside a checkpoint, and the files of a run's folder."""

import json

import numpy as np

from bad_input import case, harmless
from frcnn.cli import plan, run_options
from frcnn.config import Config
from frcnn.runs import find_best, find_last, load_metadata, metadata_path, save_metadata

CONFIG = {"NAME": "ury", "NUM_CLASSES": 3, "IMAGE_MIN_DIM": 512, "IMAGE_MAX_DIM": 512}
METADATA = {"config": CONFIG, "class_names": ["BG", "rod", "cell"],
            "source_class_ids": [None, 3, 5]}
BESIDE = "DIR/config_mask_rcnn_ury_0003.json"


def text(content):
    """Reads a configuration from a text."""
    return lambda folder: shown(Config.from_json(content))


def shown(config):
    values = json.loads(config.to_json())
    return {name: values[name] for name in CONFIG}


def holds(**settings):
    """Reads a configuration with other settings."""
    return text(json.dumps({**CONFIG, **settings}))


def set_to(**settings):
    """Makes a Config by keywords."""
    return lambda folder: shown(Config(**{**CONFIG, **settings}))


def beside(content):
    """Reads the JSON beside a checkpoint with this content, bytes or a JSON value."""
    def act(folder):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "config_mask_rcnn_ury_0003.json").write_bytes(data)
        read = load_metadata(folder / "mask_rcnn_ury_0003.h5")
        return f"{read.class_names}, {read.source_class_ids}, {shown(read.config())}"
    return act


def metadata(**changes):
    return beside({name: value for name, value in {**METADATA, **changes}.items()
                   if value is not ...})


def beside_is_folder(folder):
    (folder / "config_mask_rcnn_ury_0003.json").mkdir()
    load_metadata(folder / "mask_rcnn_ury_0003.h5")


def saved(names, **extra):
    def act(folder):
        save_metadata(folder / "w.h5", Config(**CONFIG), names, **extra)
        assert metadata_path(folder / "w.h5").is_file()
    return act


def misspelled(folder):
    class Mine(Config):
        IMAGE_MAXDIM = 512

    Mine()


def assigned_derived(folder):
    Config().BATCH_SIZE = 4


def options_text(content):
    """Reads options.json of a run's folder."""
    def act(folder):
        (folder / "options.json").write_text(content)
        run_options.load(folder)
    return act


def stages(content):
    """Reads plan.json of a run's folder."""
    def act(folder):
        (folder / "plan.json").write_text(content)
        assert plan.load(folder) == []
    return act


def options(content):
    return options_text(json.dumps(content))


def no_runs(folder):
    find_last(folder / "logs")


def runs_of_others(folder):
    (folder / "ury20240101T0000").mkdir()
    find_last(folder, "shapes")


def no_best(folder):
    (folder / "ury20240101T0000").mkdir()
    (folder / "ury20240101T0000" / "mask_rcnn_ury_0001.h5").write_bytes(b"")
    find_best(folder)


DEEP = "[" * 100000 + "]" * 100000

CASES = [
    case("a configuration that is empty", text(""),
         "ConfigError: The configuration is not JSON: (…)."),
    case("a configuration cut off", text('{"NUM_CLASSES": 3,'),
         "ConfigError: The configuration is not JSON: (…)."),
    case("a configuration as a list", text("[1]"),
         "ConfigError: The configuration is not a JSON object of settings."),
    case("a configuration of NaN", text("NaN"),
         "ConfigError: The configuration is not a JSON object of settings."),
    case("a configuration nested deeply", text(DEEP),
         "ConfigError: The configuration is not JSON: it is nested too deeply."),
    case("a number of 5,000 digits", text('{"NUM_CLASSES": ' + "9" * 5000 + "}"),
         "ConfigError: The configuration is not JSON: it holds a number of thousands of "
         "digits."),
    case("a setting twice", text('{"NUM_CLASSES": 3, "NUM_CLASSES": 4}'),
         "ConfigError: The configuration is not JSON: it has 'NUM_CLASSES' twice in one "
         "object, and only one could count."),
    harmless("a setting of a newer version", holds(SOMETHING_NEW=1),
         "= {'NAME': 'ury', 'NUM_CLASSES': 3, 'IMAGE_MIN_DIM': 512, 'IMAGE_MAX_DIM': 512}"),
    case("a number of classes in words", holds(NUM_CLASSES="3"),
         "ConfigError: NUM_CLASSES is '3'; allowed is a whole number from 1 to 1,000,000."),
    case("a number of classes of half", holds(NUM_CLASSES=2.5),
         "ConfigError: NUM_CLASSES is 2.5; allowed is a whole number from 1 to 1,000,000."),
    case("no classes", holds(NUM_CLASSES=0),
         "ConfigError: NUM_CLASSES is 0; allowed is a whole number from 1 to 1,000,000."),
    case("classes as true", holds(NUM_CLASSES=True),
         "ConfigError: NUM_CLASSES is True; allowed is a whole number from 1 to 1,000,000."),
    case("classes as a list", holds(NUM_CLASSES=[3]),
         "ConfigError: NUM_CLASSES is [3]; allowed is a whole number from 1 to 1,000,000."),
    case("10**400 classes", holds(NUM_CLASSES=10**400),
         "ConfigError: NUM_CLASSES is 10…0…0…0; allowed is a whole number from 1 to 1,000,000."),
    case("2 billion RoIs", holds(TRAIN_ROIS_PER_IMAGE=2 * 10**9),
         "ConfigError: TRAIN_ROIS_PER_IMAGE is 2000000000; allowed is a whole number from 1 to "
         "1,000,000."),
    case("a learning rate of 10**400", holds(LEARNING_RATE=10**400),
         "ConfigError: LEARNING_RATE is 10…0…0…0; allowed is a number above 0."),
    case("a learning rate of NaN", holds(LEARNING_RATE=float("nan")),
         "ConfigError: LEARNING_RATE is nan; allowed is a number above 0."),
    case("a learning rate of infinity", holds(LEARNING_RATE=float("inf")),
         "ConfigError: LEARNING_RATE is inf; allowed is a number above 0."),
    case("a negative learning rate", holds(LEARNING_RATE=-1),
         "ConfigError: LEARNING_RATE is -1; allowed is a number above 0."),
    case("a learning rate that is null", holds(LEARNING_RATE=None),
         "ConfigError: LEARNING_RATE is None; allowed is a number above 0."),
    case("images of 100 pixels", holds(IMAGE_MAX_DIM=100, IMAGE_MIN_DIM=100),
         "ConfigError: IMAGE_MAX_DIM is 100; allowed is a multiple of 64 in the mode 'square',"
         " so that the pyramid's levels halve evenly."),
    case("images of 10**12 pixels a side", holds(IMAGE_MAX_DIM=64 * 10**12),
         "ConfigError: IMAGE_MAX_DIM is 64000000000000; allowed is a whole number from 1 to "
         "1,000,000."),
    case("the shorter side longer", holds(IMAGE_MIN_DIM=1024),
         "ConfigError: IMAGE_MIN_DIM is 1024; allowed is at most IMAGE_MAX_DIM (512)."),
    case("a resize mode that is not known", holds(IMAGE_RESIZE_MODE="stretch"),
         "ConfigError: IMAGE_RESIZE_MODE is 'stretch'; allowed is one of none, square, pad64, "
         "fit64, crop."),
    case("a resize mode as a list", holds(IMAGE_RESIZE_MODE=["square"]),
         "ConfigError: IMAGE_RESIZE_MODE is ['square']; allowed is one of none, square, pad64,"
         " fit64, crop."),
    case("a mean pixel of two", holds(MEAN_PIXEL=[1, 2]),
         "ConfigError: MEAN_PIXEL is array([1, 2]); allowed is one number for each of "
         "IMAGE_CHANNEL_COUNT (3)."),
    case("a mean pixel with text", holds(MEAN_PIXEL=[1, 2, "3"]),
         "ConfigError: MEAN_PIXEL is array(['1', '2', '3'], dtype='<U21'); allowed is one "
         "number for each of IMAGE_CHANNEL_COUNT (3)."),
    case("a mean pixel with null", holds(MEAN_PIXEL=[1, None, 3]),
         "ConfigError: MEAN_PIXEL is array([1, None, 3], dtype=object); allowed is one number "
         "for each of IMAGE_CHANNEL_COUNT (3)."),
    case("a mean pixel of lists", holds(MEAN_PIXEL=[[1], [2, 3], []]),
         "ConfigError: MEAN_PIXEL is [[1], [2, 3], []]; allowed is a flat list of numbers."),
    case("a mean pixel with 10**400", holds(MEAN_PIXEL=[1, 2, 10**400]),
         "ConfigError: MEAN_PIXEL is array([1, 2, 10…0…0…0], dtype=object); allowed is one "
         "number for each of IMAGE_CHANNEL_COUNT (3)."),
    case("a mean pixel that is NaN", holds(MEAN_PIXEL=[1, 2, float("nan")]),
         "ConfigError: MEAN_PIXEL is array([ 1., 2., nan]); allowed is one number for each of "
         "IMAGE_CHANNEL_COUNT (3)."),
    case("a deviation of 0", holds(BBOX_STD_DEV=[0, 0.1, 0.2, 0.2]),
         "ConfigError: BBOX_STD_DEV is array([0. , 0.1, 0.2, 0.2]); allowed is four numbers "
         "above 0."),
    case("four anchor scales", holds(RPN_ANCHOR_SCALES=[8, 16, 32, 64]),
         "ConfigError: RPN_ANCHOR_SCALES is [8, 16, 32, 64]; allowed is one number for each of "
         "BACKBONE_STRIDES, so 5 of them; for another number of levels set both."),
    case("an anchor scale of 0", holds(RPN_ANCHOR_SCALES=[0, 16, 32, 64, 128]),
         "ConfigError: RPN_ANCHOR_SCALES is [0, 16, 32, 64, 128]; allowed is a list of "
         "numbers above 0, one for each level of the pyramid, P2 first."),
    case("no anchor ratios", holds(RPN_ANCHOR_RATIOS=[]),
         "ConfigError: RPN_ANCHOR_RATIOS is []; allowed is a list of numbers above 0."),
    case("anchor ratios as an object", holds(RPN_ANCHOR_RATIOS={"a": 1}),
         "ConfigError: RPN_ANCHOR_RATIOS is {'a': 1}; allowed is a list of numbers above 0."),
    case("other strides", holds(BACKBONE_STRIDES=[4, 8, 16, 32, 128]),
         "ConfigError: BACKBONE_STRIDES is [4, 8, 16, 32, 128]; allowed is [4, 8, 16, 32, 64],"
         " those of the networks here; others need a callable BACKBONE."),
    case("an intensity range of one", holds(IMAGE_INTENSITY_RANGE=[4095]),
         "ConfigError: IMAGE_INTENSITY_RANGE is [4095]; allowed is None or two numbers, the "
         "lowest and the highest possible value, such as (0, 4095)."),
    case("an intensity range inverted", holds(IMAGE_INTENSITY_RANGE=[4095, 0]),
         "ConfigError: IMAGE_INTENSITY_RANGE is [4095, 0]; allowed is None or two numbers, the"
         " lowest and the highest possible value, such as (0, 4095)."),
    case("weights of losses that are not known", holds(LOSS_WEIGHTS={"loss": 1}),
         "ConfigError: LOSS_WEIGHTS is {'loss': 1}; allowed is a dict of numbers of 0 or more,"
         " with keys out of rpn_class_loss, rpn_bbox_loss, mrcnn_class_loss, mrcnn_bbox_loss."),
    case("a loss's weight below 0", holds(LOSS_WEIGHTS={"rpn_class_loss": -1}),
         "ConfigError: LOSS_WEIGHTS is {'rpn_class_loss': -1}; allowed is a dict of numbers of"
         " 0 or more, with keys out of rpn_class_loss, rpn_bbox_loss, mrcnn_class_loss, "
         "mrcnn_bbox_loss."),
    case("a cascade that falls", holds(CASCADE_IOUS=[0.5, 0.4]),
         "ConfigError: CASCADE_IOUS is [0.5, 0.4]; allowed is () for no cascade, or two or "
         "more rising IoUs, the first 0.5 and the last below 1, such as (0.5, 0.6, 0.7)."),
    case("a network that is not known", holds(BACKBONE="vgg16"),
         "ConfigError: BACKBONE is 'vgg16'; allowed is one of resnet18, resnet34, "
         "resnet50, resnet101, densenet121, densenet169, densenet201, or a callable."),
    case("a network that is null", holds(BACKBONE=None),
         "ConfigError: BACKBONE is None; allowed is one of resnet18, resnet34, resnet50, "
         "resnet101, densenet121, densenet169, densenet201, or a callable."),
    case("a text for true", holds(TRAIN_BN="false"),
         "ConfigError: TRAIN_BN is 'false'; allowed is True or False."),
    case("a 1 for true", holds(TRAIN_BN=1),
         "ConfigError: TRAIN_BN is 1; allowed is True or False."),
    case("a name with a slash", holds(NAME="../ury"),
         "ConfigError: NAME is '../ury'; allowed is None or a text that is not empty, can be "
         "printed and has no / or \\ in it."),
    case("a name that is empty", holds(NAME=""),
         "ConfigError: NAME is ''; allowed is None or a text that is not empty, can be printed"
         " and has no / or \\ in it."),
    case("a name with a NUL", holds(NAME="a\0b"),
         "ConfigError: NAME is 'a\\x00b'; allowed is None or a text that is not empty, can be "
         "printed and has no / or \\ in it."),
    case("a name with half a character", holds(NAME="a\ud800"),
         "ConfigError: NAME is 'a\\ud800'; allowed is None or a text that is not empty, can be "
         "printed and has no / or \\ in it."),
    case("a precision that is not known", holds(PRECISION="float8"),
         "ConfigError: PRECISION is 'float8'; allowed is one of float32, mixed_bfloat16, "
         "mixed_float16, auto."),
    case("an optimizer that is not known", holds(OPTIMIZER="adam"),
         "ConfigError: OPTIMIZER is 'adam'; allowed is one of sgd, adamw."),
    case("scales the wrong way round", holds(MULTI_SCALE=[1.5, 0.5]),
         "ConfigError: MULTI_SCALE is [1.5, 0.5]; allowed is None or two numbers above 0, the "
         "lower one first, such as (0.7, 1.0)."),
    case("a keyword that is misspelled", set_to(IMAGE_MAXDIM=512),
         "ConfigError: Config has no setting 'IMAGE_MAXDIM'; did you mean IMAGE_MAX_DIM?"),
    case("a keyword in small letters", set_to(num_classes=4),
         "ConfigError: Config has no setting 'num_classes'; did you mean NUM_CLASSES?"),
    case("an attribute that is misspelled", misspelled,
         "ConfigError: Mine has no setting 'IMAGE_MAXDIM'; did you mean IMAGE_MAX_DIM? Give a "
         "setting of your own a name that differs more."),
    case("a derived value assigned", assigned_derived,
         "ConfigError: BATCH_SIZE follows from IMAGES_PER_GPU and GPU_COUNT; set these "
         "instead."),
    case("an array of texts", set_to(MEAN_PIXEL=np.array(["a", "b", "c"])),
         "ConfigError: MEAN_PIXEL is array(['a', 'b', 'c'], dtype='<U1'); allowed is one "
         "number for each of IMAGE_CHANNEL_COUNT (3)."),
    case("no JSON beside the weights", lambda folder: load_metadata(folder / "w.h5"),
         "FileNotFoundError: There is no DIR/config_w.json with the configuration and class names "
         "of DIR/w.h5; put it beside the weights, or give the settings and classes yourself."),
    case("a folder beside the weights", beside_is_folder,
         f"CheckpointError: {BESIDE} cannot be read as JSON: [Errno 21] Is a"
         " directory: 'DIR/config_mask_rcnn_ury_0003.json'."),
    case("an empty JSON beside the weights", beside(b""),
         f"CheckpointError: {BESIDE} cannot be read as JSON: (…)."),
    case("bytes beside the weights", beside(b"\xff\xfe\x00"),
         f"CheckpointError: {BESIDE} cannot be read as JSON: (…)."),
    case("a list beside the weights", beside([1]),
         f"CheckpointError: {BESIDE} has no 'config'; it was not written "
         "beside a checkpoint."),
    case("a deep JSON beside the weights", beside(DEEP.encode()),
         f"CheckpointError: {BESIDE} cannot be read as JSON: it is nested "
         "too deeply."),
    case("a name twice beside the weights", beside(json.dumps(METADATA).replace(
        '"class_names"', '"class_names": ["BG"], "class_names"').encode()),
         f"CheckpointError: {BESIDE} cannot be read as JSON: it has "
         "'class_names' twice in one object, and only one could count."),
    case("no configuration", metadata(config=...),
         f"CheckpointError: {BESIDE} has no 'config'; it was not written "
         "beside a checkpoint."),
    case("a configuration of text", metadata(config="none"),
         f"CheckpointError: {BESIDE} has no 'config'; it was not written "
         "beside a checkpoint."),
    case("a bad setting beside the weights", metadata(config={**CONFIG, "PRECISION": 8}),
         f"ConfigError: {BESIDE}: PRECISION is 8; allowed is one of float32,"
         " mixed_bfloat16, mixed_float16, auto."),
    case("no class names", metadata(class_names=...),
         f"CheckpointError: {BESIDE}: 'class_names' is not a list of names."),
    case("class names as text", metadata(class_names="rod"),
         f"CheckpointError: {BESIDE}: 'class_names' is not a list of names."),
    case("class names with null", metadata(class_names=["BG", None, "cell"]),
         f"CheckpointError: {BESIDE}: 'class_names' is not a list of names."),
    case("class names of another number", metadata(class_names=["BG", "rod"],
                                                   source_class_ids=[]),
         f"CheckpointError: {BESIDE}: NUM_CLASSES is 3, but there are 2 "
         "class names (the background counts)."),
    case("source ids of another number", metadata(source_class_ids=[3, 5]),
         f"CheckpointError: {BESIDE}: 'source_class_ids' does not fit the 3 "
         "class names."),
    case("source ids as an object", metadata(source_class_ids={"rod": 3}),
         f"CheckpointError: {BESIDE}: 'source_class_ids' does not fit the 3 "
         "class names."),
    case("source ids as lists", metadata(source_class_ids=[None, [3], {}]),
         f"CheckpointError: {BESIDE}: 'source_class_ids' does not fit the 3 "
         "class names."),
    case("metadata of another number saved", saved(["BG", "rod"]),
         "CheckpointError: DIR/config_w.json: NUM_CLASSES is 3, but there are 2 class names (the "
         "background counts)."),
    case("metadata that JSON has not", saved(["BG", "rod", "cell"], more={1, 2}),
         "CheckpointError: DIR/config_w.json cannot be written: JSON cannot represent {1, 2} of "
         "type set."),
    case("metadata with NaN", saved(["BG", "rod", "cell"], ap=float("nan")),
         "CheckpointError: DIR/config_w.json cannot be written: JSON cannot represent nan."),
    case("a run's options as a list", options([1]),
         "ConfigError: DIR/options.json cannot be used: it does not hold a JSON object of "
         "options. Remove it to continue the run with the options of the command line."),
    case("a run's seed in words", options({"seed": "one"}),
         "ConfigError: DIR/options.json cannot be used: seed is 'one'; allowed is a whole "
         "number of 0 or more. Remove it to continue the run with the options of the command "
         "line."),
    case("a run's schedule that is not known", options({"schedule": "cosine"}),
         "ConfigError: DIR/options.json cannot be used: schedule is 'cosine'; allowed is "
         "warmup_cosine, warmup_step, constant. Remove it to continue the run with the options"
         " of the command line."),
    case("a run's options nested deeply", options_text(DEEP),
         "ConfigError: DIR/options.json cannot be used: it is nested too deeply. Remove it to "
         "continue the run with the options of the command line."),
    case("a run's options twice", options_text('{"seed": 1, "seed": 2}'),
         "ConfigError: DIR/options.json cannot be used: it has 'seed' twice in one object, and"
         " only one could count. Remove it to continue the run with the options of the command"
         " line."),
    case("a run's patience without evaluation", options({"patience": 3}),
         "ConfigError: DIR/options.json cannot be used: --patience 3 needs --evaluate-every N,"
         " since it counts evaluations; give both, or --patience off. Remove it to continue "
         "the run with the options of the command line."),
    case("a run's plan cut off", stages('[{"layers": "all"'),
         "warning: DIR/plan.json cannot be used (…), so the epochs and layers are those of the"
         " command line."),
    case("a run's plan as an object", stages('{"layers": "all"}'),
         "warning: DIR/plan.json cannot be used (it holds no list), so the epochs and layers "
         "are those of the command line."),
    case("a run's plan without layers", stages('[{"since": 0, "until": 3}]'),
         "warning: DIR/plan.json cannot be used ({'since': 0, 'until': 3} is no stage of a "
         "training), so the epochs and layers are those of the command line."),
    case("a run's plan up to infinity", stages(
        '[{"layers": "all", "since": 0, "until": Infinity}]'),
         "warning: DIR/plan.json cannot be used ({'layers': 'all', 'since': 0, 'until': inf} "
         "is no stage of a training), so the epochs and layers are those of the command line."),
    case("a run's plan of half an epoch", stages(
        '[{"layers": "all", "since": 0, "until": 2.5}]'),
         "warning: DIR/plan.json cannot be used ({'layers': 'all', 'since': 0, 'until': 2.5} "
         "is no stage of a training), so the epochs and layers are those of the command line."),
    case("a run's plan that goes back", stages(
        '[{"layers": "all", "since": 3, "until": 2}]'),
         "warning: DIR/plan.json cannot be used ({'layers': 'all', 'since': 3, 'until': 2} is "
         "no stage of a training), so the epochs and layers are those of the command line."),
    case("no folder of runs", no_runs,
         "FileNotFoundError: There is no folder DIR/logs, so no checkpoint; name a weight file"
         " instead."),
    case("runs of another name", runs_of_others,
         "FileNotFoundError: DIR has no run folder of 'shapes', as shapes20180101T0000, only "
         "those of 'ury'; name a weight file instead."),
    case("no best checkpoint", no_best,
         "FileNotFoundError: The newest run, DIR/ury20240101T0000, has no best checkpoint: it "
         "has not been evaluated while training (--evaluate-every). Take its last checkpoint, "
         "or name a weight file."),
]
