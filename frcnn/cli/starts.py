"""What `--model` means: the weights to begin with, and the settings that come with them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from frcnn import runs
from frcnn.cli.options import chosen_settings
from frcnn.config import Config
from frcnn.errors import CheckpointError, ConfigError
from frcnn.weights import download
from frcnn.weights.hdf5 import open_weight_file
from frcnn.weights.names import HEAD_OUTPUT_LAYERS

WORDS = ("last", "imagenet", "coco", "none")
COCO_BACKBONE, COCO_CLASSES = "resnet101", 81


@dataclass
class Start:
    """Where training or detection begins.

    `word` is one of WORDS, or "path"; `path` the checkpoint's file, for "last" and "path"; `epoch`
    the number in its name, and `num_classes` what its head was made for, None if it has no head.
    `config`, `class_names` (background first) and `category_ids` (the source's, by class id) are
    those of the JSON beside it; None or empty without one.
    """

    word: str
    path: Path | None = None
    epoch: int = 0
    num_classes: int | None = None
    config: Config | None = None
    class_names: list = field(default_factory=list)
    category_ids: list = field(default_factory=list)

    @property
    def pretrained(self):
        """Whether parts of the detector are new over weights trained on something else."""
        return self.word in ("imagenet", "coco") or self.backbone_only

    @property
    def backbone_only(self):
        """Whether a file was named that has a backbone's weights and no detector's."""
        return self.word == "path" and self.num_classes is None


def find(model, logs, name=None):
    """The Start that `--model` asks for; no weights are read yet.

    `name` is that of the runs among which "last" looks; None is any.

    Raises:
        CheckpointError, FileNotFoundError: there is no such file, or none to go on from.
    """
    if model in ("imagenet", "coco", "none"):
        return Start(model)
    if model == "last":
        return _from_file("last", Path(runs.find_last(logs, name)))
    path = Path(model)
    if path.is_dir():
        raise CheckpointError(f"--model {model} is a folder; name one of the .h5 files in it.")
    if not path.is_file():
        raise CheckpointError(f"--model {model}: there is no such file; give the path of an .h5, "
                              f"or one of {', '.join(WORDS)}.")
    return _from_file("path", path)


def _from_file(word, path):
    start = Start(word, path, runs.epoch_of(path), _classes_in(path))
    beside = runs.metadata_path(path)
    if beside.is_file():
        _read_config(start, beside)
    return start


def _classes_in(path):
    """The number of classes, background included, of a weight file's head; None without one."""
    with open_weight_file(path) as weights:
        for weight in weights:
            if weight.group.startswith("mrcnn_class_logits") and len(weight.shape) == 1:
                return weight.shape[0]
    return None


def _read_config(start, path):
    """Takes settings and classes from the JSON beside a checkpoint, or from `Config.save`'s."""
    if not path.is_file():
        raise CheckpointError(f"--config {path}: there is no such file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if isinstance(content, dict) and "config" not in content:
        start.config = Config.from_json(json.dumps(content))
        return
    metadata = runs.load_metadata(path)
    start.config = metadata.config()
    start.class_names = list(metadata.class_names)
    start.category_ids = list(metadata.source_class_ids)


def training_config(start, options, num_classes, sample):
    """The configuration to train with: the checkpoint's or the sample's, and the options.

    Raises:
        ConfigError: a setting is not allowed, or does not go with the weights to begin with.
    """
    settings = {"NUM_CLASSES": num_classes}
    if start.word == "none":
        settings.update({"TRAIN_BN": True, **sample.from_scratch})
    if start.word == "coco":
        settings["BACKBONE"] = COCO_BACKBONE
    if options.batch_norm:
        settings["TRAIN_BN"] = options.batch_norm == "train"
    if options.steps:
        settings["STEPS_PER_EPOCH"] = options.steps
    if options.learning_rate:
        settings["LEARNING_RATE"] = options.learning_rate
    settings.update(chosen_settings(options))
    config = (start.config or sample.config).replaced(**settings)
    if start.word == "none" and not config.TRAIN_BN:
        raise ConfigError(
            "BatchNorm cannot be frozen over random weights: its stored statistics describe no "
            "data, so nothing would be learned. Leave --batch-norm at 'train', or start from "
            "--model imagenet.")
    if start.word == "coco" and config.BACKBONE != COCO_BACKBONE:
        raise ConfigError(f"--model coco holds a {COCO_BACKBONE}; leave --backbone out, or start "
                          f"a {config.BACKBONE} from --model imagenet.")
    return config


def check_classes(start, dataset, advice):
    """Raises CheckpointError unless a checkpoint's classes are those of the data set."""
    names = list(dataset.class_names)
    if start.class_names and start.class_names != names:
        raise CheckpointError(
            f"{start.path} was trained on {len(start.class_names) - 1} classes "
            f"({', '.join(start.class_names[1:])}); the data set has {len(names) - 1} "
            f"({', '.join(names[1:])}). {advice}")
    if start.num_classes not in (None, len(names)):
        raise CheckpointError(
            f"{start.path} was trained on {start.num_classes - 1} classes; the data set has "
            f"{len(names) - 1} ({', '.join(names[1:])}). {advice}")


def find_trained(model, logs, config_path=None):
    """The Start of a trained detector, for detection and evaluation; "last" is a run of any name.

    Raises:
        CheckpointError, FileNotFoundError: there is no such file, or no configuration beside it.
    """
    if model in ("imagenet", "coco", "none"):
        raise CheckpointError(f"--model {model} is no detector trained on your classes; give the "
                              "path of an .h5, or last.")
    start = find(model, logs, name=None)
    if config_path is not None:
        _read_config(start, Path(config_path))
    if start.config is None:
        raise CheckpointError(
            f"No configuration lies beside {start.path}. Put the .json of its training there, or "
            "write one with Config.save() and name it with --config.")
    return start


def detection_config(start, options, **settings):
    """The configuration of a trained detector, with the command line's and other settings."""
    if options.batch_size:
        settings["IMAGES_PER_GPU"] = options.batch_size
    if options.precision:
        settings["PRECISION"] = options.precision
    return start.config.replaced(**settings)


def class_names(start):
    """Names by class id; numbers where the checkpoint has none."""
    return start.class_names or ["BG"] + [f"class {class_id}" for class_id
                                          in range(1, start.config.NUM_CLASSES)]


def category_ids(start):
    """The training data's own category ids by class id; the class ids where there are none."""
    return start.category_ids or list(range(start.config.NUM_CLASSES))


def fetch(start, config):
    """Downloads the weights that a word stands for, unless they are here already.

    Raises:
        CheckpointError: they cannot be had; the message says how to go on without a connection.
    """
    if start.word == "imagenet":
        start.path = Path(download.get_imagenet_weights(config.BACKBONE, verbose=1))
    elif start.word == "coco":
        start.path = Path(download.get_coco_weights(verbose=1))


def load(model, start, new_head=False):
    """Loads the weights of a Start into a MaskRCNN, and so its epoch and folder.

    Args:
        new_head: leave out the layers whose shape depends on the classes, and begin a new run.

    Returns:
        The report of what was loaded; None for "none".
    """
    if start.path is None:
        return None
    if start.word == "imagenet" or start.backbone_only:
        return model.load_imagenet_weights(str(start.path))
    new_head = new_head or (start.word == "coco" and model.config.NUM_CLASSES != COCO_CLASSES)
    report = model.load_weights(str(start.path), by_name=True,
                                exclude=HEAD_OUTPUT_LAYERS if new_head else None)
    if new_head:
        model.set_log_dir()
    return report
