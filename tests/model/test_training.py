"""How a detector is trained: which layers, which step size, what each epoch leaves behind."""

import json
import logging
import re
import sys

import keras
import numpy as np
import pytest
from keras import layers
from model_tools import Rectangles, array, small_config

from frcnn.errors import TrainingDiverged
from frcnn.model import training
from frcnn.runs import load_metadata

STAGES = {"3+": 1, "4+": 2, "5+": 3}  # the output, C1 to C5, after which all is trained
HEADS = ["fpn_c5p5", "fpn_p2", "fpn_p3", "rpn_model", "rpn_conv_shared", "rpn_class_raw",
         "rpn_bbox_pred", "mrcnn_class_conv1", "mrcnn_class_bn2", "mrcnn_class_logits",
         "mrcnn_bbox_fc"]
# the reference's own expressions, less the heads
RESNET = {"3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)",
          "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)", "5+": r"(res5.*)|(bn5.*)"}


def chosen(model, word):
    pattern = re.compile(training.layer_pattern(word))
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
        pattern = re.compile(training.layer_pattern(word))
        assert all(pattern.fullmatch(name) for name in HEADS)
    assert training.layer_pattern("conv5_.*") == "conv5_.*"


def nested():
    """Two backbone layers, and a nested model as the RPN is."""
    x = keras.Input((4, 4, 3))
    y = layers.BatchNormalization(name="bn3a")(layers.Conv2D(2, 1, name="res3a")(x))
    inner = keras.Input((4, 4, 2))
    rpn = keras.Model(inner, layers.Conv2D(2, 1, name="rpn_class_raw")(inner), name="rpn_model")
    return keras.Model(x, rpn(layers.Activation("relu")(y)))


def test_set_trainable_enters_nested_models():
    model = nested()
    assert training.set_trainable(model, training.layer_pattern("heads")) == ["rpn_class_raw"]
    assert [variable.path for variable in model.trainable_variables] == [
        "rpn_class_raw/kernel", "rpn_class_raw/bias"]
    assert training.set_trainable(model, "res.*") == ["res3a"]
    assert {variable.path for variable in model.trainable_variables} == {
        "res3a/kernel", "res3a/bias"}
    assert training.set_trainable(model, ".*") == ["res3a", "bn3a", "rpn_class_raw"]
    assert len(model.trainable_variables) == 6


def test_a_whole_name_must_match():
    with pytest.raises(ValueError, match="matches no layer that has weights"):
        training.set_trainable(nested(), "res3")
    with pytest.raises(ValueError, match=r"neither heads, 3\+.* nor a regular expression"):
        training.set_trainable(nested(), "res(3")


def test_the_chosen_layers_are_logged_if_asked(caplog):
    with caplog.at_level(logging.INFO):
        training.set_trainable(nested(), "res.*")
        assert not caplog.records
        training.set_trainable(nested(), "res.*", verbose=1)
    assert [record.getMessage() for record in caplog.records] == ["training res3a"]


# --- learning rate ------------------------------------------------------------------------------


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_warmup_and_step_by_hand():
    schedule = training.WarmupSchedule(0.1, 100, "warmup_step")  # ten steps of warm-up
    np.testing.assert_allclose(rates(schedule, [0, 4, 9, 10, 79, 80, 99, 150]),
                               [0.01, 0.05, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01], rtol=1e-5)


def test_warmup_and_cosine_by_hand():
    schedule = training.WarmupSchedule(1.0, 200, "warmup_cosine")
    halfway = 0.01 + 0.99 / 2
    np.testing.assert_allclose(rates(schedule, [100, 200, 500]), [halfway, 0.01, 0.01], rtol=1e-5)
    np.testing.assert_allclose(rates(schedule, [0])[0], 1 / 20, rtol=1e-3)
    late = rates(schedule, range(20, 201))
    assert (np.diff(late) < 0).all()


def test_a_warmup_has_a_limit_and_at_least_one_step():
    schedule = training.WarmupSchedule(1.0, 100_000, "warmup_step")
    np.testing.assert_allclose(rates(schedule, [249, 499, 500]), [0.5, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(rates(training.WarmupSchedule(1.0, 3, "warmup_step"), [0, 1, 2]),
                               [1, 1, 1], rtol=1e-5)
    assert rates(training.WarmupSchedule(1.0, 0), [0])[0] <= 1


def test_a_run_that_goes_on_goes_on_with_its_schedule():
    whole = training.WarmupSchedule(0.1, 100)
    rest = training.WarmupSchedule(0.1, 100, first_step=60)
    np.testing.assert_allclose(rates(rest, range(40)), rates(whole, range(60, 100)), rtol=1e-5)
    again = training.WarmupSchedule.from_config(rest.get_config())
    assert rates(again, [7]) == rates(rest, [7])


# --- the optimizer ------------------------------------------------------------------------------


def test_gradients_are_clipped_by_their_global_norm():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1), layers.Dense(1)])
    config = small_config(GRADIENT_CLIP_NORM=2.0, WEIGHT_DECAY=0.0)
    training.compile_detector(model, config, learning_rate=1.0, momentum=0.0)
    before = [array(weight) for weight in model.trainable_variables]
    gradients = [np.full(weight.shape, 3.0, np.float32) for weight in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    for old, weight, gradient in zip(before, model.trainable_variables, gradients):
        np.testing.assert_allclose(old - array(weight), gradient * 2.0 / norm, rtol=1e-5)


def test_small_gradients_are_left_as_they_are_and_momentum_carries_on():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    config = small_config(LEARNING_MOMENTUM=0.5, WEIGHT_DECAY=0.0)
    training.compile_detector(model, config, learning_rate=1.0)
    (weight,) = model.trainable_variables
    start = array(weight)
    for moved in (1.0, 2.5):  # 1, then 1 + 0.5
        model.optimizer.apply([np.ones((1, 1), np.float32)], [weight])
        np.testing.assert_allclose(array(weight), start - moved, rtol=1e-5)


def test_half_floats_scale_their_loss():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    training.compile_detector(model, small_config(PRECISION="mixed_float16"), 0.1)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    training.compile_detector(model, small_config(GRADIENT_CLIP_NORM=None), 0.1)
    assert model.optimizer.clip_norm is None


# --- callbacks ----------------------------------------------------------------------------------


def test_a_checkpoint_has_what_detection_needs_beside_it(tmp_path):
    config = small_config(NUM_CLASSES=5)
    saver = training.SaveCheckpoint(tmp_path, "URY", config, Rectangles([(64, 128)]))
    saver.set_model(nested())
    assert saver.last is None
    saver.on_epoch_end(2)
    assert saver.last == str(tmp_path / "mask_rcnn_ury_0003.h5")
    metadata = load_metadata(saver.last)
    # a class the data do not have still has a name
    assert metadata.class_names == ["BG", "red", "green", "blue", "class 4"]
    assert metadata.source_class_ids == [None, 1, 2, 3, None]
    assert metadata.config().NUM_CLASSES == 5


def guarded(last_good=None):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="thin")])
    training.compile_detector(model, small_config(), learning_rate=0.25)
    guard = training.StopWhenDiverged(lambda: last_good)
    guard.set_model(model)
    guard.set_params({"steps": 40})
    guard.on_epoch_begin(6)
    return guard, model


@pytest.mark.parametrize("loss", [np.nan, np.inf, np.float32("nan")])
def test_a_loss_that_is_no_number_ends_training(loss):
    guard, _ = guarded("logs/mask_rcnn_ury_0006.h5")
    guard.on_train_batch_end(11, {"loss": 3.5})
    with pytest.raises(TrainingDiverged, match=(
            f"loss became {float(loss)} in epoch 7, step 13 of 40.* lower learning rate .*0.25.*"
            "last good checkpoint is logs/mask_rcnn_ury_0006.h5")) as caught:
        guard.on_train_batch_end(12, {"loss": loss})
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_end_training_before_they_are_written():
    guard, model = guarded()
    guard.on_epoch_end(6, {"loss": 1.0})
    model.get_layer("thin").bias.assign([np.inf])
    with pytest.raises(TrainingDiverged, match=r"thin/bias .* epoch 7.* There is no checkpoint"):
        guard.on_epoch_end(6, {"loss": 1.0})


def read_history(folder):
    return json.loads((folder / "history.json").read_text(encoding="utf-8"))


def test_history_grows_by_the_epoch(tmp_path):
    history = training.WriteHistory(tmp_path, 0)
    history.on_epoch_end(0, {"loss": np.float32(2.0)})
    assert read_history(tmp_path) == {"epoch": [1], "loss": [2.0]}
    history.on_epoch_end(1, {"loss": 1.0, "val_loss": 3.0})
    history.on_epoch_end(2, {"loss": 0.5})
    assert read_history(tmp_path) == {
        "epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5], "val_loss": [None, 3.0, None]}
    assert history.history == read_history(tmp_path)


def test_history_is_json_whatever_the_figures_are(tmp_path):
    history = training.WriteHistory(tmp_path, 0)
    history.on_epoch_end(0, {"loss": 1.0, "val_loss": np.float32("nan"), "other": np.inf})
    text = (tmp_path / "history.json").read_text()
    assert not re.search("nan|inf", text, re.IGNORECASE)
    assert json.loads(text) == {"epoch": [1], "loss": [1.0], "val_loss": [None], "other": [None]}


def test_history_goes_on_at_the_epoch_that_was_loaded(tmp_path):
    history = training.WriteHistory(tmp_path, 0)
    for epoch in range(4):
        history.on_epoch_end(epoch, {"loss": float(epoch)})
    resumed = training.WriteHistory(tmp_path, 2)  # epochs 3 and 4 are trained again
    resumed.on_epoch_end(2, {"loss": 9.0})
    assert read_history(tmp_path) == {"epoch": [1, 2, 3], "loss": [0.0, 1.0, 9.0]}


@pytest.mark.parametrize("text", ["{", "[]", '{"epoch": [1, 2], "loss": [1]}', '{"loss": [1]}'])
def test_a_damaged_history_starts_anew_and_says_so(tmp_path, caplog, text):
    (tmp_path / "history.json").write_text(text)
    history = training.WriteHistory(tmp_path, 5)
    assert history.history == {} and "starts anew" in caplog.text
    history.on_epoch_end(5, {"loss": 1.0})
    assert read_history(tmp_path) == {"epoch": [6], "loss": [1.0]}


@pytest.mark.parametrize("missing", ["tensorflow", "tensorboard"])
def test_tensorboard_needs_its_packages(tmp_path, monkeypatch, caplog, missing):
    (callback,) = training.tensorboard(tmp_path)
    assert isinstance(callback, keras.callbacks.TensorBoard)
    monkeypatch.setitem(sys.modules, missing, None)  # importing it fails
    assert training.tensorboard(tmp_path) == []
    assert f"{missing} is not installed, so there are no TensorBoard logs" in caplog.text
