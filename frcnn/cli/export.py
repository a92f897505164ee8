"""`frcnn export`: a trained detector as a file for another engine, verified there."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frcnn.arrays import Image
from frcnn.cli import options as opts
from frcnn.cli import outputs, run_options, starts
from frcnn.cli.datasets import adapt
from frcnn.cli.program import Parser, program
from frcnn.cli.results import find_images
from frcnn.cli.sample import ANY_FOLDER
from frcnn.cli.settings import check_classes, detection_config
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.image_io import read_image
from frcnn.data.intensity import Intensity
from frcnn.errors import ArgumentError, FrcnnError
from frcnn.files import expanded
from frcnn.runtime.metadata import FORMATS
from frcnn.runtime.places import ENDINGS, check_target, files_at

DESCRIPTION = """\
Writes a trained detector as a file that runs without Keras, and verifies it: the file is run by its
engine in a new process, and must detect what the checkpoint detects.

formats:
  savedmodel  a folder for TensorFlow and TensorFlow Serving, with the signatures molded,
              serving_default (uint8 images) and encoded (JPEG or PNG bytes)
  onnx        a file for ONNX Runtime, Triton and others
  openvino    two files, .xml and .bin, for OpenVINO; the fastest on Intel processors
  litert      a file for LiteRT, on phones and tablets: one image at a time, of one molded size

'frcnn detect --model FILE', 'frcnn evaluate --model FILE' and frcnn.runtime.Detector read them.
"""

MOST_IMAGES = 8  # to compare detections on


def build_parser(prog: str = "frcnn export") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    opts.add_trained_options(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, metavar="FORMAT",
                        help=", ".join(FORMATS))
    parser.add_argument("--output", metavar="PATH",
                        help="the file, or the SavedModel's folder (default: beside the weights, "
                             "with their name)")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32",
                        help="arithmetic of the convolutions; int8 is for openvino, needs "
                             "--calibrate, and makes the file a quarter as large (default: "
                             "float32)")
    parser.add_argument("--calibrate", metavar="DIR",
                        help="data set for int8, of images like those that will come: their ranges "
                             "are taken from its subset train, AP is measured on val before and "
                             "after")
    parser.add_argument("--calibration-images", type=opts.positive_integer, default=64,
                        metavar="N", help="how many images of train (default: 64)")
    parser.add_argument("--evaluation-images", type=opts.positive_integer, default=100,
                        metavar="N", help="how many images of val (default: 100)")
    parser.add_argument("--max-ap-drop", type=opts.fraction, default=0.01, metavar="AP",
                        help="refuse int8 if AP, from 0 to 1, is lower by more (default: 0.01)")
    parser.add_argument("--image-in-graph", action="store_true",
                        help="onnx only: the graph takes images as they are, and gives boxes in "
                             "their pixels")
    parser.add_argument("--images", nargs="+", metavar="IMAGE",
                        help="images, folders or patterns to compare the detections on, of which "
                             f"the first {MOST_IMAGES} are taken (default: some of the run's own "
                             "val, or drawn ones)")
    parser.add_argument("--size", nargs=2, type=opts.positive_integer,
                        metavar=("HEIGHT", "WIDTH"),
                        help="the molded size of a LiteRT file, multiples of 64 (default: a square "
                             "of IMAGE_MAX_DIM); of no use in the resize mode 'square'")
    parser.add_argument("--min-confidence", type=opts.fraction, metavar="SCORE",
                        help="lowest score of a detection in the file (default: the "
                             "configuration's DETECTION_MIN_CONFIDENCE)")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn export") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Exports according to the options of `build_parser`; returns the exit code."""
    start = starts.find_trained(options.model, options.logs, options.config, options.trust)
    assert start.path is not None
    settings: dict[str, Any] = {"PRECISION": "float32"}
    if options.min_confidence is not None:
        settings["DETECTION_MIN_CONFIDENCE"] = options.min_confidence
    config = detection_config(start, options, **settings)
    target = check_target(options.format, options.output or _beside(start.path, options.format))
    paths = _named_images(options.images)
    data = _calibration_data(options, start, config)
    outputs.check_not_inputs("--output", files_at(options.format, target), [
        *outputs.files_of(start, options.config), *paths, *_files_of_data(data)])
    outputs.check_writable_as("--output", target.parent, target.name)
    images = _read_images(paths, config) if paths else _images_of_run(start.path.parent, config)
    print(f"weights       {start.path}", flush=True)

    from frcnn.cli.run_report import checkpoint_model

    model = checkpoint_model(start.path, config, options.logs)

    from frcnn.export import Calibration, export  # after Keras, of which nothing is printed there
    from frcnn.export.api import shape_for
    from frcnn.export.images import images_of_shape

    size = tuple(options.size) if options.size else None
    if images is not None and not paths:  # nobody has chosen them
        images = images_of_shape(images, shape_for(options.format, config, size), config) or None
    exported = export(
        model.keras_model, config, options.format, target, class_names=starts.class_names(start),
        source_class_ids=start.category_ids, shape=size,
        image_in_graph=options.image_in_graph, images=images, checkpoint=start.path,
        calibration=Calibration(*data, options.max_ap_drop) if data else None,
        say=lambda text: print(f"{text} …", flush=True))
    for line in exported.lines():
        print(line)
    return 0


def _calibration_data(options: argparse.Namespace, start: starts.Start, config: Config,
                      ) -> tuple[Dataset, list[int], Dataset, list[int]] | None:
    """The data sets, and image ids, that 8-bit ranges and AP are measured on; None without."""
    if (options.precision == "int8") != (options.calibrate is not None):
        raise ArgumentError("--precision int8 and --calibrate DIR belong together: ranges are "
                            "measured on images of yours.")
    if options.calibrate is None:
        return None
    found: list[Any] = []
    for subset, count in (("train", options.calibration_images),
                          ("val", options.evaluation_images)):
        dataset = ANY_FOLDER.load(expanded(options.calibrate), subset)
        adapt(dataset, config)
        check_classes(start, dataset, "Calibrate on the data that it was trained for.")
        found += [dataset, _spread(dataset, count)]
    train, train_ids, val, val_ids = found
    return train, train_ids, val, val_ids


def _files_of_data(data: tuple[Dataset, list[int], Dataset, list[int]] | None) -> list[Any]:
    """The image files of the data sets for 8 bits."""
    if data is None:
        return []
    return [*data[0].image_files(), *data[2].image_files()]


def _spread(dataset: Dataset, count: int) -> list[int]:
    """Ids of so many images, evenly spread over the data set."""
    ids = [int(image_id) for image_id in dataset.image_ids]
    places = np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)
    return [ids[place] for place in places]


def _beside(weights: Path, format: str) -> Path:
    if format == "savedmodel":
        return weights.with_name(f"{weights.stem}_savedmodel")
    return weights.with_suffix(ENDINGS[format])


def _named_images(inputs: Sequence[str] | None) -> list[Path]:
    """The images of `--images`, all of them; empty without the option."""
    if inputs is None:
        return []
    paths = find_images([str(expanded(path)) for path in inputs])
    if not paths:
        raise ArgumentError("--images: there is no image.")
    return paths


def _read_images(paths: Sequence[Path], config: Config) -> list[Image]:
    """The first MOST_IMAGES images, to compare on."""
    intensity = Intensity(config.IMAGE_INTENSITY_RANGE)
    return [read_image(path, config.IMAGE_CHANNEL_COUNT, intensity)
            for path in paths[:MOST_IMAGES]]


def _images_of_run(run: Path, config: Config) -> list[Image] | None:
    """Images of the subset val of the data set that a run was trained on, if it is there."""
    try:
        stored = run_options.load(run)
        if stored is None or stored.dataset is None:
            return None
        dataset = ANY_FOLDER.load(stored.dataset, "val", skip_bad=True)
        adapt(dataset, config)
        return [dataset.load_image(image_id) for image_id in _spread(dataset, MOST_IMAGES)]
    except (FrcnnError, OSError):
        return None
