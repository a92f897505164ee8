"""The errors a person sees: each message names the thing that is wrong and says what to do."""


class FrcnnError(ValueError):
    """Base of this library's own errors; the programs print it as one line and exit with 2."""


class ConfigError(FrcnnError):
    """A setting of `Config` has a value outside the allowed ones."""


class DatasetError(FrcnnError):
    """A data set's folder, annotation file or class list cannot be used."""


class ImageError(FrcnnError):
    """An image file is unreadable, or of a kind that cannot be used."""


class CheckpointError(FrcnnError):
    """A weight file is truncated, foreign, or does not fit the model."""


class DetectionOnly(FrcnnError):
    """Training was asked for in a process that was told to detect only."""


class TrainingDiverged(FrcnnError):
    """The loss or the weights became infinite or no numbers; training has stopped."""
