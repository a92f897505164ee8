"""`frcnn train`: trains a detector on a data set, then evaluates it."""

import time
from pathlib import Path

from frcnn.cli import options as opts
from frcnn.cli import plan, starts
from frcnn.cli.datasets import check_images, check_same_classes, describe
from frcnn.cli.program import Parser, program
from frcnn.cli.sample import ANY_FOLDER, EVALUATION_MIN_CONFIDENCE, HEAD_SHARE
from frcnn.errors import ConfigError
from frcnn.startup import start_backend

SCHEDULES = ("warmup_cosine", "warmup_step", "constant")

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
The classes are those of the annotations. Everything that a run makes lies in one folder,
LOGS/frcnn<date>T<time>: a checkpoint for each epoch, the configuration as JSON, TensorBoard's logs,
and at the end report.html, metrics.json, losses.png and detections.png.
"""


def build_parser(prog="frcnn train", sample=ANY_FOLDER):
    """The command line's parser for a Sample."""
    parser = Parser(prog=prog, description=sample.description or DESCRIPTION, epilog=sample.epilog)
    data = parser.add_argument_group("data and weights")
    if sample.data_help is None:
        parser.set_defaults(dataset=None, skip_bad=False)
    else:
        data.add_argument("--dataset", metavar="DIR", help=sample.data_help,
                          required=sample.data_required)
        opts.add_skip_bad(data)
    data.add_argument("--model", default="none", metavar="WEIGHTS",
                      help="weights to begin with: 'none' (random, the default), 'imagenet' (the "
                           "backbone trained on photographs), 'coco' (a whole ResNet-101 detector "
                           "trained on photographs), 'last' (go on with the newest run in LOGS), "
                           "or the path of an .h5 file")
    data.add_argument("--new-head", action="store_true",
                      help="leave out the checkpoint's last layers, which know its classes; for a "
                           "checkpoint that was trained on other classes")
    model = parser.add_argument_group("model")
    opts.add_model_options(model)
    model.add_argument("--batch-norm", choices=("train", "freeze"),
                       help="whether BatchNorm follows the batches or keeps its stored statistics "
                            "(default: train from random weights, freeze from pretrained ones)")
    _add_training_options(parser.add_argument_group("training"), _epochs_help(sample))
    return parser


def _epochs_help(sample):
    if sample.without_data is None:
        return str(sample.epochs)
    return f"{sample.epochs}; {sample.without_data.epochs} without --dataset"


def _add_training_options(group, epochs_help):
    group.add_argument("--epochs", type=opts.positive_integer, metavar="N",
                       help="epochs in all, those of a run that goes on included (default: "
                            f"{epochs_help})")
    group.add_argument("--layers", metavar="WHICH",
                       help="layers to train: heads, 5+, 4+, 3+, all, or a regular expression over "
                            "layer names (default: all; from pretrained weights first heads, for a "
                            f"share of {HEAD_SHARE:.0%}% of the epochs, then all)")
    group.add_argument("--learning-rate", type=opts.positive_number, metavar="RATE",
                       help="the highest rate; it warms up to it and decays from it (default: the "
                            "configuration's LEARNING_RATE)")
    group.add_argument("--schedule", choices=SCHEDULES, default="warmup_cosine",
                       help="how the learning rate decays after its warm-up: along a cosine, by a "
                            "step to a tenth in the last fifth, or not at all and without a "
                            "warm-up (default: warmup_cosine)")
    group.add_argument("--augmentation", choices=("flip", "microscopy", "none"), default="flip",
                       help="how training images are varied: mirrored (flip, the default), or also "
                            "turned, scaled, shifted, and changed in light, colour and sharpness")
    group.add_argument("--steps", type=opts.positive_integer, metavar="N",
                       help="batches an epoch (default: every image once)")
    group.add_argument("--val-images", type=opts.positive_integer, metavar="N",
                       help="evaluate on the first N images of val only (default: all)")
    group.add_argument("--seed", type=opts.whole_number, default=0, metavar="N",
                       help="start of all random numbers (default: 0)")
    group.add_argument("--logs", default="logs", metavar="LOGS",
                       help="folder of all runs (default: logs)")


def _introduce(folder, train, val, config, options, stages):
    """Says what is about to happen, before the slow parts begin."""
    print(f"data set      {folder}")
    print(f"  train       {describe(train)}")
    print(f"  val         {describe(val)}")
    print(f"  classes     {', '.join(train.class_names[1:])}")
    print(f"model         {config.BACKBONE} from {options.model}, images of "
          f"{config.IMAGE_MAX_DIM} pixels, {config.BATCH_SIZE} at once, {config.PRECISION}")
    print(f"layers        {plan.describe(stages)}", flush=True)


def _build(config, start, options, stages):
    """The MaskRCNN to train, with the weights to begin with."""
    print(f"device        {', '.join(start_backend())}", flush=True)

    from frcnn.model.mask_rcnn import MaskRCNN
    from frcnn.training.layer_selection import layer_pattern

    model = MaskRCNN(mode="training", config=config, model_dir=options.logs, seed=options.seed)
    for stage in stages:  # a mistake in --layers shows now, not after the stages before it
        try:
            model.set_trainable(layer_pattern(stage.layers))
        except ValueError as error:
            raise ConfigError(str(error)) from error
    loaded = starts.load(model, start, options.new_head)
    if loaded is not None:
        print(f"weights       {loaded}")
    plan.save(stages, model.make_log_dir())
    print(f"log folder    {model.log_dir}", flush=True)
    return model


def _train(model, train, val, config, options, stages):
    augmentation = None if options.augmentation == "none" else options.augmentation
    for stage in stages:
        model.train(train, val, learning_rate=config.LEARNING_RATE, epochs=stage.until,
                    layers=stage.layers, augmentation=augmentation, schedule=options.schedule,
                    schedule_start=stage.since, seed=options.seed)


def _report(model, data, train, val, config, options, began):
    """Evaluates the last checkpoint, writes the pictures, and says where everything lies."""
    from frcnn import evaluate
    from frcnn.cli import run_report

    folder, checkpoint = Path(model.log_dir), model.last_checkpoint
    run_report.draw_losses(model.history, folder / "losses.png")
    config = config.replaced(DETECTION_MIN_CONFIDENCE=EVALUATION_MIN_CONFIDENCE)
    run = run_report.describe_run(checkpoint, config, epoch=model.epoch, history=model.history,
                                  limit=options.val_images, others={"train": train}, data=data)
    metrics = run_report.evaluate_checkpoint(checkpoint, config, val, folder, options.val_images,
                                             run)
    print(f"\n{evaluate.format_table(metrics)}\n")
    print(f"figures       {folder / 'metrics.json'}")
    print(f"loss curves   {folder / 'losses.png'}")
    print(f"detections    {folder / 'detections.png'}")
    print(f"report        {folder / 'report.html'}")
    print(f"weights       {checkpoint}")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes in all; everything lies in {folder}")


def _say_stopped(checkpoint):
    print()
    if checkpoint is None:
        print("Stopped before the first epoch had ended: there is no checkpoint.")
    else:
        print(f"Stopped. The last checkpoint is {checkpoint}; go on from it with --model "
              f"{checkpoint}.")


@program
def main(argv=None, prog="frcnn train", sample=ANY_FOLDER):
    """Runs the program for a Sample; returns its exit code."""
    return run(build_parser(prog, sample).parse_args(argv), sample)


def run(options, sample=ANY_FOLDER):
    """Trains and evaluates as the options of `build_parser` say; returns the exit code."""
    sample = sample.chosen(options.dataset)
    began = time.monotonic()
    name = dict(options.settings).get("NAME", sample.config.NAME)
    start = starts.find(options.model, options.logs, name)
    if options.new_head:
        start.epoch = 0  # a run of its own, whatever the file's name says
    stages = plan.make(options, start, sample.epochs)
    folder = sample.folder(options.dataset)
    train, val = (sample.load(folder, subset, skip_bad=options.skip_bad)
                  for subset in ("train", "val"))
    check_same_classes(train.class_names, val, "The subset 'train'",
                              "Both annotation files must list the same categories.")
    if not options.new_head:
        starts.check_classes(start, train, "Add --new-head to keep all other layers.")
    config = starts.training_config(start, options, train.num_classes, sample)
    for dataset in (train, val):
        dataset.image_channels = config.IMAGE_CHANNEL_COUNT
        check_images(dataset, options.dataset is not None, options.skip_bad)
    starts.fetch(start, config)
    _introduce(folder, train, val, config, options, stages)
    model = _build(config, start, options, stages)
    try:
        _train(model, train, val, config, options, stages)
        _report(model, folder, train, val, config, options, began)
    except KeyboardInterrupt:
        _say_stopped(model.last_checkpoint or (start.path if start.epoch else None))
        return 130
    return 0
