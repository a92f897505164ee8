"""Molding images, against the reference."""


import numpy as np
import pytest

from frcnn.config import Config
from frcnn.data.molding import mold_image, unmold_image
from frcnn.data.resize import resize_image


def noise(height, width, channels=3, low=0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(low, 256, (height, width, channels), dtype=np.uint8)


def test_molding_is_the_references(functions):
    molded = mold_image(functions["mold_input"], Config())
    assert molded.dtype == np.float32
    # The reference's are float64; these are the float32 next to them.
    np.testing.assert_array_equal(molded, functions["mold_image"].astype(np.float32))


def test_the_whole_models_input(golden_model):
    config = Config(IMAGE_MIN_DIM=384, IMAGE_MAX_DIM=384)
    image, window, *_ = resize_image(golden_model["image"], 384, 384, mode="square")
    np.testing.assert_array_equal(window, golden_model["window"])
    molded = mold_image(image, config)[::8, ::8]
    np.testing.assert_array_equal(molded, golden_model["molded_image_sample"].astype(np.float32))


@pytest.mark.parametrize("shape", [(5, 6, 3), (2, 5, 6, 3)])
def test_molding_and_back(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    molded = mold_image(images, Config())
    assert molded.shape == shape
    back = unmold_image(molded, Config())
    np.testing.assert_array_equal(back, images)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(unmold_image(molded + 300, Config()), np.full(shape, 255))


def test_molding_other_channels():
    config = Config(IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=[100.0])
    np.testing.assert_array_equal(mold_image(np.full((2, 2, 1), 101, np.uint8), config),
                                  np.ones((2, 2, 1)))


def test_molding_into_an_array():
    image = noise(5, 6)
    batch = np.full((2, 5, 6, 3), np.nan, np.float32)
    assert mold_image(image, Config(), out=batch[1]) is not None
    np.testing.assert_array_equal(batch[1], mold_image(image, Config()))
    assert np.isnan(batch[0]).all()
