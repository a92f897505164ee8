"""What was found in one image, with all that a format may need."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from frcnn.arrays import Boxes, ClassIds, Scores
from frcnn.files import escaped


@dataclass(frozen=True, eq=False)
class ImageDetections:
    """The detections in one image.

    Attributes:
        path: of the image, or its address.
        image_id: that of the data it is listed in, or any other.
        height, width: pixels.
        boxes: `[N, 4]` (y1, x1, y2, x2), pixels.
        class_ids: `[N]`, as in Classes.
        scores: `[N]`.
        given_name: by which other programs know the image; None: that of the file.
    """

    path: str
    image_id: Any
    height: int
    width: int
    boxes: Boxes
    class_ids: ClassIds
    scores: Scores
    given_name: str | None = None

    @property
    def name(self) -> str:
        """The name by which other programs know the image; see `frcnn.formats.names`."""
        if self.given_name is not None:
            return self.given_name
        return escaped(PurePosixPath(self.path.replace("\\", "/")).name)

    @property
    def xywh(self) -> list[list[float]]:
        """Boxes as x, y, width, height, rounded to thousandths of a pixel."""
        return [[round(float(side), 3) for side in (x1, y1, x2 - x1, y2 - y1)]
                for y1, x1, y2, x2 in self.boxes.astype(float)]


@dataclass(frozen=True)
class Classes:
    """The classes of a detector.

    Attributes:
        names: by class id, the background's first.
        category_ids: those of the training data, None for the background.
    """

    names: Sequence[str]
    category_ids: Sequence[Any]

    def name(self, class_id: int) -> str:
        """A class's name, in characters that any file can hold."""
        return escaped(self.names[class_id])

    def color(self, class_id: int) -> tuple[int, int, int]:
        """Red, green and blue of a class, 0 to 255: bright, and far from its neighbours'."""
        import colorsys

        hue = (class_id * 0.618034) % 1.0
        return tuple(round(255 * part)  # type: ignore[return-value]  # three parts
                     for part in colorsys.hsv_to_rgb(hue, 0.75, 0.9))
