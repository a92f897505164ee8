"""`frcnn train`: trains a detector on a data set, then evaluates it."""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn import runs
from frcnn.cli import (
    devices,
    interrupted,
    outputs,
    plan,
    pretraining,
    ranges,
    recipes,
    run_options,
    starts,
    training_options,
)
from frcnn.cli import options as opts
from frcnn.cli.datasets import adapt, check_images, describe
from frcnn.cli.program import Parser, program
from frcnn.cli.run_options import RunOptions
from frcnn.cli.sample import ANY_FOLDER, EVALUATION_MIN_CONFIDENCE, Sample
from frcnn.cli.settings import channels_text, check_classes, config_changes, training_config
from frcnn.cli.starts import Start
from frcnn.config import Config
from frcnn.data.agreement import check_same_classes
from frcnn.data.dataset import Dataset
from frcnn.errors import ConfigError
from frcnn.files import expanded
from frcnn.startup import start_backend
from frcnn.training import determinism, distributed
from frcnn.training.state_files import place_of, usable_states

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
and at the end report.html, metrics.json, losses.png and detections.png. These are of the last
epoch; with --evaluate-every, of the one with the highest AP, whose checkpoint is copied to
best_mask_rcnn_frcnn.h5.

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
                           f"trained on photographs), {pretraining.help_text(sample)}'last' "
                           "(continue the newest run in LOGS), 'best' (continue it from its "
                           "checkpoint with the highest AP; see --evaluate-every), or the path of "
                           "an .h5 file, whose network is recognised")
    opts.add_trust(data)
    data.add_argument("--new-head", action="store_true",
                      help="start a new run without the checkpoint's output layers, whose shapes "
                           "depend on its classes; for a checkpoint trained on other classes")
    opts.add_range(data, "measured where all values fit into 14 bits, and said; else all of 16 "
                         "bits, or what the files state")
    model = parser.add_argument_group("model")
    recipes.add_option(model, _recipe_help(sample))
    opts.add_model_options(model)
    model.add_argument("--batch-norm", choices=("train", "freeze"),
                       help="whether BatchNorm uses and updates the statistics of the batches or "
                            "keeps its stored ones (default: train from random weights, freeze "
                            "from pretrained ones)")
    training_options.add(parser.add_argument_group("training"), _epochs_help(sample))
    devices.add_options(parser.add_argument_group("several devices"))
    training_options.add_evaluation(parser.add_argument_group("evaluation and checkpoints"))
    return parser


def _recipe_help(sample: Sample) -> str:
    if sample.without_data in (None, sample) or sample.without_data.recipe == sample.recipe:
        return sample.recipe
    return f"{sample.recipe}; {sample.without_data.recipe} without --dataset"


def _epochs_help(sample: Sample) -> str:
    if sample.without_data is None:
        return str(sample.epochs)
    return f"{sample.epochs}; {sample.without_data.epochs} without --dataset"


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn train",
         sample: Sample = ANY_FOLDER) -> int:
    """Runs the program for a Sample; returns its exit code."""
    return run(build_parser(prog, sample).parse_args(argv), sample)


# --- before Keras is loaded ---------------------------------------------------------------------


def run(options: argparse.Namespace, sample: Sample = ANY_FOLDER) -> int:
    """Trains and evaluates according to the options of `build_parser`; returns the exit code."""
    start = _find_start(options, sample)
    stored = run_options.load(start.run_folder) if start.run_folder else None
    choices = run_options.choose(options, stored)
    if choices.deterministic:
        determinism.prepare()
    with devices.job(options) as job:
        return _run(options, sample, job, start, stored, choices)


def _run(options: argparse.Namespace, sample: Sample, job: distributed.Job, start: Start,
         stored: RunOptions | None, choices: RunOptions) -> int:
    began = time.monotonic()
    recipes.check_start(options.recipe, start)
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
    recipe = recipes.RECIPES[options.recipe or sample.recipe]
    config, anchors = recipes.fitted(config, recipe, start, options, train)
    config, intensity = ranges.for_training(config, start, options, train)
    for dataset in (train, val):
        adapt(dataset, config)
        check_images(dataset, choices.dataset is not None, choices.skip_bad)
    starts.fetch(start, config)
    _print_changes(start, config, stored, choices, plan.plan_changes(stored_plan, stages))
    _introduce(folder, train, val, config, options.model, start, stages)
    for name, text in (("anchors", anchors), ("intensity", intensity),
                       ("channels", channels_text(config, options))):
        if text:
            print(f"{name:13} {text}", flush=True)
    if start.word == pretraining.WORD and sample.pretraining is not None:
        start.path = pretraining.ensure(sample.pretraining, config,
                                        partial(_check_layers, stages=stages))
    job.check_batch(config.IMAGES_PER_GPU, config.GPU_COUNT)
    model = _build(config, start, options, choices, stages)
    try:
        _train(model, train, val, config, choices, stages, resume=start.word == "last")
        if devices.finish(job):
            _report(model, folder, train, val, config, choices.val_images, began)
    except KeyboardInterrupt as interruption:
        return interrupted.stopped(interruption,
                                   model.last_checkpoint or (start.path if start.epoch else None))
    return 0


def _find_start(options: argparse.Namespace, sample: Sample) -> Start:
    name = dict(options.settings).get("NAME", sample.chosen(options.dataset).config.NAME)
    start = starts.find(options.model, options.logs, name,
                        options.trust or sample.config.custom_paths())
    if start.word == pretraining.WORD:
        pretraining.of_sample(sample, options.dataset)
    if options.new_head:
        start.epoch = 0  # a new run, whatever the file's name says
    elif start.word == "last" and start.run_folder is not None:
        states = usable_states(start.run_folder, start.epoch)
        if states:  # of its last epoch, if it was killed at the end of that
            start.epoch = min(start.epoch, place_of(states[0])[0])
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
    outputs.check_writable_as("--logs", expanded(options.logs), "run")
    print(f"device        {', '.join(start_backend(program=True))}", flush=True)
    if choices.deterministic:
        determinism.enable()

    from frcnn.model.mask_rcnn import MaskRCNN

    model = MaskRCNN(mode="training", config=config, model_dir=options.logs, seed=choices.seed)
    _check_layers(model, stages)  # now, not after the stages before a wrong one
    loaded = starts.load(model, start, options.new_head)
    if loaded is not None:
        print(f"weights       {loaded}")
    folder = model.make_log_dir()
    if distributed.current().is_main:
        plan.save(stages, folder)
        run_options.save(choices, folder)
    print(f"log folder    {model.log_dir}", flush=True)
    return model


def _check_layers(model: "MaskRCNN", stages: Sequence[plan.Stage]) -> None:
    """Raises ConfigError for a mistake in --layers."""
    from frcnn.training.layer_selection import layer_pattern

    for stage in stages:
        try:
            model.set_trainable(layer_pattern(stage.layers))
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _train(model: "MaskRCNN", train: Dataset, val: Dataset, config: Config, choices: RunOptions,
           stages: Sequence[plan.Stage], resume: bool) -> None:
    augmentation = None if choices.augmentation == "none" else choices.augmentation
    if resume:
        interrupted.print_state(model)
    for stage in stages:
        model.train(train, val, learning_rate=config.LEARNING_RATE, epochs=stage.until,
                    layers=stage.layers, augmentation=augmentation, schedule=choices.schedule,
                    schedule_start=stage.since, seed=choices.seed,
                    evaluate_every=choices.evaluate_every, evaluate_images=choices.val_images,
                    patience=choices.patience, keep=choices.keep,
                    save_every=choices.save_every, resume=resume,
                    # A progress bar needs a terminal; a log file gets a line an epoch.
                    verbose=1 if sys.stdout.isatty() else 2)
        resume = False  # the next stage begins where this one ends
        if model.has_stopped_early:
            print(f"stopped       after epoch {model.epoch} of {stages[-1].until}: no better AP in "
                  f"the last {choices.patience} evaluations", flush=True)
            break


def _report(model: "MaskRCNN", data: Any, train: Dataset, val: Dataset, config: Config,
            limit: int | None, began: float) -> None:
    """Evaluates the best or the last checkpoint, and writes and prints where everything is."""
    from frcnn import evaluate
    from frcnn.cli import run_report

    assert model.last_checkpoint is not None
    folder, checkpoint = Path(model.log_dir), model.best_checkpoint or model.last_checkpoint
    epoch = runs.epochs_done(checkpoint)
    with run_report.or_warning(folder / "losses.png") as path:
        run_report.draw_losses(model.history, path)
    config = config.replaced(DETECTION_MIN_CONFIDENCE=EVALUATION_MIN_CONFIDENCE)
    run = run_report.describe_run(checkpoint, config, epoch=epoch, history=model.history,
                                  limit=limit, others={"train": train}, data=data)
    metrics = run_report.evaluate_checkpoint(checkpoint, config, val, folder, limit, run)
    print(f"\n{evaluate.format_table(metrics)}\n")
    print(f"evaluated     epoch {epoch}, "
          + (f"the best of {model.epoch} by AP on val" if model.best_checkpoint else "the last"))
    run_report.print_files(folder, {
        "figures": "metrics.json", "loss curves": "losses.png", "detections": "detections.png",
        "report": "report.html"})
    print(f"weights       {checkpoint}")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes in total; all files are in {folder}")
