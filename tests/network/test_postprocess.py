"""DetectionLayer and refine_detections against the reference and each other."""

import numpy as np
import pytest
from keras import ops
from model_tools import array, noise, prefer_objects, small_config

from frcnn.data.image_meta import compose_image_meta, parse_image_meta
from frcnn.geometry import boxes as host
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network.ops import parse_image_meta_graph, portable_kernels
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


@pytest.mark.parametrize("mode", ["pad64", "fit64", "none", "crop"])
def test_no_shape_is_taken_for_granted_where_images_are_not_square(golden, mode):
    config = small_config(NUM_CLASSES=8, IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=128)
    for function in (refine_detections, detection_steps):
        with pytest.raises(ValueError, match=f"{mode}.*pass image_shape"):
            function(*golden, (0, 0, 64, 128), config)
    # One RoI that is the whole image, and one of its upper left quarter, both moved by nothing.
    rois = np.array([[0, 0, 1, 1], [0, 0, 31 / 63, 63 / 127]], np.float32)
    probs = np.eye(8, dtype=np.float32)[[2, 3]] * [[0.9], [0.8]]
    rows = refine_detections(rois, probs, np.zeros((2, 8, 4)), (0, 0, 64, 128), config, (64, 128))
    np.testing.assert_allclose(rows, [[0, 0, 64, 128, 2, 0.9], [0, 0, 32, 64, 3, 0.8]], rtol=1e-5)


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


# --- box voting ---------------------------------------------------------------------------------


def voted_by_hand(kept, found, threshold):
    """The kept rows (box, class id, score) with the means of the candidates that overlap them."""
    rows = []
    for box, class_id, score in kept:
        weights, mean = 0.0, np.zeros(4)
        for other, other_id, weight in found:
            height = min(box[2], other[2]) - max(box[0], other[0])
            width = min(box[3], other[3]) - max(box[1], other[1])
            shared = max(height, 0) * max(width, 0)
            union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)) - shared
            if other_id == class_id and shared / union >= threshold:
                weights, mean = weights + weight, mean + weight * np.asarray(other, float)
        rows.append([*mean / weights, class_id, score])
    return pixels(np.array(rows))


@pytest.fixture(scope="module")
def crowded(functions):
    """Six RoIs near each of ten: rois, probabilities, deltas."""
    rng = np.random.default_rng(0)
    rois, probabilities, deltas = (np.repeat(functions[f"det_{name}"][:10], 6, axis=0)
                                   for name in ("rois", "probs", "deltas"))
    probabilities = probabilities * rng.uniform(0.5, 1.5, probabilities.shape)
    return [np.clip(rois + rng.normal(0, 0.01, rois.shape), 0, 1).astype(np.float32),
            (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32),
            (deltas + rng.normal(0, 0.1, deltas.shape)).astype(np.float32)]


def voting_config(**settings):
    return small_config(**{"NUM_CLASSES": 8, "DETECTION_MIN_CONFIDENCE": 0.05,
                           "DETECTION_NMS_THRESHOLD": 0.3, "DETECTION_MAX_INSTANCES": 60,
                           "DETECTION_ALL_CLASSES": True, **settings})


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("settings", [
    {}, {"DETECTION_ALL_CLASSES": False}, {"DETECTION_SOFT_NMS_SIGMA": 0.5},
    {"DETECTION_MAX_INSTANCES": 3},
], ids=str)
def test_voting_averages_as_plain_loops_do(functions, crowded, settings, portable):
    plain = voting_config(**settings)
    steps = detection_steps(*crowded, WINDOW, plain, image_shape=SHAPE)
    entered = np.flatnonzero(np.isfinite(steps["kept_scores"]))
    found = list(zip(*(steps[name][entered] for name in ("clipped", "class_ids", "scores"))))
    kept = list(zip(steps["clipped"][steps["keep"]], steps["class_ids"][steps["keep"]],
                    steps["final_scores"]))
    meta = functions["image_meta"]
    before = layer_rows(plain, crowded, meta)
    for threshold in (0.8, 0.4):
        config = plain.replaced(DETECTION_BOX_VOTING=threshold)
        expected = voted_by_hand(kept, found, threshold)
        with portable_kernels(portable):
            rows = layer_rows(config, crowded, meta)
        np.testing.assert_allclose(rows[:len(kept)], expected, rtol=1e-4, atol=2e-3)
        assert not rows[len(kept):].any()
        np.testing.assert_array_equal(rows[:, 4:], before[:, 4:])  # only the boxes change
        assert np.abs(rows - before).max() > 0.1
        on_host = refine_detections(*crowded, WINDOW, config, image_shape=(*SHAPE, 3))
        np.testing.assert_allclose(on_host, rows[:len(kept)], rtol=1e-5, atol=1e-3)
        voted = detection_steps(*crowded, WINDOW, config, image_shape=SHAPE)
        np.testing.assert_array_equal(voted["keep"], steps["keep"])
        np.testing.assert_array_equal(voted["clipped"], steps["clipped"])
        np.testing.assert_allclose(pixels(voted["final_boxes"]), on_host[:, :4], atol=1e-3)


def test_votes_worked_by_hand():
    """The second is suppressed and votes; of the others, one overlaps little, one is a class apart.
    """
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.6], [0, 0.25, 0.5, 0.75], [0, 0, 0.5, 0.5],
                      [0.6, 0.6, 0.9, 0.9]])
    scores, classes = [0.8, 0.4, 0.3, 0.5, 0.3], [1, 1, 1, 2, 1]
    config = small_config(DETECTION_NMS_THRESHOLD=0.2, DETECTION_BOX_VOTING=0.8)
    rows = refine_detections(*rows_of(scores, classes, boxes), (0, 0, 128, 128), config)
    np.testing.assert_allclose(rows[:, 4:], [[1, 0.8], [2, 0.5], [1, 0.3]], rtol=1e-6)
    right = (0.8 * 0.5 + 0.4 * 0.6) / 1.2
    expected = [[0, 0, 0.5, right], [0, 0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]
    np.testing.assert_allclose(rows[:, :4], np.array(expected) * 127 + [0, 0, 1, 1], rtol=1e-6)
    higher = refine_detections(*rows_of(scores, classes, boxes), (0, 0, 128, 128),
                               config.replaced(DETECTION_BOX_VOTING=0.84))  # IoU is 5 / 6
    assert higher[0, 3] == pytest.approx(0.5 * 127 + 1)


def test_what_is_below_the_confidence_limit_does_not_vote():
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.6]])
    for limit, is_moved in ((0.1, True), (0.45, False)):
        config = small_config(DETECTION_MIN_CONFIDENCE=limit, DETECTION_BOX_VOTING=0.5)
        (row,) = refine_detections(*rows_of([0.8, 0.4], boxes=boxes), (0, 0, 128, 128), config)
        assert (row[3] > 65) == is_moved


def test_without_others_to_vote_nothing_changes(functions, crowded):
    """Bit for bit, at an IoU of 1; and a box without area, which overlaps nothing, keeps it."""
    plain, meta = voting_config(), functions["image_meta"]
    np.testing.assert_array_equal(
        layer_rows(plain.replaced(DETECTION_BOX_VOTING=1.0), crowded, meta),
        layer_rows(plain, crowded, meta))
    boxes = np.array([[0.2, 0.3, 0.2, 0.3], [0.5, 0.5, 0.7, 0.7]])
    config = small_config(DETECTION_BOX_VOTING=0.5)
    rows = refine_detections(*rows_of([0.9, 0.8], boxes=boxes), (0, 0, 128, 128), config)
    np.testing.assert_allclose(rows[:, :4], boxes * 127 + [0, 0, 1, 1], rtol=1e-6)


def test_an_infinite_candidate_does_not_spoil_the_others():
    rois, probabilities, deltas = rows_of([0.9, 0.8])
    deltas[1, 1] = 0, 0, 1e4, 1e4
    config = small_config(DETECTION_BOX_VOTING=0.5)
    rows = refine_detections(rois, probabilities, deltas, (0, 0, 128, 128), config)
    np.testing.assert_allclose(rows[0, :4], rois[0] * 127 + [0, 0, 1, 1], rtol=1e-6)


def test_mirrored_inputs_give_mirrored_votes(crowded):
    rois, probabilities, deltas = crowded
    config, window = voting_config(DETECTION_BOX_VOTING=0.6), (0, 0, *SHAPE)
    rows = refine_detections(*crowded, window, config, image_shape=SHAPE)
    mirrored = refine_detections(
        np.stack([rois[:, 0], 1 - rois[:, 3], rois[:, 2], 1 - rois[:, 1]], axis=1), probabilities,
        deltas * [1, -1, 1, 1], window, config, image_shape=SHAPE)
    expected = rows.copy()  # the last pixel, 255, is at 1
    expected[:, 1], expected[:, 3] = 256 - rows[:, 3], 256 - rows[:, 1]
    np.testing.assert_allclose(mirrored, expected, rtol=1e-4, atol=2e-3)


def test_each_image_of_a_batch_has_its_own_votes(functions, crowded):
    config = voting_config(DETECTION_BOX_VOTING=0.5)
    few = [np.concatenate([x[:7], np.zeros_like(x[7:])]) for x in crowded]
    batch = [np.stack([one, other]).astype(np.float32) for one, other in zip(crowded, few)]
    metas = np.stack([functions["image_meta"]] * 2).astype(np.float32)
    rows = array(DetectionLayer(config)([*map(ops.convert_to_tensor, (*batch, metas))]))
    for found, inputs in zip(rows, (crowded, few)):
        np.testing.assert_allclose(found, layer_rows(config, inputs, metas[0]), atol=1e-3)


def test_mirrored_copies_lower_the_limit_of_each(crowded):
    """So that the fused score decides; see `frcnn.inference.fusion`."""
    limit = voting_config(DETECTION_MIN_CONFIDENCE=0.2)
    for flips in ((), ("both",), ("horizontal", "vertical", "both")):
        config = voting_config(DETECTION_MIN_CONFIDENCE=0.2 * (1 + len(flips)),
                               DETECTION_FLIPS=flips)
        np.testing.assert_array_equal(
            refine_detections(*crowded, WINDOW, config, image_shape=SHAPE),
            refine_detections(*crowded, WINDOW, limit, image_shape=SHAPE))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_compiled_model_votes_as_the_host_does(jit_compile, tmp_path):
    config = small_config(DETECTION_BOX_VOTING=0.4, DETECTION_NMS_THRESHOLD=0.3)
    model = MaskRCNN("inference", config, tmp_path, seed=1)
    prefer_objects(model)
    model.compile_detection(jit_compile)
    images = noise([(128, 128), (128, 128)])
    outputs = model.keras_model.outputs
    raw = model.run_graph(images, [("probs", outputs[1]), ("deltas", outputs[2]),
                                   ("rois", outputs[3])])
    for image, result in enumerate(model.detect(images, batch_size=2)):
        inputs = [raw[name][image] for name in ("rois", "probs", "deltas")]
        rows, plain = (refine_detections(*inputs, (0, 0, 128, 128), one) for one in (
            config, config.replaced(DETECTION_BOX_VOTING=0.0)))
        assert np.abs(rows - plain).max() > 0.1
        np.testing.assert_allclose(result["boxes"], rows[:, :4], atol=0.01)
        np.testing.assert_array_equal(result["class_ids"], rows[:, 4])
