"""Errors that a user can correct: each message names what is wrong and what to do about it."""

from typing import Any


class FrcnnError(ValueError):
    """Base class of this package's errors; the programs print the message and exit with code 2."""


class ConfigError(FrcnnError):
    """A setting of `Config` has a value that is not allowed, or there is no such setting."""


class DatasetError(FrcnnError):
    """A data set's folder, annotation file or class list cannot be used."""


class ImageError(FrcnnError):
    """An image file is unreadable, or of an unsupported kind."""


class CheckpointError(FrcnnError):
    """A weight file is truncated, of another kind, or does not fit the model.

    Attributes:
        report: the `LoadReport` if the file does not fit the model, else None.
    """

    report: Any = None


class DetectionOnlyError(FrcnnError):
    """Training was requested in a process that called `frcnn.startup.detection_only`."""


class TrainingDivergedError(FrcnnError):
    """The loss or a weight became NaN or infinite; training has stopped."""
