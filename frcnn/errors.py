"""Errors that a user can correct: each message names what is wrong and what to do about it."""

from typing import Any


class FrcnnError(ValueError):
    """Base class of this package's errors; the programs print the message and exit with code 2."""


class ArgumentError(FrcnnError):
    """An argument of a function has a value that is not allowed."""


class UnknownImageError(ArgumentError, KeyError):
    """There is no image of that id in the data set."""

    __str__ = Exception.__str__  # that of a KeyError quotes the message


class LeftOutError(FrcnnError):
    """The reference has it, this package has not; the message says what to write instead."""


class NoMasksError(LeftOutError, KeyError):
    """Masks were asked for; the message says what to write instead."""

    __str__ = Exception.__str__


class ConfigError(FrcnnError):
    """A setting of `Config` has a value that is not allowed, or there is no such setting."""


class DatasetError(FrcnnError):
    """A data set's folder, annotation file or class list cannot be used."""


class ImageError(FrcnnError):
    """An image file is unreadable, or of an unsupported kind.

    Attributes:
        reason: "format" if it is no image of a known format, "size" if it has more pixels than are
            decoded, "range" if values of more than 8 bits do not fit their range or it is not
            known; empty for any other.
    """

    def __init__(self, message: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class SeveralPagesError(ImageError):
    """An image file has several pages, which may be channels, a stack or a film."""


class CheckpointError(FrcnnError):
    """A weight file is truncated, of another kind, or does not fit the model.

    Attributes:
        report: the `LoadReport` if the file does not fit the model, else None.
    """

    report: Any = None


class CalibrationError(FrcnnError):
    """A calibration of counts is damaged, or belongs to other weights, settings or classes."""


class ExportError(FrcnnError):
    """A detector cannot be exported as asked for, or an exported file cannot be used."""


class MissingExtraError(FrcnnError):
    """A library that only some users need is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} need libraries that are not installed: pip install '
                         f'"frcnn[{extra}]" brings them.')


class MigrationError(FrcnnError):
    """A script or notebook cannot be read, so that it is not changed."""


class OutputError(FrcnnError):
    """A file or folder cannot be written to, or is one of the inputs."""


class BackendError(FrcnnError):
    """Keras, its backend or the process has a state in which nothing can be computed correctly."""


class PickleError(FrcnnError, TypeError):
    """An object cannot be pickled; the message says what to do instead."""


class DetectionOnlyError(FrcnnError):
    """Training, or another use of Keras, in a process that called `startup.detection_only`."""


class TrainingDivergedError(FrcnnError):
    """The loss or a weight became NaN or infinite; training has stopped."""
