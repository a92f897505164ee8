"""`frcnn evaluate`: evaluates a checkpoint on a subset of a data set."""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from frcnn.cli import options as opts
from frcnn.cli import outputs, ranges, starts, tiles
from frcnn.cli.datasets import adapt, check_images, describe
from frcnn.cli.program import Parser, program
from frcnn.cli.sample import ANY_FOLDER, EVALUATION_MIN_CONFIDENCE, Sample
from frcnn.cli.settings import check_classes, detection_config
from frcnn.data.dataset import Dataset
from frcnn.files import expanded

FILES = {"figures": "metrics.json", "detections": "detections.png", "report": "report.html"}

DESCRIPTION = """\
Evaluates a trained detector on one subset of a data set by COCO's rules: AP, AP50, AP75, AP of
small, medium and large objects, AR, and AP50 of each class; and how well the numbers of objects in
each image agree with the true ones. They are printed as tables and written to metrics.json;
detections.png shows detections beside the ground truth, and report.html is a page with all of it.

exit code: 0 all done, 1 a picture or the report could not be written, 2 an error ended it.
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
    opts.add_range(parser, "the checkpoint's")
    parser.add_argument("--images", type=opts.positive_integer, metavar="N",
                        help="only the first N images (default: all)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for metrics.json, detections.png and report.html (default: "
                             "evaluate_<subset> beside the checkpoint)")
    tiles.add_options(parser)
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn evaluate",
         sample: Sample = ANY_FOLDER) -> int:
    """Runs the program for a Sample; returns its exit code."""
    return run(build_parser(prog, sample).parse_args(argv), sample)


def run(options: argparse.Namespace, sample: Sample = ANY_FOLDER) -> int:
    """Evaluates according to the options of `build_parser`; returns the exit code."""
    tiling = tiles.tiling_of(options)
    sample = sample.chosen(options.dataset)
    start = starts.trained_of(options, sample.config.custom_paths())
    assert start.path is not None
    config = detection_config(start, options, DETECTION_MIN_CONFIDENCE=options.min_confidence)
    data = sample.folder(options.dataset)
    dataset = sample.load(data, options.subset, skip_bad=options.skip_bad)
    config = ranges.for_detection(config, options, dataset.image_files())
    adapt(dataset, config)
    check_classes(start, dataset, "Evaluate it on the data that it was trained for.")
    check_images(dataset, options.dataset is not None, options.skip_bad,
                 tiles.large_size(tiling, options))
    folder = expanded(options.output or start.path.parent / f"evaluate_{options.subset}")
    _check_output(folder, [*outputs.files_of(start, options.config), *_files_of(dataset, data)])
    outputs.check_no_folder_of("--output", folder,
                               (info.get("path") for info in dataset.image_info))
    print(f"weights       {start.path}")
    print(f"data set      {describe(dataset)}", flush=True)

    from frcnn.cli import run_report
    from frcnn.evaluate import format_counts, format_table
    from frcnn.report import read_history

    run = run_report.describe_run(
        start.path, config, epoch=start.epoch, history=read_history(start.path.parent),
        subset=options.subset, limit=options.images, data=data)
    metrics = run_report.evaluate_checkpoint(
        start.path, config, dataset, folder, options.images, run,
        tiles.tiled_models(tiling, options) if tiling else None)
    print(f"\n{format_table(metrics)}\n\n{format_counts(metrics['counts'])}\n")
    return int(not run_report.print_files(folder, FILES))


def _check_output(folder: Path, inputs: Iterable[Any]) -> None:
    """Raises an error if the files cannot be written, or would replace an input."""
    outputs.check_not_inputs("--output", [folder / name for name in FILES.values()], inputs)
    outputs.check_writable_as("--output", folder, "metrics.json")


def _files_of(dataset: Dataset, folder: Any) -> Iterator[Any]:
    """The files that a data set is read from."""
    yield from (info.get("path") for info in dataset.image_info)
    if isinstance(folder, (str, os.PathLike)):
        yield from Path(folder).glob("annotations/*")
