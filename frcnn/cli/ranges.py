"""`--range`: the intensity range of a training, of a detection, of a data set that is checked."""

import argparse
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.intensity import IntensityRange, as_range, describe_range
from frcnn.data.measure import AUTO, MeasuredRange, measure_files
from frcnn.errors import ArgumentError

if TYPE_CHECKING:
    from frcnn.cli.starts import Start

SETTING = "IMAGE_INTENSITY_RANGE"


def for_training(config: Config, start: "Start", options: argparse.Namespace, dataset: Dataset
                 ) -> tuple[Config, str | None]:
    """The Config with the range to train with, and a line that says it, or None.

    Without the option a new run takes the range that the training images suggest, where rounding
    it up to a camera's bits is enough; a run that continues keeps its own.

    Args:
        config: Config.
        start: the initial weights.
        options: of `frcnn train`.
        dataset: the training data.

    Raises:
        ArgumentError: `--range` and `--set` give two ranges.
    """
    if options.intensity_range is not None:
        if SETTING in dict(options.settings):
            raise ArgumentError(f"--range and --set {SETTING}=… set the same; give one of them.")
        limits, text = _chosen(options.intensity_range, dataset.image_files(), config)
        return (config.replaced(**{SETTING: limits}) if limits else config), text
    if start.run_folder is not None or SETTING in dict(options.settings) \
            or config.IMAGE_INTENSITY_RANGE is not None or dataset.intensity_range is not None:
        return config, None
    measured = measure_files(dataset.image_files(), AUTO, config.IMAGE_CHANNEL_COUNT)
    if measured.limits is None:
        return config, None
    return config.replaced(**{SETTING: measured.limits}), (
        f"{measured}; stored with the checkpoint; --range LOW HIGH changes it")


def for_detection(config: Config, options: argparse.Namespace,
                  paths: Sequence[str | PathLike[str]] | None) -> Config:
    """The Config with the range to detect with; prints it where it is not the checkpoint's.

    Args:
        config: of the checkpoint.
        options: of the program.
        paths: the images; None where they cannot be measured.

    Raises:
        ArgumentError: the range is to be measured, and there is nothing to measure.
    """
    wanted = options.intensity_range
    if wanted is None:
        return config
    if isinstance(wanted, str) and paths is None:
        raise ArgumentError(f"--range {wanted} measures image files on this machine before it "
                            "begins; here, give --range LOW HIGH.")
    limits, text = _chosen(wanted, paths or (), config)
    if limits is None:
        return config
    before = as_range(config.IMAGE_INTENSITY_RANGE)
    if limits != before:
        print(f"intensity     {text}, instead of the checkpoint's, {describe_range(before)}",
              flush=True)
    return config.replaced(**{SETTING: limits})


def of_data(wanted: IntensityRange | str | None, dataset: Dataset) -> MeasuredRange | None:
    """Has a data set read its images by the range that is wanted, or that `frcnn train` would take.

    Args:
        wanted: the option's value; None: as a training without it.
        dataset: whose `intensity_range` is set.

    Returns:
        What was measured; None without a measurement, and where it found nothing to declare.
    """
    if wanted is not None and not isinstance(wanted, str):
        dataset.intensity_range = wanted
        return None
    if wanted is None and dataset.intensity_range is not None:
        return None
    measured = dataset.measure_intensity_range(wanted or AUTO)
    return measured if measured.limits is not None else None


def _chosen(wanted: IntensityRange | str, paths: Sequence[str | PathLike[str]], config: Config
            ) -> tuple[IntensityRange | None, str | None]:
    """The range that the option gives, and a text on it; None and a warning without any."""
    if not isinstance(wanted, str):
        return wanted, f"range {describe_range(wanted)}"
    measured = measure_files(paths, wanted, config.IMAGE_CHANNEL_COUNT)
    if measured.limits is None:
        warnings.warn(f"--range {wanted} measured nothing: {measured}.", stacklevel=3)
        return None, None
    return measured.limits, str(measured)
