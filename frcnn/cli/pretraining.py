"""`--model synthetic`: a detector trained on synthetic data, once, and kept in the cache.

A run that begins with it has the same network and other classes. For each network the folder
`pretrained` of the cache (see `files.cache_folder`) holds a checkpoint, which `--model` also takes
by its path, its JSON, and an empty file that processes lock. The JSON says what the checkpoint was
made from, and its SHA-256. While it is being trained there is also a folder with the run, from
which a stopped training continues.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn import runs
from frcnn.cli import recipes
from frcnn.cli.datasets import adapt
from frcnn.cli.locks import locked
from frcnn.cli.options import setting
from frcnn.cli.program import Parser, program
from frcnn.cli.sample import Pretraining, Sample
from frcnn.cli.settings import training_config
from frcnn.cli.starts import Start
from frcnn.config import BACKBONES, Config
from frcnn.data.dataset import Dataset
from frcnn.errors import CheckpointError, ConfigError, FrcnnError
from frcnn.files import CACHE_VARIABLE, cache_folder, sha256_of
from frcnn.startup import start_backend

if TYPE_CHECKING:  # loads Keras
    from frcnn.model.mask_rcnn import MaskRCNN

WORD = "synthetic"
FORMAT = 1  # one up whenever the same key would give other weights
SEED = 0
# The settings that decide which layers there are, and what goes into them and comes out.
NETWORK = (
    "BACKBONE", "COMPUTE_BACKBONE_SHAPE", "BACKBONE_STRIDES", "TOP_DOWN_PYRAMID_SIZE",
    "PYRAMID_BATCH_NORM", "PYRAMID_ATTENTION", "FPN_CLASSIF_FC_LAYERS_SIZE", "POOL_SIZE",
    "ROI_ALIGN_SAMPLES", "CASCADE_IOUS", "IMAGE_CHANNEL_COUNT", "MEAN_PIXEL", "RPN_ANCHOR_STRIDE",
    "RPN_BBOX_STD_DEV", "BBOX_STD_DEV")

DESCRIPTION = """\
Trains the detector that --model synthetic of the training program begins with, on {text}:
{epochs} epochs, which take about {duration}.

It is kept in the cache (the folder 'pretrained' in ~/.cache/frcnn, or in the one that FRCNN_CACHE
names) and made once for each network; the training program makes it, too, where it is missing.
Started again, a stopped training continues.
"""


def help_text(sample: Sample) -> str:
    """What the help of `--model` says of it; empty where a Sample has no pretraining."""
    if sample.pretraining is None:
        return ""
    return (f"'{WORD}' (all but the output layers of a detector with the same network, trained on "
            f"{sample.pretraining.text}; if it is not in the cache it is made, which takes about "
            f"{sample.pretraining.duration}), ")


def of_sample(sample: Sample, dataset: str | None) -> Pretraining:
    """The Pretraining of a run.

    Args:
        sample: that of the program.
        dataset: the value of `--dataset`.

    Raises:
        ConfigError: there is none.
    """
    if sample.pretraining is None:
        raise ConfigError(f"--model {WORD}: this program has no synthetic data to begin with; "
                          "samples/urinary/train.py has. Give none, imagenet, coco, last, best or "
                          "the path of an .h5 file.")
    if sample.chosen(dataset).pretraining is None:
        raise ConfigError(f"--model {WORD} needs --dataset DIR: without it, the run itself is "
                          f"trained on {sample.pretraining.text}. Give your data, or leave "
                          "--model out.")
    return sample.pretraining


# --- the cache ----------------------------------------------------------------------------------


def own_config(pretraining: Pretraining, config: Config) -> Config:
    """The Config of the pretraining for a run, without its classes and before anchors are fitted.

    Args:
        pretraining: its data and settings.
        config: that of the run. Of its anchor ratios only the number counts, which the RPN's
            layers depend on; the ratios themselves are fitted to other data.
    """
    recipe = recipes.RECIPES[pretraining.recipe]
    count = len(config.RPN_ANCHOR_RATIOS)
    ratios = [round(0.5 * 4 ** (index / (count - 1)), 3) for index in range(count)] \
        if count > 1 else [1.0]
    network = {name: getattr(config, name) for name in NETWORK}
    return pretraining.config.replaced(**{
        **recipe.new_head, **recipe.new_network, **network, "RPN_ANCHOR_RATIOS": ratios,
        "TRAIN_BN": True})


def cache_key(pretraining: Pretraining, config: Config) -> dict[str, Any]:
    """All that shapes the weights, as JSON stores it.

    Of the settings those that have the default of `Config`, which is the reference's, are left
    out, so that a setting that a later version adds, off by default, changes no key.

    Args:
        pretraining: its data and settings.
        config: from `own_config`.
    """
    settings, defaults = (json.loads(one.to_json()) for one in (config, Config()))
    return {
        "format": FORMAT, "data": pretraining.version(), "epochs": pretraining.epochs,
        "recipe": pretraining.recipe, "augmentation": pretraining.augmentation,
        "schedule": pretraining.schedule, "seed": SEED,
        "config": {name: value for name, value in sorted(settings.items())
                   if value != defaults.get(name) and not name.startswith("DETECTION_")}}


def cache_path(pretraining: Pretraining, key: dict[str, Any]) -> Path:
    """Where the checkpoint with a key is, or will be."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    backbone = key["config"].get("BACKBONE", Config.BACKBONE).rsplit(":")[-1].rsplit(".")[-1]
    return cache_folder() / "pretrained" / f"{pretraining.name}-{backbone}-{digest}.h5"


def _problem(path: Path, key: dict[str, Any]) -> str | None:
    """Why a checkpoint of the cache cannot be used; None if it can."""
    beside = runs.metadata_path(path)
    if not path.is_file():
        return f"{path} is missing" if beside.is_file() else "there is none for this network yet"
    try:
        extra = runs.load_metadata(path).extra
    except FileNotFoundError:
        return f"{path} is incomplete: the JSON file beside it is missing"
    except CheckpointError as error:
        return f"{path} is damaged: {str(error).rstrip('.')}"
    if extra.get("pretraining") != key:
        return f"{beside} is damaged: it is about another training"
    if extra.get("sha256") != sha256_of(path):
        return f"{path} is damaged: its SHA-256 is not that in {beside.name}"
    return None


def ensure(pretraining: Pretraining, config: Config,
           check: Callable[["MaskRCNN"], None] | None = None) -> Path:
    """The checkpoint that a run begins with; it is trained if it is not in the cache.

    Several processes may call this at once: one trains, the others wait. A damaged checkpoint is
    reported and made again. Prints what it does.

    Args:
        pretraining: its data and settings.
        config: that of the run.
        check: called with the model before it is trained, which has the layers of the run's model;
            raises an error that should be known before the training and not after it.

    Returns:
        The checkpoint's path.

    Raises:
        FrcnnError: the folder of the cache cannot be written, or the training failed.
    """
    own = own_config(pretraining, config)
    key = cache_key(pretraining, own)
    path = cache_path(pretraining, key)
    if _problem(path, key) is None:
        print(f"pretraining   {path}", flush=True)
        return path
    lock = path.with_suffix(".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise FrcnnError(f"Cannot write to {lock.parent} ({error.strerror or error}): name another "
                         f"folder for the cache with the environment variable {CACHE_VARIABLE}."
                         ) from error
    with locked(lock, lambda: print(
            f"pretraining   another process trains {path}; waiting for it", flush=True)):
        problem = _problem(path, key)
        if problem is None:
            print(f"pretraining   {path}", flush=True)
            return path
        print(f"pretraining   {problem}; it is trained on {pretraining.text}, once: "
              f"{pretraining.epochs} epochs, about {pretraining.duration}\n"
              f"  kept as     {path}", flush=True)
        _make(pretraining, own, key, path, check)
    print(f"pretraining   done: {path}", flush=True)
    return path


# --- training -----------------------------------------------------------------------------------


def _make(pretraining: Pretraining, config: Config, key: dict[str, Any], path: Path,
          check: Callable[["MaskRCNN"], None] | None) -> None:
    """Trains, or continues, in a folder beside `path`, and moves the result there."""
    folder = path.with_name(f"{path.stem}-training")
    dataset = pretraining.load(pretraining.folder(), "train", skip_bad=False)
    adapt(dataset, config)
    config = config.replaced(NUM_CLASSES=dataset.num_classes)
    if recipes.RECIPES[pretraining.recipe].fits_anchors:
        config, anchors = recipes.fit(config, dataset)
        print(f"  anchors     {anchors or 'those of the configuration'}")
    try:
        checkpoint = _train(pretraining, config, dataset, folder, check)
    except KeyboardInterrupt:
        last = _last_checkpoint(folder, config)
        print(f"\nThe pretraining was stopped after {runs.epoch_of(last) if last else 0} of "
              f"{pretraining.epochs} epochs. The same command continues it.", flush=True)
        raise

    from frcnn.training.callbacks import class_lists

    # The weights last: if this is stopped in between, they are still where they are looked for.
    runs.save_metadata(path, config, *class_lists(dataset, config), epoch=pretraining.epochs,
                       pretraining=key, sha256=sha256_of(Path(checkpoint)))
    os.replace(checkpoint, path)
    shutil.rmtree(folder, ignore_errors=True)


def _train(pretraining: Pretraining, config: Config, dataset: Dataset, folder: Path,
           check: Callable[["MaskRCNN"], None] | None) -> str:
    """Trains all epochs that are not done yet; returns the path of the last checkpoint."""
    print(f"  device      {', '.join(start_backend(program=True))}", flush=True)

    from frcnn.model.mask_rcnn import MaskRCNN

    model = MaskRCNN("training", config, folder, seed=SEED)
    if check is not None:
        check(model)
    _continue(model, folder, config)
    if model.epoch < pretraining.epochs:
        model.train(dataset, None, config.LEARNING_RATE, pretraining.epochs, "all",
                    pretraining.augmentation, schedule=pretraining.schedule, schedule_start=0,
                    keep=1, resume=True, verbose=1 if sys.stdout.isatty() else 2)
    checkpoint = model.last_checkpoint or model.starting_checkpoint
    assert checkpoint is not None
    return checkpoint


def _continue(model: "MaskRCNN", folder: Path, config: Config) -> None:
    """Loads the last checkpoint of a stopped training, if there is one that can be used."""
    checkpoint = _last_checkpoint(folder, config)
    if checkpoint is None:
        return
    try:
        model.load_weights(checkpoint)
    except CheckpointError as error:
        print(f"  from start  {error}", flush=True)
        shutil.rmtree(folder)
        model.set_log_dir()
    else:
        print(f"  continues   after epoch {model.epoch}", flush=True)


def _last_checkpoint(folder: Path, config: Config) -> str | None:
    try:
        return runs.find_last(folder, config.NAME or "frcnn")
    except FileNotFoundError:
        return None


# --- the program --------------------------------------------------------------------------------


def build_parser(sample: Sample, prog: str = "pretrain.py") -> Parser:
    """The command line's parser for a Sample with a pretraining.

    It has those options of the training program that describe the network.
    """
    own = sample.pretraining
    assert own is not None
    parser = Parser(prog=prog, description=DESCRIPTION.format(
        text=own.text, epochs=own.epochs, duration=own.duration))
    model = parser.add_argument_group("network")
    recipes.add_option(model, sample.recipe)
    model.add_argument("--backbone", choices=BACKBONES, metavar="NAME",
                       help=f"as of the training program: {', '.join(BACKBONES)} (default: "
                            f"{sample.config.BACKBONE})")
    model.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
                       dest="settings",
                       help="as of the training program; only settings that describe the network "
                            "make a difference, such as --set TOP_DOWN_PYRAMID_SIZE=128")
    parser.set_defaults(batch_norm=None, batch_size=None, image_size=None, learning_rate=None,
                        precision=None, steps=None)
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "pretrain.py", *, sample: Sample) -> int:
    """Runs the program for a Sample with a pretraining; returns its exit code."""
    return run(build_parser(sample, prog).parse_args(argv), sample)


def run(options: argparse.Namespace, sample: Sample) -> int:
    """Makes what is missing according to the options of `build_parser`; returns the exit code."""
    assert sample.pretraining is not None
    config = training_config(Start(WORD), options, 2, sample)  # other classes, the same network
    ensure(sample.pretraining, config)
    return 0
