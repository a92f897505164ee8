"""The errors for a user: each message names what is wrong and says what to do."""

from typing import Any


class FrcnnError(ValueError):
    """Base of this library's own errors; the programs print one as a line and exit with 2."""


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


class DetectionOnly(FrcnnError):
    """Training was asked for in a process that was told to detect only."""


class TrainingDiverged(FrcnnError):
    """The loss or the weights became infinite or no numbers; training has stopped."""
