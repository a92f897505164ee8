"""Which classes a model's head was trained on, and whether a data set numbers them alike."""

from collections.abc import Sequence
from pathlib import Path

from frcnn import runs
from frcnn.data.agreement import check_same_classes
from frcnn.data.dataset import Dataset
from frcnn.errors import CheckpointError
from frcnn.weights.checkpoint import LoadReport

HEAD_LAYER = "mrcnn_class_logits"  # its units are the classes


def stored_class_names(path: str | Path, report: LoadReport) -> list[str] | None:
    """The class names of the JSON beside a checkpoint whose head was loaded; None if unknown."""
    if HEAD_LAYER not in report.loaded:
        return None
    try:
        return runs.load_metadata(path).class_names
    except (CheckpointError, FileNotFoundError):  # weights alone can be loaded, too
        return None


def check_trained_classes(names: Sequence[str] | None, dataset: Dataset) -> None:
    """Raises DatasetError where the loaded head was trained on other classes than a data set's."""
    if names is not None:
        check_same_classes(names[:dataset.num_classes], dataset, "The loaded checkpoint",
                           "Train it on data with its classes, in their order, or load it without "
                           f"its output layers: load_weights(path, exclude=[\"{HEAD_LAYER}\", …]).")
