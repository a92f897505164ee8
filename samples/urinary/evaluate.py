"""Evaluates a checkpoint on a subset of a data set.

    python samples/urinary/evaluate.py --model last --dataset DIR --subset val
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from frcnn.startup import detection_only
from samples.urinary import common, starts
from samples.urinary.config import EVALUATION_MIN_CONFIDENCE

DESCRIPTION = """\
COCO evaluation of a trained detector on one subset of a data set: AP, AP50, AP75, AP of small,
medium and large objects, AR, and AP50 of each class, as a table and in metrics.json, with a PNG of
detections beside the truth, and with report.html, a page on all of it.
"""


def build_parser():
    """The command line's parser."""
    parser = common.Parser(prog="evaluate.py", description=DESCRIPTION)
    parser.add_argument("--dataset", metavar="DIR",
                        help="data set in COCO's or Pascal VOC's layout (default: synthetic "
                             "micrographs)")
    parser.add_argument("--subset", default="val", metavar="NAME",
                        help="which of its subsets (default: val)")
    common.add_skip_bad(parser)
    common.add_checkpoint_options(parser)
    parser.add_argument("--min-confidence", type=common.fraction, metavar="SCORE",
                        default=EVALUATION_MIN_CONFIDENCE,
                        help="detections with a lower score do not count; a high one cuts the "
                             f"curves off (default: {EVALUATION_MIN_CONFIDENCE})")
    parser.add_argument("--images", type=common.positive_integer, metavar="N",
                        help="only the first N images (default: all)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for metrics.json, detections.png and report.html (default: "
                             "evaluate_<subset> beside the checkpoint)")
    return parser


@common.program
def main(argv=None):
    """Runs the program; returns its exit code."""
    options = build_parser().parse_args(argv)
    start = starts.find_trained(options.model, options.logs, options.config)
    config = starts.detection_config(start, options,
                                     DETECTION_MIN_CONFIDENCE=options.min_confidence)
    data = common.dataset_folder(options.dataset)
    dataset = common.load_subset(data, options.subset, options.skip_bad)
    dataset.image_channels = config.IMAGE_CHANNEL_COUNT
    starts.check_classes(start, dataset, "Evaluate it on the data that it was trained for.")
    common.check_images(dataset, decode=options.dataset is not None, skip_bad=options.skip_bad)
    folder = Path(options.output or start.path.parent / f"evaluate_{options.subset}")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"weights       {start.path}")
    print(f"data set      {common.describe(dataset)}", flush=True)

    from samples.urinary import report

    run = report.describe_run(
        start.path, config, epoch=start.epoch, history=report.read_history(start.path.parent),
        subset=options.subset, limit=options.images, data=data)
    metrics = report.evaluate_checkpoint(start.path, config, dataset, folder, options.images, run)
    print(f"\n{report.evaluate.format_table(metrics)}\n")
    print(f"figures       {folder / 'metrics.json'}")
    print(f"detections    {folder / 'detections.png'}")
    print(f"report        {folder / 'report.html'}")
    return 0


if __name__ == "__main__":
    detection_only()
    sys.exit(main())
