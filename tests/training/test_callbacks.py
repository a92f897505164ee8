"""Callbacks: files after each epoch, the check for divergence, one line of output an epoch."""

import json
import re
import sys

import keras
import numpy as np
import pytest
from keras import layers
from model_tools import Rectangles, small_config

from frcnn.errors import TrainingDivergedError
from frcnn.runs import load_metadata
from frcnn.training import callbacks
from frcnn.training.trainer import compile_detector


def test_a_checkpoint_has_what_detection_needs_beside_it(tmp_path):
    config = small_config(NUM_CLASSES=5)
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(2, 1, name="res3a")])
    saver = callbacks.SaveCheckpoint(tmp_path, "URY", config, Rectangles([(64, 128)]))
    saver.set_model(model)
    assert saver.last is None
    saver.on_epoch_end(2)
    assert saver.last == str(tmp_path / "mask_rcnn_ury_0003.h5")
    metadata = load_metadata(saver.last)
    # a class the data do not have still has a name
    assert metadata.class_names == ["BG", "red", "green", "blue", "class 4"]
    assert metadata.source_class_ids == [None, 1, 2, 3, None]
    assert metadata.config(allow_custom=True).NUM_CLASSES == 5


def pair(epoch):
    return f"mask_rcnn_ury_000{epoch}.h5", f"config_mask_rcnn_ury_000{epoch}.json"


@pytest.mark.parametrize(("keep", "left"), [(None, [1, 2, 3, 4, 5, 6]), (1, [2, 6]),
                                            (3, [2, 4, 5, 6]), (9, [1, 2, 3, 4, 5, 6])])
def test_only_checkpoints_of_the_run_are_deleted(tmp_path, keep, left):
    """Epoch 1 is of the run's earlier part, epoch 2 of somebody else, 3 to 6 are written now."""
    others = ["mask_rcnn_ury_best.h5", "config_mask_rcnn_ury_best.json", "best_mask_rcnn_ury.h5",
              "config_best_mask_rcnn_ury.json", "mask_rcnn_uryx_0001.h5",
              "history.json", "mask_rcnn_ury_0007.h5", "mask_rcnn_ury_0001.txt"]
    for name in (*others, *(name for epoch in (1, 2) for name in pair(epoch))):
        (tmp_path / name).write_text("before")
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(2, 1, name="res3a")])
    saver = callbacks.SaveCheckpoint(tmp_path, "URY", small_config(), Rectangles([(64, 128)]),
                                     keep, earlier=[1])
    saver.set_model(model)
    for epoch in range(2, 6):
        saver.on_epoch_end(epoch)
    assert saver.last == str(tmp_path / "mask_rcnn_ury_0006.h5")
    assert {path.name for path in tmp_path.iterdir()} == {
        *others, *(name for epoch in left for name in pair(epoch))}
    assert all((tmp_path / name).read_text() == "before" for name in others)


def test_a_checkpoint_that_cannot_be_deleted_is_logged(tmp_path, caplog):
    (tmp_path / "mask_rcnn_ury_0001.h5").mkdir()  # unlink refuses a folder
    saver = callbacks.SaveCheckpoint(tmp_path, "URY", small_config(), Rectangles([(64, 128)]),
                                     keep=1, earlier=[1])
    saver.set_model(keras.Sequential([keras.Input((1,)), layers.Dense(1, name="thin")]))
    saver.on_epoch_end(1)
    assert "mask_rcnn_ury_0001.h5 cannot be deleted" in caplog.text
    assert (tmp_path / "mask_rcnn_ury_0002.h5").is_file()


def guarded(last_good=None):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="thin")])
    compile_detector(model, small_config(), learning_rate=0.25)
    guard = callbacks.StopWhenDiverged(lambda: last_good)
    guard.set_model(model)
    guard.set_params({"steps": 40})
    guard.on_epoch_begin(6)
    return guard, model


@pytest.mark.parametrize("loss", [np.nan, np.inf, np.float32("nan")])
def test_a_loss_that_is_nan_or_infinite_ends_training(loss):
    guard, _ = guarded("logs/mask_rcnn_ury_0006.h5")
    guard.on_train_batch_end(11, {"loss": 3.5})
    with pytest.raises(TrainingDivergedError, match=(
            f"loss became {float(loss)} in epoch 7, step 13 of 40.* lower learning rate .*0.25.*"
            "last good checkpoint is logs/mask_rcnn_ury_0006.h5")) as caught:
        guard.on_train_batch_end(12, {"loss": loss})
    assert "\n" not in str(caught.value)


def test_infinite_weights_end_training_before_they_are_written():
    guard, model = guarded()
    guard.on_epoch_end(6, {"loss": 1.0})
    model.get_layer("thin").bias.assign([np.inf])
    message = r"thin/bias contains NaN or infinity after epoch 7.* There is no checkpoint"
    with pytest.raises(TrainingDivergedError, match=message):
        guard.on_epoch_end(6, {"loss": 1.0})


def read_history(folder):
    return json.loads((folder / "history.json").read_text(encoding="utf-8"))


def test_history_grows_by_the_epoch(tmp_path):
    history = callbacks.WriteHistory(tmp_path, 0)
    history.on_epoch_end(0, {"loss": np.float32(2.0)})
    assert read_history(tmp_path) == {"epoch": [1], "loss": [2.0]}
    history.on_epoch_end(1, {"loss": 1.0, "val_loss": 3.0})
    history.on_epoch_end(2, {"loss": 0.5})
    assert read_history(tmp_path) == {
        "epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5], "val_loss": [None, 3.0, None]}
    assert history.history == read_history(tmp_path)


def test_metrics_of_an_epoch_can_be_completed(tmp_path):
    history = callbacks.WriteHistory(tmp_path, 0)
    for epoch, ap in enumerate((None, 0.5, None)):
        history.on_epoch_end(epoch, {"loss": 3.0 - epoch})
        assert read_history(tmp_path)["loss"][-1] == 3.0 - epoch
        history.on_epoch_end(epoch, {"loss": 3.0 - epoch} | ({"val_AP": ap} if ap else {}))
    assert read_history(tmp_path) == {
        "epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "val_AP": [None, 0.5, None]}


def test_history_is_json_whatever_the_figures_are(tmp_path):
    history = callbacks.WriteHistory(tmp_path, 0)
    history.on_epoch_end(0, {"loss": 1.0, "val_loss": np.float32("nan"), "other": np.inf})
    text = (tmp_path / "history.json").read_text()
    assert not re.search("nan|inf", text, re.IGNORECASE)
    assert json.loads(text) == {"epoch": [1], "loss": [1.0], "val_loss": [None], "other": [None]}


def test_history_goes_on_at_the_epoch_that_was_loaded(tmp_path):
    history = callbacks.WriteHistory(tmp_path, 0)
    for epoch in range(4):
        history.on_epoch_end(epoch, {"loss": float(epoch)})
    resumed = callbacks.WriteHistory(tmp_path, 2)  # epochs 3 and 4 are trained again
    resumed.on_epoch_end(2, {"loss": 9.0})
    assert read_history(tmp_path) == {"epoch": [1, 2, 3], "loss": [0.0, 1.0, 9.0]}


@pytest.mark.parametrize("text", ["{", "[]", '{"epoch": [1, 2], "loss": [1]}', '{"loss": [1]}'])
def test_a_damaged_history_is_replaced_and_logged(tmp_path, caplog, text):
    (tmp_path / "history.json").write_text(text)
    history = callbacks.WriteHistory(tmp_path, 5)
    assert history.history == {} and "a new history begins" in caplog.text
    history.on_epoch_end(5, {"loss": 1.0})
    assert read_history(tmp_path) == {"epoch": [6], "loss": [1.0]}


def test_one_line_an_epoch(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    lines = callbacks.PrintEpoch(10)
    losses = {"rpn_class_loss": 0.1, "rpn_bbox_loss": np.float32(0.25), "mrcnn_class_loss": 0.0004,
              "mrcnn_bbox_loss": np.nan}
    lines.on_epoch_begin(2)
    now[0] += 65.6
    lines.on_epoch_end(2, {"loss": 1.23449, **losses, "val_loss": 1.3, "val_rpn_class_loss": 1.0})
    lines.on_epoch_begin(9)
    lines.on_epoch_end(9, {"loss": np.float32(2)})
    lines.on_epoch_begin(9)
    lines.on_epoch_end(9, {"loss": 2.0, "val_loss": 1.5, "val_AP": 0.31249, "val_AP50": 0.5})
    assert capsys.readouterr().out.splitlines() == [
        "epoch 3/10  66 s  loss 1.234 (rpn_class 0.100, rpn_bbox 0.250, class 0.000, bbox nan)  "
        "val_loss 1.300", "epoch 10/10  0 s  loss 2.000",
        "epoch 10/10  0 s  loss 2.000  val_loss 1.500  val_AP 0.312  val_AP50 0.500"]


@pytest.mark.parametrize("missing", ["tensorflow", "tensorboard"])
def test_tensorboard_needs_its_packages(tmp_path, monkeypatch, caplog, missing):
    (callback,) = callbacks.tensorboard(tmp_path)
    assert isinstance(callback, keras.callbacks.TensorBoard)
    monkeypatch.setitem(sys.modules, missing, None)  # importing it fails
    assert callbacks.tensorboard(tmp_path) == []
    assert f"{missing} is not installed, so there are no TensorBoard logs" in caplog.text
