"""Curves and confusion over a data set, against the COCO figures and hand-counted cases."""

import numpy as np
import pytest
from evaluate_tools import A, B, Boxes, C, perfect, random_set, result, shift

from frcnn import evaluate


def test_curves_have_the_areas_of_the_coco_figures():
    truth, found = random_set(np.random.default_rng(5))
    dataset = Boxes(truth)
    metrics = evaluate.evaluate_detections(dataset, found)
    curves = evaluate.precision_recall_curves(dataset, found)
    assert set(curves) == set(metrics["per_class"])
    for name, curve in curves.items():
        assert curve["AP"] == pytest.approx(metrics["per_class"][name]["AP50"], abs=1e-9)
        assert curve["precisions"].mean() == pytest.approx(curve["AP"])
        assert len(curve["recalls"]) == len(curve["precisions"]) == len(curve["scores"]) == 101
        assert (np.diff(curve["precisions"]) <= 0).all() and (np.diff(curve["scores"]) <= 0).all()
    strict = evaluate.precision_recall_curves(dataset, found, iou_threshold=0.9)
    assert strict["cast"]["AP"] < curves["cast"]["AP"]


def test_a_curve_ends_at_the_highest_recall():
    dataset = Boxes([([A, B], [1, 1])])
    curve = evaluate.precision_recall_curves(dataset, {0: result([A], [1], [0.7])})["cast"]
    np.testing.assert_allclose(curve["precisions"], [1] * 51 + [0] * 50)
    np.testing.assert_allclose(curve["scores"], [0.7] * 51 + [0] * 50, atol=1e-6)


def test_classes_without_objects_have_no_curve():
    dataset = Boxes([([A], [1]), ([B], [-3])])
    found = {0: result([A, B], [1, 2])}
    assert set(evaluate.precision_recall_curves(dataset, found)) == {"cast"}
    assert evaluate.precision_recall_curves(Boxes([([], [])]), {}) == {}


def test_confusion_counts_hits_errors_misses_and_false_detections():
    crowd = [100, 100, 200, 200]
    dataset = Boxes([([A, B, C, crowd], [1, 2, 3, -1]), ([], []), ([A], [1])])
    found = {
        # a hit; B by another name; C below the score; in the crowd; nowhere
        0: result([A, B, C, [110, 110, 120, 120], [60, 0, 70, 10]], [1, 3, 3, 1, 2],
                  [0.9, 0.8, 0.4, 0.9, 0.6]),
        1: result([A], [2], [0.9]),
        # the wrong class scores best, and yet the right one takes the object
        2: result([A, shift(A, right=1)], [2, 1], [0.9, 0.6]),
    }
    counts = evaluate.confusion_matrix(dataset, found)
    np.testing.assert_array_equal(counts, [
        [0, 0, 3, 0],
        [0, 2, 0, 0],
        [0, 0, 0, 1],
        [1, 0, 0, 0]])
    assert evaluate.confusion_matrix(dataset, found, score_threshold=0.3)[3, 3] == 1
    assert evaluate.confusion_matrix(dataset, found, [1]).sum() == 1


def test_confusion_of_perfect_and_of_no_detections():
    dataset = Boxes([([A, B, C], [1, 2, 1])])
    np.testing.assert_array_equal(
        evaluate.confusion_matrix(dataset, perfect(dataset)), np.diag([0, 2, 1, 0]))
    missed = evaluate.confusion_matrix(dataset, {})
    assert missed[:, 0].tolist() == [0, 2, 1, 0] and missed.sum() == 3


@pytest.mark.parametrize("seed", range(5))
def test_confusion_adds_up_to_the_objects(seed):
    truth, found = random_set(np.random.default_rng(seed))
    counts = evaluate.confusion_matrix(Boxes(truth), found, score_threshold=0)
    ids = np.concatenate([class_ids for _, class_ids in truth])
    np.testing.assert_array_equal(counts[1:].sum(axis=1),
                                  [np.count_nonzero(ids == class_id) for class_id in (1, 2, 3)])
    detections = np.concatenate([own["class_ids"] for own in found.values()])
    assert counts[:, 1:].sum() <= len(detections)
