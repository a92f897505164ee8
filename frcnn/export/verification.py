"""Whether an exported file detects what the model detects: it runs in a process of its own."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frcnn.arrays import Array, BoolArray, DetectionResult, Image
from frcnn.errors import ExportError

# Pixels, and scores, by which float32 may differ between engines.
BOX_TOLERANCE, SCORE_TOLERANCE = 0.01, 1e-4


@dataclass(frozen=True)
class Comparison:
    """Detections of a file beside those of the model.

    Attributes:
        images: how many were compared.
        detections: how many the model has found in them.
        box_difference: the largest, in pixels.
        score_difference: the largest.
        unmatched: one line for each image whose detections differ.
    """

    images: int
    detections: int
    box_difference: float
    score_difference: float
    unmatched: tuple[str, ...] = ()


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Has TensorFlow compute float32 as such inside the block.

    On NVIDIA's GPUs it takes TF32 otherwise, of 10 bits of mantissa, which differs from float32 by
    more than the tolerances.
    """
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def detect_in_new_process(path: Path, images: Sequence[Image]) -> list[dict[str, Array]]:
    """The results of `frcnn.runtime.Detector` in a new process, computed in float32, not TF32.

    Raises:
        ExportError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        arrays, results = Path(folder) / "images.npz", Path(folder) / "results.npz"
        save: Any = np.savez  # its types do not allow for arrays by name
        save(arrays, **{str(number): image for number, image in enumerate(images)})
        done = subprocess.run(
            [sys.executable, "-m", "frcnn.runtime.once", str(path), str(arrays), str(results)],
            capture_output=True, text=True, errors="replace",
            env={**os.environ, "NVIDIA_TF32_OVERRIDE": "0"})  # of a SavedModel, on a GPU
        if done.returncode or not results.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()] or [
                f"it ended with code {done.returncode}"]
            raise ExportError(f"The exported file does not run in its engine: {lines[-1][:500]}")
        with np.load(results) as file:
            found: list[dict[str, Array]] = [{} for _ in images]
            for key in file.files:
                number, name = key.split("/")
                found[int(number)][name] = file[key]
    return found


def compare(expected: Sequence[DetectionResult], found: Sequence[Any], least_score: float,
            most: int) -> Comparison:
    """Compares the results of images, whatever the order of detections of equal scores.

    A detection whose score is within the tolerance of the lowest that is kept may be missing on
    one side: below `least_score`, or beyond the first `most`, it is not returned.

    Args:
        expected: of the model.
        found: of the file.
        least_score: the lowest score of a detection.
        most: upper limit of the detections of an image.
    """
    boxes = scores = 0.0
    unmatched = []
    for number, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        pairs = _pairs(ours, theirs)
        for of_ours, of_theirs in pairs:
            boxes = max(boxes, float(np.abs(ours["boxes"][of_ours]
                                            - theirs["boxes"][of_theirs]).max()))
            scores = max(scores, float(abs(ours["scores"][of_ours]
                                           - theirs["scores"][of_theirs])))
        alone = [_alone(result, {pair[side] for pair in pairs}, least_score, most)
                 for side, result in ((0, ours), (1, theirs))]
        if any(alone):
            unmatched.append(f"image {number}: {len(ours['scores'])} detections of the model, "
                             f"{len(theirs['scores'])} of the file; {alone[0]} and {alone[1]} of "
                             "them have no counterpart")
    return Comparison(len(expected), sum(len(result["scores"]) for result in expected), boxes,
                      scores, tuple(unmatched))


def check(comparison: Comparison) -> None:
    """Raises ExportError unless the file has found the same."""
    if comparison.unmatched:
        raise ExportError("The exported file does not detect what the model detects: "
                          + "; ".join(comparison.unmatched[:3]) + ".")


def _pairs(ours: DetectionResult, theirs: DetectionResult) -> list[tuple[int, int]]:
    """Detections of one class, box and score, within the tolerances."""
    left = list(range(len(theirs["scores"])))
    pairs = []
    for number in range(len(ours["scores"])):
        for other in left:
            if _is_same(ours, number, theirs, other):
                pairs.append((number, other))
                left.remove(other)
                break
    return pairs


def _is_same(ours: DetectionResult, number: int, theirs: DetectionResult, other: int) -> bool:
    differences: BoolArray = np.abs(ours["boxes"][number] - theirs["boxes"][other]) > BOX_TOLERANCE
    return bool(ours["class_ids"][number] == theirs["class_ids"][other]
                and abs(ours["scores"][number] - theirs["scores"][other]) <= SCORE_TOLERANCE
                and not differences.any())


def _alone(result: DetectionResult, paired: set[int], least_score: float, most: int) -> int:
    """How many detections are without a counterpart, and should have one."""
    scores = result["scores"]
    if len(scores) >= most:
        least_score = max(least_score, float(scores.min()))
    return sum(number not in paired and score > least_score + SCORE_TOLERANCE
               for number, score in enumerate(scores))
