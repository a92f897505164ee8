"""What `--model` selects: the initial weights, and the settings and classes that come with them."""

import argparse
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn import runs
from frcnn.cli.program import shows_progress
from frcnn.config import Config
from frcnn.errors import CheckpointError
from frcnn.files import expanded, read_json
from frcnn.runtime.engines import Engine, is_exported, open_engine
from frcnn.weights import download
from frcnn.weights.recipes import class_layers

if TYPE_CHECKING:  # both load Keras or are only needed once it is loaded
    from frcnn.model.mask_rcnn import MaskRCNN
    from frcnn.weights.checkpoint import LoadReport

WORDS = ("last", "best", "imagenet", "coco", "synthetic", "none")
_NO_FILE = ("imagenet", "coco", "synthetic", "none")  # those that `find` knows no file for
COCO_CLASSES = 81

# Detection depends on these, a weight file does not contain them, and no default is right for all.
NOT_IN_WEIGHTS = ("IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "RPN_ANCHOR_SCALES", "RPN_ANCHOR_STRIDE")


@dataclass
class Start:
    """The initial weights of a training, or those of a trained detector.

    Attributes:
        word: one of WORDS, or "path".
        path: the weight file; None for "none", for "imagenet" and "coco" until `fetch`, and for
            "synthetic" until `frcnn.cli.pretraining.ensure`.
        epoch: how many epochs are done, by the file's name (of a best checkpoint, by its JSON);
            0 if unknown.
        architecture: the settings that the weight file determines, see `read_architecture`.
        anchor_ratios: the number of RPN_ANCHOR_RATIOS of the file's RPN; None without an RPN.
        config: the Config of the JSON beside the file; None without one.
        class_names, category_ids: of that JSON, by class id, background first; else empty.
        engine: of a file that `frcnn export` wrote, with what is above in it; else None.
    """

    word: str
    path: Path | None = None
    epoch: int = 0
    architecture: dict[str, Any] = field(default_factory=dict)
    anchor_ratios: int | None = None
    config: Config | None = None
    class_names: list[str] = field(default_factory=list)
    category_ids: list[Any] = field(default_factory=list)
    engine: Engine | None = None

    @property
    def is_exported(self) -> bool:
        """Whether it is a file that `frcnn export` wrote."""
        return self.engine is not None

    @property
    def num_classes(self) -> int | None:
        """The classes of the file's head, background included; None if it has no head."""
        return self.architecture.get("NUM_CLASSES")

    @property
    def pretrained(self) -> bool:
        """Whether some layers are new and the others were trained on something else.

        Not those of "synthetic", see `plan.make`.
        """
        return self.word in ("imagenet", "coco") or self.backbone_only

    @property
    def backbone_only(self) -> bool:
        """Whether the file has the weights of a backbone and not of a detector."""
        return self.word == "path" and self.num_classes is None

    @property
    def run_folder(self) -> Path | None:
        """The folder of the checkpoint that a training continues; None if it starts anew."""
        # A run that was interrupted in its first epoch has a checkpoint of epoch 0.
        continues = self.epoch or self.word == "last"
        return self.path.parent if self.path is not None and continues else None


def find(model: str, logs: str | Path, name: str | None = None,
         allow_custom: bool | Collection[str] = False) -> Start:
    """The Start that `--model` asks for; no weights are loaded yet.

    Args:
        model: the option's value.
        logs: folder of all runs.
        name: that of the runs among which "last" and "best" search; None is any.
        allow_custom: see `Config.from_json`.

    Raises:
        CheckpointError, FileNotFoundError: there is no such file, or no run to continue.
    """
    if model in _NO_FILE:
        return Start(model)
    if model == "last":
        return _from_file("last", Path(runs.find_last(logs, name)), allow_custom)
    if model == "best":
        return _from_file("best", Path(runs.find_best(logs, name)), allow_custom)
    path = expanded(model)
    if path.is_dir():
        raise CheckpointError(f"--model {model} is a folder; name one of the .h5 files in it.")
    if not path.is_file():
        raise CheckpointError(f"--model {model}: there is no such file; give the path of an .h5, "
                              f"or one of {', '.join(WORDS)}.")
    return _from_file("path", path, allow_custom)


def _from_file(word: str, path: Path, allow_custom: bool | Collection[str]) -> Start:
    # Not at the top: it needs h5py, which exported files do without.
    from frcnn.weights.architecture import count_anchor_ratios, read_architecture

    start = Start(word, path, runs.epochs_done(path), read_architecture(path),
                  count_anchor_ratios(path))
    beside = runs.metadata_path(path)
    if beside.is_file():
        _read_config(start, beside, allow_custom)
    return start


def _read_config(start: Start, path: Path, allow_custom: bool | Collection[str]) -> None:
    """Takes settings and classes from the JSON beside a checkpoint, or from `Config.save`'s.

    A file with settings alone may leave out those that the weight file determines.
    """
    if not path.is_file():
        raise CheckpointError(f"--config {path}: there is no such file.")
    try:
        content = read_json(path)
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if isinstance(content, dict) and "config" not in content:
        missing = [name for name in NOT_IN_WEIGHTS if name not in content]
        if missing:
            raise CheckpointError(f"{path} lacks {', '.join(missing)}, which cannot be read from "
                                  "the weights and have no default that is right for all.")
        start.config = Config.from_json(json.dumps({**start.architecture, **content}),
                                        allow_custom)
        return
    metadata = runs.load_metadata(path)
    start.config = metadata.config(allow_custom=allow_custom)
    start.class_names = list(metadata.class_names)
    start.category_ids = list(metadata.source_class_ids)


def find_trained(model: str, logs: str | Path, config_path: str | None = None,
                 allow_custom: bool | Collection[str] = False,
                 precision: str | None = None) -> Start:
    """The Start of a trained detector, with its `config`, for detection and evaluation.

    Args:
        model: a path, or "last" or "best": of the newest run of any name.
        logs: folder of all runs.
        config_path: a JSON file with the configuration; None: the one beside the weights.
        allow_custom: see `Config.from_json`.
        precision: that an exported file is opened with; None: float32.

    Raises:
        CheckpointError, FileNotFoundError: there is no such file, or no configuration for it.
    """
    if model in _NO_FILE:
        raise CheckpointError(f"--model {model} is no detector trained on your classes; give the "
                              "path of an .h5, last, or best.")
    if is_exported(model):
        return _from_export(expanded(model), precision or "float32")
    start = find(model, logs, None, allow_custom)
    if config_path is not None:
        _read_config(start, expanded(config_path), allow_custom)
    if start.config is None:
        raise CheckpointError(_without_config(start))
    return start


def trained_of(options: argparse.Namespace, custom_paths: Collection[str] = ()) -> Start:
    """`find_trained` with a command line's options.

    Args:
        options: of `options.add_checkpoint_options`.
        custom_paths: functions of the user's own that may be imported also without `--trust`.
    """
    return find_trained(options.model or "last", options.logs, options.config,
                        options.trust or custom_paths, options.precision)


def _from_export(path: Path, precision: str) -> Start:
    engine = open_engine(path, precision=precision)
    metadata = engine.metadata
    config = metadata.config().replaced(PRECISION=precision)  # that of the file is the training's
    return Start("path", path, config=config, class_names=metadata.class_names,
                 category_ids=metadata.source_class_ids, engine=engine)


def _without_config(start: Start) -> str:
    """What to do about a checkpoint without a configuration: the command that writes one."""
    assert start.path is not None
    if start.num_classes is None:
        return f"{start.path} is no trained detector: it has no layer mrcnn_class_logits."
    known = ", ".join(f"{name}={value!r}" for name, value in start.architecture.items())
    guessed = ", ".join(f"{name}={value!r}" for name, value in _guessed_settings(start).items())
    target = start.path.with_suffix(".config.json").name
    return (f"There is no configuration beside {start.path}. The file itself determines {known}, "
            f"but not {', '.join(NOT_IN_WEIGHTS)}. Write a configuration with: python -c \"from "
            f"frcnn.config import Config; Config({known}, {guessed}).save('{target}')\" and add "
            f"--config {target}. The values from {NOT_IN_WEIGHTS[0]} on are the reference's "
            "defaults; put in those of its training, and any other setting that it changed.")


def _guessed_settings(start: Start) -> dict[str, Any]:
    """Plausible values of the settings that no weight file contains."""
    settings = {name: getattr(Config, name) for name in NOT_IN_WEIGHTS}
    count = start.anchor_ratios
    if count and count != len(Config.RPN_ANCHOR_RATIOS):
        settings["RPN_ANCHOR_RATIOS"] = [round(0.5 * 4 ** ((i + 0.5) / count), 2)
                                         for i in range(count)]
    channels = start.architecture.get("IMAGE_CHANNEL_COUNT", Config.IMAGE_CHANNEL_COUNT)
    if channels != Config.IMAGE_CHANNEL_COUNT:
        settings["MEAN_PIXEL"] = [127.5] * channels
    return settings


def class_names(start: Start) -> list[str]:
    """Names by class id; "class 1", "class 2", … where the checkpoint has none."""
    assert start.config is not None
    return start.class_names or ["BG"] + [f"class {class_id}" for class_id
                                          in range(1, start.config.NUM_CLASSES)]


def category_ids(start: Start) -> list[Any]:
    """The training data's own category ids by class id; the class ids where there are none."""
    assert start.config is not None
    return start.category_ids or list(range(start.config.NUM_CLASSES))


def fetch(start: Start, config: Config) -> None:
    """Downloads the weights of "imagenet" or "coco", unless they are in the cache.

    Raises:
        CheckpointError: the download failed; the message says how to do without it.
    """
    verbose = int(shows_progress())
    if start.word == "imagenet":
        start.path = Path(download.get_imagenet_weights(config.BACKBONE, verbose=verbose))
    elif start.word == "coco":
        start.path = Path(download.get_coco_weights(verbose=verbose))


def load(model: "MaskRCNN", start: Start, new_head: bool = False) -> "LoadReport | None":
    """Loads the weights of a Start into a MaskRCNN, which also sets its epoch and run folder.

    Args:
        model: in training mode.
        start: after `fetch`, or with the path of the pretraining.
        new_head: leave out the layers whose shape depends on the classes, and start a new run.

    Returns:
        The report of what was loaded; None for "none".

    Raises:
        CheckpointError: the weights do not fit the model.
    """
    if start.path is None:
        return None
    if start.word == "imagenet" or start.backbone_only:
        return model.load_imagenet_weights(str(start.path))
    new_head = (new_head or start.word == "synthetic"
                or (start.word == "coco" and model.config.NUM_CLASSES != COCO_CLASSES))
    names = [layer.name for layer in model.keras_model.layers]
    report = model.load_weights(str(start.path), by_name=True,
                                exclude=class_layers(names) if new_head else None)
    if new_head:
        model.set_log_dir()
    return report
