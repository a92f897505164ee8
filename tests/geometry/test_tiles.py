"""Tiles cover an image, and objects cut by their seams are found once."""

import itertools

import numpy as np
import pytest

from frcnn.errors import ArgumentError
from frcnn.geometry import tiles
from frcnn.geometry.boxes import compute_overlaps
from frcnn.geometry.tiles import Found, TileGrid, join_tiles


def seen_by(boxes, class_ids, window, rng, jitter=1.0, least=0.1, thinnest=0):
    """What a detector that is right finds in a tile: the visible parts, some pixels off.

    Left out are parts of less than a share of the object, or thinner than some pixels.
    """
    y1, x1, y2, x2 = window
    low, high = np.array([y1, x1, y1, x1]), np.array([y2, x2, y2, x2])
    noisy = boxes + rng.uniform(-jitter, jitter, boxes.shape)
    parts = np.clip(noisy, low, high)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    sides = np.maximum(parts[:, 2:] - parts[:, :2], 0)
    visible = (np.prod(sides, axis=1) > least * area) & (sides.min(axis=1) > thinnest)
    scores = rng.uniform(0.5, 1, len(boxes))[visible]
    return Found(parts[visible].astype(np.float32), class_ids[visible], scores)


def scene(rng, height, width, largest, overlap=0.3):
    """Boxes of three classes that overlap each other by an IoU of at most `overlap`."""
    boxes = []
    for _ in range(60):
        size = rng.uniform(12, largest, 2)
        corner = rng.uniform(0, [height - size[0], width - size[1]])
        box = np.concatenate([corner, corner + size])
        if not boxes or compute_overlaps(box[None], np.array(boxes)).max() <= overlap:
            boxes.append(box)
    return np.array(boxes), rng.integers(1, 4, len(boxes)).astype(np.int32)


def found_in(boxes, class_ids, grid, rng, **kwargs):
    return [seen_by(boxes, class_ids, window, rng, **kwargs) for window in grid.windows]


# --- the grid -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(100, 100), (1, 5000), (1023, 777), (2048, 640)])
@pytest.mark.parametrize("overlap", [0, 0.2, 0.5, 0.9])
def test_tiles_cover_every_pixel_and_overlap_enough(height, width, overlap):
    grid = TileGrid.covering(height, width, 256, overlap)
    covered = np.zeros((height, width), int)
    for y1, x1, y2, x2 in grid.windows:
        assert 0 <= y1 < y2 <= height and 0 <= x1 < x2 <= width
        assert (y2 - y1, x2 - x1) == (min(256, height), min(256, width))
        covered[y1:y2, x1:x2] += 1
    assert covered.min() == 1 if overlap == 0 else covered.min() >= 1
    assert len(grid) == len(grid.windows)
    for starts in (grid.tops, grid.lefts):
        assert all(b - a <= 256 - int(256 * overlap) for a, b in itertools.pairwise(starts))


def test_an_image_smaller_than_a_tile_is_one_tile():
    grid = TileGrid.covering(60, 90, 256, 0.2)
    np.testing.assert_array_equal(grid.windows, [[0, 0, 60, 90]])


@pytest.mark.parametrize("arguments", [(0, 5, 9, 0.2), (5, 5, 0, 0.2), (5, 5, 9, 1),
                                       (5, 5, 9, -0.1)])
def test_what_is_no_grid(arguments):
    with pytest.raises(ArgumentError, match=r"must be from 0|at least 1 pixel"):
        TileGrid.covering(*arguments)


# --- joining ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_scenes_have_no_double_box_on_a_seam(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        height, width = rng.integers(200, 900, 2)
        grid = TileGrid.covering(int(height), int(width), 256, 0.25)
        boxes, class_ids = scene(rng, height, width, largest=60)
        joined = join_tiles(grid, found_in(boxes, class_ids, grid, rng))
        assert_same_objects(joined, boxes, class_ids)


def test_objects_larger_than_the_overlap_are_one():
    """Some span four tiles and more."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        grid = TileGrid.covering(700, 900, 256, 0.25)
        boxes, class_ids = scene(rng, 700, 900, largest=400, overlap=0)
        found = found_in(boxes, class_ids, grid, rng, jitter=0.5, least=0, thinnest=3)
        joined = join_tiles(grid, found)
        assert_same_objects(joined, boxes, class_ids)


def assert_same_objects(joined, boxes, class_ids):
    assert len(joined.boxes) == len(boxes)
    assert (np.diff(joined.scores) <= 0).all()
    for class_id in np.unique(class_ids):
        ours, theirs = joined.boxes[joined.class_ids == class_id], boxes[class_ids == class_id]
        overlaps = compute_overlaps(ours, theirs)
        assert overlaps.shape[0] == overlaps.shape[1]
        assert (overlaps.max(axis=0) > 0.7).all() and (overlaps.max(axis=1) > 0.7).all()


def test_a_part_of_another_class_is_left_out_where_a_tile_sees_the_whole():
    grid = TileGrid.covering(100, 180, 100, 0.2)  # columns 0 to 100 and 80 to 180
    whole = Found(np.array([[40, 84, 60, 120]], np.float32), np.array([1]), np.array([0.6]))
    part = Found(np.array([[40, 85, 60, 100]], np.float32), np.array([2]), np.array([0.9]))
    joined = join_tiles(grid, [part, whole])
    np.testing.assert_array_equal(joined.boxes, whole.boxes)
    assert joined.class_ids.tolist() == [1]


def test_two_overlapping_objects_stay_two():
    """Both tiles see both; their IoU is above the threshold."""
    grid = TileGrid.covering(100, 160, 100, 0.4)  # columns 0 to 100 and 60 to 160
    boxes = np.array([[30, 65, 60, 88], [30, 70, 60, 93]], np.float32)
    found = Found(boxes, np.array([1, 1]), np.array([0.9, 0.8]))
    joined = join_tiles(grid, [found, found])
    np.testing.assert_array_equal(joined.boxes, boxes)


def test_a_long_object_is_the_union_of_its_parts_with_the_best_score():
    grid = TileGrid.covering(100, 260, 100, 0.2)  # columns 0, 80 and 160
    parts = [Found(np.array([box], np.float32), np.array([3]), np.array([score]))
             for box, score in (([40, 20, 50, 100], 0.7), ([40, 80, 50, 180], 0.9),
                                ([41, 160, 51, 200], 0.8))]
    joined = join_tiles(grid, parts)
    np.testing.assert_array_equal(joined.boxes, [[40, 20, 51, 200]])
    assert joined.scores.tolist() == [pytest.approx(0.9)] and joined.class_ids.tolist() == [3]


def test_nothing_found_is_nothing():
    grid = TileGrid.covering(300, 300, 100, 0.2)
    nothing = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    joined = join_tiles(grid, [nothing] * len(grid))
    assert joined.boxes.shape == (0, 4) and len(joined.scores) == 0


# --- joining, against plain loops over all tiles --------------------------------------------------


def plain_join(grid, found, iou_threshold=0.5):
    """`join_tiles` written plainly: every pair of tiles, and in each all boxes are looked at."""
    windows = list(itertools.product(grid.tops, grid.lefts))
    windows = [(y, x, y + grid.tile_height, x + grid.tile_width) for y, x in windows]
    rows = [(box, class_id, score, tile) for tile, part in enumerate(found)
            for box, class_id, score in zip(*part)]
    cut = [any(abs(side - end) < 4 and end != limit for side, end, limit in zip(
        box, windows[tile], (0, 0, grid.height, grid.width))) for box, _, _, tile in rows]
    kept = [number for number, (box, *_) in enumerate(rows) if not (cut[number] and any(
        is_inside(box, window, grid) for window in windows))]
    rows, cut = [rows[number] for number in kept], [cut[number] for number in kept]
    groups = list(range(len(rows)))

    def name(row):
        return row if groups[row] == row else name(groups[row])

    for (a, one), (b, other) in itertools.combinations(enumerate(windows), 2):
        seen = np.array([*map(max, one[:2], other[:2]), *map(min, one[2:], other[2:])])
        if (seen[2:] > seen[:2]).all():
            for first, second in plain_pairs(rows, cut, a, b, seen, iou_threshold):
                groups[name(second)] = name(first)
    united = [unite([(rows[row], cut[row]) for row in range(len(rows)) if name(row) == root])
              for root in range(len(rows)) if name(root) == root]
    united.sort(key=lambda row: -row[2])
    return united


def is_inside(box, window, grid):
    margins = [4 if end != limit else 0
               for end, limit in zip(window, (0, 0, grid.height, grid.width))]
    return all(box[axis] >= window[axis] + margins[axis]
               and box[axis + 2] <= window[axis + 2] - margins[axis + 2] for axis in (0, 1))


def plain_pairs(rows, cut, a, b, seen, iou_threshold):
    """The pairs of rows of two tiles that are one object, the most alike first."""
    candidates = []
    for (i, one), (j, other) in itertools.product(enumerate(rows), repeat=2):
        if (one[3], other[3]) != (a, b) or one[1] != other[1]:
            continue
        clipped = [np.clip(row[0], seen[[0, 1, 0, 1]], seen[[2, 3, 2, 3]]) for row in (one, other)]
        iou = compute_overlaps(clipped[0][None], clipped[1][None])[0, 0]
        shared = np.prod(np.maximum(np.minimum(one[0][2:], other[0][2:])
                                    - np.maximum(one[0][:2], other[0][:2]), 0))
        smaller = min(np.prod(row[0][2:] - row[0][:2]) for row in (one, other))
        if iou > iou_threshold or ((cut[i] or cut[j]) and shared / smaller > 0.5):
            candidates.append((i, j, iou))
    pairs = []
    for i, j, _ in sorted(candidates, key=lambda candidate: -candidate[2]):
        if all(i != first and j != second for first, second in pairs):
            pairs.append((i, j))
    return pairs


def unite(group):
    """The best whole one of a group, or the union of its parts, with the best score."""
    (best, is_cut), *_ = sorted(group, key=lambda member: (member[1], -member[0][2]))
    boxes = np.array([row[0] for row, _ in group])
    union = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    return union if is_cut else best[0], best[1], max(row[2] for row, _ in group)


@pytest.mark.parametrize("overlap", [0, 0.1, 0.25, 0.6, 0.8])
def test_tiles_are_joined_as_by_plain_loops(overlap):
    rng = np.random.default_rng(int(100 * overlap))
    for case in range(12):
        height, width = (int(side) for side in rng.integers(60, 420, 2))
        grid = TileGrid.covering(height, width, int(rng.integers(70, 140)), overlap)
        if len(grid) > 60:
            continue
        boxes, class_ids = scene(rng, height, width, largest=min(height, width) - 5, overlap=0.6)
        found = found_in(boxes[:12], class_ids[:12], grid, rng, jitter=3.0)
        if case % 2:  # tiles of nothing, and scores that are equal
            found = [Found(part.boxes[::step], part.class_ids[::step],
                           part.scores[::step].round(1)) if step else Found(
                               np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0))
                     for part, step in zip(found, rng.integers(0, 3, len(found)))]
        joined, expected = join_tiles(grid, found), plain_join(grid, [
            Found(part.boxes, part.class_ids, part.scores.astype(np.float32)) for part in found])
        for values, others in zip(joined, zip(*expected) if expected else ([], [], [])):
            np.testing.assert_array_equal(values, np.reshape(others, values.shape))


@pytest.mark.parametrize("axes", [(1, 4000), (4000, 1), (1500, 1500)])
def test_the_work_grows_with_the_tiles_and_not_with_their_pairs(axes, monkeypatch):
    """Counted in boxes that are looked at: each belongs to one tile, with few neighbours."""
    looked_at = []
    alike = tiles._alike

    def counted(found, is_cut, rows, others, *rest):
        looked_at.append(len(rows) + len(others))
        return alike(Counted(*found), is_cut, rows, others, *rest)

    class Counted(Found):
        @property
        def boxes(self):
            return OfTwoTiles(self[0])

    class OfTwoTiles:
        def __init__(self, boxes):
            self._boxes = boxes

        def __getitem__(self, rows):  # anything else would go through the boxes of all tiles
            assert len(rows) <= 3
            return self._boxes[rows]

    monkeypatch.setattr(tiles, "_alike", counted)
    grid = TileGrid.covering(*axes, 40, 0.2)
    corners = [np.array([[y1 + (y2 - y1) * 0.3, x1 + (x2 - x1) * 0.3]]) + np.array([[0], [1], [2]])
               for y1, x1, y2, x2 in grid.windows]
    found = [Found(np.concatenate([c, c + 0.3], axis=1).astype(np.float32), np.ones(3, np.int32),
                   np.ones(3, np.float32)) for c in corners]
    joined = join_tiles(grid, found)
    assert len(joined.scores) == 3 * len(grid)
    assert sum(looked_at) <= 6 * 4 * len(grid)
