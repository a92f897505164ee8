"""`frcnn train`: trains a detector on a data set, then evaluates it."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn.cli import options as opts
from frcnn.cli import plan, run_options, starts
from frcnn.cli.datasets import check_images, check_same_classes, describe
from frcnn.cli.program import Parser, program
from frcnn.cli.run_options import AUGMENTATIONS, SCHEDULES, RunOptions
from frcnn.cli.sample import ANY_FOLDER, EVALUATION_MIN_CONFIDENCE, HEAD_SHARE, Sample
from frcnn.cli.settings import check_classes, config_changes, training_config
from frcnn.cli.starts import Start
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.errors import ConfigError
from frcnn.startup import start_backend

if TYPE_CHECKING:  # loads Keras
    from frcnn.model.mask_rcnn import MaskRCNN

LAYOUTS = """\
  DIR/annotations/instances_train.json   boxes and classes in COCO's format
  DIR/annotations/instances_val.json
  DIR/train/                             the images that the first file names
  DIR/val/                               the images that the second names

or, in Pascal VOC's layout:

  DIR/ImageSets/Main/train.txt, val.txt  the names of the images
  DIR/Annotations/, DIR/JPEGImages/      their boxes and classes, and the images
"""

DESCRIPTION = f"""\
Trains Faster R-CNN with a feature pyramid on your own images, with settings for small objects, then
evaluates it on the subset 'val'.

{LAYOUTS}
The classes are those of the annotations. All files of a run are in one folder,
LOGS/frcnn<date>T<time>: a checkpoint for each epoch, the configuration as JSON, TensorBoard's logs,
and at the end report.html, metrics.json, losses.png and detections.png.

A run that continues (--model last, or the path of its checkpoint) keeps all its options, unless
they are given again.
"""

EPILOG = """\
examples:
  frcnn train --dataset ~/cells --model imagenet --epochs 40
  frcnn train --model last                                   continue the newest run
  frcnn train --model last --epochs 60                       train it up to epoch 60
  frcnn train --dataset ~/cells --backbone densenet121 --image-size 768 --batch-size 1
"""


# --- the command line ---------------------------------------------------------------------------


def build_parser(prog: str = "frcnn train", sample: Sample = ANY_FOLDER) -> Parser:
    """The command line's parser for a Sample.

    The options that a run stores (`RunOptions`) are None unless they are given.
    """
    parser = Parser(prog=prog, description=sample.description or DESCRIPTION,
                    epilog=sample.epilog or (EPILOG if sample is ANY_FOLDER else None))
    data = parser.add_argument_group("data and weights")
    if sample.data_help is None:
        parser.set_defaults(dataset=None, skip_bad=None)
    else:
        required = "; required unless a run continues" if sample.data_required else ""
        data.add_argument("--dataset", metavar="DIR", help=sample.data_help + required)
        opts.add_skip_bad(data, stored=True)
    data.add_argument("--model", default="none", metavar="WEIGHTS",
                      help="selects the initial weights: 'none' (random, the default), 'imagenet' "
                           "(a backbone trained on photographs), 'coco' (a ResNet-101 detector "
                           "trained on photographs), 'last' (continue the newest run in LOGS), or "
                           "the path of an .h5 file, whose network is recognised")
    data.add_argument("--new-head", action="store_true",
                      help="start a new run without the checkpoint's output layers, whose shapes "
                           "depend on its classes; for a checkpoint trained on other classes")
    model = parser.add_argument_group("model")
    opts.add_model_options(model)
    model.add_argument("--batch-norm", choices=("train", "freeze"),
                       help="whether BatchNorm uses and updates the statistics of the batches or "
                            "keeps its stored ones (default: train from random weights, freeze "
                            "from pretrained ones)")
    _add_training_options(parser.add_argument_group("training"), _epochs_help(sample))
    return parser


def _epochs_help(sample: Sample) -> str:
    if sample.without_data is None:
        return str(sample.epochs)
    return f"{sample.epochs}; {sample.without_data.epochs} without --dataset"


def _add_training_options(group: opts.OptionGroup, epochs_help: str) -> None:
    group.add_argument("--epochs", type=opts.positive_integer, metavar="N",
                       help="total number of epochs, those before a run continues included "
                            f"(default: {epochs_help}; for a checkpoint that is not in a run's "
                            "folder, as many more)")
    group.add_argument("--layers", metavar="WHICH",
                       help="layers to train: heads, 5+, 4+, 3+, all, or a regular expression over "
                            "layer names (default: all; from pretrained weights the new layers, "
                            f"'heads', for the first {HEAD_SHARE:.0%}% of the epochs, then all)")
    group.add_argument("--learning-rate", type=opts.positive_number, metavar="RATE",
                       help="the highest learning rate, between warm-up and decay (default: the "
                            "configuration's LEARNING_RATE)")
    group.add_argument("--schedule", choices=SCHEDULES,
                       help="how the learning rate decays after its warm-up: along a cosine, by a "
                            "step to a tenth in the last fifth, or not at all and without a "
                            "warm-up (default: warmup_cosine)")
    group.add_argument("--augmentation", choices=AUGMENTATIONS,
                       help="random changes of the training images: 'flip' mirrors them, "
                            "'microscopy' also rotates, scales and shifts them and changes "
                            "brightness, color and sharpness (default: flip)")
    group.add_argument("--steps", type=opts.positive_integer, metavar="N",
                       help="batches in an epoch (default: every image once)")
    group.add_argument("--val-images", type=opts.positive_integer_or_all, metavar="N",
                       help="evaluate on the first N images of val only, or on 'all' (default)")
    group.add_argument("--seed", type=opts.whole_number, metavar="N",
                       help="seed of all random numbers (default: 0)")
    group.add_argument("--logs", default="logs", metavar="LOGS",
                       help="folder of all runs (default: logs)")


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn train",
         sample: Sample = ANY_FOLDER) -> int:
    """Runs the program for a Sample; returns its exit code."""
    return run(build_parser(prog, sample).parse_args(argv), sample)


# --- before Keras is loaded ---------------------------------------------------------------------


def run(options: argparse.Namespace, sample: Sample = ANY_FOLDER) -> int:
    """Trains and evaluates according to the options of `build_parser`; returns the exit code."""
    began = time.monotonic()
    start = _find_start(options, sample)
    stored = run_options.load(start.run_folder) if start.run_folder else None
    choices = run_options.choose(options, stored)
    _require_dataset(choices, stored, start, sample)
    sample = sample.chosen(choices.dataset)
    stored_plan = plan.load(start.run_folder) if start.run_folder else []
    stages = plan.make(start, stored_plan, sample.epochs, epochs=options.epochs,
                       layers=options.layers, new_head=options.new_head)
    folder = sample.folder(choices.dataset)
    train, val = (sample.load(folder, subset, skip_bad=choices.skip_bad)
                  for subset in ("train", "val"))
    check_same_classes(train.class_names, val, "The subset 'train'",
                       "Both annotation files must list the same categories.")
    if not options.new_head:
        check_classes(start, train, "Add --new-head to keep all other layers.")
    config = training_config(start, options, train.num_classes, sample)
    for dataset in (train, val):
        dataset.image_channels = config.IMAGE_CHANNEL_COUNT
        check_images(dataset, choices.dataset is not None, choices.skip_bad)
    starts.fetch(start, config)
    _print_changes(start, config, stored, choices, plan.plan_changes(stored_plan, stages))
    _introduce(folder, train, val, config, options.model, start, stages)
    model = _build(config, start, options, choices, stages)
    try:
        _train(model, train, val, config, choices, stages)
        _report(model, folder, train, val, config, choices.val_images, began)
    except KeyboardInterrupt:
        _print_stopped(model.last_checkpoint or (start.path if start.epoch else None))
        return 130
    return 0


def _find_start(options: argparse.Namespace, sample: Sample) -> Start:
    name = dict(options.settings).get("NAME", sample.chosen(options.dataset).config.NAME)
    start = starts.find(options.model, options.logs, name)
    if options.new_head:
        start.epoch = 0  # a new run, whatever the file's name says
    return start


def _require_dataset(choices: RunOptions, stored: RunOptions | None, start: Start,
                     sample: Sample) -> None:
    """Raises ConfigError where `--dataset` is missing and must not be replaced by a default."""
    if choices.dataset is not None or sample.data_help is None:
        return
    if start.run_folder is not None and stored is None:
        raise ConfigError(f"{start.run_folder} does not record what data {start.path} was trained "
                          "on; name them with --dataset DIR.")
    if sample.data_required:
        raise ConfigError("--dataset DIR is required: the folder of the images and their boxes.")


def _print_changes(start: Start, config: Config, stored: RunOptions | None, choices: RunOptions,
                   changes: dict[str, tuple[object, object]]) -> None:
    """Prints how a run that continues differs from what it was, a line for each option."""
    if start.run_folder is None or start.config is None:
        return
    if stored is None:
        print(f"options       not stored in {start.run_folder}; using augmentation "
              f"{choices.augmentation}, schedule {choices.schedule}, seed {choices.seed}")
    else:
        changes = {**changes, **run_options.option_changes(stored, choices)}
    for name, (old, new) in {**changes, **config_changes(start.config, config)}.items():
        print(f"{name:12}  {new} (was {old})")


def _introduce(folder: Any, train: Dataset, val: Dataset, config: Config, model: str,
               start: Start, stages: Sequence[plan.Stage]) -> None:
    """Prints what is about to happen."""
    print(f"data set      {folder}")
    print(f"  train       {describe(train)}")
    print(f"  val         {describe(val)}")
    print(f"  classes     {', '.join(train.class_names[1:])}")
    print(f"model         {config.BACKBONE} from {model}, images of "
          f"{config.IMAGE_MAX_DIM} pixels, {config.BATCH_SIZE} at once, {config.PRECISION}")
    if start.architecture and start.config is None:
        known = ", ".join(f"{name} {value}" for name, value in start.architecture.items())
        print(f"  from file   {known}; other settings are this program's")
    done = f" (the checkpoint has had {start.epoch})" if start.epoch else ""
    print(f"epochs        {start.epoch + 1} to {stages[-1].until}{done}")
    print(f"layers        {plan.describe(stages)}", flush=True)


# --- with Keras ---------------------------------------------------------------------------------


def _build(config: Config, start: Start, options: argparse.Namespace, choices: RunOptions,
           stages: Sequence[plan.Stage]) -> "MaskRCNN":
    """The MaskRCNN to train, with its initial weights and its run folder."""
    print(f"device        {', '.join(start_backend())}", flush=True)

    from frcnn.model.mask_rcnn import MaskRCNN
    from frcnn.training.layer_selection import layer_pattern

    model = MaskRCNN(mode="training", config=config, model_dir=options.logs, seed=choices.seed)
    for stage in stages:  # a mistake in --layers is reported now, not after the stages before it
        try:
            model.set_trainable(layer_pattern(stage.layers))
        except ValueError as error:
            raise ConfigError(str(error)) from error
    loaded = starts.load(model, start, options.new_head)
    if loaded is not None:
        print(f"weights       {loaded}")
    folder = model.make_log_dir()
    plan.save(stages, folder)
    run_options.save(choices, folder)
    print(f"log folder    {model.log_dir}", flush=True)
    return model


def _train(model: "MaskRCNN", train: Dataset, val: Dataset, config: Config, choices: RunOptions,
           stages: Sequence[plan.Stage]) -> None:
    augmentation = None if choices.augmentation == "none" else choices.augmentation
    for stage in stages:
        model.train(train, val, learning_rate=config.LEARNING_RATE, epochs=stage.until,
                    layers=stage.layers, augmentation=augmentation, schedule=choices.schedule,
                    schedule_start=stage.since, seed=choices.seed,
                    # A progress bar needs a terminal; a log file gets a line an epoch.
                    verbose=1 if sys.stdout.isatty() else 2)


def _report(model: "MaskRCNN", data: Any, train: Dataset, val: Dataset, config: Config,
            limit: int | None, began: float) -> None:
    """Evaluates the last checkpoint, writes the pictures, and prints where everything is."""
    from frcnn import evaluate
    from frcnn.cli import run_report

    assert model.last_checkpoint is not None
    folder, checkpoint = Path(model.log_dir), model.last_checkpoint
    run_report.draw_losses(model.history, folder / "losses.png")
    config = config.replaced(DETECTION_MIN_CONFIDENCE=EVALUATION_MIN_CONFIDENCE)
    run = run_report.describe_run(checkpoint, config, epoch=model.epoch, history=model.history,
                                  limit=limit, others={"train": train}, data=data)
    metrics = run_report.evaluate_checkpoint(checkpoint, config, val, folder, limit, run)
    print(f"\n{evaluate.format_table(metrics)}\n")
    print(f"figures       {folder / 'metrics.json'}")
    print(f"loss curves   {folder / 'losses.png'}")
    print(f"detections    {folder / 'detections.png'}")
    print(f"report        {folder / 'report.html'}")
    print(f"weights       {checkpoint}")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes in total; all files are in {folder}")


def _print_stopped(checkpoint: Any) -> None:
    print()
    if checkpoint is None:
        print("Stopped before the end of the first epoch: there is no checkpoint.")
    else:
        print(f"Stopped. The last checkpoint is {checkpoint}; continue from it with --model "
              f"{checkpoint}.")
