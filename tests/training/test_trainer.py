"""Training of a detector: how it is compiled, its arguments, what it prints."""

import re

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from model_tools import Rectangles, array, small_config

from frcnn import runs
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.training.trainer import check_arguments, compile_detector


def test_gradients_are_clipped_by_their_global_norm():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1), layers.Dense(1)])
    config = small_config(GRADIENT_CLIP_NORM=2.0, WEIGHT_DECAY=0.0)
    compile_detector(model, config, learning_rate=1.0, momentum=0.0)
    before = [array(weight) for weight in model.trainable_variables]
    gradients = [np.full(weight.shape, 3.0, np.float32) for weight in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    for old, weight, gradient in zip(before, model.trainable_variables, gradients):
        np.testing.assert_allclose(old - array(weight), gradient * 2.0 / norm, rtol=1e-5)


def test_small_gradients_are_left_as_they_are_and_momentum_carries_on():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    config = small_config(LEARNING_MOMENTUM=0.5, WEIGHT_DECAY=0.0)
    compile_detector(model, config, learning_rate=1.0)
    (weight,) = model.trainable_variables
    start = array(weight)
    for moved in (1.0, 2.5):  # 1, then 1 + 0.5
        model.optimizer.apply([np.ones((1, 1), np.float32)], [weight])
        np.testing.assert_allclose(array(weight), start - moved, rtol=1e-5)


def test_half_floats_scale_their_loss():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    compile_detector(model, small_config(PRECISION="mixed_float16"), 0.1)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    compile_detector(model, small_config(GRADIENT_CLIP_NORM=None), 0.1)
    assert model.optimizer.clip_norm is None


@pytest.mark.parametrize(("arguments", "message"), [
    ({"epochs": 3}, r"epochs is 3, the running total, but the model has already trained 3"),
    ({"learning_rate": 0}, "learning_rate is 0; it must be above 0"),
    ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ({"learning_rate": np.float32(-1)}, r"learning_rate is -1\.0"),
    ({"schedule": "linear"}, "schedule is 'linear'; allowed are constant, warmup_step, warmup_cos"),
    ({"schedule_start": 4}, "schedule_start is 4; it must be from 0 to the epochs done, 3"),
    ({"layers": "thick"}, "matches no layer"), ({"layers": "thin("}, "nor a regular expression"),
])  # fmt: skip
def test_arguments_that_are_refused(arguments, message):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, name="thin")])
    given = {"learning_rate": 0.1, "epochs": 4, "first_epoch": 3, "layers": "all",
             "schedule": "constant", "schedule_start": None}
    check_arguments(model, **given)
    with pytest.raises(ValueError, match=message):
        check_arguments(model, **given | arguments)


def test_refused_arguments_change_nothing(tmp_path):
    model = MaskRCNN("training", small_config(), tmp_path)
    model.set_trainable("fpn_p2")
    data = Rectangles([(128, 128)])
    for arguments in ({"layers": "fpn_p3", "epochs": 0}, {"layers": "fpn_p[3"},
                      {"layers": "fpn_p3", "augmentation": "upside down"}):
        with pytest.raises(ValueError):
            model.train(data, None, **{"learning_rate": 0.1, "epochs": 1, **arguments})
    assert [layer.name for layer in model.get_trainable_layers() if layer.trainable] == ["fpn_p2"]
    assert list(tmp_path.iterdir()) == []


def test_verbose_2_prints_one_plain_line_an_epoch(tmp_path, capfd):
    model = MaskRCNN("training", small_config(IMAGES_PER_GPU=1), tmp_path)
    train, val = Rectangles([(128, 128)] * 2), Rectangles([(128, 128)])
    options = {"learning_rate": 0.01, "layers": "heads", "workers": 1}
    model.train(train, val, epochs=2, **options, verbose=2)
    figure = r"\d+\.\d{3}"
    losses = ", ".join(f"{name} {figure}" for name in ("rpn_class", "rpn_bbox", "class", "bbox"))
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, start=1):
        pattern = rf"epoch {number}/2  \d+ s  loss {figure} \({losses}\)  val_loss {figure}"
        assert re.fullmatch(pattern, line), line
    model.train(train, None, epochs=3, **options, verbose=0)
    assert capfd.readouterr().out == ""
    model.train(train, None, epochs=4, **options)
    assert "2/2" in capfd.readouterr().out  # Keras's progress bar


def test_checkpoints_hold_the_average_of_the_weights(tmp_path):
    config = small_config(EMA_MOMENTUM=0.5, NAME="average")
    dataset = Rectangles([(128, 128)] * 4)
    model = MaskRCNN("training", config, tmp_path, seed=0)
    seen, averages = [], []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(array(self.model.get_layer("fpn_p2").kernel))
            last = averages[-1] if averages else seen[-1]
            averages.append(0.5 * last + 0.5 * seen[-1])

    model.train(dataset, None, 0.01, 2, "all", custom_callbacks=[Record()], verbose=0)
    assert len(seen) == 4  # two steps an epoch
    for epoch, step in ((1, 1), (2, 3)):
        with h5py.File(runs.checkpoint_path(model.log_dir, "average", epoch)) as file:
            saved = file["fpn_p2"]["fpn_p2"]["kernel:0"][()]
        np.testing.assert_allclose(saved, averages[step], rtol=1e-5, atol=1e-7)
        assert not np.allclose(saved, seen[step], rtol=1e-5, atol=1e-7)
