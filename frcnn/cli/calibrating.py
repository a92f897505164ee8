"""`frcnn count --calibrate`: what a detector's scores mean, measured on images with known objects.
"""

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

from frcnn.cli import options as opts
from frcnn.cli import outputs, ranges, run_options, starts, tiles
from frcnn.cli.datasets import adapt, check_images, describe
from frcnn.cli.program import Parser, shows_progress
from frcnn.cli.sample import ANY_FOLDER, EVALUATION_MIN_CONFIDENCE
from frcnn.cli.settings import check_classes, detection_config
from frcnn.data.dataset import Dataset
from frcnn.errors import ArgumentError, CalibrationError, DatasetError, FrcnnError, OutputError
from frcnn.evaluate.calibration_file import Calibration, calibration_path, score_settings
from frcnn.files import escaped, expanded, sha256_of

SUBSET = "val"
_FOR_COUNTING = ("samples", "images", "pixel_size", "depth", "field_area")
_OPTIONS = {"pixel_size": "--mpp"}


def add_options(parser: Parser) -> None:
    """Adds the options of the calibration."""
    group = parser.add_argument_group("calibration")
    group.add_argument("--calibrate", metavar="DATA",
                       help="measure what scores mean on this data set instead of counting; of "
                            "images that the detector was not trained on")
    group.add_argument("--subset", metavar="NAME",
                       help=f"its subset to calibrate on (default: {SUBSET})")
    group.add_argument("--calibration", metavar="FILE",
                       help="the calibration to write or to use (default: calibration_<name>.json "
                            "beside the weights)")
    opts.add_skip_bad(group)


def check_unused(options: argparse.Namespace) -> None:
    """Raises ArgumentError where an option of the calibration is given without `--calibrate`."""
    if options.subset is not None or options.skip_bad:
        option = "--skip-bad" if options.skip_bad else "--subset"
        raise ArgumentError(f"{option} is for calibration; give --calibrate DATA, too.")


def run(options: argparse.Namespace, prog: str) -> int:
    """Calibrates; returns the exit code."""
    if options.inputs:
        raise ArgumentError(f"--calibrate makes a calibration and does not count in "
                            f"{options.inputs[0]}; count with a second command.")
    for name in _FOR_COUNTING:
        if getattr(options, name) is not None:
            raise ArgumentError(f"{_OPTIONS.get(name, '--' + name.replace('_', '-'))} is for "
                                "counting; leave it out of --calibrate.")
    tiling = tiles.tiling_of(options, "--read-")
    start = starts.trained_of(options)
    assert start.path is not None
    assert start.config is not None
    least = EVALUATION_MIN_CONFIDENCE if options.min_confidence is None else options.min_confidence
    config = detection_config(start, options, DETECTION_MIN_CONFIDENCE=least)
    subset, data = options.subset or SUBSET, expanded(options.calibrate)
    dataset = ANY_FOLDER.load(data, subset, skip_bad=options.skip_bad)
    config = ranges.for_detection(config, options, dataset.image_files())
    adapt(dataset, config)
    check_classes(start, dataset, "Calibrate it on data with its classes.")
    check_images(dataset, True, options.skip_bad, tiles.large_size(tiling, options))
    seen = _trained_on(start.path, dataset)
    if seen:
        print(f"{prog}: the detector was trained on {seen} of these {dataset.num_images} images, "
              "on which it is better than on others, so that intervals will be too narrow; "
              "calibrate on images that it was not trained on.", flush=True)
    target = _target(options, start.path, [*outputs.files_of(start, options.config),
                                           *(info.get("path") for info in dataset.image_info),
                                           *data.glob("annotations/*")])
    print(f"weights       {start.path}")
    print(f"data set      {describe(dataset)}", flush=True)

    from frcnn.cli.run_report import inference_model
    from frcnn.evaluate import detect_dataset
    from frcnn.evaluate.counts import dataset_counts

    settings = score_settings(config)
    model: Any = inference_model(start.path, config, options.logs)
    if tiling:
        model = tiles.tiled_models(tiling, options)(model)
        settings.update(tiles.describe(tiling, options))
    found = detect_dataset(model, dataset, progress=shows_progress())
    made = Calibration(
        start.path.name, sha256_of(start.path), settings, list(dataset.class_names),
        config.DETECTION_MIN_CONFIDENCE, start.config.DETECTION_MIN_CONFIDENCE,
        f"{escaped(data)}, {subset}", dataset_counts(dataset, found))
    return _save(made, target, prog)


def _trained_on(checkpoint: Path, dataset: Dataset) -> int:
    """How many images are among those that a detector learned from, by the options of its run."""
    try:
        stored = run_options.load(checkpoint.parent)
        if stored is None or stored.dataset is None:
            return 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the training has said them
            trained = ANY_FOLDER.load(stored.dataset, "train", skip_bad=True)
    except (FrcnnError, OSError):  # no options, or the data have gone
        return 0
    known = {os.path.realpath(path) for path in trained.image_files()}
    return sum(os.path.realpath(path) in known for path in dataset.image_files())


def _target(options: argparse.Namespace, checkpoint: Path, inputs: list[Any]) -> Path:
    """The file to write, checked."""
    target = calibration_path(checkpoint)
    if options.calibration is not None:
        target = expanded(options.calibration)
        if target.exists() and not _is_calibration(target):
            raise OutputError(f"--calibration: {target} is there already and no calibration; name "
                              "another file, or delete it.")
    outputs.check_not_inputs("--calibration", [target], inputs)
    outputs.check_writable_as("--calibration", target.parent, target.name)
    return target


def _is_calibration(path: Path) -> bool:
    try:
        Calibration.load(path)
    except (CalibrationError, OSError):
        return False
    return True


def _save(made: Calibration, target: Path, prog: str) -> int:
    """Writes the calibration unless no class has one; says what each class has."""
    calibrations, notes = made.calibrations()
    if not any(calibrations):
        raise DatasetError(f"No class has enough objects: {notes[0]}")
    made.save(target)
    for name, calibration in zip(made.class_names[1:], calibrations):
        if calibration is not None:
            print(f"{escaped(name)}: {calibration.objects} objects, {calibration.found:.1%} of "
                  "them found")
    for note in notes:
        print(f"{prog}: {note} Until then, it is counted without intervals.")
    print(f"calibration   {target}")
    return int(bool(notes))
