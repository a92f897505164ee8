"""`frcnn evaluate`: evaluates a checkpoint on a subset of a data set."""

import argparse
from collections.abc import Sequence

from frcnn.cli import options as opts
from frcnn.cli import starts
from frcnn.cli.datasets import check_images, describe
from frcnn.cli.program import Parser, program
from frcnn.cli.sample import ANY_FOLDER, EVALUATION_MIN_CONFIDENCE, Sample
from frcnn.cli.settings import check_classes, detection_config
from frcnn.files import expanded

DESCRIPTION = """\
Evaluates a trained detector on one subset of a data set by COCO's rules: AP, AP50, AP75, AP of
small, medium and large objects, AR, and AP50 of each class. They are printed as a table and written
to metrics.json; detections.png shows detections beside the ground truth, and report.html is a page
with all of it.
"""


def build_parser(prog: str = "frcnn evaluate", sample: Sample = ANY_FOLDER) -> Parser:
    """The command line's parser for a Sample."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("--dataset", metavar="DIR", help=sample.data_help,
                        required=sample.data_required)
    parser.add_argument("--subset", default="val", metavar="NAME",
                        help="the subset to evaluate on (default: val)")
    opts.add_skip_bad(parser)
    opts.add_checkpoint_options(parser)
    parser.add_argument("--min-confidence", type=opts.fraction, metavar="SCORE",
                        default=EVALUATION_MIN_CONFIDENCE,
                        help="ignore detections with a lower score; a high value cuts off the "
                             "precision-recall curves (default: "
                             f"{EVALUATION_MIN_CONFIDENCE})")
    parser.add_argument("--images", type=opts.positive_integer, metavar="N",
                        help="only the first N images (default: all)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for metrics.json, detections.png and report.html (default: "
                             "evaluate_<subset> beside the checkpoint)")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn evaluate",
         sample: Sample = ANY_FOLDER) -> int:
    """Runs the program for a Sample; returns its exit code."""
    return run(build_parser(prog, sample).parse_args(argv), sample)


def run(options: argparse.Namespace, sample: Sample = ANY_FOLDER) -> int:
    """Evaluates according to the options of `build_parser`; returns the exit code."""
    sample = sample.chosen(options.dataset)
    start = starts.find_trained(options.model, options.logs, options.config)
    assert start.path is not None
    config = detection_config(start, options, DETECTION_MIN_CONFIDENCE=options.min_confidence)
    data = sample.folder(options.dataset)
    dataset = sample.load(data, options.subset, skip_bad=options.skip_bad)
    dataset.image_channels = config.IMAGE_CHANNEL_COUNT
    check_classes(start, dataset, "Evaluate it on the data that it was trained for.")
    check_images(dataset, decode=options.dataset is not None, skip_bad=options.skip_bad)
    folder = expanded(options.output or start.path.parent / f"evaluate_{options.subset}")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"weights       {start.path}")
    print(f"data set      {describe(dataset)}", flush=True)

    from frcnn.cli import run_report
    from frcnn.evaluate import format_table
    from frcnn.report import read_history

    run = run_report.describe_run(
        start.path, config, epoch=start.epoch, history=read_history(start.path.parent),
        subset=options.subset, limit=options.images, data=data)
    metrics = run_report.evaluate_checkpoint(start.path, config, dataset, folder, options.images,
                                             run)
    print(f"\n{format_table(metrics)}\n")
    print(f"figures       {folder / 'metrics.json'}")
    print(f"detections    {folder / 'detections.png'}")
    print(f"report        {folder / 'report.html'}")
    return 0
