"""The image meta, against the reference."""

import numpy as np
import pytest

from frcnn.data.image_meta import compose_image_meta, parse_image_meta


@pytest.mark.smoke
def test_meta_is_the_references(functions):
    meta = compose_image_meta(7, (480, 640, 3), (256, 256, 3), (32, 0, 224, 256), 0.4,
                              [1, 0, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(meta, functions["image_meta"])


def test_meta_comes_apart_by_name(functions):
    parts = parse_image_meta(np.stack([functions["image_meta"]] * 2))
    expected = {
        "image_id": 7, "original_image_shape": [480, 640, 3], "image_shape": [256, 256, 3],
        "window": [32, 0, 224, 256], "scale": np.float32(0.4),
        "active_class_ids": [1, 0, 1, 1, 0, 1, 1, 1],
    }  # fmt: skip
    assert list(parts) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(parts[name], [values, values])
        assert parts[name].dtype == (np.float32 if name == "scale" else np.int32)
