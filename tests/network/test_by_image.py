"""Computations that several devices divide by hand: the same results, of each image's own."""

import os
import subprocess
import sys

import numpy as np
import pytest
from keras import ops
from model_tools import array
from places import PROJECT

from frcnn.network import ops as frcnn_ops


def test_on_one_device_it_is_a_plain_call():
    x = np.arange(6.0).reshape(2, 3)
    assert frcnn_ops.by_image(lambda x: ("called", x), x) == ("called", x)
    values, places = map(array, frcnn_ops.top_k(ops.convert_to_tensor(x, "float32"), 2))
    np.testing.assert_array_equal(values, [[2, 1], [5, 4]])
    np.testing.assert_array_equal(places, [[2, 1], [2, 1]])


TWO_DEVICES = """
from frcnn.training import distributed
distributed.start(2)
import keras, numpy as np
from keras import ops
from frcnn.network import ops as frcnn_ops
from frcnn.training.job import alone
rng = np.random.default_rng(0)
boxes = np.sort(rng.random((4, 2, 30, 2)), axis=1).transpose(0, 2, 1, 3).reshape(4, 30, 4)
boxes, scores = boxes.astype("float32"), rng.random((4, 30)).astype("float32")
def found(boxes, scores):
    sizes = []
    frcnn_ops.by_image(lambda x: sizes.append(x.shape[0]) or x, scores)
    return [np.asarray(x) for x in (*frcnn_ops.suppress(boxes, scores, 0.3, 8),
                                    *frcnn_ops.top_k(scores, 5))], sizes[0]
layout = keras.distribution.distribution().get_data_layout
import jax
shared = [jax.device_put(x, layout(x.shape).backend_layout) for x in (boxes, scores)]
divided, images = found(*shared)
with alone():
    whole, all_images = found(ops.convert_to_tensor(boxes), ops.convert_to_tensor(scores))
assert (images, all_images) == (2, 4)
for one, other in zip(divided, whole, strict=True):
    np.testing.assert_array_equal(one, other)
assert len(divided[0][0]) == 8 and divided[0].any()
odd = frcnn_ops.by_image(lambda x: x + 1.0, ops.ones((3, 2)))
assert odd.shape == (3, 2)
print("equal")
"""


@pytest.mark.slow
def test_two_devices_find_what_one_finds():
    pytest.importorskip("jax")
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True,
                          check=False, env={
        **os.environ, "PYTHONPATH": str(PROJECT), "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2"})
    assert done.stdout == "equal\n", done.stderr
