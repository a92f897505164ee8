"""The rule for true boxes: what is clipped to the image, and what is dropped."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.data.clipping import clip_box, clip_to_image, has_area, keep_visible

# Sides of billionths of a pixel would make areas that float32 cannot tell from none.
SIDES = st.just(0.0) | st.floats(2**-10, 100, width=32)
BOXES = st.tuples(*[st.floats(-150, 150, width=32)] * 2, *[SIDES] * 2).map(
    lambda parts: (parts[0], parts[1], parts[0] + parts[2], parts[1] + parts[3]))


@given(BOXES, st.integers(1, 100), st.integers(1, 100))
@settings(max_examples=100, deadline=None)
def test_readers_and_the_loader_clip_alike(box, height, width):
    findings = []
    one = clip_box(box, width, height, "the box", findings)
    many = clip_to_image(np.float32([box]), (height, width, 3))
    assert len(findings) <= 1 and all(finding.repairable for finding in findings)
    if one is None:  # readers also drop what is thinner than a tenth of a pixel
        assert (many[0, 2:] - many[0, :2]).min() < 0.11
    else:
        assert has_area(many).all()
        np.testing.assert_array_equal(np.float32(one), many[0])
    assert (many >= 0).all() and (many <= [height, width] * 2).all()


def test_empty_and_inverted_boxes_have_no_area():
    boxes = np.float32([[1, 2, 3, 4], [1, 2, 1, 4], [1, 2, 3, 2], [3, 4, 1, 2]])
    assert has_area(boxes).tolist() == [True, False, False, False]
    assert has_area(boxes[:0]).shape == (0,)


def test_the_rule_for_boxes_that_leave_the_frame():
    boxes = np.float32([
        [10, 10, 20, 20],  # inside
        [-5, 10, 5, 20],  # half of it left
        [-8, 10, 2, 20],  # a fifth left: dropped
        [-8, 10, 2, 20],  # the same, a crowd: stays, cut
        [-9.5, 0, 0.5, 9],  # half a pixel left: dropped
        [200, 10, 210, 20],  # gone
        [-9, -9, -1, -1],  # gone, a crowd
        [30, 30, 30.4, 30.4],  # smaller than a pixel, but whole
    ])
    class_ids = np.array([1, 2, 3, -3, 1, 1, -1, 4], np.int32)
    kept, kept_ids = keep_visible(boxes, class_ids, (100, 100, 3))
    assert kept_ids.tolist() == [1, 2, -3, 4]
    np.testing.assert_array_equal(kept, np.float32([
        [10, 10, 20, 20], [0, 10, 5, 20], [0, 10, 2, 20], [30, 30, 30.4, 30.4]]))


def test_no_boxes_stay_no_boxes():
    boxes, class_ids = keep_visible(np.zeros((0, 4), np.float32), np.zeros(0, int), (9, 9))
    assert boxes.shape == (0, 4) and class_ids.shape == (0,)


@given(st.lists(st.tuples(BOXES, st.booleans()), max_size=8), st.integers(1, 100),
       st.integers(1, 100))
@settings(max_examples=100, deadline=None)
def test_what_is_kept_lies_inside_and_was_visible(items, height, width):
    boxes = np.float32([box for box, _ in items]).reshape(-1, 4)
    class_ids = np.array([-1 - n if crowd else n + 1 for n, (_, crowd) in enumerate(items)], int)
    kept, kept_ids = keep_visible(boxes, class_ids, (height, width))
    assert (kept[:, :2] >= 0).all() and (kept[:, 2:] <= [height, width]).all()
    assert (kept[:, 2:] > kept[:, :2]).all()
    inside = {}
    for (y1, x1, y2, x2), class_id in zip(boxes.astype(float), class_ids):
        left = max(0, min(y2, height) - max(y1, 0)) * max(0, min(x2, width) - max(x1, 0))
        inside[class_id] = left / ((y2 - y1) * (x2 - x1)) if left > 0 else 0
    for class_id, share in inside.items():
        if share == 1 or (class_id < 0 and share > 1e-3):
            assert class_id in kept_ids
        if class_id in kept_ids:
            assert share > (0 if class_id < 0 else 0.2499)
