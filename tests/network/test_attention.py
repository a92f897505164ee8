"""Attention on the pyramid: the gates by hand, what is new in it, and that it begins as nothing."""

import keras
import numpy as np
import pytest
from model_tools import array, dtype_of, one_batch, set_random_statistics, small_config

from frcnn.network.attention import Gate, level_attention
from frcnn.network.fpn import fpn_graph
from frcnn.network.graph import build_detector
from frcnn.training.trainer import compile_detector
from frcnn.weights.checkpoint import load_weights, save_weights

WITH_WEIGHTS = ["squeeze", "excite", "class_maps", "class_gate"]
NEW_LAYERS = [f"fpn_attention_p{n}_{name}" for n in (2, 3, 4, 5) for name in WITH_WEIGHTS]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_gate_by_hand():
    maps = np.array([[[[1.0, -2.0]], [[3.0, 4.0]]]], np.float32)
    logits = np.array([[[[0.0, np.log(3)]]]], np.float32)  # factors 1 and 3/2
    np.testing.assert_allclose(array(Gate()([maps, logits])), [[[[1, -3]], [[3, 6]]]], rtol=1e-6)


@pytest.fixture(scope="module")
def level():
    """A model of one level's attention, with random weights, and maps for it."""
    rng = np.random.default_rng(0)
    maps = keras.Input((None, None, 32))
    model = keras.Model(maps, level_attention(maps, 3, num_classes=4))
    model.set_weights([rng.normal(0, 0.5, weight.shape) for weight in model.weights])
    return model, rng.normal(0, 1, (2, 5, 7, 32)).astype(np.float32)


def test_one_level_by_numpy(level):
    model, maps = level
    (squeeze, squeeze_bias), (excite, excite_bias), (to_maps, map_bias), (gate, gate_bias) = (
        model.get_layer(f"fpn_attention_p3_{name}").get_weights() for name in WITH_WEIGHTS)
    assert squeeze.shape == (32, 2)  # reduced 16 times
    hidden = np.maximum(maps.mean(axis=(1, 2)) @ squeeze + squeeze_bias, 0)
    by_channel = maps * 2 * sigmoid(hidden @ excite + excite_bias)[:, None, None]
    logits = by_channel @ to_maps[0, 0] + map_bias
    classes = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert classes.shape == (2, 5, 7, 4)
    expected = by_channel * 2 * sigmoid(classes @ gate[0, 0] + gate_bias)
    np.testing.assert_allclose(array(model(maps)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_new_one_changes_nothing(dtype):
    maps = keras.Input((4, 6, 8))
    model = keras.Model(maps, level_attention(maps, 2, 3, keras.DTypePolicy(dtype)))
    x = np.random.default_rng(0).normal(0, 3, (2, 4, 6, 8)).astype(np.float32)
    found = model(x)
    assert dtype_of(found) == dtype.removeprefix("mixed_")
    np.testing.assert_array_equal(array(keras.ops.cast(found, "float32")),
                                  array(keras.ops.cast(keras.ops.cast(x, found.dtype), "float32")))


def test_p6_follows_p5():
    stages = [keras.Input((64 >> n, 64 >> n, 3)) for n in (0, 1, 2, 3)]
    numbers = []

    def multiplied(level, number):
        numbers.append(number)
        return keras.layers.Rescaling(number)(level)

    model = keras.Model(stages, fpn_graph(stages, 8, attention=multiplied))
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(1, *x.shape[1:])).astype(np.float32) for x in stages]
    found = [array(x) for x in model(maps)]
    plain = keras.Model(stages, [model.get_layer(f"fpn_p{n}").output for n in (2, 3, 4, 5)])
    for number, one, other in zip((2, 3, 4, 5), found, plain(maps)):
        np.testing.assert_allclose(one, number * array(other), rtol=1e-6)
    np.testing.assert_array_equal(found[4], found[3][:, ::2, ::2])
    assert numbers == [2, 3, 4, 5]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A detector without attention, and its checkpoint."""
    keras.utils.set_random_seed(0)
    model = build_detector("inference", small_config())
    set_random_statistics(model)
    path = tmp_path_factory.mktemp("plain") / "plain.h5"
    save_weights(model, path)
    return model, path


def test_a_plain_checkpoint_gives_what_it_did_and_the_report_names_the_new_layers(plain):
    model, path = plain
    attended = build_detector("inference", small_config(PYRAMID_ATTENTION=True))
    report = load_weights(attended, path)
    assert sorted(report.missing) == sorted(NEW_LAYERS) and not report.ignored
    assert f"missing {len(NEW_LAYERS)} (fpn_attention_p" in str(report)
    batch = one_batch(small_config())
    inputs = [batch["input_image"], batch["input_image_meta"]]
    for one, other in zip(attended.predict_on_batch(inputs), model.predict_on_batch(inputs)):
        np.testing.assert_array_equal(one, other)
    # Weights of the attention reach all that is made of the pyramid.
    before = attended.predict_on_batch(inputs)
    layer = attended.get_layer("fpn_attention_p2_excite")
    layer.set_weights([np.ones(weight.shape) for weight in layer.get_weights()])
    after = attended.predict_on_batch(inputs)
    assert (before[4] != after[4]).any() and (before[1] != after[1]).any()


def test_a_step_trains_every_gate():
    config = small_config(PYRAMID_ATTENTION=True, PROPOSAL_APPEND_GT=True, WEIGHT_DECAY=0.0,
                          TOP_DOWN_PYRAMID_SIZE=128,  # 8 squeezed units: not all ReLUs are off
                          RPN_TRAIN_ANCHORS_PER_IMAGE=1024)  # so many that some are on each level
    keras.utils.set_random_seed(0)
    model = build_detector("training", config, seed=0)
    compile_detector(model, config, 0.05)
    batch = one_batch(config)

    def changed_by_a_step():
        before = {name: model.get_layer(name).get_weights()[0] for name in NEW_LAYERS}
        model.train_on_batch(batch)
        after = {name: model.get_layer(name).get_weights()[0] for name in NEW_LAYERS}
        assert all(np.isfinite(kernel).all() for kernel in after.values())
        return {name for name in NEW_LAYERS if (before[name] != after[name]).any()}

    zero = {name for name in NEW_LAYERS if name.endswith(("_excite", "_class_gate"))}
    assert changed_by_a_step() == zero  # the others' gradient goes through these
    rng = np.random.default_rng(0)
    for name in zero:
        model.get_layer(name).set_weights([
            rng.normal(0, 0.3, weight.shape) for weight in model.get_layer(name).get_weights()])
    assert changed_by_a_step() == set(NEW_LAYERS)
