"""Evaluation while training: the detector with the current weights, the best checkpoint, patience.
"""

import json
import os
import random
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from model_tools import Rectangles, array, prefer_objects, set_random_statistics, small_config

from frcnn import evaluate, runs
from frcnn.errors import DatasetError, ImageError
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.training.evaluation import (
    CurrentDetector,
    EvaluateEpochs,
    KeepBest,
    Monitoring,
    copy_weights,
)
from frcnn.weights.checkpoint import save_weights

SHAPES = [(128, 128), (96, 128), (120, 104)]
OPTIONS = {"learning_rate": 0.01, "layers": "all", "workers": 1, "verbose": 0}


# --- the arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "message"), [
    ({"evaluate_every": 0}, "evaluate_every is 0; it must be a whole number of 1 or more"),
    ({"evaluate_every": 1.5}, r"evaluate_every is 1\.5"),
    ({"evaluate_every": 1, "evaluate_images": -1}, "evaluate_images is -1"),
    ({"evaluate_every": 1, "patience": "all"}, "patience is all"),
    ({"patience": 3}, "patience is 3, but it counts evaluations: it needs evaluate_every"),
    ({"keep": 0}, "keep is 0"),
])
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Monitoring(**arguments)


class Crowds(Rectangles):
    """All objects are crowd regions."""

    def load_boxes(self, image_id):
        boxes, class_ids = super().load_boxes(image_id)
        return boxes, -class_ids


def test_images_to_evaluate():
    data = Rectangles(SHAPES, empty=(0,))
    assert Monitoring().image_ids(None) == Monitoring(keep=1).image_ids(data) == []
    assert Monitoring(np.int64(2)).image_ids(data) == [0, 1, 2]
    assert Monitoring(1, evaluate_images=2).image_ids(data) == [0, 1]
    with pytest.raises(ValueError, match="evaluate_every is 1, but val_dataset is None"):
        Monitoring(1).image_ids(None)


@pytest.mark.parametrize("data", [Rectangles(SHAPES, empty=(0, 1, 2)), Crowds(SHAPES),
                                  Rectangles([])])
def test_images_without_objects_cannot_be_evaluated(data):
    with pytest.raises(DatasetError, match=f"The {data.num_images} validation images have no obj"):
        Monitoring(1).image_ids(data)


def test_the_limit_counts_when_objects_are_looked_for():
    with pytest.raises(DatasetError, match="The 1 validation images have no objects"):
        Monitoring(1, evaluate_images=1).image_ids(Rectangles(SHAPES, empty=(0,)))


def test_refused_arguments_change_nothing(tmp_path):
    model = MaskRCNN("training", small_config(), tmp_path)
    data = Rectangles(SHAPES)
    for val, arguments in ((None, {"evaluate_every": 1}), (data, {"patience": 1}),
                           (data, {"keep": 0}), (Crowds(SHAPES), {"evaluate_every": 1})):
        with pytest.raises(ValueError):
            model.train(data, val, epochs=1, **OPTIONS, **arguments)
    assert list(tmp_path.iterdir()) == []


# --- the detector -------------------------------------------------------------------------------


@pytest.fixture
def training(tmp_path):
    model = MaskRCNN("training", small_config(DETECTION_MIN_CONFIDENCE=0.9), tmp_path, seed=1)
    prefer_objects(model)
    return model


def detections_of_a_checkpoint(model, folder, images, score):
    """What a MaskRCNN for detection finds with the weights that `model` has now."""
    save_weights(model.keras_model, folder / "now.h5")
    other = MaskRCNN("inference", model.config.replaced(DETECTION_MIN_CONFIDENCE=score), folder)
    other.load_weights(folder / "now.h5")
    return other.detect(images)


@pytest.mark.parametrize("settings", [
    {}, {"CASCADE_IOUS": (0.5, 0.6, 0.7), "PYRAMID_ATTENTION": True, "PYRAMID_BATCH_NORM": True}])
def test_it_detects_with_the_weights_of_the_time(tmp_path, settings):
    training = MaskRCNN("training", small_config(DETECTION_MIN_CONFIDENCE=0.9, **settings),
                        tmp_path, seed=1)
    prefer_objects(training)
    data = Rectangles(SHAPES)
    images = [data.load_image(image_id) for image_id in data.image_ids]
    detector = CurrentDetector(training.keras_model, training.config)
    counts = []
    for seed in (None, 5):  # the same detector before and after a change of all weights
        if seed is not None:
            set_random_statistics(training.keras_model, seed)
        found = list(detector.detect_stream(images))
        expected = detections_of_a_checkpoint(training, tmp_path, images, score=0.05)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours["class_ids"], theirs["class_ids"])
            np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)
            np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=0.02)
            # below the configuration's limit
            counts.append(int((ours["scores"] < 0.9).sum()))
    assert max(counts[:3]) > 0
    assert training.config.DETECTION_MIN_CONFIDENCE == 0.9


def test_the_seeds_of_other_layers_are_untouched(training):
    random.seed(3)
    expected = random.random()
    random.seed(3)
    list(CurrentDetector(training.keras_model, training.config).detect_stream([]))
    assert random.random() == expected


class Unreadable(Rectangles):
    """Some images cannot be read.

    Args: ids of these images.
    """

    def __init__(self, shapes, *unreadable):
        super().__init__(shapes)
        self.unreadable = unreadable

    def load_image(self, image_id):
        if image_id in self.unreadable:
            raise ImageError(f"image{image_id}.png is broken")
        return super().load_image(image_id)


def finds_everything(image_ids, data, monkeypatch):
    """Replaces detection: of the images that can be read, all is found."""
    def detect(self, images):
        for image_id, image in zip(image_ids, images, strict=True):
            try:
                image()
            except ImageError as error:
                yield error
                continue
            boxes, class_ids = data.load_boxes(image_id)
            yield {"boxes": boxes, "rois": boxes.astype(np.int32), "class_ids": class_ids,
                   "scores": np.ones(len(boxes), np.float32)}

    monkeypatch.setattr(CurrentDetector, "detect_stream", detect)


def test_images_that_cannot_be_read_are_left_out(training, monkeypatch):
    data, ids = Unreadable(SHAPES, 1), [0, 1, 2]
    finds_everything(ids, data, monkeypatch)
    detector = CurrentDetector(training.keras_model, training.config)
    with pytest.warns(UserWarning, match=r"Image 1 is not evaluated: image1\.png is broken"):
        metrics = detector.evaluate(data, ids)
    # counted as an image without detections, AP would be below 1
    assert metrics["AP"] == metrics["AP50"] == 1 and metrics["settings"]["images"] == 2
    assert metrics["settings"]["score_threshold"] == 0.05
    data.unreadable = ids
    with pytest.warns(UserWarning, match="is not evaluated"):
        metrics = detector.evaluate(data, ids)
    assert metrics["AP"] is None and metrics["settings"]["images"] == 0


def test_images_are_read_by_the_detector_itself(training):
    data = Unreadable(SHAPES, 2)
    detector = CurrentDetector(training.keras_model, training.config)
    with pytest.warns(UserWarning, match="Image 2 is not evaluated"):
        metrics = detector.evaluate(data, [0, 1, 2])
    assert metrics["settings"]["objects"] == 6


def test_detections_that_are_nan_are_left_out(training, monkeypatch):
    data = Rectangles(SHAPES)
    results = [{"boxes": np.full((1, 4), value, np.float32), "class_ids": np.array([1]),
                "scores": np.array([0.5])} for value in (np.nan, 1, np.inf)]
    monkeypatch.setattr(CurrentDetector, "detect_stream", lambda self, images: iter(results))
    with pytest.warns(UserWarning, match=r"Image [02] is not evaluated: .*NaN"):
        metrics = CurrentDetector(training.keras_model, training.config).evaluate(data, [0, 1, 2])
    assert metrics["settings"]["images"] == 1 and metrics["AP"] == 0


# --- weights from layer to layer ----------------------------------------------------------------


def chain(*units):
    """A model of dense layers that Keras names, then of one named layer."""
    return keras.Sequential([keras.Input((2,)), *(layers.Dense(count) for count in units),
                             layers.Dense(3, name="named"), layers.BatchNormalization()])


def test_layers_that_keras_named_are_matched_in_their_order():
    source, target = chain(4, 4, 5, 5), chain(4, 4, 5, 5)
    assert source.layers[0].name != target.layers[0].name
    for variable in source.variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    copy_weights(source, target)
    for ours, theirs in zip(source.get_weights(), target.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    source.layers[0].bias.assign(np.full(4, 9.0))
    assert not (target.layers[0].get_weights()[1] == 9).any()  # a copy


def test_ten_layers_are_in_the_order_of_their_numbers():
    """As text, conv_10 would come before conv_9."""
    def model(first):
        return keras.Sequential([keras.Input((1,)), *(
            layers.Dense(1, name=f"dense_{number}") for number in range(first, first + 5))])

    source, target = model(8), model(0)
    for number, layer in enumerate(source.layers):
        layer.kernel.assign([[float(number)]])
    copy_weights(source, target)
    assert [float(array(layer.kernel)[0, 0]) for layer in target.layers] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("other", [chain(4), chain(4, 5), chain(5, 4, 4)])
def test_other_layers_are_refused(other):
    with pytest.raises(ValueError, match="The layer 'dense' of the inference model differs"):
        copy_weights(other, chain(4, 4, 5))


# --- when it evaluates --------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "epochs", "expected"), [
    (1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (2, 4, [2, 4]), (7, 3, [3])])
def test_epochs_that_are_evaluated(every, epochs, expected):
    seen = []
    callback = EvaluateEpochs(lambda: {"AP": 0.25, "AP50": 0.5, "AP75": 0.1}, every)
    callback.set_params({"epochs": epochs})
    for epoch in range(epochs):
        logs = {"loss": 1.0}
        callback.on_epoch_end(epoch, logs)
        assert logs in ({"loss": 1.0}, {"loss": 1.0, "val_AP": 0.25, "val_AP50": 0.5})
        seen += [epoch + 1] if "val_AP" in logs else []
    assert seen == expected


def test_figures_that_are_undefined_are_not_in_the_logs():
    callback = EvaluateEpochs(lambda: {"AP": None, "AP50": None}, 1)
    logs = {"loss": 1.0}
    callback.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0}


# --- the best checkpoint ------------------------------------------------------------------------


class Epochs:
    """A run folder in which epochs end: a checkpoint each, and its AP for KeepBest."""

    def __init__(self, folder, first_epoch=0, history=None, patience=None):
        self.folder, self.epoch = folder, first_epoch
        self.path = runs.best_path(folder, "URY")
        self.keeper = KeepBest(self.path, self.last, first_epoch, history, patience)
        self.keeper.set_model(keras.Sequential([keras.Input((1,)), layers.Dense(1)]))

    def last(self):
        return runs.checkpoint_path(self.folder, "URY", self.epoch) if self.epoch else None

    def end(self, ap):
        self.epoch += 1
        Path(self.last()).write_text(f"weights of epoch {self.epoch}")
        runs.save_metadata(self.last(), small_config(), ["BG", "a", "b", "c"])
        self.keeper.on_epoch_end(self.epoch - 1, {"loss": 1.0} if ap is None else {
            "loss": 1.0, "val_AP": np.float32(ap), "val_AP50": 0.75})
        return self.keeper.best and self.keeper.best.epoch


def test_the_checkpoint_with_the_highest_ap_is_copied(tmp_path):
    run = Epochs(tmp_path)
    assert [run.end(ap) for ap in (None, 0.25, 0.125, None, 0.25, 0.5)] == [None, 2, 2, 2, 2, 6]
    assert run.path == str(tmp_path / "best_mask_rcnn_ury.h5")
    assert Path(run.path).read_text() == "weights of epoch 6"
    assert runs.load_best(run.path) == runs.BestCheckpoint(run.path, 6, 0.5)
    metadata = runs.load_metadata(run.path)
    assert metadata.class_names == ["BG", "a", "b", "c"]
    assert metadata.config(allow_custom=True).NUM_CLASSES == 4
    assert metadata.extra == {"epoch": 6, "val_AP": 0.5, "val_AP50": 0.75}
    assert Path(run.last()).read_text() == "weights of epoch 6"  # it stays
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_an_ap_of_zero_is_better_than_none(tmp_path):
    assert Epochs(tmp_path).end(0.0) == 1


def stopped_after(run, figures):
    """How many of the epochs are trained."""
    for count, ap in enumerate(figures, start=1):
        run.end(ap)
        if run.keeper.has_stopped:
            assert run.keeper.model.stop_training
            return count
    return None


@pytest.mark.parametrize(("patience", "figures", "expected"), [
    (2, [0.1, 0.1, 0.1, 0.2], 3),
    (2, [0.1, None, None, 0.05, None, 0.1, 0.2], 6),  # only evaluations count
    (2, [0.1, 0.05, 0.2, 0.1, 0.3, 0.1], None),  # in a row
    (1, [0.1, 0.2, 0.2], 3),
    (None, [0.1] * 9, None),
])
def test_patience(tmp_path, patience, figures, expected):
    assert stopped_after(Epochs(tmp_path, patience=patience), figures) == expected


def test_a_run_that_continues_keeps_its_best_and_its_count(tmp_path):
    first = Epochs(tmp_path)
    assert [first.end(ap) for ap in (0.25, 0.5, None, 0.25)] == [1, 2, 2, 2]
    history = {"epoch": [1, 2, 3, 4], "val_AP": [0.25, 0.5, None, 0.25]}
    again = Epochs(tmp_path, 4, history, patience=3)
    assert (again.keeper.best.epoch, again.keeper.since) == (2, 1)
    assert stopped_after(again, [0.375, 0.5, 0.75]) == 2
    assert Path(again.path).read_text() == "weights of epoch 2"


def test_a_best_epoch_that_is_trained_again_does_not_count(tmp_path):
    first = Epochs(tmp_path)
    first.end(0.25)
    first.end(0.5)
    again = Epochs(tmp_path, 1, {"epoch": [1], "val_AP": [0.25]})
    assert again.keeper.best is None and again.keeper.since == 0
    assert again.end(0.125) == 2
    assert runs.load_best(again.path).ap == 0.125


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"epoch": 0, "val_AP": 0.5}',
                                    '{"epoch": "two", "val_AP": 0.5}', '{"epoch": 1}', None])
def test_a_best_checkpoint_without_its_figures_does_not_count(tmp_path, damage):
    first = Epochs(tmp_path)
    first.end(0.5)
    path = runs.metadata_path(first.path)
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    assert Epochs(tmp_path, 1).keeper.best is None
    (tmp_path / "best_mask_rcnn_ury.h5").unlink()
    assert Epochs(tmp_path, 1).end(0.125) == 2


# --- all of it, in training ---------------------------------------------------------------------


@pytest.fixture
def scripted(monkeypatch):
    """Function: the figures that the next evaluations give, an error for one that fails."""
    def evaluated(self, dataset, image_ids):
        calls.append((self, image_ids))
        ap = figures.pop(0)
        if isinstance(ap, BaseException):
            raise ap
        return {"AP": ap, "AP50": None if ap is None else 2 * ap}

    def script(*values):
        figures[:] = values
        return calls

    calls, figures = [], []
    monkeypatch.setattr(CurrentDetector, "evaluate", evaluated)
    return script


def files(model, pattern="*.h5"):
    return sorted(path.name for path in Path(model.log_dir).glob(pattern))


def read_history(model):
    return json.loads((Path(model.log_dir) / "history.json").read_text())


@pytest.mark.slow
def test_training_goes_on_as_without_an_evaluation(tmp_path):
    """Its weights are equal, and the AP is that of the checkpoint."""
    train, val = Rectangles([(128, 128)] * 4), Rectangles(SHAPES, empty=(2,))
    models = []
    for every in (None, 1):
        model = MaskRCNN("training", small_config(), tmp_path / str(every), seed=2)
        prefer_objects(model)
        model.train(train, val, epochs=2, evaluate_every=every, **OPTIONS)
        models.append(model)
    plain, evaluated = models
    for ours, theirs in zip(plain.keras_model.get_weights(), evaluated.keras_model.get_weights()):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert plain.best_checkpoint is None and files(plain) == files(evaluated)[1:]
    assert evaluated.history.keys() - plain.history.keys() == {"val_AP", "val_AP50"}
    assert read_history(evaluated) == evaluated.history

    config = small_config(DETECTION_MIN_CONFIDENCE=0.05)
    for epoch, ap in enumerate(evaluated.history["val_AP"], start=1):
        other = MaskRCNN("inference", config, tmp_path / "other")
        other.load_weights(runs.checkpoint_path(evaluated.log_dir, "small", epoch))
        metrics = evaluate.evaluate_model(other, val, progress=False)
        assert ap == pytest.approx(metrics["AP"], abs=0.01)
    best = runs.load_best(evaluated.best_checkpoint)
    assert best.ap == max(evaluated.history["val_AP"])
    assert evaluated.find_best() == best.path
    events = [file for file in Path(evaluated.log_dir, "validation").iterdir()
              if b"epoch_AP50" in file.read_bytes()]
    assert events  # TensorBoard


def test_half_precision(tmp_path):
    model = MaskRCNN("training", small_config(PRECISION="mixed_float16"), tmp_path, seed=1)
    prefer_objects(model)
    data = Rectangles([(128, 128)] * 2)
    model.train(data, data, epochs=1, evaluate_every=1, **OPTIONS)
    assert 0 <= model.history["val_AP"][0] <= model.history["val_AP50"][0] <= 1


@pytest.mark.slow
def test_stages_and_resumed_runs_go_on_with_their_figures(tmp_path, scripted, capsys):
    calls = scripted(0.25, 0.125, 0.5, 0.375)
    data, val = Rectangles([(128, 128)] * 2), Rectangles(SHAPES)
    model = MaskRCNN("training", small_config(), tmp_path)
    options = {**OPTIONS, "evaluate_every": 2, "evaluate_images": 2, "patience": 2, "keep": 2,
               "verbose": 2}
    model.train(data, val, epochs=3, **{**options, "layers": "heads"})
    assert model.history["val_AP"] == [None, 0.25, 0.125] and not model.has_stopped_early
    model.train(data, val, epochs=6, **options)  # the next one is better, just in time
    assert not model.has_stopped_early and runs.load_best(model.best_checkpoint).epoch == 4
    assert [ids for _, ids in calls] == [[0, 1]] * 4
    assert len({id(detector) for detector, _ in calls}) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  val_loss ")[2][5:] for line in lines] == [
        "", "  val_AP 0.250  val_AP50 0.500", "  val_AP 0.125  val_AP50 0.250",
        "  val_AP 0.500  val_AP50 1.000", "", "  val_AP 0.375  val_AP50 0.750"]
    assert files(model) == ["best_mask_rcnn_small.h5", "mask_rcnn_small_0005.h5",
                            "mask_rcnn_small_0006.h5"]
    assert files(model, "config_*.json") == [
        "config_" + name.replace("h5", "json") for name in files(model)]
    # another process continues the run, whose patience ends after one more evaluation
    scripted(0.4375)
    again = MaskRCNN("training", small_config(), tmp_path)
    again.load_weights(again.find_last())
    assert (again.log_dir, again.epoch) == (model.log_dir, 6)
    again.train(data, val, epochs=20, **options)
    assert again.has_stopped_early and again.epoch == 8
    assert again.history["val_AP"] == [None, 0.25, 0.125, 0.5, None, 0.375, None, 0.4375]
    assert again.best_checkpoint == model.best_checkpoint
    assert files(again) == ["best_mask_rcnn_small.h5", "mask_rcnn_small_0007.h5",
                            "mask_rcnn_small_0008.h5"]


def test_a_run_can_continue_from_its_best_checkpoint(tmp_path):
    model = MaskRCNN("training", small_config(), tmp_path)
    folder = model.make_log_dir()
    for epoch in (1, 2, 3):
        path = runs.checkpoint_path(folder, "small", epoch)
        save_weights(model.keras_model, path)
        runs.save_metadata(path, model.config, ["BG", "a", "b", "c"])
        if epoch == 2:
            runs.save_best(path, runs.best_path(folder, "small"), epoch, {"val_AP": 0.5})
    model.load_weights(model.find_best())
    assert (model.log_dir, model.epoch) == (folder, 2)
    assert model.find_last() == path  # the best one is never the newest


def test_an_evaluation_that_is_interrupted_loses_nothing_else(tmp_path, scripted, capfd):
    scripted(0.25, KeyboardInterrupt())
    data = Rectangles([(128, 128)] * 2)
    model = MaskRCNN("training", small_config(), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        model.train(data, data, epochs=4, evaluate_every=1, **{**OPTIONS, "verbose": 1})
    # of the progress bar
    assert re.search(r"val_AP: 0\.2500 - val_AP50: 0\.5000", capfd.readouterr().out)
    assert model.epoch == 2 and files(model)[0] == "best_mask_rcnn_small.h5"
    assert files(model)[-1] == "mask_rcnn_small_0002.h5"
    history = read_history(model)
    assert history["epoch"] == [1, 2] and history["val_AP"] == [0.25, None]
    assert None not in history["loss"] and model.history == history
    assert runs.load_best(model.best_checkpoint).epoch == 1
