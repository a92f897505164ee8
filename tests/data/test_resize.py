"""Resizing images, against the reference and scikit-image."""

import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize as skimage_resize

from frcnn.data.resize import resize_image
from frcnn.errors import ConfigError, FrcnnError

# SciPy for other processors may be compiled to multiply and add in one rounding.
SAME_ROUNDING = platform.machine() in ("x86_64", "AMD64")


def pattern(height, width):
    """The input of the golden resizes, by the formula in the golden folder's source."""
    ramp = np.add.outer(np.arange(height) * 0.37, np.arange(width) * 0.61)
    return (ramp[..., None] * [1, 0.5, 2] % 256).astype(np.uint8)


def noise(height, width, channels=3, low=0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(low, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("case", range(9))
def test_resizing_is_the_references(functions, case):
    def golden(name):
        return functions[f"resize{case}_{name}"]

    min_dim, max_dim = (int(side) for side in functions["resize_min_max"])
    image, window, scale, padding = resize_image(pattern(*golden("shape")), min_dim, max_dim,
                                                 padding=True)
    assert image.shape == (512, 512, 3)
    assert image.dtype == np.uint8
    assert window == tuple(golden("window"))
    assert scale == golden("scale")
    np.testing.assert_array_equal(padding, golden("padding"))
    np.testing.assert_array_equal(image[::16, ::16], golden("sample"))


def like_the_reference(image, height, width):
    resized = skimage_resize(image, (height, width), order=1, mode="constant",
                             preserve_range=True, anti_aliasing=False)
    return resized.astype(image.dtype)


def assert_like_the_reference(image, resized):
    expected = like_the_reference(image, *resized.shape[:2])
    assert resized.dtype == expected.dtype
    if SAME_ROUNDING:
        np.testing.assert_array_equal(resized, expected)
    else:
        np.testing.assert_allclose(resized.astype(float), expected, rtol=1e-6, atol=1)


@pytest.mark.parametrize(("height", "width"), [(40, 30), (90, 91), (5, 200), (1, 1), (1, 37)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_pixel_is_the_references(height, width, dtype, channels):
    image = noise(height, width, channels).astype(dtype)
    resized, window, scale, _ = resize_image(image, min_dim=45, max_dim=90)
    assert resized.shape == (window[2], window[3], channels)
    assert_like_the_reference(image, resized)
    assert scale == max(1, 45 / min(height, width)) or scale == 90 / max(height, width)


@pytest.mark.parametrize(("shape", "min_dim", "max_dim", "resized_shape"), [
    ((480, 640), 384, 384, (288, 384)),  # weights in thirds: every 9th value is whole
    ((480, 640), 512, 512, (384, 512)),
    ((427, 640), 480, 1024, (480, 719)),
    ((500, 333), 800, 1024, (1024, 682)),
    ((300, 300), 700, 1024, (700, 700)),
    ((240, 320), 576, 1024, (576, 768)),
    ((600, 900), None, 123, (82, 123)),
    ((1, 30000), None, 29999, (1, 29999)),
    ((30000, 2), 3, None, (45000, 3)),
    ((2, 30000), 3, None, (3, 45000)),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("few_levels", [False, True])
def test_no_rounding_decides_otherwise(shape, min_dim, max_dim, resized_shape, channels,
                                       few_levels):
    image = noise(*shape, channels, low=7)
    if few_levels:  # flat areas, whose values are whole numbers up to the last bit
        image = np.where(image < 250, np.uint8(179), image)
    resized = resize_image(image, min_dim, max_dim)[0]
    assert resized.shape == (*resized_shape, channels)
    assert_like_the_reference(image, resized)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 150), st.integers(1, 150),
       st.sampled_from([(), (1,), (3,), (4,)]), st.sampled_from([1, 2, 256]),
       st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_any_small_image_is_the_references(height, width, min_dim, max_dim, channels, levels,
                                           seed):
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, levels, dtype=np.uint8)
    image = palette[rng.integers(0, levels, (height, width, *channels))]
    resized = resize_image(image, min_dim, max_dim)[0]
    assert_like_the_reference(image, resized)


def test_how_the_image_lies_in_memory_makes_no_difference():
    image = noise(31, 47)
    expected = resize_image(image, 64)[0]
    for other in (np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2],
                  image[:, :, ::-1].copy()[:, :, ::-1]):
        np.testing.assert_array_equal(resize_image(other, 64)[0], expected)


def test_masks_and_images_with_gaps_are_resized_too():
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    np.testing.assert_array_equal(resize_image(mask, 16)[0][[0, 7, 9, 15], 5],
                                  [True, True, False, False])
    image = np.ones((8, 8), np.float32)
    image[2, 2] = np.nan
    resized = resize_image(image, 16)[0]
    assert np.isnan(resized[4, 4])
    assert (resized[7:] == 1).all()


def test_gray_images_without_a_channel_axis():
    image = noise(20, 30, 1)[..., 0]
    resized, _, _, padding = resize_image(image, max_dim=16, padding=True)
    assert resized.shape == (16, 16)
    inner = resized[padding[0][0]:16 - padding[0][1]]
    assert inner.shape == (11, 16)
    assert_like_the_reference(image, inner)


@pytest.mark.smoke
def test_boxes_follow_pixels():
    image = np.zeros((100, 160, 3), np.uint8)
    image[20:60, 40:120] = 255
    resized, _, scale, padding = resize_image(image, 64, 128, padding=True)
    rows, columns = np.nonzero(resized[..., 0] > 127)
    box = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    shift = np.array([padding[0][0], padding[1][0]] * 2)
    np.testing.assert_allclose(box, np.array([20, 40, 60, 120]) * scale + shift, atol=0.51)


def test_classic_arguments_return_four_and_a_mode_five():
    image = noise(30, 40)
    assert len(resize_image(image, 32, 64, True)) == 4
    assert len(resize_image(image, 32, 64, mode="square")) == 5


def test_without_padding_the_window_is_the_image():
    image, window, scale, padding = resize_image(noise(30, 40), min_dim=60)
    assert image.shape == (60, 80, 3)
    assert (window, scale, padding) == ((0, 0, 60, 80), 2, [(0, 0)] * 3)


def test_nothing_asked_nothing_done():
    original = noise(30, 40)
    image, window, scale, _ = resize_image(original)
    np.testing.assert_array_equal(image, original)
    assert (window, scale) == ((0, 0, 30, 40), 1)
    image[0, 0] = 7  # a copy
    assert np.array_equal(original, noise(30, 40))


def test_mode_none_leaves_everything():
    original = noise(30, 41)
    image, window, scale, padding, crop = resize_image(original, 64, 128, mode="none", min_scale=2)
    np.testing.assert_array_equal(image, original)
    assert (window, scale, padding, crop) == ((0, 0, 30, 41), 1, [(0, 0)] * 3, None)


@pytest.mark.parametrize(("shape", "min_dim", "min_scale", "scale", "padded"), [
    ((128, 192), None, None, 1, (128, 192)),
    ((130, 190), None, None, 1, (192, 192)),
    ((100, 190), 128, None, 1.28, (128, 256)),
    ((100, 190), 64, 2.0, 2.0, (256, 384)),  # max_dim is no limit in this mode
])  # fmt: skip
def test_mode_pad64(shape, min_dim, min_scale, scale, padded):
    image, window, found, padding, crop = resize_image(
        noise(*shape, low=1), min_dim, 150, mode="pad64", min_scale=min_scale)
    assert image.shape == (*padded, 3)
    assert found == scale
    assert crop is None
    inside = np.zeros(padded, bool)
    inside[window[0]:window[2], window[1]:window[3]] = True
    assert not image[~inside].any()
    assert image[inside].all()
    (top, bottom), (left, right), _ = padding
    assert (top, left, padded[0] - bottom, padded[1] - right) == window
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1


def test_mode_crop_cuts_a_random_square():
    original = noise(100, 150)
    image, window, scale, padding, crop = resize_image(original, 64, 128, mode="crop", rng=3)
    top, left, height, width = crop
    assert (height, width, scale, padding) == (64, 64, 1, [(0, 0)] * 3)
    assert window == (0, 0, 64, 64)
    np.testing.assert_array_equal(image, original[top:top + 64, left:left + 64])
    assert resize_image(original, 64, mode="crop", rng=3)[4] == crop
    corners = {resize_image(original, 64, mode="crop", rng=seed)[4][:2] for seed in range(400)}
    assert min(y for y, _ in corners) == min(x for _, x in corners) == 0
    assert (max(y for y, _ in corners), max(x for _, x in corners)) == (36, 86)


def test_mode_crop_enlarges_first():
    image, _, scale, _, crop = resize_image(noise(20, 60), 64, mode="crop", min_scale=4)
    assert scale == 4
    assert image.shape == (64, 64, 3)
    assert crop[0] <= 80 - 64
    assert crop[1] <= 240 - 64


def test_min_scale_yields_to_max_dim_in_a_square():
    _, window, scale, _, _ = resize_image(noise(50, 100), 60, 128, mode="square", min_scale=3)
    assert scale == 1.28
    assert window == (32, 0, 96, 128)


def test_an_image_far_longer_than_wide_keeps_a_pixel():
    image, window, _, _ = resize_image(noise(1, 3000), 800, 512, padding=True)
    assert image.shape == (512, 512, 3)
    assert window == (255, 0, 256, 512)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"mode": "stretch"}, "IMAGE_RESIZE_MODE is 'stretch'.*none, square, pad64, fit64, crop"),
    ({"mode": "square"}, "IMAGE_MAX_DIM"),
    ({"padding": True}, "IMAGE_MAX_DIM"),
    ({"mode": "crop"}, "IMAGE_MIN_DIM"),
])  # fmt: skip
def test_what_is_missing_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        resize_image(noise(4, 4), **arguments)


def test_an_image_without_pixels_is_an_error():
    with pytest.raises(FrcnnError, match="no pixels"):
        resize_image(np.zeros((0, 5, 3), np.uint8), 8, 8)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(0, 64),
       st.sampled_from([None, 0.5, 1.7]))
@settings(max_examples=60, deadline=None)
def test_any_size_fits_the_square(height, width, min_dim, more, min_scale):
    max_dim = min_dim + more
    image = np.full((height, width, 3), 200, np.uint8)
    resized, window, scale, padding, _ = resize_image(image, min_dim, max_dim, mode="square",
                                                      min_scale=min_scale)
    assert resized.shape == (max_dim, max_dim, 3)
    assert (window[2] - window[0], window[3] - window[1]) == (
        max(1, round(height * scale)), max(1, round(width * scale)))
    picture = resized[window[0]:window[2], window[1]:window[3]]
    assert (picture == 200).all()  # never darker than the darkest pixel, even at the border
    assert resized.sum() == picture.sum()
    assert [before + after + size for (before, after), size in
            zip(padding[:2], picture.shape[:2])] == [max_dim] * 2
