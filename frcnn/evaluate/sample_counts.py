"""Numbers of objects of each class in images and in samples, also by area and volume."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from frcnn.arrays import Array, FloatArray
from frcnn.errors import ArgumentError
from frcnn.evaluate.calibration import ClassCalibration

IMAGE, SAMPLE, ALL = "image", "sample", "all"
RATES = ("per_mm2", "per_ul", "per_hpf")
COLUMNS = ("kind", "name", "images", "class", "counted", "expected", "low", "high", "area_mm2",
           *(f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high")))


@dataclass(frozen=True)
class Scale:
    """What areas and volumes depend on; None where it is not known.

    Attributes:
        mpp: microns per pixel.
        depth: of the chamber, in microns.
        field_area: of a high-power field, in mm².

    Raises:
        ArgumentError: a value is not a number above 0.
    """

    mpp: float | None = None
    depth: float | None = None
    field_area: float | None = None

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if value is not None and not 0 < value < float("inf"):
                raise ArgumentError(f"{part.name} is {value}; it must be a number above 0, or left "
                                    "out where it is not known.")

    def area(self, size: tuple[int, int] | None, mpp: float | None = None) -> float | None:
        """The area of an image in mm².

        Args:
            size: height and width in pixels; None: not known.
            mpp: that of the image itself, where the scale has none.
        """
        own = self.mpp if self.mpp is not None else mpp
        return None if size is None or own is None else size[0] * size[1] * (own / 1000) ** 2

    def sizes(self, area: float | None) -> dict[str, float | None]:
        """How often an area in mm² holds the unit of each of RATES; None where it is not known.

        A micron of depth below 1 mm² is a thousandth of a microlitre (1 µl = 1 mm³).
        """
        return {
            "per_mm2": area,
            "per_ul": None if area is None or self.depth is None else area * self.depth / 1000,
            "per_hpf": None if area is None or self.field_area is None
            else area / self.field_area}


@dataclass(frozen=True, eq=False)
class CountedImage:
    """The detections in one image.

    Attributes:
        name: its path.
        class_ids: `[N]`.
        scores: `[N]`.
        area: in mm², or None.
    """

    name: str
    class_ids: Array
    scores: Array
    area: float | None = None


@dataclass(frozen=True)
class Counter:
    """Makes the rows of a table of numbers.

    Attributes:
        class_names: by class id, background first.
        calibrations: from class 1; None for a class without.
        scale: Scale.
        level: of the intervals.
        score_limit: least score of a detection that is counted.
        min_score: least score of a detection that the calibrations are for.
    """

    class_names: Sequence[str]
    calibrations: Sequence[ClassCalibration | None]
    scale: Scale
    level: float
    score_limit: float
    min_score: float = 0.0

    def rows(self, images: Sequence[CountedImage], samples: Mapping[str, Sequence[int]] | None
             ) -> Iterator[dict[str, Any]]:
        """Rows with COLUMNS, first of the samples, then of the images, a row a class.

        Args:
            images: all of them.
            samples: places in `images` by sample; None: all images are one row of the kind "all".
        """
        if samples is None:
            yield from self._rows(ALL, "", images)
        else:
            for name, places in samples.items():
                yield from self._rows(SAMPLE, name, [images[place] for place in places])
        for image in images:
            yield from self._rows(IMAGE, image.name, [image])

    def _rows(self, kind: str, name: str, images: Sequence[CountedImage]
              ) -> Iterator[dict[str, Any]]:
        areas = [image.area for image in images]
        known = [area for area in areas if area is not None]
        area = sum(known) if known and len(known) == len(areas) else None
        for class_id, class_name in enumerate(self.class_names[1:], start=1):
            scores = [np.asarray(image.scores, float)[np.asarray(image.class_ids) == class_id]
                      for image in images]
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            row.update({"kind": kind, "name": name, "images": len(images), "class": class_name,
                        "area_mm2": area, **self._numbers(class_id, scores)})
            best = row["counted"] if row["expected"] is None else row["expected"]
            for rate, size in self.scale.sizes(area).items():
                if size:
                    row[rate] = best / size
                    for end in ("low", "high"):
                        row[f"{rate}_{end}"] = None if row[end] is None else row[end] / size
            yield row

    def _numbers(self, class_id: int, scores: Sequence[FloatArray]) -> dict[str, Any]:
        """What was counted in images, and what is expected there."""
        numbers: dict[str, Any] = {
            "counted": sum(int(np.count_nonzero(part >= self.score_limit)) for part in scores)}
        calibration = self.calibrations[class_id - 1] if self.calibrations else None
        if calibration is not None:
            kept = [part[part >= self.min_score] for part in scores]
            numbers["expected"] = calibration.expected(np.concatenate([np.zeros(0), *kept]))
            numbers["low"], numbers["high"] = calibration.interval(kept, self.level)
        return numbers
