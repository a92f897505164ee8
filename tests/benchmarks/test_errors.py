"""Kinds of wrong detections, worked by hand."""

import numpy as np
import pytest
from model_tools import Rectangles

from benchmarks import errors

OBJECTS = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
CLASSES = np.array([1, 2])


def result(rows):
    """The result of rows (y1, x1, y2, x2, class id, score)."""
    rows = np.array(rows, np.float32)
    return {"boxes": rows[:, :4], "rois": rows[:, :4].astype(np.int32),
            "class_ids": rows[:, 4].astype(np.int32), "scores": rows[:, 5]}


@pytest.mark.parametrize(("row", "kind"), [
    ((0, 0, 10, 9, 1, 0.5), "again"),  # IoU 0.9 with the first object, which is found already
    ((20, 20, 30, 29, 1, 0.5), "wrong class"),
    ((20, 20, 24, 30, 2, 0.5), "badly placed"),  # IoU 0.4
    ((5, 5, 25, 25, 2, 0.5), "no object"),  # 25 / 475 of its class
    ((40, 40, 50, 50, 1, 0.5), "no object"),
    ((20, 20, 30, 30, 2, 0.5), "right"),
])
def test_the_kind_of_a_detection(row, kind):
    found = errors.kinds_of(result([row, (0, 0, 10, 10, 1, 0.9)]), OBJECTS, CLASSES)
    assert list(found) == [kind, "right"]  # in the result's order, whatever the scores


def test_what_is_left_without_a_kind():
    dataset = Rectangles([(128, 128)] * 2)
    results = {}
    for image_id in dataset.image_ids:
        boxes, class_ids = dataset.load_boxes(image_id)
        rows = [(*box, class_id, 0.6) for box, class_id in zip(boxes, class_ids)]
        # Before all objects: another class at the first one's place.
        results[int(image_id)] = result([(*boxes[0], class_ids[0] % 3 + 1, 0.9), *rows])
    section = errors.section("drawn", dataset, results)
    rows = [row for row in section.rows if row[1] != "0"]
    assert rows and all(row[2] == "100 %" for row in rows)
    columns = dict(zip(section.headers, zip(*rows)))
    assert {cell.split()[0] for cell in columns["without: wrong class"]} == {"1.000"}
    wrong = sum(int(cell.split("(")[1].rstrip(")")) for cell in columns["without: wrong class"])
    assert wrong <= len(results) and min(columns["AP50"]) < "1"


def test_models_together_have_the_mean_of_boxes_and_scores():
    one, other = result([(0, 0, 10, 10, 1, 0.5)]), result([(0, 0, 10, 8, 1, 0.5),
                                                           (30, 30, 40, 40, 2, 0.4)])
    found = errors.fused([one, other], 0.55)
    np.testing.assert_allclose(found["boxes"], [[0, 0, 10, 9], [30, 30, 40, 40]], atol=1e-6)
    np.testing.assert_allclose(found["scores"], [0.5, 0.2], atol=1e-6)
