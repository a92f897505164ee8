"""Detection in mirrored copies: the fusion by plain loops, the mirroring, all ways to detect."""

import itertools

import numpy as np
import pytest
from model_tools import noise, prefer_objects, small_config

from frcnn.config import FLIPS
from frcnn.data.resize import ResizePlan
from frcnn.inference.compiled import CompiledDetector
from frcnn.inference.fusion import (
    MirroredDetector,
    mirrored_pictures,
    mirrored_rows,
    weighted_boxes_fusion,
)
from frcnn.inference.stream import DetectionStream
from frcnn.inference.transform import mold_inputs
from frcnn.model.mask_rcnn import MaskRCNN

# How an image or a detection's box is mirrored, written without the code under test.
PICTURES = {"horizontal": lambda image: image[:, ::-1], "vertical": lambda image: image[::-1],
            "both": lambda image: image[::-1, ::-1]}


def iou(one, other):
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(height, 0) * max(width, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def fused_by_hand(copies, threshold):
    """The fusion as lists of members, whose means are computed anew each time."""
    rows = sorted(((*map(float, row), number) for number, copy in enumerate(copies)
                   for row in copy if row[4] > 0), key=lambda row: -row[5])
    clusters = []

    def mean_box(members):
        weight = sum(row[5] for row in members)
        return [sum(row[i] * row[5] for row in members) / weight for i in range(4)]

    for row in rows:
        best, highest = None, threshold
        for members in clusters:
            overlap = iou(mean_box(members), row)
            is_free = all(member[6] != row[6] for member in members)
            if members[0][4] == row[4] and is_free and overlap > highest:
                best, highest = members, overlap
        if best is None:
            clusters.append([row])
        else:
            best.append(row)
    fused = []
    for members in clusters:
        score = sum(row[5] for row in members) / len(members)
        score *= min(len(members), len(copies)) / len(copies)
        fused.append([*mean_box(members), members[0][4], score])
    return np.array(sorted(fused, key=lambda row: -row[5])).reshape(-1, 6)


def random_copies(rng, copies, objects, spread, classes=2):
    """Detections of the same objects, displaced, some missing or twice, padded with zero rows."""
    corners = rng.uniform(0, 60, (objects, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (objects, 2))], axis=1)
    class_ids = rng.integers(1, classes + 1, objects)
    boxes, class_ids = (np.concatenate([x, x[:3]]) for x in (boxes, class_ids))
    objects, found = objects + 3, []
    for _ in range(copies):
        seen = rng.uniform(size=objects) < 0.8
        rows = np.zeros((objects, 6), np.float32)
        rows[:seen.sum()] = np.column_stack([
            boxes + rng.normal(0, spread, (objects, 4)), class_ids,
            rng.uniform(0.05, 1, objects)])[seen]
        found.append(rows)
    return found


# --- the fusion ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.8])
@pytest.mark.parametrize("spread", [0.5, 2])
def test_the_fusion_is_that_of_plain_loops(threshold, spread):
    rng, joined = np.random.default_rng(0), 0
    for copies in (1, 2, 3, 4) * 5:
        found = random_copies(rng, copies, objects=12, spread=spread)
        expected = fused_by_hand(found, threshold)
        fused = weighted_boxes_fusion(found, threshold)
        np.testing.assert_allclose(fused, expected, rtol=1e-9, atol=1e-9)
        joined += len(expected) < sum((copy[:, 4] > 0).sum() for copy in found)
    assert joined > 10  # else nothing was tested


def test_a_pair_worked_by_hand():
    one, other = [[0, 0, 10, 10, 1, 0.8]], [[0, 0, 10, 12, 1, 0.4]]  # IoU 100 / 120
    (row,) = weighted_boxes_fusion([one, other], 0.55)
    np.testing.assert_allclose(row, [0, 0, 10, (10 * 0.8 + 12 * 0.4) / 1.2, 1, 0.6])
    assert len(weighted_boxes_fusion([one, other], 100 / 119)) == 2


def test_what_some_copies_lack_scores_less():
    row, none = [[0, 0, 10, 10, 1, 0.8]], np.zeros((3, 6))
    for copies, score in (([row], 0.8), ([row, none], 0.4), ([none, none, row, none], 0.2),
                          ([row, none, row, row], 0.6)):
        np.testing.assert_allclose(weighted_boxes_fusion(copies, 0.55)[:, 5], [score])


def test_boxes_of_one_copy_are_not_fused():
    """As Soft-NMS leaves them: each joins the best cluster that has none of its copy."""
    copies = [[[0, 0, 10, 10, 1, 0.9], [0, 0, 10, 11, 1, 0.3]],
              [[0, 0, 10, 10, 1, 0.7], [0, 0, 10, 11, 1, 0.1], [0, 0, 10, 12, 1, 0.1]]]
    np.testing.assert_allclose(weighted_boxes_fusion(copies, 0.55), [
        [0, 0, 10, 10, 1, 0.8], [0, 0, 10, 11, 1, 0.2], [0, 0, 10, 12, 1, 0.05]])


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_equal_copies_of_overlapping_boxes_give_what_one_gives(copies):
    rows = np.array([[0, i, 40, 40 + i, 1, 0.9 - 0.1 * i] for i in range(5)], np.float32)
    np.testing.assert_array_equal(
        weighted_boxes_fusion([rows] * copies, 0.55).astype(np.float32), rows)


def test_a_box_joins_the_cluster_it_overlaps_most_of_its_own_class():
    copies = [[[0, 0, 10, 10, 1, 0.9], [0, 4, 10, 14, 1, 0.8], [0, 3, 10, 13, 2, 0.7]],
              [[0, 3, 10, 13, 1, 0.6]]]  # overlaps the first by 7 / 13, the second by 9 / 11
    fused = weighted_boxes_fusion(copies, 0.5)
    np.testing.assert_allclose(fused, [
        [0, (4 * 0.8 + 3 * 0.6) / 1.4, 10, (14 * 0.8 + 13 * 0.6) / 1.4, 1, 0.7],
        [0, 0, 10, 10, 1, 0.45], [0, 3, 10, 13, 2, 0.35]])


def test_boxes_are_compared_with_the_fused_one():
    """The third has an IoU of 6 / 14 with the first, and of 7 / 13 with the mean of both."""
    copies = [[[0, 0, 10, 10, 1, 0.5]], [[0, 2, 10, 12, 1, 0.5]], [[0, 4, 10, 14, 1, 0.5]]]
    (row,) = weighted_boxes_fusion(copies, 0.5)
    np.testing.assert_allclose(row, [0, 2, 10, 12, 1, 0.5])


def test_nothing_found_fuses_to_nothing():
    assert weighted_boxes_fusion([np.zeros((4, 6)), np.zeros((0, 6))], 0.5).shape == (0, 6)
    zero = np.array([[0, 0, 1, 1, 1, 0.0]])  # a score of 0, as a threshold of 0 lets through
    np.testing.assert_array_equal(weighted_boxes_fusion([zero, zero], 0.5), zero)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_does_not_spoil_the_rest(value):
    row, broken = [0, 0, 10, 10, 1, 0.8], [0, value, 10, 10, 1, 0.9]
    np.testing.assert_array_equal(weighted_boxes_fusion([[broken, row], [row]], 0.55), [row])


@pytest.mark.parametrize("copies", [1, 2, 3, 4])
def test_equal_copies_give_what_one_gives(copies):
    rng = np.random.default_rng(1)
    corners = np.column_stack([np.arange(9) * 20.0, rng.uniform(0, 9, 9)])
    rows = np.column_stack([corners, corners + rng.uniform(5, 18, (9, 2)), rng.integers(1, 4, 9),
                            np.sort(rng.uniform(size=9))[::-1]]).astype(np.float32)
    np.testing.assert_array_equal(
        weighted_boxes_fusion([rows] * copies, 0.55).astype(np.float32), rows)


# --- the mirroring ------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("size", [(70, 101), (100, 65), (64, 64), (128, 128)])
def test_a_copy_is_what_the_mirrored_image_is_molded_to(flip, size):
    config = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64)
    (image,) = noise([size])
    (molded,), _, (window,) = mold_inputs([image], config)
    (expected,), _, (same,) = mold_inputs([PICTURES[flip](image)], config)
    assert window == same
    before = molded.copy()
    (copy,) = mirrored_pictures(molded[None], [window], flip)
    np.testing.assert_array_equal(copy, expected)
    np.testing.assert_array_equal(molded, before)


@pytest.mark.parametrize("flip", FLIPS)
def test_boxes_are_mirrored_with_their_pixels(flip):
    window, box = (10, 20, 40, 90), (12, 30, 20, 85)
    picture = np.zeros((1, 64, 128, 1))
    picture[0, box[0]:box[2], box[1]:box[3]] = 1
    rows = np.array([[[*box, 1, 0.5]]], np.float32)
    mirrored = mirrored_rows(rows, np.array([window])[:, None], flip)
    y1, x1, y2, x2 = mirrored[0, 0, :4].astype(int)
    (copy,) = mirrored_pictures(picture, [window], flip)
    assert copy.sum() == picture.sum() and copy[y1:y2, x1:x2].all()
    np.testing.assert_array_equal(mirrored_rows(mirrored, np.array(window), flip), rows)
    np.testing.assert_array_equal(mirrored[..., 4:], rows[..., 4:])


# --- detecting ----------------------------------------------------------------------------------


class Finder:
    """Finds the one bright rectangle of each molded image, exactly; notes what it was called with.

    Attributes:
        calls: the numbers of images and `most` of each call.
        shown: the molded images of the last call.
    """

    def __init__(self, scores=None):
        self.calls, self.scores = [], scores

    def __call__(self, molded, metas, most):
        self.calls.append((len(molded), most))
        self.shown = molded
        rows = np.zeros((len(molded), 3, 6), np.float32)
        score = 0.75 if self.scores is None else self.scores[len(self.calls) - 1]
        for row, image in zip(rows, molded):
            ys, xs = np.nonzero(image[..., 0] > 50)
            row[0] = ys.min(), xs.min(), ys.max() + 1, xs.max() + 1, 2, score
        return rows


def rectangle(height, width, box):
    image = np.full((height, width, 3), 90, np.uint8)
    image[box[0]:box[2], box[1]:box[3]] = 255
    return image


SIZES = [(70, 101), (64, 64), (100, 65), (128, 128), (33, 90)]


@pytest.mark.parametrize("flips", [*itertools.combinations(FLIPS, 1), FLIPS])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_detector_that_mirroring_does_not_disturb_finds_the_same(flips, batch_size):
    config = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64, DETECTION_FLIPS=flips)
    images = [rectangle(*size, (5 + i, 20, 20 + 2 * i, 41 + 3 * i)) for i, size
              in enumerate(SIZES * 2)]
    alone, finder = Finder(), Finder()
    expected = list(DetectionStream(alone, config, batch_size).run(images))
    found = list(DetectionStream(MirroredDetector(finder, config), config, batch_size).run(images))
    for one, other in zip(found, expected, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
    copies = 1 + len(flips)  # of the same batches, one after the other
    assert finder.calls == [call for call in alone.calls for _ in range(copies)]


def test_an_endless_stream_is_mirrored_batch_by_batch():
    config = small_config(DETECTION_FLIPS=FLIPS)
    drawn, finder = [], Finder()

    def endless():
        for number in itertools.count():
            drawn.append(number)
            yield rectangle(128, 128, (10, 10, 40 + number % 40, 50))

    results = DetectionStream(MirroredDetector(finder, config), config, 2).run(endless(), workers=1)
    for number in range(6):
        np.testing.assert_array_equal(next(results)["rois"], [[10, 10, 40 + number, 50]])
    results.close()
    assert finder.calls == [(2, 2)] * 12 and len(drawn) < 20


def test_the_threshold_is_that_of_the_fused_score():
    """0.55 and 0.48 are an object of 0.515; an object of 0.9 in one of two copies is one of 0.45.
    """
    for scores, expected in (((0.55, 0.48), [0.515]), ((0.9, 0.08), []), ((0.5, 0.5), [0.5])):
        config = small_config(DETECTION_FLIPS=("vertical",), DETECTION_MIN_CONFIDENCE=0.5)
        images = [rectangle(128, 128, (10, 10, 40, 50))]
        molded, metas, _ = mold_inputs(images, config)
        rows = MirroredDetector(Finder(scores), config)(np.stack(molded), np.stack(metas), 1)
        assert rows.shape == (1, config.DETECTION_MAX_INSTANCES, 6) and rows.dtype == np.float32
        np.testing.assert_allclose(rows[0, rows[0, :, 4] > 0, 5], expected, rtol=1e-6)
        layer = MaskRCNN("inference", config, "unused").keras_model.get_layer("mrcnn_detection")
        assert layer.min_confidence == 0.25


def test_the_best_are_kept_where_there_are_too_many():
    config = small_config(DETECTION_FLIPS=("vertical",), DETECTION_MAX_INSTANCES=2)

    def detector(molded, metas, most):
        rows = np.zeros((1, 2, 6), np.float32)
        place = 30 * len(calls)
        rows[0] = [[0, place, 128, place + 20, 1, 0.9 - 0.2 * len(calls)],
                   [0, place + 60, 128, place + 80, 1, 0.3]]
        calls.append(1)
        return rows

    calls = []
    molded, metas, _ = mold_inputs([np.zeros((128, 128, 3), np.uint8)], config)
    rows = MirroredDetector(detector, config)(np.stack(molded), np.stack(metas))
    np.testing.assert_allclose(rows[0, :, 5], [0.45, 0.35])
    np.testing.assert_allclose(rows[0, :, 1], [0, 30])


# --- the whole model ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two detectors of the same random weights, the second with all flips."""
    made = []
    for flips in ((), FLIPS):
        config = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64, DETECTION_FLIPS=flips,
                              DETECTION_MAX_INSTANCES=60)
        made.append(MaskRCNN("inference", config, tmp_path_factory.mktemp("logs"), seed=1))
        prefer_objects(made[-1])
    return made


def as_rows(result):
    return np.column_stack([result["boxes"], result["class_ids"], result["scores"]])


def fused_results(model, image, config):
    """What a model without flips finds in an image and its mirrored copies, fused by hand."""
    height, width = image.shape[:2]
    copies = [as_rows(model.detect([image])[0])]
    for flip in FLIPS:
        rows = as_rows(model.detect([PICTURES[flip](image)])[0])
        y1, x1, y2, x2 = rows[:, :4].T.copy()
        if flip != "vertical":
            rows[:, 1], rows[:, 3] = width - x2, width - x1
        if flip != "horizontal":
            rows[:, 0], rows[:, 2] = height - y2, height - y1
        copies.append(rows)
    return fused_by_hand(copies, config.DETECTION_FUSION_IOU)[:config.DETECTION_MAX_INSTANCES]


def test_every_way_to_detect_fuses(models):
    plain, mirrored = models
    images = noise([(70, 101), (128, 128), (100, 65), (128, 128)])
    expected = [fused_results(plain, image, mirrored.config) for image in images]
    # Sides that are multiples of 64 are molded to themselves.
    molded, metas, _ = mirrored.mold_inputs([images[1], images[3]])
    for found, wanted in (
        (mirrored.detect(images), expected),
        (mirrored.detect(images, batch_size=3), expected),
        (list(mirrored.detect_stream(iter(images))), expected),
        (mirrored.detect_molded(molded, metas), [expected[1], expected[3]]),
    ):
        for result, rows in zip(found, wanted, strict=True):
            assert len(rows) > 10
            np.testing.assert_array_equal(result["class_ids"], rows[:, 4])
            np.testing.assert_allclose(result["boxes"], rows[:, :4], atol=0.01)
            np.testing.assert_allclose(result["scores"], rows[:, 5], atol=1e-4)
    alone = plain.detect(images[:1])[0]
    assert not np.array_equal(alone["scores"], expected[0][:len(alone["scores"]), 5])


def test_without_flips_the_compiled_model_runs_alone(models):
    plain, mirrored = models
    assert type(plain._detection.detector()) is CompiledDetector
    assert type(mirrored._detection.detector()) is MirroredDetector
    assert plain.keras_model.get_layer("mrcnn_detection").min_confidence == 0.0


def test_windows_are_whole_pixels_inside_the_molded_image():
    """What `mirrored_pictures` relies on, for every resize mode and odd sizes."""
    for mode in ("none", "square", "pad64", "fit64", "crop"):
        config = small_config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=64)
        for height, width in itertools.product((1, 33, 70, 127), (5, 64, 129)):
            plan = ResizePlan.for_detection((height, width, 3), config)
            y1, x1, y2, x2 = plan.window
            assert 0 <= y1 < y2 <= plan.molded_shape[0] and 0 <= x1 < x2 <= plan.molded_shape[1]
            assert all(isinstance(side, int) for side in plan.window)
