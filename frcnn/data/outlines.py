"""Boxes of outlines: COCO's polygons and run-length encoded masks, where there is no bbox."""

from typing import Any

import numpy as np

from frcnn.data.coco_values import is_number

_MOST_PIXELS = 400_000_000  # as image_io.MAX_PIXELS: more is no mask of an image


def outline_box(outline: object, width: int, height: int) -> list[float] | None:
    """The box around an annotation's `segmentation`.

    Args:
        outline: list of polygons [x, y, x, y, …] in pixels, or a dict with `size` [height, width]
            and `counts`, a list of run lengths or COCO's text of them; anything from a file.
        width: of the image, pixels.
        height: of the image, pixels.

    Returns:
        `[x, y, width, height]` in pixels; None where it is no outline or has no area.
    """
    if isinstance(outline, dict):
        box = _box_of_runs(outline, width, height)
    else:
        box = _box_of_polygons(outline)
    return box if box is not None and box[2] > 0 and box[3] > 0 else None


def _box_of_polygons(polygons: object) -> list[float] | None:
    if not isinstance(polygons, list) or not polygons:
        return None
    numbers: list[float] = []
    for polygon in polygons if isinstance(polygons[0], list) else [polygons]:
        if not isinstance(polygon, list) or len(polygon) % 2 or len(polygon) < 6 \
                or not all(is_number(value) for value in polygon):
            return None
        numbers += polygon
    xs, ys = numbers[::2], numbers[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _box_of_runs(outline: dict[str, Any], width: int, height: int) -> list[float] | None:
    """The box of a mask that is stored as runs of background and object, column by column."""
    if outline.get("size") != [height, width] or width * height > _MOST_PIXELS:
        return None
    runs = outline.get("counts")
    if isinstance(runs, str):
        runs = _decoded(runs)
    if not isinstance(runs, list) or not all(
            isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in runs) \
            or sum(runs) != width * height:
        return None
    ends = np.cumsum(np.array(runs, np.int64))
    starts, ends = ends[0::2][:len(ends[1::2])], ends[1::2]
    filled = ends > starts
    starts, lasts = starts[filled], ends[filled] - 1
    if not len(starts):
        return None
    # A run that goes on in the next column reaches the image's lower and upper edge.
    wraps = starts // height != lasts // height
    top = 0 if wraps.any() else int((starts % height).min())
    bottom = height - 1 if wraps.any() else int((lasts % height).max())
    left, right = int((starts // height).min()), int((lasts // height).max())
    return [left, top, right - left + 1, bottom - top + 1]


def _decoded(text: str) -> list[int] | None:
    """Run lengths from COCO's text: groups of five bits, each run less the one two before it."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs
