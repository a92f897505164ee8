"""PyramidROIAlign against the reference, a loop over samples, and its own slopes."""

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import array, dtype_of, gradient

from frcnn.network import ops as frcnn_ops
from frcnn.network.roi_align import PyramidROIAlign, roi_levels

LEVELS = (2, 3, 4, 5)


def align(pool_shape, image_shape, boxes, maps):
    layer = PyramidROIAlign(pool_shape, image_shape)
    return array(layer([np.asarray(boxes, np.float32), *maps]))


def test_the_references_patches(functions):
    maps = [functions[f"roi_p{level}"] for level in LEVELS]
    boxes = functions["roi_boxes"]
    assert set(array(roi_levels(boxes, (1024, 1024))).ravel()) == set(LEVELS)
    pooled = align([7, 7], (1024, 1024, 3), boxes, maps)
    assert pooled.shape == (1, 92, 7, 7, 4)
    np.testing.assert_allclose(pooled[0], functions["roi_pooled"], rtol=1e-5, atol=1e-5)
    assert not boxes[0, -1].any()  # padding
    np.testing.assert_allclose(pooled[0, -1], np.broadcast_to(maps[0][0, 0, 0], (7, 7, 4)),
                               rtol=1e-6)


def random_pyramid(seed=0, batch=2, side=(48, 32), channels=3):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(batch, side[0] >> n, side[1] >> n, channels)).astype(np.float32)
            for n in range(4)]


def random_boxes(seed=0, batch=2, count=40):
    """Boxes of all sizes, flat and tall ones too, up to the image's edges."""
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(0.01), 0, (batch, count, 2)))
    corner = rng.uniform(0, 1, (batch, count, 2)) * (1 - sides)
    boxes = np.concatenate([corner, corner + sides], axis=2).astype(np.float32)
    boxes[:, 0], boxes[:, 1], boxes[:, 2] = 0, [0, 0, 1, 1], [0.5, 0, 1, 1]
    return boxes


def patch(level, box, pool_shape):
    """One box's samples, one after the other: [h, w, C]."""
    height, width = level.shape[:2]
    result = np.zeros((*pool_shape, level.shape[2]))
    for i in range(pool_shape[0]):
        for j in range(pool_shape[1]):
            share_y = i / (pool_shape[0] - 1) if pool_shape[0] > 1 else 0.5
            share_x = j / (pool_shape[1] - 1) if pool_shape[1] > 1 else 0.5
            y = (box[0] + (box[2] - box[0]) * share_y) * (height - 1)
            x = (box[1] + (box[3] - box[1]) * share_x) * (width - 1)
            top, left = min(int(y), height - 2), min(int(x), width - 2)
            y, x = y - top, x - left
            cells = level[top:top + 2, left:left + 2]
            result[i, j] = (cells[0, 0] * (1 - y) * (1 - x) + cells[0, 1] * (1 - y) * x
                            + cells[1, 0] * y * (1 - x) + cells[1, 1] * y * x)
    return result


def level_of(box, image_shape):
    """Lin et al. 2017, equation 1, for a normalized box."""
    area = (box[2] - box[0]) * (box[3] - box[1]) * image_shape[0] * image_shape[1]
    return int(np.clip(np.round(4 + np.log2(max(np.sqrt(area), 1e-6) / 224)), 2, 5))


@pytest.mark.parametrize("pool_shape", [(7, 7), (1, 1), (2, 5)])
def test_each_patch_equals_a_loop_over_its_samples(pool_shape):
    maps, boxes = random_pyramid(), random_boxes()
    image_shape = (768, 512, 3)
    pooled = align(pool_shape, image_shape, boxes, maps)
    levels = set()
    for image in range(2):
        for number, box in enumerate(boxes[image].astype(float)):
            level = level_of(box, image_shape)
            levels.add(level)
            expected = patch(maps[level - 2][image].astype(float), box, pool_shape)
            np.testing.assert_allclose(pooled[image, number], expected, rtol=1e-3, atol=1e-4)
    assert levels == set(LEVELS)


def test_levels_at_their_borders():
    image_shape = (1024, 1024)
    # a side of 224 belongs to level 4; one level up or down at √2 times that
    sides = np.array([1, 79, 80, 158, 159, 224, 316, 317, 1024]) / 1024
    boxes = np.stack([np.zeros(9), np.zeros(9), sides, sides], axis=1).astype(np.float32)
    np.testing.assert_array_equal(array(roi_levels(ops.convert_to_tensor(boxes), image_shape)),
                                  [2, 2, 3, 3, 4, 4, 4, 5, 5])
    wide = np.array([[0, 0, 0.125, 0.5]], np.float32)  # 128 × 512 has the area of 256 × 256
    assert array(roi_levels(ops.convert_to_tensor(wide), image_shape))[0] == 4


def test_boxes_without_area_belong_to_the_finest_level():
    boxes = ops.convert_to_tensor([[0.0, 0, 0, 0], [0.5, 0.5, 0.5, 0.9], [0.5, 0.5, 0.4, 0.9]])
    np.testing.assert_array_equal(array(roi_levels(boxes, (512, 512))), [2, 2, 2])


def test_the_images_shape_defaults_to_four_times_p2():
    maps, boxes = random_pyramid(), random_boxes()
    np.testing.assert_array_equal(align((3, 3), None, boxes, maps),
                                  align((3, 3), (4 * 48, 4 * 32), boxes, maps))
    assert np.abs(align((3, 3), None, boxes, maps)
                  - align((3, 3), (1024, 1024), boxes, maps)).max() > 0.1


def test_samples_beyond_the_map_are_those_at_its_edge():
    maps = random_pyramid(batch=1)
    beyond = align((3, 3), (100, 100), [[[0.9, 0.9, 1.2, 1.2]]], maps)
    np.testing.assert_allclose(beyond[0, 0, 2, 2], maps[0][0, -1, -1], atol=1e-4)
    within = align((3, 3), (100, 100), [[[0.9, 0.9, 1.0, 1.0]]], maps)
    np.testing.assert_array_equal(beyond, within)


def test_gradients_to_the_maps_are_the_slopes():
    """The patches are linear in the maps, so a finite difference is exact but for rounding."""
    maps, boxes = random_pyramid(channels=2), random_boxes(count=12)
    layer = PyramidROIAlign((3, 3), (768, 512))
    weight = np.random.default_rng(1).normal(size=(2, 12, 3, 3, 2)).astype(np.float32)
    rng = np.random.default_rng(2)
    for index in range(4):
        def loss(level, index=index):
            levels = [*maps[:index], level, *maps[index + 1:]]
            return ops.sum(layer([boxes, *levels]) * weight)

        slopes = gradient(loss, maps[index])
        assert slopes.any()
        step = rng.normal(size=maps[index].shape).astype(np.float32)
        rise = (float(loss(maps[index] + step)) - float(loss(maps[index] - step))) / 2
        np.testing.assert_allclose((slopes * step).sum(), rise, rtol=1e-3, atol=1e-2)


def test_half_precision_stays_half_while_places_are_exact():
    maps, boxes = random_pyramid(), random_boxes()
    exact = align((7, 7), (768, 512), boxes, maps)
    layer = PyramidROIAlign((7, 7), (768, 512), dtype="mixed_bfloat16")
    pooled = layer([boxes, *(ops.cast(level, "bfloat16") for level in maps)])
    assert dtype_of(pooled) == "bfloat16"
    np.testing.assert_allclose(array(ops.cast(pooled, "float32")), exact, atol=0.05)


def test_a_symbolic_call_keeps_unknown_sides():
    maps = [keras.Input((None, None, 8)) for _ in LEVELS]
    pooled = PyramidROIAlign([7, 7])([keras.Input((20, 4)), *maps])
    assert pooled.shape == (None, 20, 7, 7, 8)


def test_boxes_that_are_no_numbers_count_as_padding():
    """As a diverging network predicts them; as places in memory they would end the program."""
    maps, boxes = random_pyramid(batch=1), random_boxes(batch=1, count=4)
    expected = boxes.copy()
    boxes[0, 1], boxes[0, 2, 3] = np.nan, np.nan
    expected[0, 1], expected[0, 2, 3] = 0, 0
    np.testing.assert_array_equal(align((7, 7), (192, 128), boxes, maps),
                                  align((7, 7), (192, 128), expected, maps))


# --- TensorFlow's kernel against the gather -------------------------------------------------------


@pytest.fixture(params=["float32", "bfloat16"])
def kernel_and_gather(request):
    """The layer by TensorFlow's kernel and by `keras.ops`, as two functions, and its maps."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX has no kernel of its own")
    layer = PyramidROIAlign((7, 7), (768, 512), dtype=keras.DTypePolicy(
        "mixed_bfloat16" if request.param == "bfloat16" else "float32"))

    def gather(inputs):
        with frcnn_ops.portable_kernels():
            return layer(inputs)

    maps = [ops.cast(level, request.param) for level in random_pyramid(side=(192, 128))]
    # What keeping off the edge costs where cells differ by 5, or two steps of bfloat16.
    return layer, gather, maps, 5e-4 if request.param == "float32" else 0.04


def test_the_kernel_gives_what_the_gather_gives(kernel_and_gather):
    kernel, gather, maps, tolerance = kernel_and_gather
    boxes = random_boxes(count=1000)
    # Half of them end at the last row or column, where rounding could put a sample outside.
    boxes[:, ::4, 2], boxes[:, 1::4, 3] = 1, 1
    found, expected = (array(ops.cast(way([boxes, *maps]), "float32")) for way in (kernel, gather))
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_the_kernels_gradient_is_the_gathers(kernel_and_gather):
    kernel, gather, maps, tolerance = kernel_and_gather
    boxes = random_boxes(count=60)
    weight = np.random.default_rng(1).normal(size=(2, 60, 7, 7, 3)).astype(np.float32)
    for index in range(4):
        def loss(level, way, index=index):
            levels = [*maps[:index], ops.cast(level, maps[0].dtype), *maps[index + 1:]]
            return ops.sum(ops.cast(way([boxes, *levels]), "float32") * weight)

        level = array(ops.cast(maps[index], "float32"))
        found, expected = (gradient(lambda x, way=way: loss(x, way), level)
                           for way in (kernel, gather))
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_a_level_without_boxes_and_no_gradient_to_the_boxes(kernel_and_gather):
    kernel, gather, maps, tolerance = kernel_and_gather
    boxes = random_boxes(count=5)
    boxes[:] = [0.1, 0.1, 0.13, 0.15]
    np.testing.assert_allclose(array(ops.cast(kernel([boxes, *maps]), "float32")),
                               array(ops.cast(gather([boxes, *maps]), "float32")), atol=tolerance)
    for way in (kernel, gather):
        slopes = gradient(lambda x, way=way: ops.sum(ops.cast(way([x, *maps]), "float32")), boxes)
        assert not slopes.any()


def test_no_gradient_is_lost_where_many_boxes_share_cells():
    """Bilinear weights add up to one: of ones each sample gives one, whichever thread adds it."""
    maps = random_pyramid(side=(16, 16), channels=8)
    boxes = np.tile(np.array([0.2, 0.2, 0.5, 0.6], np.float32), (2, 500, 1))
    layer = PyramidROIAlign((7, 7), (64, 64))
    for _ in range(3):
        slopes = gradient(lambda x: ops.sum(layer([boxes, x, *maps[1:]])), maps[0])
        np.testing.assert_allclose(slopes.sum(), 2 * 500 * 49 * 8, rtol=1e-5)


# --- bins, as in other libraries ------------------------------------------------------------------


def bilinear(level, y, x):
    """The value at a position in cells; beyond the outermost cells their values go on."""
    height, width = level.shape[:2]
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    y, x = y - top, x - left
    cells = level[top:top + 2, left:left + 2]
    return (cells[0, 0] * (1 - y) * (1 - x) + cells[0, 1] * (1 - y) * x
            + cells[1, 0] * y * (1 - x) + cells[1, 1] * y * x)


def bin_means(level, box, pool_shape, samples, image_shape):
    """He et al. 2017: each bin is the mean of samples×samples points; box normalized."""
    (height, width), (rows, columns) = image_shape[:2], level.shape[:2]
    top, bottom = box[0] * (height - 1), box[2] * (height - 1) + 1
    left, right = box[1] * (width - 1), box[3] * (width - 1) + 1
    result = np.zeros((*pool_shape, level.shape[2]))
    for i, j in np.ndindex(*pool_shape):
        for k, m in np.ndindex(samples, samples):
            y = top + (bottom - top) * (i + (k + 0.5) / samples) / pool_shape[0]
            x = left + (right - left) * (j + (m + 0.5) / samples) / pool_shape[1]
            result[i, j] += bilinear(level, y * rows / height - 0.5, x * columns / width - 0.5)
    return result / samples**2


@pytest.mark.parametrize(("pool_shape", "samples"), [((3, 2), 2), ((7, 7), 1), ((1, 1), 3)])
def test_bins_are_the_means_of_their_samples(pool_shape, samples):
    maps, boxes = random_pyramid(), random_boxes()
    image_shape = (192, 128, 3)  # four times P2
    layer = PyramidROIAlign(pool_shape, samples=samples)
    for training in (False, True):
        pooled = array(layer([boxes, *maps], training=training))
        for image in range(2):
            for number, box in enumerate(boxes[image].astype(float)):
                level = maps[level_of(box, image_shape) - 2][image].astype(float)
                expected = bin_means(level, box, pool_shape, samples, image_shape)
                np.testing.assert_allclose(pooled[image, number], expected, rtol=1e-3, atol=1e-4)


def test_a_bins_place_does_not_depend_on_where_the_box_is():
    """On a map that is its own column numbers, a box moved by one cell has means 1 higher."""
    columns = np.broadcast_to(np.arange(64.0), (1, 64, 64))[..., None].astype(np.float32)
    maps = [columns, *(np.zeros((1, 64 >> n, 64 >> n, 1), np.float32) for n in (1, 2, 3))]
    starts = np.arange(8, 180, 4)
    pixels = np.stack([0 * starts + 20, starts, 0 * starts + 60, starts + 40], axis=1)
    boxes = (pixels - [0, 0, 1, 1]) / 255
    layer = PyramidROIAlign((2, 2), samples=2)
    pooled = array(layer([boxes[None].astype(np.float32), *maps]))[0, :, 0, 0, 0]
    np.testing.assert_allclose(pooled, (starts + 10) / 4 - 0.5, atol=1e-3)  # the left bins' centers


def test_gradients_of_bins_are_the_slopes():
    maps, boxes = random_pyramid(batch=1, side=(16, 16), channels=2), random_boxes(batch=1, count=9)
    layer = PyramidROIAlign((2, 3), samples=2)
    weight = np.random.default_rng(1).normal(size=(1, 9, 2, 3, 2)).astype(np.float32)

    def loss(first):
        return ops.sum(layer([boxes, first, *maps[1:]], training=True) * weight)

    slope = array(gradient(loss, maps[0]))
    step = np.zeros_like(maps[0])
    for place in ((0, 3, 5, 0), (0, 0, 0, 1), (0, 15, 15, 0)):
        step[:] = 0
        step[place] = 0.5
        change = array(loss(maps[0] + step)) - array(loss(maps[0] - step))
        np.testing.assert_allclose(slope[place], change, rtol=1e-3, atol=1e-3)
