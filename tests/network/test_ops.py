"""Arithmetic on tensors against plain NumPy; suppression against a loop over all pairs."""

import math
import re
import threading

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from model_tools import array, dtype_of
from places import PROJECT

from frcnn.geometry import boxes as host
from frcnn.network import ops as frcnn_ops
from frcnn.network.ops import suppression
from frcnn.network.ops import watch as watch_module

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def tensor(x, dtype="float32"):
    return ops.convert_to_tensor(np.asarray(x), dtype)


# --- norms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_global_norm(dtype):
    rng = np.random.default_rng(0)
    tensors = [tensor(rng.normal(size=shape), dtype) for shape in ((3, 4, 5), (7,), ())]
    numbers = np.concatenate([array(ops.cast(x, "float32")).ravel() for x in tensors])
    norm = frcnn_ops.global_norm(tensors)
    assert dtype_of(norm) == "float32"
    np.testing.assert_allclose(array(norm), np.linalg.norm(numbers), rtol=1e-6)


# --- boxes --------------------------------------------------------------------------------------


def test_the_references_overlaps_and_deltas(functions):
    boxes = tensor(functions["boxes1"])
    overlaps = frcnn_ops.overlaps_graph(boxes, tensor(functions["boxes2"]))
    np.testing.assert_allclose(array(overlaps), functions["overlaps"], rtol=1e-5, atol=1e-6)
    deltas = frcnn_ops.box_refinement_graph(boxes, tensor(functions["refine_gt"]))
    np.testing.assert_allclose(array(deltas), functions["box_refinement"], rtol=1e-5, atol=1e-5)
    moved = frcnn_ops.apply_box_deltas_graph(boxes, 0.5 * tensor(functions["box_refinement"]))
    np.testing.assert_allclose(array(moved), functions["apply_box_deltas"], rtol=1e-5, atol=1e-3)


def test_the_references_normalization(functions):
    normalized = frcnn_ops.norm_boxes_graph(functions["boxes1"], (512, 512))
    np.testing.assert_allclose(array(normalized), functions["norm_boxes"], rtol=1e-5, atol=1e-6)
    pixels = frcnn_ops.denorm_boxes_graph(tensor(functions["denorm_input"]), (480, 640))
    assert dtype_of(pixels) == "int32"
    np.testing.assert_array_equal(array(pixels), functions["denorm_boxes"])


def test_normalization_by_hand():
    # (y2, x2) lies outside: the whole image is 0 to 1, the last pixel's box has no extent
    boxes = tensor([[0, 0, 101, 201], [100, 200, 101, 201]])
    np.testing.assert_allclose(array(frcnn_ops.norm_boxes_graph(boxes, (101, 201))),
                               [[0, 0, 1, 1], [1, 1, 1, 1]])
    exact = frcnn_ops.denorm_boxes_exactly(tensor([[0, 0.5, 0.123, 1]]), (101, 201))
    np.testing.assert_allclose(array(exact), [[0, 100, 13.3, 201]], rtol=1e-6)


corners, sizes = ([st.floats(low, high, width=32)] * 2 for low, high in ((0, 400), (1, 200)))
box_lists = st.lists(st.tuples(*corners, *sizes), min_size=1, max_size=6)


def as_boxes(values):
    values = np.array(values, np.float32)
    return np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)


@settings(deadline=None, max_examples=25)
@given(box_lists, box_lists)
def test_refinement_and_deltas_undo_each_other_and_agree_with_the_host(first, second):
    count = min(len(first), len(second))
    boxes, target = as_boxes(first[:count]), as_boxes(second[:count])
    deltas = frcnn_ops.box_refinement_graph(boxes, target)
    moved = array(frcnn_ops.apply_box_deltas_graph(tensor(boxes), deltas))
    np.testing.assert_allclose(moved, target, rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(array(deltas), host.box_refinement(boxes, target), rtol=1e-3,
                               atol=1e-4)
    window = np.array([50, 60, 200, 300], np.float32)
    np.testing.assert_array_equal(array(frcnn_ops.clip_boxes_graph(tensor(boxes), window)),
                                  host.clip_boxes(boxes, window))
    overlaps = array(frcnn_ops.overlaps_graph(tensor(boxes), tensor(target)))
    np.testing.assert_allclose(overlaps, host.compute_overlaps(boxes, target), atol=1e-5)


def test_leading_axes_are_allowed():
    rng = np.random.default_rng(0)
    boxes, target = (as_boxes(rng.uniform(1, 50, (6, 4))).reshape(2, 3, 4) for _ in range(2))
    deltas = array(frcnn_ops.box_refinement_graph(boxes, target))
    for image in range(2):
        single = frcnn_ops.box_refinement_graph(boxes[image], target[image])
        np.testing.assert_allclose(deltas[image], array(single), rtol=1e-6)
    assert frcnn_ops.overlaps_graph(tensor(boxes), tensor(target)).shape == (2, 3, 3)
    windows = tensor([[[0, 0, 10, 10]], [[20, 20, 30, 30]]])
    clipped = array(frcnn_ops.clip_boxes_graph(tensor(boxes), windows))
    assert clipped[0].max() <= 10 and clipped[1].min() >= 20


def test_boxes_without_area_overlap_nothing():
    boxes = tensor([[5, 5, 5, 5], [5, 5, 5, 9], [0, 0, 10, 10]])
    np.testing.assert_array_equal(array(frcnn_ops.overlaps_graph(boxes, boxes)),
                                  np.diag([0.0, 0.0, 1.0]))


def test_log2():
    np.testing.assert_allclose(array(frcnn_ops.log2_graph(tensor([1, 2, 0.25, 224]))),
                               [0, 1, -2, math.log2(224)], rtol=1e-6)


# --- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("trailing", [(), (4,), (3, 2)])
def test_take_rows_takes_each_images_own(trailing):
    x = np.random.default_rng(0).normal(size=(2, 5, *trailing)).astype(np.float32)
    indices = np.array([[4, 0, 0], [1, 2, 3]], np.int32)
    taken = array(frcnn_ops.take_rows(tensor(x), tensor(indices, "int32")))
    np.testing.assert_array_equal(taken, np.stack([x[i, row] for i, row in enumerate(indices)]))


def test_pad_rows():
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2) + 1
    padded = array(frcnn_ops.pad_rows(tensor(x), 5))
    np.testing.assert_array_equal(padded[:, :3], x)
    assert padded.shape == (2, 5, 2) and not padded[:, 3:].any()
    assert frcnn_ops.pad_rows(tensor(x), 3).shape == (2, 3, 2)


def test_smaller_of_numbers_and_tensors():
    assert frcnn_ops.smaller(6000, 300) == 300
    assert int(frcnn_ops.smaller(6000, ops.convert_to_tensor(9000))) == 6000


def test_trim_zeros():
    boxes = np.array([[0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    rows, mask = frcnn_ops.trim_zeros_graph(tensor(boxes), name="trim")
    np.testing.assert_array_equal(array(rows), boxes[[1, 3]])
    np.testing.assert_array_equal(array(mask), [False, True, False, True])
    rows, mask = frcnn_ops.trim_zeros_graph(tensor(np.zeros((3, 4))))
    assert array(rows).shape == (0, 4) and not array(mask).any()


def test_batch_pack():
    x = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    packed = array(frcnn_ops.batch_pack_graph(tensor(x), [2, 0, 3], 3))
    np.testing.assert_array_equal(packed, np.concatenate([x[0, :2], x[2, :3]]))


def test_batch_slice():
    x, y = tensor([[1, 2], [3, 4]]), tensor([[10], [20]])
    total = frcnn_ops.batch_slice([x, y], lambda a, b: a + b, 2)
    np.testing.assert_array_equal(array(total), [[11, 12], [23, 24]])
    both = frcnn_ops.batch_slice(x, lambda a: (a, -a), 2, names=["plus", "minus"])
    np.testing.assert_array_equal(array(both[1]), [[-1, -2], [-3, -4]])


# --- suppression --------------------------------------------------------------------------------


def greedy(boxes, scores, threshold, count, class_ids):
    """Indices that are kept, one decision at a time, in float32 as the kernels compute."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] == -np.inf or len(kept) == count:
            break
        rivals = [k for k in kept if class_ids[k] == class_ids[i]]
        if all(iou(boxes[i], boxes[k]) <= np.float32(threshold) for k in rivals):
            kept.append(i)
    return kept


def iou(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), np.float32(0))
    width = max(min(a[3], b[3]) - max(a[1], b[1]), np.float32(0))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union > 0 else np.float32(0)


def random_images(rng, images, rows):
    """Boxes on a coarse grid, so that scores, boxes and IoUs tie often; some without area."""
    corner, size = rng.integers(0, 12, (images, rows, 2)), rng.integers(0, 9, (images, rows, 2))
    boxes = np.concatenate([corner, corner + size], axis=2).astype(np.float32)
    scores = rng.integers(0, 6, (images, rows)).astype(np.float32) / 8
    free = rng.random(images) < 0.5  # half of the images are not on the grid
    boxes[free] += rng.uniform(0, 0.5, boxes[free].shape).astype(np.float32)
    boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2])
    scores[free] = rng.random(scores[free].shape)
    scores[rng.random(scores.shape) < 0.15] = -np.inf
    scores[0] = -np.inf  # nothing to keep at all
    return boxes, scores, rng.integers(0, 3, (images, rows)).astype(np.int32)


@pytest.mark.parametrize("portable", [False, True], ids=["own kernel", "portable"])
@pytest.mark.parametrize(("rows", "count", "threshold", "classes"), [
    (14, 14, 0.5, 1), (14, 6, 0.5, 1), (10, 20, 0.3, 1), (16, 16, 0.5, 3), (16, 5, 0.7, 3),
    (1, 1, 0.5, 1), (30, 40, 0.0, 2),
])  # fmt: skip
def test_suppression_equals_a_loop_over_all_pairs(portable, rows, count, threshold, classes):
    rng = np.random.default_rng(rows + count)
    boxes, scores, class_ids = random_images(rng, 200, rows)
    class_ids = np.minimum(class_ids, classes - 1)
    with frcnn_ops.portable_kernels(portable):
        assert frcnn_ops.uses_tensorflow_kernels() == (ON_TENSORFLOW and not portable)
        indices, valid = map(array, frcnn_ops.nms_indices(
            tensor(boxes), tensor(scores), threshold, count,
            tensor(class_ids, "int32") if classes > 1 else None, classes))
    assert indices.shape == valid.shape == (200, count)
    for image in range(200):
        expected = greedy(boxes[image], scores[image], threshold, count, class_ids[image])
        assert valid[image].sum() == len(expected)
        assert valid[image, :len(expected)].all()
        np.testing.assert_array_equal(indices[image, :len(expected)], expected)


@pytest.mark.parametrize("block", [1, 4, 7, 64])
@pytest.mark.parametrize(("count", "threshold", "classes"), [
    (24, 0.5, 1), (5, 0.3, 1), (24, 0.5, 3), (6, 0.7, 3), (40, 0.0, 2)])
def test_portable_suppression_goes_from_block_to_block(monkeypatch, block, count, threshold,
                                                       classes):
    monkeypatch.setattr(suppression, "BLOCK", block)
    rng = np.random.default_rng(block + count)
    boxes, scores, class_ids = random_images(rng, 100, 24)
    scores[1] = 0.5  # all equal
    class_ids = np.minimum(class_ids, classes - 1)
    with frcnn_ops.portable_kernels():
        indices, valid = map(array, frcnn_ops.nms_indices(
            tensor(boxes), tensor(scores), threshold, count,
            tensor(class_ids, "int32") if classes > 1 else None, classes))
    for image in range(100):
        expected = greedy(boxes[image], scores[image], threshold, count, class_ids[image])
        assert indices[image][valid[image]].tolist() == expected
        assert valid[image, :len(expected)].all()


@pytest.mark.parametrize("classes", [1, 8])
def test_portable_suppression_has_no_matrix_of_all_pairs(classes):
    """Of 6,000 boxes it would have 36 million numbers, an image."""
    images, rows, count = 2, 6000, 1000
    largest = largest_array_of_suppression(images, rows, count, classes)
    assert images * rows * 4 <= largest < images * rows * rows / 30


def largest_array_of_suppression(images, rows, count, classes):
    """The number of elements of the largest array in the compiled portable suppression."""
    shapes = [((images, rows, 4), np.float32), ((images, rows), np.float32),
              ((images, rows), np.int32)]

    def suppressed(boxes, scores, class_ids):
        ids = class_ids if classes > 1 else None
        return frcnn_ops.nms_indices(boxes, scores, 0.7, count, ids, classes)

    if ON_TENSORFLOW:
        import tensorflow as tf

        compiled = tf.function(suppressed, jit_compile=True)
        with frcnn_ops.portable_kernels():
            text = compiled.experimental_get_compiler_ir(
                *(np.zeros(shape, dtype) for shape, dtype in shapes))(stage="optimized_hlo")
    else:
        import jax

        text = jax.jit(suppressed).lower(*(jax.ShapeDtypeStruct(*spec) for spec in shapes)
                                         ).compile().as_text()
    return max(math.prod(map(int, sides.split(",")))
               for sides in re.findall(r"\b(?:f32|s32|pred)\[([\d,]+)\]", text))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX knows every shape")
@pytest.mark.parametrize("portable", [False, True], ids=["own kernel", "portable"])
def test_suppression_of_a_number_of_rows_that_is_not_known_when_traced(portable):
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None))]
    traced = tf.function(lambda boxes, scores: frcnn_ops.suppress(boxes, scores, 0.5, 12),
                         input_signature=signature)
    rng = np.random.default_rng(0)
    with frcnn_ops.portable_kernels(portable):
        for rows in (5, 30):
            boxes, scores, _ = random_images(rng, 4, rows)
            found = traced(tensor(boxes), tensor(scores))
            assert found[0].shape == (4, 12, 4)
            for ours, expected in zip(found, frcnn_ops.suppress(
                    tensor(boxes), tensor(scores), 0.5, 12)):
                np.testing.assert_array_equal(array(ours), array(expected))
        assert traced.get_concrete_function().structured_outputs[0].shape == (None, 12, 4)


def test_the_references_suppression(functions):
    indices, valid = frcnn_ops.nms_indices(
        tensor(functions["boxes1"])[None], tensor(functions["nms_scores"])[None], 0.3, 200)
    np.testing.assert_array_equal(array(indices)[array(valid)], functions["nms_keep"])


@pytest.mark.parametrize("portable", [False, True], ids=["own kernel", "portable"])
def test_equal_scores_keep_their_order_among_thousands(portable):
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 0.9, (1, 2500, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 0.1, corner.shape)], axis=2)
    scores = np.full((1, 2500), 0.5, np.float32)
    with frcnn_ops.portable_kernels(portable):
        indices, valid = map(array, frcnn_ops.nms_indices(
            tensor(boxes), tensor(scores), 0.7, 300))
    falling = np.arange(2500, 0, -1)
    expected = host.non_max_suppression(boxes[0].astype(np.float32), falling, 0.7)[:300]
    assert valid.all()
    np.testing.assert_array_equal(indices[0], expected)


def soft_nms_by_hand(boxes, scores, class_ids, sigma, min_score, count):
    """Indices and lowered scores of one image, by the steps of the paper."""
    left, taken = scores.astype(float), []
    while len(taken) < count and left.max() >= min_score:
        best = int(left.argmax())
        taken.append((best, left[best]))
        for other in range(len(left)):
            if class_ids[other] == class_ids[best] and np.isfinite(left[other]):
                iou = host.compute_overlaps(boxes[[other]], boxes[[best]])[0, 0]
                left[other] *= np.exp(-iou**2 / sigma)
        left[best] = -np.inf
    return taken


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize(("sigma", "min_score"), [(0.5, 0.05), (0.1, 0.3), (1e-4, 0.05)])
def test_soft_suppression_equals_the_steps_of_the_paper(portable, sigma, min_score):
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 60, (2, 40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (2, 40, 2))], axis=2)
    boxes, scores = boxes.astype(np.float32), rng.random((2, 40)).astype(np.float32)
    scores[:, ::7] = -np.inf
    class_ids = rng.integers(1, 3, (2, 40)).astype(np.int32)
    with frcnn_ops.portable_kernels(portable):
        indices, lowered = map(array, frcnn_ops.soft_nms(
            *map(ops.convert_to_tensor, (boxes, scores, class_ids)), sigma, min_score, 20))
    for image in range(2):
        expected = soft_nms_by_hand(boxes[image], scores[image], class_ids[image], sigma,
                                    min_score, 20)
        count = len(expected)
        assert indices[image, :count].tolist() == [index for index, _ in expected]
        np.testing.assert_allclose(lowered[image, :count], [score for _, score in expected],
                                   rtol=1e-4)
        assert not lowered[image, count:].any() and count > 2


def test_suppress_gives_zero_rows_after_the_kept():
    boxes = tensor([[[0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 9, 9]]])
    scores = tensor([[0.5, 0.9, 0.7]])
    kept, kept_scores, class_ids = map(array, frcnn_ops.suppress(
        boxes, scores, 0.5, 4, tensor([[2, 2, 1]], "int32"), 3))
    np.testing.assert_array_equal(kept[0], [[0, 0, 4, 5], [8, 8, 9, 9], [0] * 4, [0] * 4])
    np.testing.assert_allclose(kept_scores[0], [0.9, 0.7, 0, 0])
    np.testing.assert_array_equal(class_ids[0], [2, 1, 0, 0])
    assert not array(frcnn_ops.suppress(boxes, scores, 0.5, 4)[2]).any()


def test_portable_kernels_nest_and_end():
    with frcnn_ops.portable_kernels(), frcnn_ops.portable_kernels(False):
        assert not frcnn_ops.uses_tensorflow_kernels()
    assert frcnn_ops.uses_tensorflow_kernels() == ON_TENSORFLOW
    with pytest.raises(KeyError), frcnn_ops.portable_kernels():
        raise KeyError
    assert frcnn_ops.uses_tensorflow_kernels() == ON_TENSORFLOW


def test_portable_kernels_are_those_of_one_thread():
    """One enters, the other asks, the first leaves: as two models that are traced at once."""
    entered, asked = threading.Event(), threading.Event()
    answers = []

    def enter():
        with frcnn_ops.portable_kernels():
            entered.set()
            asked.wait(10)
            answers.append(frcnn_ops.uses_tensorflow_kernels())

    thread = threading.Thread(target=enter)
    thread.start()
    entered.wait(10)
    answers.append(frcnn_ops.uses_tensorflow_kernels())
    asked.set()
    thread.join()
    assert answers == [ON_TENSORFLOW, False]


# --- normalization of batches -------------------------------------------------------------------


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    return {"x": rng.normal(3, 2, (3, 5, 4, 6)).astype(np.float32),
            "gamma": rng.uniform(0.5, 2, 6).astype(np.float32),
            "beta": rng.normal(size=6).astype(np.float32)}


def test_normalization_by_the_batch(maps):
    y, mean, variance = map(array, frcnn_ops.normalize_batch(
        *(tensor(maps[name]) for name in ("x", "gamma", "beta")), 1e-3))
    x = maps["x"].astype(np.float64)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=1e-5)
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(y, expected * maps["gamma"] + maps["beta"], rtol=1e-4, atol=1e-5)


def test_normalization_by_stored_statistics(maps):
    mean, variance = np.full(6, 2.0), np.linspace(0.1, 4, 6)
    y = frcnn_ops.normalize_by_statistics(
        *(tensor(maps[name]) for name in ("x", "gamma", "beta")), tensor(mean), tensor(variance),
        1e-3)
    expected = (maps["x"] - mean) / np.sqrt(variance + 1e-3) * maps["gamma"] + maps["beta"]
    np.testing.assert_allclose(array(y), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_in_gives_half_precision_out(maps):
    x, gamma, beta = tensor(maps["x"], "bfloat16"), tensor(maps["gamma"]), tensor(maps["beta"])
    y, mean, variance = frcnn_ops.normalize_batch(x, gamma, beta, 1e-3)
    assert [dtype_of(t) for t in (y, mean, variance)] == [
        "bfloat16", "float32", "float32"]
    np.testing.assert_allclose(array(mean), maps["x"].mean((0, 1, 2)), rtol=0.01)
    y = frcnn_ops.normalize_by_statistics(x, gamma, beta, mean, variance, 1e-3)
    assert dtype_of(y) == "bfloat16"


# --- watching weights -----------------------------------------------------------------------------


def test_a_watch_reports_each_change_once():
    variables = [keras.Variable(np.ones((3, 4), np.float32)) for _ in range(3)]
    watch = frcnn_ops.Watch(variables)
    assert not watch.has_changed()
    for change in (lambda: variables[1].assign(np.zeros((3, 4))),
                   lambda: variables[2].assign_add(np.full((3, 4), 1e-6)),
                   lambda: variables[0].assign(np.ones((3, 4)))):
        change()
        assert watch.has_changed()
        assert not watch.has_changed()


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX's arrays cannot be written into")
def test_a_watch_sees_what_is_written_in_place():
    import tensorflow as tf

    variable = keras.Variable(np.ones((3, 4), np.float32))
    watch = frcnn_ops.Watch([variable])

    @tf.function
    def step():
        variable.value.assign_sub(tf.fill((3, 4), 1e-3))

    for change in (step, step, lambda: variable.value[0, 0].assign(5.0),
                   lambda: variable.value.scatter_nd_update([[1, 1]], [7.0])):
        change()
        assert watch.has_changed()


@pytest.fixture(params=["by address", "by bits"])
def watching(request, monkeypatch):
    """Both ways of TensorFlow's; the second is that of an accelerator."""
    if request.param == "by bits":
        if not ON_TENSORFLOW:
            pytest.skip("JAX's arrays are known by their identity on every device")
        monkeypatch.setattr(watch_module, "_have_addresses", lambda values: False)


def test_a_watch_misses_no_change_however_small(watching):
    kernel = np.random.default_rng(0).normal(0, 0.01, (3, 3, 512, 512)).astype(np.float32)
    bias = np.array([0.25, -0.5, 3.0, np.nan], np.float32)
    variables = [keras.Variable(kernel), keras.Variable(bias),
                 keras.Variable(bias, dtype="bfloat16"), keras.Variable(1, dtype="int32"),
                 keras.Variable([True, False], dtype="bool")]
    watched = frcnn_ops.Watch(variables)
    assert not watched.has_changed()
    nearly = kernel.copy()
    nearly[1, 1, 100, 100] += 1e-6
    assert nearly.sum() == kernel.sum()  # in float32
    following = kernel.copy()
    following[-1, -1, -1, -1] = np.nextafter(kernel[-1, -1, -1, -1], np.float32(1))
    for number, value in ((0, nearly), (0, following), (1, bias[[1, 0, 2, 3]]),
                          (2, bias[[0, 2, 1, 3]]), (3, 2), (4, [False, True]),
                          (1, -np.zeros(4)), (1, np.zeros(4))):
        variables[number].assign(value)
        assert watched.has_changed() and not watched.has_changed()


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX's arrays cannot be written into")
def test_a_watch_by_bits_sees_what_is_written_in_place(monkeypatch):
    monkeypatch.setattr(watch_module, "_have_addresses", lambda values: False)
    test_a_watch_sees_what_is_written_in_place()


# --- backends -------------------------------------------------------------------------------------


def test_a_backend_is_imported_by_ops_alone():
    package = PROJECT / "frcnn"
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py")
             if re.search(r"^\s*(import|from) (tensorflow|jax)\b", path.read_text("utf-8"), re.M)}
    # An export is a conversion of TensorFlow's graphs.
    assert found and all(name.startswith(("network/ops/", "export/")) for name in found), found


# --- kernels of exported graphs -------------------------------------------------------------------


@pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow traces what is exported")
@pytest.mark.parametrize("classes", [1, 4])
def test_suppression_for_litert_keeps_the_same_boxes(classes):
    rng = np.random.default_rng(classes)
    corners = rng.random((1, 300, 2))
    boxes = np.concatenate([corners, np.minimum(corners + rng.random((1, 300, 2)) / 4, 1)], axis=2)
    scores = rng.permutation(300)[None] / 300
    scores[0, rng.integers(0, 300, 40)] = -np.inf
    arguments = (boxes.astype(np.float32), scores.astype(np.float32), 0.3, 80,
                 rng.integers(0, classes, (1, 300)).astype(np.int32), classes)
    expected = [array(x) for x in frcnn_ops.nms_indices(*arguments)]
    with frcnn_ops.export_target("litert"):
        assert not frcnn_ops.uses_tensorflow_kernels()
        found = [array(x) for x in frcnn_ops.nms_indices(*arguments)]
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0][found[1]], expected[0][expected[1]])


@pytest.mark.parametrize("target", ["tensorflow", "onnx", "litert"])
def test_the_first_of_equal_values_is_the_largest(target):
    if not ON_TENSORFLOW:
        pytest.skip("TensorFlow traces what is exported")
    x = np.array([[0.5, 2, 2, 1], [-1, -3, -1, -1]], np.float32)
    with frcnn_ops.export_target(target):
        assert frcnn_ops.current_export_target() == target
        assert array(frcnn_ops.argmax(x, axis=1)).tolist() == [1, 0]
    assert frcnn_ops.current_export_target() is None
    assert array(frcnn_ops.argmax(x, axis=1)).tolist() == [1, 0]
