"""Evaluation against hand-worked cases, brute force, and pycocotools run on a file of its own."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from frcnn import evaluate
from frcnn.dataset import Dataset

A, B, C = [0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 80]


def shift(box, down=0.0, right=0.0):
    return [box[0] + down, box[1] + right, box[2] + down, box[3] + right]


# --- one image ------------------------------------------------------------------------------


def test_matches_take_the_best_free_object_of_the_class():
    gt_match, pred_match, overlaps = evaluate.compute_matches(
        np.array([A, shift(A, right=4), B], float), np.array([1, 1, 2]),
        np.array([shift(A, right=4), shift(A, right=3), B, C], float), np.array([1, 1, 1, 2]),
        np.array([0.6, 0.9, 0.8, 0.7]))
    # best first: 0.9 takes the nearer object, 0.8 is of the wrong class, 0.7 far off, 0.6 left one
    np.testing.assert_array_equal(pred_match, [1, -1, -1, -1])
    np.testing.assert_array_equal(gt_match, [-1, 0, -1])
    assert overlaps.shape == (4, 3)
    np.testing.assert_allclose(overlaps[0], [70 / 130, 90 / 110, 0])


def test_a_taken_object_leaves_the_next_best():
    gt_match, pred_match, _ = evaluate.compute_matches(
        np.array([A, shift(A, right=4)], float), np.array([1, 1]),
        np.array([shift(A, right=3), shift(A, right=3)], float), np.array([1, 1]),
        np.array([0.9, 0.8]))
    np.testing.assert_array_equal(pred_match, [1, 0])
    np.testing.assert_array_equal(gt_match, [1, 0])


def test_matches_drop_padding_and_low_scores():
    zeros = [0, 0, 0, 0]
    gt_match, pred_match, overlaps = evaluate.compute_matches(
        np.array([A, B, zeros], float), np.array([1, 2, 0]),
        np.array([A, B, zeros], float), np.array([1, 2, 0]), np.array([0.9, 0.2, 0]),
        score_threshold=0.5)
    np.testing.assert_array_equal(gt_match, [0, -1])
    np.testing.assert_array_equal(pred_match, [0, -1])
    assert overlaps.shape == (2, 2)


def test_ap_of_a_hand_worked_ranking():
    # ranking: hit, false, hit; one object of three is missed.
    # precision 1, 1/2, 2/3; recall 1/3, 1/3, 2/3; envelope 1 up to 1/3, then 2/3 up to 2/3.
    average, precisions, recalls, _ = evaluate.compute_ap(
        np.array([A, B, C], float), np.array([1, 1, 2]),
        np.array([A, [70, 0, 80, 9], B], float), np.array([1, 1, 1]), np.array([0.9, 0.8, 0.7]))
    assert average == pytest.approx(1 / 3 + 2 / 9)
    np.testing.assert_allclose(precisions, [1, 1, 2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(recalls, [0, 1 / 3, 1 / 3, 2 / 3, 1])


def test_ap_range_counts_the_thresholds_below_the_overlap():
    found = np.array([shift(A, right=2)], float)  # IoU 80 / 120
    truth = np.array([A], float)
    args = (truth, np.array([1]), found, np.array([1]), np.array([0.9]))
    assert evaluate.compute_ap_range(*args) == pytest.approx(0.4)  # 0.50, 0.55, 0.60, 0.65
    assert evaluate.compute_ap_range(*args, iou_thresholds=[0.6, 0.7]) == pytest.approx(0.5)


def test_ap_range_prints_only_when_asked(capsys):
    args = (np.array([A]), np.array([1]), np.array([A]), np.array([1]), np.array([0.9]))
    evaluate.compute_ap_range(*args)
    assert capsys.readouterr().out == ""
    evaluate.compute_ap_range(*args, verbose=1)
    assert len(capsys.readouterr().out.splitlines()) == 11


def test_ap_without_objects_or_without_detections():
    nothing = (np.zeros((0, 4)), np.zeros(0, int))
    something = (np.array([A], float), np.array([1]))
    assert evaluate.compute_ap(*something, *nothing, np.zeros(0))[0] == 0
    assert np.isnan(evaluate.compute_ap(*nothing, *something, np.ones(1))[0])
    assert np.isnan(evaluate.compute_ap(*nothing, *nothing, np.zeros(0))[0])


def test_crowds_are_neither_objects_nor_excuses_for_other_classes():
    truth = (np.array([A, [0, 50, 40, 90]], float), np.array([1, -1]))
    inside, outside = [5, 55, 15, 65], [5, 85, 15, 99]
    scores = np.array([0.9, 0.8])
    ids = np.array([1, 1])
    assert evaluate.compute_ap(*truth, np.array([inside, A]), ids, scores)[0] == 1
    assert evaluate.compute_ap(*truth, np.array([outside, A]), ids, scores)[0] == 0.5
    other = np.array([2, 1])
    assert evaluate.compute_ap(*truth, np.array([inside, A]), other, scores)[0] == 0.5


def naive_ap(truth, found, threshold):
    """Area under the envelope, straight from the definition, one class, no numpy."""

    def iou(a, b):
        down, across = (max(0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1))
        area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
        return down * across / (area - down * across)

    free, hits, points = list(truth), 0, []
    for rank, box in enumerate(found, 1):
        best = max(free, key=lambda other: iou(box, other), default=None)
        if best is not None and iou(box, best) >= threshold:
            free.remove(best)
            hits += 1
        points.append((hits / len(truth), hits / rank))
    levels = sorted({recall for recall, _ in points if recall > 0})
    return sum((level - before) * max(p for r, p in points if r >= level)
               for before, level in zip([0, *levels], levels, strict=False))


boxes = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 15),
                           st.integers(1, 15)), min_size=1, max_size=8, unique=True)


@settings(max_examples=150, deadline=None)
@given(boxes, boxes, st.sampled_from([0.3, 0.5, 0.75]))
def test_ap_equals_the_definition(truth, found, threshold):
    # sizes with odd fractions, so that no two overlaps tie
    truth = [[y, x, y + h + 0.01 * i, x + w] for i, (y, x, h, w) in enumerate(truth)]
    found = [[y, x, y + h, x + w + 0.013 * i] for i, (y, x, h, w) in enumerate(found)]
    average = evaluate.compute_ap(
        np.array(truth), np.ones(len(truth), int), np.array(found), np.ones(len(found), int),
        np.linspace(0.9, 0.1, len(found)), threshold)[0]
    assert average == pytest.approx(naive_ap(truth, found, threshold), abs=1e-9)


def test_recall_counts_objects_once():
    truth = np.array([A, B, C], float)
    found = np.array([A, shift(A, right=1), shift(B, right=1), [0, 0, 90, 90]], float)
    recall, positive = evaluate.compute_recall(found, truth, 0.5)
    assert recall == pytest.approx(2 / 3)
    np.testing.assert_array_equal(positive, [0, 1, 2])
    assert evaluate.compute_recall(np.zeros((0, 4)), truth, 0.5)[0] == 0
    assert np.isnan(evaluate.compute_recall(found, np.zeros((0, 4)), 0.5)[0])


# --- a data set -----------------------------------------------------------------------------


class Boxes(Dataset):
    """A data set held in memory: `images` is a list of (boxes, class ids)."""

    def __init__(self, images, names=("cast", "cryst", "eryth")):
        super().__init__()
        self.truth = images
        for index, name in enumerate(names):
            self.add_class("lab", 10 * (index + 1), name)
        for index in range(len(images)):
            self.add_image("lab", 100 + index, path=None)
        self.prepare()

    def load_boxes(self, image_id):
        boxes, class_ids = self.truth[image_id]
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int32)

    def load_image(self, image_id):
        return np.full((100, 100, 3), image_id, np.uint8)


def result(boxes, class_ids, scores=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else scores
    return {"rois": np.nan_to_num(boxes).round().astype(np.int32), "boxes": boxes,
            "class_ids": np.array(class_ids, np.int32), "scores": np.array(scores, np.float32)}


def perfect(dataset):
    found = {}
    for image_id in dataset.image_ids:
        boxes, class_ids = dataset.load_boxes(image_id)
        found[int(image_id)] = result(boxes[class_ids > 0], class_ids[class_ids > 0])
    return found


def test_perfect_detections_have_ap_one():
    dataset = Boxes([([A, B], [1, 3]), ([C, [0, 0, 200, 200]], [1, 1]), ([], [])])
    metrics = evaluate.evaluate_detections(dataset, perfect(dataset), score_threshold=0.05)
    assert all(metrics[key] == 1 for key in ("AP", "AP50", "AP75", "APs", "APl", "AR100"))
    assert metrics["APm"] is None
    assert metrics["per_class"] == {
        "cast": {"AP": 1, "AP50": 1, "objects": 3},
        "cryst": {"AP": None, "AP50": None, "objects": 0},
        "eryth": {"AP": 1, "AP50": 1, "objects": 1}}
    assert metrics["settings"] == {
        "score_threshold": 0.05, "nms_threshold": None, "max_detections": 100, "images": 3,
        "objects": 4, "detections": 4}
    json.dumps(metrics, allow_nan=False)


def test_shifted_boxes_count_up_to_their_overlap():
    dataset = Boxes([([B], [1])])
    found = {0: result([shift(B, right=4)], [1])}  # IoU 320 / 480
    metrics = evaluate.evaluate_detections(dataset, found)
    assert metrics["AP"] == pytest.approx(0.4)
    assert (metrics["AP50"], metrics["AP75"]) == (1, 0)
    assert metrics["AR100"] == pytest.approx(0.4)


def test_sub_pixel_boxes_are_preferred_to_rois():
    dataset = Boxes([([[0.5, 0.5, 6.5, 6.5]], [1])])
    found = {0: result([[0.5, 0.5, 6.5, 6.5]], [1])}
    assert evaluate.evaluate_detections(dataset, found)["AP"] == 1
    del found[0]["boxes"]
    assert evaluate.evaluate_detections(dataset, found)["AP"] < 1


def test_crowds_are_ignored():
    crowd = [0, 50, 40, 90]
    dataset = Boxes([([A, crowd], [1, -1]), ([crowd], [-1])])
    found = perfect(dataset)
    found[0] = result([[5, 55, 15, 65], A], [1, 1])
    found[1] = result([[5, 55, 15, 65]], [1])
    metrics = evaluate.evaluate_detections(dataset, found)
    assert metrics["AP"] == 1
    assert metrics["per_class"]["cast"]["objects"] == 1
    found[1] = result([[5, 5, 15, 15]], [1])
    assert evaluate.evaluate_detections(dataset, found)["AP"] < 1


@pytest.mark.parametrize("found", [{}, {0: result([], [])}])
def test_no_detections_are_ap_zero(found):
    metrics = evaluate.evaluate_detections(Boxes([([A], [1]), ([], [])]), found)
    assert (metrics["AP"], metrics["AR100"], metrics["APl"]) == (0, 0, None)


@pytest.mark.parametrize("truth", [[([], [])], [([A], [-1])], []])
def test_nothing_to_find_is_undefined(truth):
    dataset = Boxes(truth)
    found = {int(i): result([A], [2]) for i in dataset.image_ids}
    metrics = evaluate.evaluate_detections(dataset, found)
    assert metrics["AP"] is None and metrics["AR100"] is None
    assert "-" in evaluate.format_table(metrics)


def test_max_detections_and_image_ids_limit_what_counts():
    dataset = Boxes([([A], [1]), ([B], [1])])
    found = {0: result([C, A], [1, 1]), 1: result([B], [1])}
    assert evaluate.evaluate_detections(dataset, found, max_detections=1)["AR100"] == 0.5
    metrics = evaluate.evaluate_detections(dataset, found, image_ids=[1])
    assert (metrics["AP"], metrics["settings"]["images"]) == (1, 1)


@pytest.mark.parametrize("bad, message", [
    ({0: result([A], [4])}, "image 0 has class id 4"),
    ({0: result([[np.nan, 0, 1, 1]], [1])}, "image 0 has a box"),
])
def test_impossible_detections_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate_detections(Boxes([([A], [1])]), bad)


def test_results_of_an_unknown_image_are_named():
    with pytest.raises(KeyError, match="image id 100"):
        evaluate.evaluate_detections(Boxes([([A], [1])]), {100: result([A], [1])})


def random_set(rng, images=12):
    """Truth with crowds, and detections that are near it, off it, or of the wrong class."""
    truth, found = [], {}
    for image_id in range(images):
        n = rng.integers(0, 9)
        corner, size = rng.uniform(0, 300, (n, 2)), rng.uniform(8, 150, (n, 2))
        boxes = np.concatenate([corner, corner + size], axis=1).round(1)
        class_ids = rng.integers(1, 4, n)
        moved = boxes + rng.normal(0, 4, boxes.shape)
        stray = rng.uniform(0, 300, (3, 4))
        stray[:, 2:] = stray[:, :2] + 30
        guessed = np.where(rng.random(n) < 0.2, rng.integers(1, 4, n), class_ids)
        found[image_id] = result(np.concatenate([moved, stray]),
                                 np.concatenate([guessed, rng.integers(1, 4, 3)]),
                                 rng.permutation(n + 3) / (n + 4))
        truth.append((boxes, np.where(rng.random(n) < 0.15, -class_ids, class_ids)))
    return truth, found


def test_figures_equal_those_of_a_coco_file(tmp_path):
    """The same data, written by hand as COCO files, through pycocotools' own loader and summary."""
    truth, found = random_set(np.random.default_rng(3))
    dataset = Boxes(truth)
    annotations = []
    for image_id, (boxes, class_ids) in enumerate(truth):
        for (y1, x1, y2, x2), class_id in zip(boxes.astype(np.float32).tolist(), class_ids,
                                              strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": 100 + image_id,
                "category_id": 10 * abs(int(class_id)), "iscrowd": int(class_id < 0),
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
    (tmp_path / "truth.json").write_text(json.dumps({
        "images": [{"id": 100 + i} for i in range(len(truth))], "annotations": annotations,
        "categories": [{"id": 10 * i, "name": str(i)} for i in (1, 2, 3)]}))
    rows = evaluate.to_coco_results(dataset, found)
    (tmp_path / "found.json").write_text(json.dumps(rows))

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "truth.json"))
        direct = COCOeval(coco, coco.loadRes(str(tmp_path / "found.json")), "bbox")
        direct.evaluate()
        direct.accumulate()
        direct.summarize()
    metrics = evaluate.evaluate_detections(dataset, found)
    keys = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    np.testing.assert_allclose([metrics[key] for key in keys], direct.stats[:6], atol=1e-9)
    assert metrics["AR100"] == pytest.approx(direct.stats[8])
    assert 0.05 < metrics["AP"] < 0.95
    class_ap = [figures["AP"] for figures in metrics["per_class"].values()]
    assert np.mean(class_ap) == pytest.approx(metrics["AP"])


def test_coco_results_use_the_sources_ids():
    dataset = Boxes([([A], [1]), ([B], [2])])
    rows = evaluate.to_coco_results(dataset, {1: result([[1.25, 2, 11.5, 22]], [2], [0.75])})
    assert rows == [{"image_id": 101, "category_id": 20, "bbox": [2, 1.25, 20, 10.25],
                     "score": 0.75}]


# --- a model --------------------------------------------------------------------------------


class FakeModel:
    """Finds B in every image whose pixels are not 0, and counts how it was called."""

    class config:
        BATCH_SIZE = 3
        DETECTION_MIN_CONFIDENCE = 0.05
        DETECTION_NMS_THRESHOLD = 0.3
        DETECTION_MAX_INSTANCES = 50

    def __init__(self):
        self.calls = []

    def detect(self, images, verbose=0):
        assert verbose == 0
        self.calls.append(len(images))
        return [result([B], [1]) if image.any() else result([], []) for image in images]


def test_detect_dataset_reads_a_few_images_at_a_time(capsys):
    dataset, model = Boxes([([B], [1])] * 20), FakeModel()
    results = evaluate.detect_dataset(model, dataset, progress=False)
    assert list(results) == list(range(20)) and model.calls == [9, 9, 2]
    assert len(results[0]["rois"]) == 0 and len(results[19]["rois"]) == 1
    assert list(evaluate.detect_dataset(model, dataset, [7, 3], progress=False)) == [7, 3]
    assert capsys.readouterr() == ("", "")
    evaluate.detect_dataset(model, dataset, [7], progress=True)
    assert "1/1" in capsys.readouterr().err


def test_evaluate_model_notes_the_models_thresholds():
    metrics = evaluate.evaluate_model(FakeModel(), Boxes([([B], [1])] * 4), progress=False)
    assert metrics["AP50"] == pytest.approx(76 / 101)  # three of four found: recall up to 0.75
    assert metrics["settings"] == {
        "score_threshold": 0.05, "nms_threshold": 0.3, "max_detections": 50, "images": 4,
        "objects": 4, "detections": 3}


def test_evaluate_model_warns_of_a_threshold_that_cuts_the_curve(monkeypatch):
    monkeypatch.setattr(FakeModel.config, "DETECTION_MIN_CONFIDENCE", 0.7)
    with pytest.warns(UserWarning, match="DETECTION_MIN_CONFIDENCE is 0.7"):
        evaluate.evaluate_model(FakeModel(), Boxes([([B], [1])]), progress=False)


# --- tables ---------------------------------------------------------------------------------


def test_table_names_every_figure_and_class():
    dataset = Boxes([([A, B], [1, 3])])
    lines = evaluate.format_table(
        evaluate.evaluate_detections(dataset, perfect(dataset), score_threshold=0.05)).splitlines()
    assert "score >= 0.05" in lines[0] and "1 image, 2 objects" in lines[0]
    assert lines[2].split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"]
    assert lines[3].split() == ["1.000", "1.000", "1.000", "1.000", "-", "-", "1.000"]
    assert [line.split() for line in lines[5:]] == [
        ["class", "AP", "AP50", "objects"], ["cast", "1.000", "1.000", "1"],
        ["cryst", "-", "-", "0"], ["eryth", "1.000", "1.000", "1"]]


def test_metrics_file_is_whole_or_untouched(tmp_path):
    path = tmp_path / "new" / "metrics.json"
    evaluate.write_metrics({"AP": 0.5}, path)
    assert json.loads(path.read_text()) == {"AP": 0.5}
    with pytest.raises(ValueError):
        evaluate.write_metrics({"AP": float("nan")}, path)
    assert json.loads(path.read_text()) == {"AP": 0.5}
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]
