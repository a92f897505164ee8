"""From images to molded batches, and back into the images' own pixels."""

import numpy as np
import pytest
from model_tools import small_config

from frcnn.data.image_meta import parse_image_meta
from frcnn.inference import transform as inference


def test_images_of_any_size_are_molded_to_one():
    images = [np.full(shape, 200, np.uint8) for shape in ((60, 80, 3), (128, 128, 3), (300, 50, 3))]
    molded, metas, windows = inference.mold_inputs(images, small_config())
    assert [x.shape for x in molded] == [(128, 128, 3)] * 3
    assert [x.dtype for x in molded] == [np.float32] * 3
    assert [tuple(window) for window in windows] == [
        (16, 0, 112, 128), (0, 0, 128, 128), (0, 53, 128, 74)]
    meta = parse_image_meta(np.stack(metas))
    np.testing.assert_array_equal(meta["original_image_shape"], [x.shape for x in images])
    np.testing.assert_array_equal(meta["window"], windows)
    np.testing.assert_allclose(meta["scale"], [1.6, 1, 128 / 300], rtol=1e-6)
    # inside the window the image, around it zeros, all less the mean pixel
    mean = np.array([123.7, 116.8, 103.9])
    np.testing.assert_allclose(molded[0][64, 64], 200 - mean, rtol=1e-5)
    np.testing.assert_allclose(molded[0][8, 64], -mean, rtol=1e-5)


def test_detections_go_back_into_the_images_pixels():
    rows = np.zeros((5, 6), np.float32)
    rows[0] = 16, 0, 112, 128, 2, 0.9  # the whole window
    rows[1] = 40, 10, 50.5, 30.25, 1, 0.8
    rows[2] = 40, 10, 40, 30, 3, 0.7  # no area
    boxes, class_ids, scores = inference.unmold_detections(
        rows, (60, 80, 3), (128, 128, 3), (16, 0, 112, 128))
    np.testing.assert_allclose(boxes, [(0, 0, 60, 80), (15, 6.25, 21.5625, 18.90625)], rtol=1e-6)
    np.testing.assert_array_equal(class_ids, [2, 1])
    np.testing.assert_allclose(scores, [0.9, 0.8], rtol=1e-6)
    assert (boxes.dtype, class_ids.dtype, scores.dtype) == (np.float32, np.int32, np.float32)


def test_boxes_end_at_the_image():
    rows = np.array([[-5, -5, 200, 300, 1, 0.5], [128, 0, 140, 20, 1, 0.4]], np.float32)
    boxes, _, _ = inference.unmold_detections(rows, (10, 20), (128, 128), (0, 0, 128, 128))
    np.testing.assert_array_equal(boxes, [[0, 0, 10, 20]])


def test_nothing_found():
    boxes, class_ids, scores = inference.unmold_detections(
        np.zeros((5, 6)), (10, 20), (128, 128), (0, 0, 128, 128))
    assert boxes.shape == (0, 4) and class_ids.shape == scores.shape == (0,)
    result = inference.as_result(boxes, class_ids, scores)
    assert result["rois"].shape == (0, 4) and result["rois"].dtype == np.int32


def test_results_are_rounded_and_not():
    boxes = np.array([[0.4, 0.6, 10.4, 9.6]], np.float32)
    result = inference.as_result(boxes, np.array([3]), np.array([0.5]))
    np.testing.assert_array_equal(result["rois"], [[0, 1, 10, 10]])
    np.testing.assert_array_equal(result["boxes"], boxes)


def test_molding_and_unmolding_undo_each_other():
    rng = np.random.default_rng(0)
    for height, width in ((60, 80), (301, 77), (128, 128), (1000, 1400)):
        image = np.zeros((height, width, 3), np.uint8)
        _, _, (window,) = inference.mold_inputs([image], small_config())
        y1, x1, y2, x2 = window
        corner = rng.uniform(0, 0.5, (6, 2))
        expected = np.concatenate([corner, corner + 0.4], axis=1) * ([height, width] * 2)
        scale = np.array([(y2 - y1) / height, (x2 - x1) / width] * 2)
        rows = np.concatenate([expected * scale + [y1, x1, y1, x1], np.ones((6, 2))], axis=1)
        boxes, _, _ = inference.unmold_detections(rows, image.shape, (128, 128), window)
        np.testing.assert_allclose(boxes, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 4), (0, 80, 3), (2, 60, 80, 3)])
def test_an_unfit_image_is_named(shape):
    with pytest.raises(ValueError, match=r"Image 4 has the shape .*\(height, width, 3\)"):
        inference.check_image(np.zeros(shape, np.uint8), 4, small_config())


def test_gray_images_for_a_model_of_one_channel():
    config = small_config(IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=[120.0])
    assert inference.check_image(np.zeros((5, 6), np.uint8), 0, config).shape == (5, 6, 1)


def test_arrays_in_a_list_are_checked_at_once():
    config = small_config()
    path, function = "a.png", lambda: None
    images = [np.zeros((5, 6, 3), np.uint8), path, function]
    checked = inference.check_arrays(images, config)
    assert checked[0] is images[0] and checked[1:] == [path, function]
    with pytest.raises(ValueError, match="Image 2 has the shape"):
        inference.check_arrays([*images[:2], np.zeros((5, 6))], config)
    lazy = iter([np.zeros((5, 6))])
    assert inference.check_arrays(lazy, config) is lazy
    assert len(inference.check_arrays(np.zeros((4, 5, 6, 3), np.uint8), config)) == 4
    with pytest.raises(ValueError, match=r"images or paths; put 'a\.png' into one"):
        inference.check_arrays(path, config)


@pytest.mark.parametrize("mode", ["none", "crop"])
def test_detection_sees_the_whole_image_in_every_mode(mode):
    """Neither cropped nor of a side that the pyramid cannot halve; unmolding finds the way back."""
    config = small_config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=64)
    image = np.full((70, 101, 3), 200, np.uint8)
    molded, _, windows = inference.mold_inputs([image], config)
    assert molded[0].shape == (128, 128, 3)
    y1, x1, y2, x2 = windows[0]
    assert (y2 - y1, x2 - x1) == (70, 101)
    inside = molded[0][y1:y2, x1:x2] + config.MEAN_PIXEL
    np.testing.assert_allclose(inside, 200, atol=1e-3)
    found = [[y1 + 10, x1 + 20, y1 + 30, x1 + 50, 1, 0.9]]
    boxes, _, _ = inference.unmold_detections(found, image.shape, molded[0].shape, windows[0])
    np.testing.assert_allclose(boxes, [[10, 20, 30, 50]])
