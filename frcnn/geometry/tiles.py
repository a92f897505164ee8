"""Overlapping tiles of an image, and the joining of what was found in them.

Detections are joined by where the tiles see the same pixels. An object that is whole in some tile
is taken from there; one that every tile cuts, since it is larger than the overlap, is the union of
its parts.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from frcnn.arrays import Array, BoolArray, Boxes, ClassIds, FloatArray, IntArray, Scores
from frcnn.errors import ArgumentError
from frcnn.geometry.boxes import compute_overlaps

# A box that ends this close to a side of its tile, in pixels, may be cut there.
MARGIN = 4.0
# Intersection over the smaller box, above which a cut box is a part of another.
PART = 0.5


@dataclass(frozen=True)
class TileGrid:
    """Tiles of one size that cover an image, evenly spaced.

    Attributes:
        height, width: of the image, pixels.
        tops, lefts: the tiles' first rows and columns.
        tile_height, tile_width: of every tile; those of the image where it is smaller.
    """

    height: int
    width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    tile_height: int
    tile_width: int

    @classmethod
    def covering(cls, height: int, width: int, size: int, overlap: float) -> "TileGrid":
        """The fewest tiles that overlap by at least a share of their side.

        Args:
            height, width: of the image.
            size: side of a tile.
            overlap: share of a tile's side that its neighbour covers too, 0 to below 1.

        Raises:
            ArgumentError: a side is below 1, or the overlap is not a share.
        """
        for name, value in (("height", height), ("width", width), ("size", size)):
            if value < 1:
                raise ArgumentError(f"{name} is {value}; tiles need at least 1 pixel.")
        if not 0 <= overlap < 1:
            raise ArgumentError(f"overlap is {overlap}; it must be from 0 to below 1.")
        return cls(height, width, _starts(height, size, overlap), _starts(width, size, overlap),
                   min(size, height), min(size, width))

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    @cached_property
    def windows(self) -> IntArray:
        """`[T, 4]` (y1, x1, y2, x2), row by row; read-only."""
        tops, lefts = (axis.ravel() for axis in np.meshgrid(self.tops, self.lefts, indexing="ij"))
        windows = np.stack([tops, lefts, tops + self.tile_height, lefts + self.tile_width], axis=1)
        windows.flags.writeable = False
        return windows


def _starts(length: int, size: int, overlap: float) -> tuple[int, ...]:
    if length <= size:
        return (0,)
    stride = max(1, int(size * (1 - overlap)))
    count = -(-(length - size) // stride) + 1
    return tuple(int(start) for start in np.linspace(0, length - size, count).round())


class Found(NamedTuple):
    """Detections in an image: boxes `[N, 4]` in its pixels, class ids `[N]`, scores `[N]`."""

    boxes: Boxes
    class_ids: ClassIds
    scores: Scores


def join_tiles(grid: TileGrid, found: Sequence[Found], iou_threshold: float = 0.5) -> Found:
    """One list of objects from the detections in overlapping tiles.

    Args:
        grid: the tiles.
        found: for each of `grid.windows`, what was found in it, boxes in pixels of the image.
        iou_threshold: two detections of one class in two tiles with a larger intersection over
            union, within the pixels that both tiles see, are one object.

    Returns:
        The objects, by descending score.
    """
    boxes = _joined([np.reshape(part.boxes, (-1, 4)) for part in found], np.float32, (0, 4))
    class_ids = _joined([part.class_ids for part in found], np.int32, (0,))
    scores = _joined([part.scores for part in found], np.float32, (0,))
    tiles = np.repeat(np.arange(len(found)), [len(part.scores) for part in found])
    is_cut = _is_cut(boxes, grid.windows[tiles], grid)
    kept = ~(is_cut & _is_whole_elsewhere(boxes, grid))
    rest = Found(boxes[kept], class_ids[kept], scores[kept])
    tiles, is_cut = tiles[kept], is_cut[kept]
    groups = _Groups(len(tiles))
    # The rows of a tile lie side by side, in the order of the tiles.
    ends = np.searchsorted(tiles, np.arange(len(grid) + 1)).tolist()
    for first, second in _neighbours(grid):
        rows, others = (np.arange(*ends[tile:tile + 2]) for tile in (first, second))
        if len(rows) and len(others):
            for row, other in _alike(rest, is_cut, rows, others, grid.windows[[first, second]],
                                     iou_threshold):
                groups.join(row, other)
    return _united(rest, is_cut, groups.names())


def _joined(arrays: Sequence[Array], dtype: type, empty: tuple[int, ...]) -> Array:
    return np.concatenate([np.zeros(empty, dtype), *arrays]).astype(dtype, copy=False)


def _is_cut(boxes: Boxes, windows: IntArray, grid: TileGrid) -> BoolArray:
    """Whether a box `[N, 4]` reaches a side of its tile `[N, 4]` that is not the image's."""
    ends = [0, 0, grid.height, grid.width]
    distance = np.abs(boxes - windows)
    cut: BoolArray = ((distance < MARGIN) & (windows != ends)).any(axis=1)
    return cut


def _is_whole_elsewhere(boxes: Boxes, grid: TileGrid) -> BoolArray:
    """Whether some tile has all of a box, away from the sides that are not the image's."""
    whole: BoolArray = (
        _fits(boxes[:, 0], boxes[:, 2], grid.tops, grid.tile_height, grid.height)
        & _fits(boxes[:, 1], boxes[:, 3], grid.lefts, grid.tile_width, grid.width))
    return whole


def _fits(low: FloatArray, high: FloatArray, starts: Sequence[int], size: int, length: int
          ) -> BoolArray:
    """Along one axis, whether some tile holds the intervals from low to high, `[N]`."""
    begins = np.array(starts)
    first = begins + np.where(begins > 0, MARGIN, 0)
    last = begins + size - np.where(begins + size < length, MARGIN, 0)
    # Both ascend, so that of the tiles that begin before an interval the last one reaches farthest.
    best = np.maximum(np.searchsorted(first, low, side="right") - 1, 0)
    fits: BoolArray = (low >= first[best]) & (high <= last[best])
    return fits


def _neighbours(grid: TileGrid) -> Iterator[tuple[int, int]]:
    """The pairs of tiles that share pixels, each once, in the order of the tiles."""
    columns = len(grid.lefts)
    after = [bisect_left(grid.tops, top + grid.tile_height) for top in grid.tops]
    beside = [(bisect_right(grid.lefts, left - grid.tile_width),
               bisect_left(grid.lefts, left + grid.tile_width)) for left in grid.lefts]
    for row, column in itertools.product(range(len(grid.tops)), range(columns)):
        number, (begin, end) = row * columns + column, beside[column]
        for other in range(number + 1, row * columns + end):
            yield number, other
        for below in range(row + 1, after[row]):
            for other in range(below * columns + begin, below * columns + end):
                yield number, other


def _alike(found: Found, is_cut: BoolArray, rows: IntArray, others: IntArray, windows: IntArray,
           iou_threshold: float) -> Iterable[tuple[int, int]]:
    """Pairs of rows, out of two tiles, that are one object; each row in one pair at most.

    One to one: of two objects that overlap, both seen by both tiles, each must find itself.
    """
    (top, left, _, _), (_, _, bottom, right) = windows.max(axis=0), windows.min(axis=0)
    low, high = [top, left, top, left], [bottom, right, bottom, right]
    first, second = (np.clip(found.boxes[these], low, high) for these in (rows, others))
    value = compute_overlaps(first, second)  # 0 for a box outside of what both see
    either_cut = is_cut[rows][:, None] | is_cut[others][None]
    part = _over_smaller(found.boxes[rows], found.boxes[others])
    same = (value > iou_threshold) | (either_cut & (part > PART))
    same &= found.class_ids[rows][:, None] == found.class_ids[others][None]
    pairs = np.argwhere(same)
    order = np.argsort(-value[same], kind="stable")
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    result: list[tuple[int, int]] = []
    for a, b in pairs[order]:
        if a not in taken_first and b not in taken_second:
            taken_first.add(a)
            taken_second.add(b)
            result.append((int(rows[a]), int(others[b])))
    return result


def _over_smaller(boxes: Boxes, others: Boxes) -> FloatArray:
    """Intersection over the smaller area, `[N, M]`."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas, more = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others))
    smaller: FloatArray = np.maximum(np.minimum(areas[:, None], more[None]), 1e-6)
    return shared / smaller


class _Groups:
    """Sets of rows that were joined."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def join(self, row: int, other: int) -> None:
        self._parents[self._name(other)] = self._name(row)

    def names(self) -> IntArray:
        """`[N]`, equal for the rows of one group."""
        return np.array([self._name(row) for row in range(len(self._parents))], int)

    def _name(self, row: int) -> int:
        while self._parents[row] != row:
            self._parents[row] = self._parents[self._parents[row]]
            row = self._parents[row]
        return row


def _united(found: Found, is_cut: BoolArray, groups: IntArray) -> Found:
    """One row for each group: its best whole box, or the union of parts with the best score."""
    boxes, class_ids, scores = found
    order = np.lexsort((-scores, is_cut, groups))  # whole ones first, then by score
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    if not len(starts):
        return Found(boxes, class_ids, scores)
    best = order[starts]
    low = np.minimum.reduceat(boxes[order, :2], starts)
    high = np.maximum.reduceat(boxes[order, 2:], starts)
    united = np.where(is_cut[best][:, None], np.concatenate([low, high], axis=1), boxes[best])
    top = np.maximum.reduceat(scores[order], starts)
    final = np.argsort(-top, kind="stable")
    return Found(united[final].astype(np.float32), class_ids[best][final], top[final])
