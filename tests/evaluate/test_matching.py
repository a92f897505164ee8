"""Matching, AP and recall of one image, against hand-worked cases and the definition."""

import numpy as np
import pytest
from evaluate_tools import A, B, C, shift
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn import evaluate


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


@pytest.mark.smoke
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


def test_leftovers_are_paired_across_classes():
    truth = np.array([A, B, C], float)
    ids = np.array([1, 2, -1])
    found = np.array([A, shift(A, right=1), B, C], float)
    matches = evaluate.matching.compute_matches(truth, ids, found, np.array([1, 2, 1, 2]),
                                                np.array([0.9, 0.8, 0.7, 0.6]))
    partner = evaluate.matching.match_leftovers(*matches, ids)
    # the first is a hit, the second finds no free object, the third is B by another name, a crowd
    # is nobody's partner
    np.testing.assert_array_equal(partner, [-1, -1, 1, -1])


def test_an_image_is_matched_without_padding_and_low_scores():
    zeros, crowd = [0, 0, 0, 0], [100, 100, 200, 200]
    found = [[110, 110, 120, 120], zeros, C, B, A]  # in the crowd; padding; low; confused; a hit
    matches = evaluate.matching.match_image(
        [zeros, A, B, C, crowd], [0, 1, 2, 3, -1], found, [1, 0, 3, 3, 1],
        [0.6, 0, 0.2, 0.7, 0.9], score_threshold=0.5)
    np.testing.assert_array_equal(matches.gt_boxes, [A, B, C, crowd])
    np.testing.assert_array_equal(matches.boxes, [A, B, found[0]])
    np.testing.assert_array_equal(matches.class_ids, [1, 3, 1])
    np.testing.assert_array_equal(matches.scores, [0.9, 0.7, 0.6])
    np.testing.assert_array_equal(matches.gt_match, [0, -1, -1, -1])
    np.testing.assert_array_equal(matches.pred_match, [0, -1, -1])
    np.testing.assert_array_equal(matches.confused_with, [-1, 1, -1])
    np.testing.assert_array_equal(matches.in_crowd, [False, False, True])
    assert matches.overlaps.shape == (3, 4)
