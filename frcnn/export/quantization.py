"""8-bit convolutions for OpenVINO: calibrated on images, judged by AP."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frcnn.arrays import Array
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.errors import ExportError
from frcnn.evaluate.coco import evaluate_detections
from frcnn.evaluate.detector import detect_dataset
from frcnn.export.graph import IMAGE, WINDOW
from frcnn.inference.transform import check_image, mold_inputs
from frcnn.runtime.detector import Detector

# Layers that decide which boxes there are, and how high their scores are: the pyramid and the RPN's
# outputs stay in float32, as all that follows them but the head's two large layers. On BCCD, the
# pyramid alone brought back nine tenths of the AP that 8 bits cost (benchmarks/RESULTS.md).
_FLOAT_LAYERS = ("rpn_class_raw", "rpn_bbox_pred", "fpn_")
_HEAD_LAYERS = ("mrcnn_class_conv1", "mrcnn_class_conv2")


@dataclass(frozen=True)
class Calibration:
    """The images that 8-bit ranges are measured on, and those that AP is measured on.

    Attributes:
        dataset: a prepared Dataset, with images like those that will come: in their shapes, too.
        image_ids: those of it that are used, a few dozen.
        judged: a prepared Dataset with the detector's classes.
        judged_ids: those of it that AP is measured on.
        max_ap_drop: how much AP may be lost, 0 to 1.
    """

    dataset: Dataset
    image_ids: Sequence[int]
    judged: Dataset
    judged_ids: Sequence[int]
    max_ap_drop: float = 0.01


def quantized(model: Any, config: Config, calibration: Calibration) -> Any:
    """The `openvino.Model` with convolutions and the head's large layers in 8 bits.

    Source: Jacob et al. 2018 (Quantization and Training of Neural Networks), section 2; ranges and
    bias correction are NNCF's.

    Args:
        model: of `to_openvino`; it stays as it is.
        config: Config of its molding.
        calibration: Calibration.
    """
    import nncf

    with _quiet():
        # One by one, since images have shapes of their own.
        inputs = nncf.Dataset(list(calibration.image_ids),
                              lambda image_id: _inputs(calibration.dataset, image_id, config))
        return nncf.quantize(
            model, inputs, subset_size=len(calibration.image_ids),
            ignored_scope=nncf.IgnoredScope(names=float_operations(model), validate=False))


def float_operations(model: Any) -> list[str]:
    """Names of the operations that stay in float32.

    In 8 bits are what leads to the convolutions, but not the pyramid's, the RPN's last ones and the
    backbone's second one of more than 1 x 1, and the head's large layers. That one, in the first
    block after the stem, cost a detector 0.09 AP by itself (benchmarks/RESULTS.md).
    """
    operations = model.get_ordered_ops()
    convolutions = [operation for operation in operations
                    if operation.get_type_name() in ("Convolution", "GroupConvolution")]
    in_float = [operation for operation in convolutions if _is_of(operation, _FLOAT_LAYERS)]
    in_float += [operation for operation in convolutions if _is_spatial(operation)][1:2]
    in_8_bits = _with_ancestors([operation for operation in convolutions
                                 if operation not in in_float])
    # The pyramid leads to the RPN's first convolution, which is in 8 bits.
    in_8_bits -= {operation.get_friendly_name() for operation in in_float}
    in_8_bits |= {operation.get_friendly_name() for operation in operations
                  if operation.get_type_name() == "MatMul" and _is_of(operation, _HEAD_LAYERS)}
    return [name for operation in operations
            if (name := operation.get_friendly_name()) not in in_8_bits]


def average_precision(path: Path, calibration: Calibration) -> float:
    """COCO's AP of an exported file on the judged images, from 0 to 1."""
    detector = Detector(path)
    found = detect_dataset(detector, calibration.judged, calibration.judged_ids, progress=False)
    with warnings.catch_warnings():  # of a high threshold, which both files have
        warnings.simplefilter("ignore", UserWarning)
        metrics = evaluate_detections(
            calibration.judged, found, calibration.judged_ids,
            min(100, detector.config.DETECTION_MAX_INSTANCES),
            score_threshold=detector.config.DETECTION_MIN_CONFIDENCE)
    return float(metrics["AP"])


def check_drop(before: float, after: float, calibration: Calibration) -> None:
    """Raises ExportError if more AP is lost than allowed."""
    if not before - after <= calibration.max_ap_drop:  # also where one is NaN
        raise ExportError(
            f"In 8 bits AP is {after:.4f}, in float32 {before:.4f}, on "
            f"{len(calibration.judged_ids)} images: that is more than {calibration.max_ap_drop:g} "
            "lower. Calibrate on more images like those that will come, allow more with "
            "--max-ap-drop, or export float32.")


def _inputs(dataset: Dataset, image_id: int, config: Config) -> dict[str, Array]:
    image = check_image(dataset.load_image(image_id), image_id, config)
    (molded,), _, (window,) = mold_inputs([image], config)
    return {IMAGE: molded[None], WINDOW: np.array([window], np.float32)}


def _is_of(operation: Any, layers: Sequence[str]) -> bool:
    return any(layer in operation.get_friendly_name() for layer in layers)


def _is_spatial(convolution: Any) -> bool:
    """Whether the kernel, whose last axes are height and width, has more than one pixel."""
    height, width = list(convolution.input_value(1).get_shape())[-2:]
    return bool(height * width > 1)


def _with_ancestors(operations: Sequence[Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(operations)
    while waiting:
        operation = waiting.pop()
        if operation.get_friendly_name() not in found:
            found.add(operation.get_friendly_name())
            waiting += [value.get_node() for value in operation.input_values()]
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF lists thousands of operations and draws progress bars."""
    logger = logging.getLogger("nncf")
    level = logger.level
    # Not nncf.set_log_level, which also changes handlers that others have added to the logger.
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
