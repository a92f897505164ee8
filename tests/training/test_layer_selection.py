"""Which layers are trained."""

import logging
import re

import keras
import pytest
from keras import layers

from frcnn.training.layer_selection import layer_pattern, set_trainable

STAGES = {"3+": 1, "4+": 2, "5+": 3}  # the output, C1 to C5, after which all is trained
HEADS = ["fpn_c5p5", "fpn_p2", "fpn_p3", "rpn_model", "rpn_conv_shared", "rpn_class_raw",
         "rpn_bbox_pred", "mrcnn_class_conv1", "mrcnn_class_bn2", "mrcnn_class_logits",
         "mrcnn_bbox_fc"]
# the reference's own expressions, less the heads
RESNET = {"3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)",
          "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)", "5+": r"(res5.*)|(bn5.*)"}


def chosen(model, word):
    pattern = re.compile(layer_pattern(word))
    return {layer.name for layer in model.layers
            if layer.weights and pattern.fullmatch(layer.name)}


def all_layers(model):
    return {layer.name for layer in model.layers if layer.weights}


@pytest.mark.parametrize("word", STAGES)
@pytest.mark.parametrize("family", ["resnet", "densenet"])
def test_layers_after_a_stage(request, family, word):
    """Trained is what the stage before does not depend on."""
    model = request.getfixturevalue(family)
    before = keras.Model(model.input, model.outputs[STAGES[word]])
    assert chosen(model, word) == all_layers(model) - all_layers(before)
    if family == "resnet":
        expected = {name for name in all_layers(model) if re.fullmatch(RESNET[word], name)}
        assert chosen(model, word) == expected


@pytest.mark.parametrize("family", ["resnet", "densenet"])
def test_heads_and_all(request, family):
    model = request.getfixturevalue(family)
    assert chosen(model, "heads") == set()
    assert chosen(model, "all") == all_layers(model)
    for word in ("heads", "3+", "4+", "5+", "all"):
        pattern = re.compile(layer_pattern(word))
        assert all(pattern.fullmatch(name) for name in HEADS)
    assert layer_pattern("conv5_.*") == "conv5_.*"


def nested():
    """Two backbone layers, and a nested model as the RPN is."""
    x = keras.Input((4, 4, 3))
    y = layers.BatchNormalization(name="bn3a")(layers.Conv2D(2, 1, name="res3a")(x))
    inner = keras.Input((4, 4, 2))
    rpn = keras.Model(inner, layers.Conv2D(2, 1, name="rpn_class_raw")(inner), name="rpn_model")
    return keras.Model(x, rpn(layers.Activation("relu")(y)))


def test_set_trainable_enters_nested_models():
    model = nested()
    assert set_trainable(model, layer_pattern("heads")) == ["rpn_class_raw"]
    assert [variable.path for variable in model.trainable_variables] == [
        "rpn_class_raw/kernel", "rpn_class_raw/bias"]
    assert set_trainable(model, "res.*") == ["res3a"]
    assert {variable.path for variable in model.trainable_variables} == {
        "res3a/kernel", "res3a/bias"}
    assert set_trainable(model, ".*") == ["res3a", "bn3a", "rpn_class_raw"]
    assert len(model.trainable_variables) == 6


def test_a_whole_name_must_match():
    with pytest.raises(ValueError, match="matches no layer that has weights"):
        set_trainable(nested(), "res3")
    with pytest.raises(ValueError, match=r"neither heads, 3\+.* nor a regular expression"):
        set_trainable(nested(), "res(3")


def test_the_chosen_layers_are_logged_if_asked(caplog):
    with caplog.at_level(logging.INFO):
        set_trainable(nested(), "res.*")
        assert not caplog.records
        set_trainable(nested(), "res.*", verbose=1)
    assert [record.getMessage() for record in caplog.records] == ["training res3a"]
