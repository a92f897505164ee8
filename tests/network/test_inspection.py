"""Values of tensors inside a model, by name."""

from collections import OrderedDict

import keras
import numpy as np
import pytest
from keras import layers

from frcnn.network.inspection import log, run_tensors


def test_log_prints_what_an_array_holds(capsys):
    log("boxes", np.array([[1.5, -2], [3, 4]], np.float32))
    line = capsys.readouterr().out
    assert line.startswith("boxes ") and line.count("\n") == 1
    for part in ("(2, 2)", "-2.00000", "4.00000", "float32"):
        assert part in line


def test_log_of_nothing_and_of_text(capsys):
    log("rois", np.zeros((0, 4), np.int32))
    log("done")
    first, second = capsys.readouterr().out.splitlines()
    assert "(0, 4)" in first and "int32" in first
    assert second == "done"


@pytest.fixture(scope="module")
def model():
    x = keras.Input((3,))
    doubled = layers.Rescaling(2.0, name="doubled")(x)
    return keras.Model(x, layers.Rescaling(1.0, offset=1.0, name="plus_one")(doubled))


@pytest.mark.parametrize("names", [["plus_one", "doubled"], ["doubled"]])
def test_tensors_come_back_by_name_in_order(model, names):
    x = np.array([[1, 2, 3]], np.float32)
    found = run_tensors(model, x, [(name, model.get_layer(name).output) for name in names])
    assert isinstance(found, OrderedDict) and list(found) == names
    np.testing.assert_array_equal(found["doubled"], 2 * x)
    if "plus_one" in names:
        np.testing.assert_array_equal(found["plus_one"], 2 * x + 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_comes_as_float32(dtype):
    x = keras.Input((3,))
    model = keras.Model(x, layers.Rescaling(2.0, name="doubled", dtype=f"mixed_{dtype}")(x))
    values = np.array([[1, 2, 3]], np.float32)
    found = run_tensors(model, values, [("doubled", model.get_layer("doubled").output)])["doubled"]
    assert model.output.dtype == dtype and found.dtype == np.float32
    np.testing.assert_array_equal(found, 2 * values)


def test_a_tensor_that_is_none_is_named(model):
    with pytest.raises(ValueError, match="'mrcnn_mask' is None"):
        run_tensors(model, np.zeros((1, 3)), [("mrcnn_mask", None)])
