"""COCO figures of data sets: known cases, and pycocotools run on files written by hand."""

import contextlib
import io
import json

import numpy as np
import pytest
from evaluate_tools import A, B, Boxes, C, perfect, random_set, result, shift
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from frcnn import evaluate
from frcnn.config import Config
from frcnn.evaluate.recipes import detection_recipes


@pytest.mark.smoke
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


def test_detect_dataset_reads_one_image_at_a_time(capsys):
    dataset, model = Boxes([([B], [1])] * 20), FakeModel()
    results = evaluate.detect_dataset(model, dataset, progress=False)
    assert list(results) == list(range(20)) and model.calls == [1] * 20
    assert len(results[0]["rois"]) == 0 and len(results[19]["rois"]) == 1
    assert list(evaluate.detect_dataset(model, dataset, [7, 3], progress=False)) == [7, 3]
    assert capsys.readouterr() == ("", "")
    evaluate.detect_dataset(model, dataset, [7], progress=True)
    assert "1/1" in capsys.readouterr().err


def test_detect_dataset_leaves_reading_to_a_model_that_streams():
    class Streaming(FakeModel):
        def detect_stream(self, images):
            for image in images:
                self.calls.append(image)
                yield result([B], [1]) if image().any() else result([], [])

    dataset, model = Boxes([([B], [1])] * 4), Streaming()
    results = evaluate.detect_dataset(model, dataset, [2, 0, 3], progress=False)
    assert list(results) == [2, 0, 3] and len(model.calls) == 3
    assert [len(results[image_id]["rois"]) for image_id in (2, 0, 3)] == [1, 0, 1]


def test_evaluate_model_notes_the_models_thresholds():
    metrics = evaluate.evaluate_model(FakeModel(), Boxes([([B], [1])] * 4), progress=False)
    assert metrics["AP50"] == pytest.approx(76 / 101)  # three of four found: recall up to 0.75
    assert metrics["settings"] == {
        "score_threshold": 0.05, "nms_threshold": 0.3, "max_detections": 50, "images": 4,
        "objects": 4, "detections": 3}


def test_the_recipes_of_a_model_are_noted_where_they_are_on():
    assert detection_recipes(Config()) == detection_recipes(FakeModel.config) == {}
    model = FakeModel()
    model.config = Config(DETECTION_FLIPS=("horizontal", "both"), DETECTION_BOX_VOTING=0.8,
                          DETECTION_MIN_CONFIDENCE=0.05, NUM_CLASSES=4)
    metrics = evaluate.evaluate_model(model, Boxes([([B], [1])] * 4), progress=False)
    assert metrics["settings"] == {
        "score_threshold": 0.05, "nms_threshold": 0.3, "max_detections": 100, "images": 4,
        "objects": 4, "detections": 3, "flips": ["horizontal", "both"], "fusion_iou": 0.55,
        "box_voting": 0.8}
    assert ("NMS 0.3, flips horizontal + both fused at IoU 0.55, box voting at IoU 0.8, at most"
            in evaluate.format_table(metrics))


def test_evaluate_model_warns_of_a_threshold_that_cuts_the_curve(monkeypatch):
    monkeypatch.setattr(FakeModel.config, "DETECTION_MIN_CONFIDENCE", 0.7)
    with pytest.warns(UserWarning, match="DETECTION_MIN_CONFIDENCE is 0.7"):
        evaluate.evaluate_model(FakeModel(), Boxes([([B], [1])]), progress=False)


# --- several sources ------------------------------------------------------------------------


class TwoSources(Boxes):
    """Two images; the second comes from a source that has labels for `pus` only."""

    def __init__(self, images):
        super().__init__(images)
        self.add_class("clinic", 1, "pus")
        self.image_info[1].update(source="clinic", id="c1")
        self.prepare()


def test_classes_without_labels_in_a_source_are_neither_right_nor_wrong():
    dataset = TwoSources([([A], [1]), ([B], [4])])
    found = {0: result([A, B, C], [1, 4, 4], [0.5, 0.9, 0.8]),
             1: result([B, A], [4, 1], [0.3, 0.9])}
    metrics = evaluate.evaluate_detections(dataset, found)
    assert {name: figures["AP"] for name, figures in metrics["per_class"].items()} == {
        "cast": 1, "cryst": None, "eryth": None, "pus": 1}
    rows = evaluate.to_coco_results(dataset, found)
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(100, 10), ("c1", 1)]


def test_classes_of_one_name_are_told_apart_by_their_source():
    dataset = TwoSources([([A], [1]), ([B], [4])])
    dataset.class_info[4]["name"] = "cast"
    dataset.prepare()
    metrics = evaluate.evaluate_detections(dataset, {0: result([A], [1])})
    assert metrics["per_class"]["cast (lab)"]["AP"] == 1
    assert metrics["per_class"]["cast (clinic)"]["AP"] == 0
    assert set(evaluate.precision_recall_curves(dataset, {})) == {"cast (lab)", "cast (clinic)"}
