"""Tiles with nothing on them are told from those with anything."""

import numpy as np
import pytest

from frcnn.data.content import is_empty


def ground(height=256, width=256, noise=3.0):
    values = np.random.default_rng(0).normal(210, noise, (height, width, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def test_noise_is_nothing():
    assert is_empty(ground())
    assert is_empty(np.full((64, 64, 3), 255, np.uint8))
    assert is_empty(np.zeros((3, 2, 3), np.uint8))


@pytest.mark.parametrize("size", [8, 20, 200])
def test_a_pale_object_is_something(size):
    tile = ground()
    tile[30:30 + size, 40:40 + size] -= 8
    assert not is_empty(tile)


def test_an_object_in_one_channel_is_something():
    tile = np.full((128, 128, 3), 200, np.uint8)
    tile[50:60, 50:60, 2] = 190
    assert not is_empty(tile) and is_empty(tile, contrast=20)


def test_a_gray_tile_smaller_than_a_block():
    tile = np.full((3, 9, 1), 200, np.uint8)
    assert is_empty(tile)
    tile[:, 4:8] = 90
    assert not is_empty(tile)
