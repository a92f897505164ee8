"""Detections that are right but for the numbers of their classes are warned of."""

import warnings

import numpy as np
import pytest
from model_tools import Rectangles

from frcnn.evaluate import evaluate_detections

SHAPES = [(128, 128)] * 5


def results(dataset, change):
    """What a perfect detector returns, its class ids changed by a function."""
    found = {}
    for image_id in dataset.image_ids:
        boxes, class_ids = dataset.load_boxes(image_id)
        found[int(image_id)] = {"boxes": boxes, "class_ids": change(class_ids),
                                "scores": np.full(len(boxes), 0.9, np.float32)}
    return found


def silent(dataset, found):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return evaluate_detections(dataset, found)["AP50"]


def test_classes_that_are_exchanged():
    dataset = Rectangles(SHAPES)
    order = np.array([0, 3, 1, 2])
    with pytest.warns(UserWarning, match="'red' as 'blue', 'green' as 'red', 'blue' as 'green'"):
        metrics = evaluate_detections(dataset, results(dataset, lambda ids: order[ids]))
    assert metrics["AP50"] == 0


def test_other_mistakes_say_nothing():
    dataset = Rectangles(SHAPES)
    assert silent(dataset, results(dataset, lambda ids: ids)) == pytest.approx(1)
    silent(dataset, results(dataset, np.ones_like))  # all of one class
    rng = np.random.default_rng(0)
    silent(dataset, results(dataset, lambda ids: rng.integers(1, 4, ids.shape)))
    silent(dataset, {})
    few = Rectangles(SHAPES[:3])  # nine objects: may be chance
    silent(few, results(few, lambda ids: np.array([0, 3, 1, 2])[ids]))
    two_right = np.array([0, 1, 3, 2])
    silent(dataset, results(dataset, lambda ids: two_right[ids]))
