"""The RPN at the sampled anchors: the same numbers and slopes as the RPN over all cells."""

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import array, gradient, one_batch, small_config

from frcnn.network import losses
from frcnn.network.graph import build_detector
from frcnn.network.rpn import build_rpn_model
from frcnn.network.sampled_rpn import SampledRPN

DEPTH, RATIOS, COUNT = 8, 3, 40
# Odd and even sides: with a stride of 2 their padding differs.
SHAPES = [(16, 12), (9, 7), (5, 3), (2, 2), (1, 1)]


@pytest.fixture(scope="module", params=[1, 2])
def rpn(request):
    keras.utils.set_random_seed(1)
    return build_rpn_model(request.param, RATIOS, DEPTH), request.param


def levels_and_match(rpn, chosen=COUNT, seed=0):
    """Random maps, and a match with `chosen` sampled anchors for each of two images."""
    rng = np.random.default_rng(seed)
    maps = [rng.normal(size=(2, *shape, DEPTH)).astype(np.float32) for shape in SHAPES]
    total = sum(rpn(x)[0].shape[1] for x in maps)
    match = np.zeros((2, total, 1), np.int32)
    for image in match:
        places = rng.permutation(total)[:chosen]
        image[places, 0] = rng.choice([-1, 1], len(places))
    return maps, match


def dense(rpn, maps):
    logits, _, deltas = zip(*(rpn(x) for x in maps))
    return ops.concatenate(logits, axis=1), ops.concatenate(deltas, axis=1)


@pytest.mark.parametrize("chosen", [COUNT, 13, 1, 0])
def test_each_sampled_anchor_has_the_outputs_of_its_cell(rpn, chosen):
    model, stride = rpn
    maps, match = levels_and_match(model, chosen)
    found_match, logits, deltas = map(array, SampledRPN(model, RATIOS, stride, COUNT)(
        [match, *maps]))
    assert (found_match.shape, logits.shape, deltas.shape) == (
        (2, COUNT, 1), (2, COUNT, 2), (2, COUNT, 4))
    all_logits, all_deltas = map(array, dense(model, maps))
    for image in range(2):
        places = np.flatnonzero(match[image, :, 0])
        np.testing.assert_array_equal(found_match[image, :chosen], match[image, places])
        assert not found_match[image, chosen:].any()
        np.testing.assert_allclose(logits[image, :chosen], all_logits[image, places], atol=1e-5)
        np.testing.assert_allclose(deltas[image, :chosen], all_deltas[image, places], atol=1e-5)


def test_every_anchor_of_every_level_once(rpn):
    """Corners and edges too: all anchors, in as many rows."""
    model, stride = rpn
    maps, match = levels_and_match(model)
    match[:] = -1
    everything = match.shape[1]
    found = SampledRPN(model, RATIOS, stride, everything)([match, *maps])
    for sampled, whole in zip(found[1:], dense(model, maps)):
        np.testing.assert_allclose(array(sampled), array(whole), atol=1e-5)


def test_more_rows_than_anchors(rpn):
    model, stride = rpn
    maps, match = levels_and_match(model)
    count = match.shape[1] + 5
    found_match, logits, _ = SampledRPN(model, RATIOS, stride, count)([match, *maps])
    assert logits.shape == (2, count, 2)
    assert np.count_nonzero(array(found_match)) == np.count_nonzero(match)


def test_the_maps_get_the_slopes_of_the_whole_rpn(rpn):
    model, stride = rpn
    maps, match = levels_and_match(model)
    layer = SampledRPN(model, RATIOS, stride, COUNT)
    target = np.random.default_rng(5).normal(size=(2, COUNT, 4)).astype(np.float32)

    def loss(match, logits, deltas):
        return (losses.rpn_class_loss_graph(match, logits)
                + losses.rpn_bbox_loss_graph(None, target, match, deltas))

    for index in range(len(maps)):
        def levels(x, index=index):
            return [*maps[:index], x, *maps[index + 1:]]

        expected = gradient(lambda x: loss(match, *dense(model, levels(x))), maps[index])
        found = gradient(lambda x: loss(*layer([match, *levels(x)])), maps[index])
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")
@pytest.mark.parametrize("settings", [
    {}, {"RPN_ANCHOR_STRIDE": 2, "RPN_ANCHOR_RATIOS": [1]}])
def test_every_weight_gets_the_gradient_of_the_whole_rpns_losses(settings):
    import tensorflow as tf

    config = small_config(**settings)
    keras.utils.set_random_seed(0)
    model = build_detector("training", config, seed=0)
    batch = one_batch(config)
    target, match = batch["input_rpn_bbox"], batch["input_rpn_match"]
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(batch, training=False)
        values = model.loss_values(batch, outputs)
        found = values["rpn_class_loss"] + values["rpn_bbox_loss"]
        expected = losses.rpn_class_loss_graph(match, outputs["rpn_class_logits"]) \
            + losses.rpn_bbox_loss_graph(config, target, match, outputs["rpn_bbox"])
    np.testing.assert_allclose(float(found), float(expected), rtol=1e-5)
    for weight in model.trainable_variables:
        if weight.path.startswith("mrcnn"):
            continue
        slopes, expected_slopes = (tape.gradient(loss, weight.value) for loss in (found, expected))
        np.testing.assert_allclose(array(slopes), array(expected_slopes), rtol=1e-3, atol=1e-6,
                                   err_msg=weight.path)


def test_half_precision_sums_its_gradient_in_single():
    """576 patches hold the middle cell; in bfloat16 a sum of equals stops growing at 256."""
    ratios, maps = 64, [np.ones((1, 3, 3, DEPTH), np.float32)]
    rpn = build_rpn_model(1, ratios, DEPTH, keras.DTypePolicy("mixed_bfloat16"))
    for name in ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"):
        layer = rpn.get_layer(name)
        layer.set_weights([np.ones(weight.shape) / 64 for weight in layer.get_weights()])
    match = np.ones((1, 9 * ratios, 1), np.int32)
    layer = SampledRPN(rpn, ratios, 1, 9 * ratios)
    slopes = gradient(lambda x: ops.sum(layer([match, x])[1]), maps[0])
    # To each patch's cell through 512 channels and two logits, by weights of 1 / 64.
    np.testing.assert_allclose(slopes[0, 1, 1], 9 * ratios * 512 * 2 / 64**2, rtol=0.01)
