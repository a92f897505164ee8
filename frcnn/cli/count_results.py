"""Counts from a file of COCO's results, as `frcnn detect` writes it."""

import argparse
import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frcnn.cli import results
from frcnn.cli.count_source import Source, calibration_of, check_scale, no_detection
from frcnn.data.image_io import read_image_size
from frcnn.errors import ArgumentError, CalibrationError, DatasetError
from frcnn.evaluate.calibration_file import Calibration
from frcnn.evaluate.left_out import find_gap
from frcnn.evaluate.sample_counts import CountedImage, Scale
from frcnn.files import escaped, expanded, read_json


class ResultFile(Source):
    """A Source that reads COCO's results with file names, as `frcnn detect` writes them."""

    def __init__(self, options: argparse.Namespace, prog: str) -> None:
        no_detection(options)
        self.prog, self.path = prog, options.inputs[0]
        self.advice = "frcnn count --calibrate DATA and --model with the weights of the detections"
        self.calibration = calibration_of(options, options.model and expanded(options.model))
        found = _rows_by_file(self.path)
        self.paths = list(map(str, results.find_images(options.images))) if options.images else []
        self.names = self.paths or list(found)
        self.found = {self._image_of(name): rows for name, rows in found.items()}
        used = [row["category_name"] for rows in found.values() for row in rows]
        self.class_names = ["BG", *sorted(set(used))]
        self.min_score = self.score_limit = self._limit(options, found)
        if self.calibration is not None:
            path, calibration = self.calibration
            unknown = sorted(set(used) - set(calibration.class_names[1:]))
            if unknown:
                raise CalibrationError(
                    f"{path} has the classes {', '.join(calibration.class_names[1:])}, and "
                    f"{self.path} has {unknown[0]}; name the calibration of the detector that "
                    "detected.")
            self.class_names = list(calibration.class_names)
            self._check_complete(path, calibration, found)
        self.files = [expanded(self.path)]

    @functools.cached_property
    def _known(self) -> Mapping[str, str]:
        """The paths of `--images` by the names that results may have for them."""
        return {key: path for path in self.paths
                for key in (escaped(path), escaped(Path(path).resolve()))}

    def _image_of(self, name: str) -> str:
        if not self.paths:
            return name
        image = self._known.get(name) or self._known.get(escaped(Path(name).resolve()))
        if image is None:
            raise DatasetError(f"{self.path} has detections of {name}, which --images does not "
                               "name; add it.")
        return image

    def _check_complete(self, path: Path, calibration: Calibration,
                        found: Mapping[str, Sequence[Any]]) -> None:
        """Raises ArgumentError where detections of low scores seem to have been left out."""
        rows = [row for rows in found.values() for row in rows]
        gap = find_gap([np.array([row["score"] for row in rows if row["category_name"] == name])
                        for name in calibration.class_names[1:]],
                       len(self.names), self.score_limit, calibration)
        if gap is not None:
            of = "" if gap.name is None else f" of {escaped(gap.name)}"
            least = math.floor(gap.high * 1e4) / 1e4
            raise ArgumentError(
                f"{self.path} has no detections{of} with scores from {gap.low:g} to below "
                f"{gap.high:g}, where about {gap.expected:.0f} are to be expected by {path}. If "
                f"lower scores were left out, give --min-confidence {least:g}; else the scores are "
                "those of another detector.")

    def _limit(self, options: argparse.Namespace, found: Mapping[str, Sequence[Any]]) -> float:
        """The least score that the detections were made with."""
        chosen: float | None = options.min_confidence
        if chosen is None and self.calibration is None:
            return 0.0
        limit = self.calibration[1].score_limit if chosen is None and self.calibration \
            else float(chosen or 0)
        lowest = min((row["score"] for rows in found.values() for row in rows), default=limit)
        if lowest < limit - 1e-6 and chosen is None:
            raise ArgumentError(f"{self.path} has scores down to {lowest:g}, and so was not made "
                                f"with the default --min-confidence of {limit:g}; give the value "
                                "it was made with.")
        return limit

    def read(self, scale: Scale, output: Path) -> Iterator[CountedImage]:
        """See Source."""
        check_scale(scale, self.names)
        numbers = {name: class_id for class_id, name in enumerate(self.class_names)}
        for name in self.names:
            rows = self.found.get(name, [])
            size = None if scale.mpp is None else read_image_size(name)
            yield CountedImage(name, np.array([numbers[row["category_name"]] for row in rows], int),
                               np.array([row["score"] for row in rows], float), scale.area(size))

    def finish(self) -> int:
        """See Source."""
        if not self.paths:
            print(f"{self.prog}: {self.path} names only images with detections; --images names "
                  "all, so that those without any count, too.")
        return 0


def _rows_by_file(path: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a file of results by file name, checked."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file.") from None
    except ValueError as error:
        raise DatasetError(f"{path} cannot be read as results ({error}).") from error
    if not isinstance(content, list):
        raise DatasetError(f"{path} is no list of detections; give a file that frcnn detect "
                           "--output FILE.json wrote.")
    found: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(content):
        texts = [row.get(name) for name in ("file_name", "category_name")] \
            if isinstance(row, dict) else [None]
        score = row.get("score") if isinstance(row, dict) else None
        if not all(isinstance(text, str) and text for text in texts) or isinstance(score, bool) \
                or not isinstance(score, (int, float)) or not math.isfinite(score):
            raise DatasetError(f"{path}: detection {number} has no file_name, category_name or "
                               f"finite score ({json.dumps(row)[:80]}); give a file that frcnn "
                               "detect wrote.")
        found.setdefault(row["file_name"], []).append(row)
    return found
