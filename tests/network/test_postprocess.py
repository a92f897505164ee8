"""DetectionLayer and refine_detections against the reference and each other."""

import numpy as np
import pytest
from keras import ops
from model_tools import array, small_config

from frcnn.data.image_meta import compose_image_meta, parse_image_meta
from frcnn.geometry import boxes as host
from frcnn.network.ops import parse_image_meta_graph
from frcnn.network.postprocess import DetectionLayer, detection_steps, refine_detections

SHAPE = (256, 256)
WINDOW = (32, 0, 224, 256)


@pytest.fixture(scope="module")
def config():
    return small_config(NUM_CLASSES=8, DETECTION_MIN_CONFIDENCE=0.7, DETECTION_MAX_INSTANCES=100,
                        DETECTION_NMS_THRESHOLD=0.3)


@pytest.fixture(scope="module")
def golden(functions):
    return [functions[f"det_{name}"] for name in ("rois", "probs", "deltas")]


def layer_rows(config, inputs, meta):
    inputs = [np.asarray(x, np.float32)[None] for x in (*inputs, meta)]
    return array(DetectionLayer(config)([ops.convert_to_tensor(x) for x in inputs]))[0]


def pixels(rows, shape=SHAPE):
    """The reference's rows with their normalized boxes in float pixels."""
    scale = np.array([*shape, *shape]) - 1
    return np.concatenate([rows[:, :4] * scale + [0, 0, 1, 1], rows[:, 4:]], axis=1)


def test_the_references_detections(functions, golden, config):
    rows = layer_rows(config, golden, functions["image_meta"])
    expected = functions["det_out"]
    count = int((expected[:, 4] > 0).sum())
    assert rows.shape == (100, 6) and 0 < count < 100
    np.testing.assert_allclose(rows[:count], pixels(expected[:count]), rtol=1e-5, atol=1e-4)
    assert not rows[count:].any()


def test_on_the_host_one_image_at_a_time(functions, golden, config):
    rows = refine_detections(*golden, np.array(WINDOW), config, image_shape=(*SHAPE, 3))
    expected = functions["det_out"][functions["det_out"][:, 4] > 0]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, pixels(expected), rtol=1e-5, atol=1e-4)


def test_the_shape_defaults_to_the_configs(golden):
    config = small_config(NUM_CLASSES=8)  # 128 × 128
    found = refine_detections(*golden, (0, 0, 128, 128), config)
    given = refine_detections(*golden, (0, 0, 128, 128), config, image_shape=(128, 128, 3))
    np.testing.assert_array_equal(found, given)
    assert found[:, :4].max() <= 128


def test_the_steps_one_by_one(golden, config):
    rois, probabilities, deltas = golden
    steps = detection_steps(*golden, WINDOW, config, image_shape=SHAPE)
    rows = np.arange(len(rois))
    class_ids = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(steps["class_ids"], class_ids)
    np.testing.assert_array_equal(steps["scores"], probabilities.max(axis=1))
    moved = host.apply_box_deltas(rois, deltas[rows, class_ids] * config.BBOX_STD_DEV)
    np.testing.assert_allclose(steps["refined"], moved, rtol=1e-4, atol=1e-5)
    window = host.norm_boxes(np.array(WINDOW, float), SHAPE)
    np.testing.assert_allclose(steps["clipped"], host.clip_boxes(moved, window), rtol=1e-4,
                               atol=1e-5)
    sure = (class_ids > 0) & (steps["scores"] >= 0.7)
    np.testing.assert_array_equal(np.isfinite(steps["kept_scores"]), sure)

    kept = []
    for class_id in range(1, 8):
        of_class = np.flatnonzero(sure & (class_ids == class_id))
        if len(of_class):
            kept += of_class[host.non_max_suppression(
                steps["clipped"][of_class], steps["scores"][of_class], 0.3)].tolist()
    assert sorted(steps["keep"]) == sorted(kept)
    assert (np.diff(steps["scores"][steps["keep"]]) <= 0).all()


def rows_of(scores, classes=None, boxes=None):
    """RoIs in a row, each of one class with a score: rois, probabilities, deltas."""
    count = len(scores)
    classes = [1] * count if classes is None else classes
    left = np.arange(count) / (2 * count)
    rois = np.stack([left, left, left + 0.4 / count, left + 0.4 / count], axis=1)
    probabilities = np.zeros((count, 4))
    probabilities[np.arange(count), classes] = scores
    return rois if boxes is None else boxes, probabilities, np.zeros((count, 4, 4))


def test_the_confidence_limit_is_inclusive():
    config = small_config(DETECTION_MIN_CONFIDENCE=0.5)
    rows = refine_detections(*rows_of([0.5, 0.499, 0.9]), (0, 0, 128, 128), config)
    np.testing.assert_allclose(rows[:, 5], [0.9, 0.5])
    assert len(refine_detections(*rows_of([0.1, 0.2]), (0, 0, 128, 128), config)) == 0


def test_background_is_never_detected():
    rows = refine_detections(*rows_of([0.9, 0.8], classes=[0, 2]), (0, 0, 128, 128), small_config())
    np.testing.assert_array_equal(rows[:, 4], [2])


def test_classes_do_not_suppress_each_other():
    boxes = np.tile([[0.1, 0.1, 0.5, 0.5]], (3, 1))
    inputs = rows_of([0.9, 0.8, 0.7], classes=[1, 2, 1], boxes=boxes)
    rows = refine_detections(*inputs, (0, 0, 128, 128), small_config())
    np.testing.assert_array_equal(rows[:, 4], [1, 2])


def test_at_most_so_many_and_the_best_of_all_classes():
    config = small_config(DETECTION_MAX_INSTANCES=3)
    scores, classes = [0.5, 0.9, 0.6, 0.8, 0.7], [1, 1, 2, 3, 2]
    rows = refine_detections(*rows_of(scores, classes), (0, 0, 128, 128), config)
    np.testing.assert_allclose(rows[:, 5], [0.9, 0.8, 0.7])
    np.testing.assert_array_equal(rows[:, 4], [1, 3, 2])


def test_each_image_has_its_own_shape_and_window():
    config = small_config()
    inputs = rows_of([0.9], boxes=np.array([[0.0, 0.0, 1.0, 1.0]]))
    metas = [compose_image_meta(0, (9, 9, 3), shape, window, 1.0, [1] * 4) for shape, window in (
        ((128, 128, 3), (16, 0, 112, 128)), ((192, 320, 3), (0, 40, 192, 280)))]
    batch = [np.stack([x, x]).astype(np.float32) for x in inputs]
    layer = DetectionLayer(config)
    rows = array(layer([*map(ops.convert_to_tensor, batch), np.stack(metas).astype(np.float32)]))
    np.testing.assert_allclose(rows[:, 0, :4], [(16, 0, 112, 128), (0, 40, 192, 280)], atol=1e-3)


def test_the_metas_parts_are_those_of_the_host():
    metas = np.stack([
        compose_image_meta(7, (480, 640, 3), (256, 256, 3), (32, 0, 224, 256), 0.4, [1, 0, 1]),
        compose_image_meta(8, (10, 20, 3), (64, 64, 3), (0, 1, 2, 3), 2.0, [0, 1, 1])])
    found, expected = parse_image_meta_graph(metas), parse_image_meta(metas)
    assert list(found) == list(expected)
    for name, part in found.items():
        np.testing.assert_allclose(array(part), expected[name])


# --- options that the reference does not have ---------------------------------------------------


def candidates_by_hand(inputs, config):
    """Normalized boxes, class ids and scores of every RoI and class, by plain NumPy."""
    rois, probabilities, deltas = inputs
    window = (np.array(WINDOW) - [0, 0, 1, 1]) / (np.array([*SHAPE, *SHAPE]) - 1)
    found = []
    for class_id in range(1, probabilities.shape[1]):
        boxes = host.apply_box_deltas(rois, deltas[:, class_id] * config.BBOX_STD_DEV)
        boxes = np.clip(boxes, [*window[:2], *window[:2]], [*window[2:], *window[2:]])
        found += [(box, class_id, score)
                  for box, score in zip(boxes, probabilities[:, class_id])
                  if score >= config.DETECTION_MIN_CONFIDENCE]
    return found


def suppressed_by_hand(found, threshold, count):
    """The kept rows, best first: greedy within each class."""
    kept = []
    for box, class_id, score in sorted(found, key=lambda entry: -entry[2]):
        others = [other for other, other_id, _ in kept if other_id == class_id]
        if not others or host.compute_overlaps(box[None], np.array(others)).max() <= threshold:
            kept.append((box, class_id, score))
    return pixels(np.array([[*box, class_id, score] for box, class_id, score in kept[:count]]))


def test_a_roi_may_be_detected_as_several_classes(functions, golden):
    config = small_config(NUM_CLASSES=8, DETECTION_MIN_CONFIDENCE=0.05, DETECTION_ALL_CLASSES=True,
                          DETECTION_NMS_THRESHOLD=0.3, DETECTION_MAX_INSTANCES=60)
    expected = suppressed_by_hand(candidates_by_hand(golden, config), 0.3, 60)
    rows = layer_rows(config, golden, functions["image_meta"])
    np.testing.assert_allclose(rows[:len(expected)], expected, rtol=1e-4, atol=1e-3)
    one_each = layer_rows(small_config(
        NUM_CLASSES=8, DETECTION_MIN_CONFIDENCE=0.05, DETECTION_NMS_THRESHOLD=0.3,
        DETECTION_MAX_INSTANCES=60), golden, functions["image_meta"])
    assert not np.allclose(rows, one_each)  # else nothing is tested
    on_host = refine_detections(*golden, WINDOW, config, image_shape=(*SHAPE, 3))
    np.testing.assert_allclose(on_host, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("all_classes", [False, True])
def test_soft_suppression_lowers_scores_instead_of_dropping_boxes(functions, golden, all_classes):
    settings = {"NUM_CLASSES": 8, "DETECTION_MIN_CONFIDENCE": 0.05,
                "DETECTION_ALL_CLASSES": all_classes, "DETECTION_MAX_INSTANCES": 500}
    meta = functions["image_meta"]
    hard = layer_rows(small_config(**settings, DETECTION_NMS_THRESHOLD=0.5), golden, meta)
    config = small_config(**settings, DETECTION_SOFT_NMS_SIGMA=0.5)
    soft = layer_rows(config, golden, meta)
    count = int((soft[:, 5] > 0).sum())
    assert not soft[count:].any()
    boxes, kept = ({tuple(row) for row in rows[:, :5].round(2).tolist()} for rows in (soft, hard))
    assert boxes - kept  # boxes that hard suppression drops
    assert (np.diff(soft[:count, 5]) <= 0).all() and soft[:count, 5].min() >= 0.05
    np.testing.assert_allclose(soft[0], hard[0], rtol=1e-5)  # the best one is untouched
    steps = detection_steps(*golden, WINDOW, config, image_shape=SHAPE)
    np.testing.assert_allclose(steps["final_scores"], soft[:count, 5], rtol=1e-5)
    assert (steps["final_scores"] <= steps["scores"][steps["keep"]] + 1e-6).all()


def test_fewer_rois_than_detections():
    config = small_config(NUM_CLASSES=3, DETECTION_ALL_CLASSES=True, DETECTION_SOFT_NMS_SIGMA=0.5,
                          DETECTION_MIN_CONFIDENCE=0.1, DETECTION_MAX_INSTANCES=50)
    meta = compose_image_meta(0, (*SHAPE, 3), (*SHAPE, 3), (0, 0, *SHAPE), 1, np.ones(3))
    rois = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]])
    probabilities = np.array([[0.1, 0.6, 0.3], [0.75, 0.05, 0.2]])
    rows = layer_rows(config, (rois, probabilities, np.zeros((2, 3, 4))), meta)
    assert rows.shape == (50, 6) and not rows[3:].any()
    assert rows[:3, 4].tolist() == [1, 2, 2]
    np.testing.assert_allclose(rows[:3, 5], [0.6, 0.3, 0.2], rtol=1e-6)
