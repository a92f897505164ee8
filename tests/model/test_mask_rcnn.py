"""MaskRCNN: training, what it leaves behind, going on, and detection of images of any kind."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from model_tools import Rectangles, array, noise, one_batch, prefer_objects, small_config
from PIL import Image

from frcnn.data.coco import CocoDataset
from frcnn.data.loader import DetectionSequence
from frcnn.errors import CheckpointError, DatasetError, ImageError, TrainingDivergedError
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network.graph import Detector
from frcnn.runs import load_metadata

LOSSES = ["rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss"]


def training_model(folder, seed=0, **settings):
    return MaskRCNN("training", small_config(**settings), folder, seed=seed)


def weights_of(model):
    return [array(weight) for weight in model.keras_model.weights]


# --- training -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model trained for an epoch of two steps, and its data sets."""
    train, val = Rectangles([(128, 128)] * 4), Rectangles([(96, 128)] * 2, empty=[1])
    model = training_model(tmp_path_factory.mktemp("logs"))
    model.train(train, val, learning_rate=0.01, epochs=1, layers="all", verbose=0, workers=1)
    return model, train, val


def test_an_epoch_leaves_its_files(run):
    model, _, _ = run
    folder = Path(model.log_dir)
    assert model.last_checkpoint == str(folder / "mask_rcnn_small_0001.h5")
    assert model.checkpoint_path == str(folder / "mask_rcnn_small_*epoch*.h5")
    assert model.epoch == 1
    metadata = load_metadata(model.last_checkpoint)
    assert metadata.class_names == ["BG", "red", "green", "blue"]
    assert metadata.config(allow_custom=True).TOP_DOWN_PYRAMID_SIZE == 32
    history = json.loads((folder / "history.json").read_text())
    assert history == model.history and history["epoch"] == [1]
    for name in ["loss", *LOSSES]:
        assert np.isfinite(history[name]).all() and np.isfinite(history[f"val_{name}"]).all()
    assert history["loss"][0] >= sum(history[name][0] for name in LOSSES) - 1e-4
    for subset in ("train", "validation"):
        assert list((folder / subset).glob("events.out.tfevents.*"))


def test_the_checkpoint_holds_what_was_trained(run):
    model, _, _ = run
    with h5py.File(model.last_checkpoint) as file:
        kernel = file["mrcnn_class_logits/mrcnn_class_logits/kernel:0"][()]
    np.testing.assert_array_equal(
        kernel, array(model.keras_model.get_layer("mrcnn_class_logits").kernel))


def test_a_run_goes_on_in_its_folder_at_the_next_epoch(run):
    first, train, _ = run
    model = training_model(first.model_dir, seed=5)
    report = model.load_weights(model.find_last())
    assert report.missing == [] and model.epoch == 1 and model.log_dir == first.log_dir
    for ours, theirs in zip(weights_of(model), weights_of(first)):
        np.testing.assert_array_equal(ours, theirs)
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    history = model.train(train, None, 0.01, epochs=2, layers="heads", verbose=0, workers=1,
                          custom_callbacks=[callback])
    assert history.epoch == [1] and history.history["loss"] == model.history["loss"][1:]
    assert seen == [1] and model.epoch == 2
    assert model.last_checkpoint == str(Path(first.log_dir) / "mask_rcnn_small_0002.h5")
    assert model.history["epoch"] == [1, 2] and model.history["val_loss"][1] is None
    # only the heads have moved
    unmoved = array(first.keras_model.get_layer("small3_conv").kernel)
    np.testing.assert_array_equal(array(model.keras_model.get_layer("small3_conv").kernel), unmoved)
    moved = array(first.keras_model.get_layer("fpn_p3").kernel)
    assert (array(model.keras_model.get_layer("fpn_p3").kernel) != moved).any()
    with pytest.raises(ValueError, match=r"epochs is 2, the running total.* trained 2"):
        model.train(train, None, 0.01, epochs=2, layers="all")


def test_a_checkpoint_loaded_again_detects_the_same(run, tmp_path):
    first, _, _ = run
    images = noise([(128, 128), (200, 150)])
    loaded = MaskRCNN("inference", small_config(), tmp_path)
    loaded.load_weights(first.last_checkpoint)
    copied = MaskRCNN("inference", small_config(), tmp_path)
    trained = {layer.name: layer.get_weights() for layer in first.get_trainable_layers()}
    for layer in copied.get_trainable_layers():
        layer.set_weights(trained[layer.name])
    for model in (loaded, copied):
        prefer_objects(model)
    for ours, theirs in zip(loaded.detect(images), copied.detect(images)):
        assert len(ours["scores"]) > 0
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name])


@pytest.mark.nightly
def test_a_densenet_checkpoint_loaded_again_detects_the_same(tmp_path):
    settings = {"BACKBONE": "densenet121", "COMPUTE_BACKBONE_SHAPE": None}
    model = training_model(tmp_path, **settings)
    model.train(Rectangles([(128, 128)] * 2), None, 0.01, epochs=1, layers="all", verbose=0,
                workers=1)
    config = load_metadata(model.last_checkpoint).config(allow_custom=True)
    assert config.BACKBONE == "densenet121"
    trained = {layer.name: layer.get_weights() for layer in model.get_trainable_layers()}
    loaded, copied = (MaskRCNN("inference", config, tmp_path, seed=seed) for seed in (1, 2))
    assert loaded.load_weights(model.last_checkpoint).missing == []
    for layer in copied.get_trainable_layers():
        layer.set_weights(trained[layer.name])
    results = []
    for detector in (loaded, copied):
        prefer_objects(detector)
        results.append(detector.detect(noise([(128, 128), (200, 150)])))
    for ours, theirs in zip(*results):
        assert len(ours["scores"]) > 0
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name])


def test_overfitting_one_batch_lowers_the_loss(tmp_path):
    model = training_model(tmp_path, WEIGHT_DECAY=0.0)
    model.compile(0.02)
    batch = one_batch(model.config)
    logs = [model.keras_model.train_on_batch(batch, return_dict=True) for _ in range(16)]
    totals = [float(log["loss"]) for log in logs]
    assert set(LOSSES) <= set(logs[0])
    assert np.isfinite(totals).all()
    # Keras reports running means, so the steps themselves fell further.
    assert totals[-1] < 0.8 * totals[0]


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX always compiles by XLA")
def test_training_compiled_by_xla_does_the_same(tmp_path):
    """No operator without an XLA kernel is left, and nothing depends on the kernels."""
    # The true boxes are positive, and there is room for all proposals: no sampling is random.
    config = small_config(PROPOSAL_APPEND_GT=True, ROI_POSITIVE_RATIO=0.1, TRAIN_ROIS_PER_IMAGE=40,
                          POST_NMS_ROIS_TRAINING=20)
    batch, logs, weights = one_batch(config), [], []
    for jit_compile in (False, True):
        model = MaskRCNN("training", config, tmp_path, seed=0)
        model.compile(0.01, jit_compile=jit_compile)
        before = weights_of(model)
        logs.append(model.keras_model.train_on_batch(batch, return_dict=True))
        weights.append(weights_of(model))
        assert any((old != new).any() for old, new in zip(before, weights[-1]))
    for name in LOSSES:
        assert float(logs[0][name]) > 0
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=1e-3, err_msg=name)
    for ours, theirs in zip(*weights):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("settings", [
    {"USE_RPN_ROIS": False}, {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 64},
    {"PRECISION": "mixed_bfloat16"}, {"PRECISION": "mixed_float16"},
], ids=["random RoIs", "pad64", "bfloat16", "float16"])  # fmt: skip
def test_training_in_other_ways(tmp_path, settings):
    model = training_model(tmp_path, **settings)
    before = weights_of(model)
    model.train(Rectangles([(64, 128), (64, 100), (70, 128)]), None, 0.01, epochs=1, layers="all",
                verbose=0, workers=1, augmentation="flip", schedule="warmup_cosine")
    assert np.isfinite(model.history["loss"]).all()
    assert sum((old != new).any() for old, new in zip(before, weights_of(model))) > 30
    if "IMAGE_RESIZE_MODE" in settings:
        detecting = MaskRCNN("inference", model.config, tmp_path)
        detecting.load_weights(model.last_checkpoint)
        prefer_objects(detecting)
        (result,) = detecting.detect(noise([(64, 128)]))
        assert np.isfinite(result["boxes"]).all() and len(result["scores"])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles for each shape")
def test_training_on_many_sizes_is_traced_once_or_twice(tmp_path, monkeypatch):
    """Although the first batches all have one shape."""
    traces, loss_values = [], Detector.loss_values

    def noted(self, x, y_pred):
        traces.append(x["input_image"].shape)
        return loss_values(self, x, y_pred)

    monkeypatch.setattr(Detector, "loss_values", noted)
    model = training_model(tmp_path, IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64,
                           IMAGES_PER_GPU=1)
    sizes = [(100, 100)] * 4 + [(100, 200), (200, 100), (150, 100), (64, 256), (300, 300)]
    model.compile(0.01)
    batches = DetectionSequence(Rectangles(sizes), model.config, shuffle=False)
    history = model.keras_model.fit(batches, epochs=2, shuffle=False, verbose=0).history
    assert len(traces) <= 2
    assert np.isfinite(history["loss"]).all()


def test_a_batch_without_objects_trains(tmp_path):
    model = training_model(tmp_path)
    model.compile(0.01)
    batch = one_batch(model.config, Rectangles([(128, 128)] * 2, empty=[0, 1]))
    assert not batch["input_gt_class_ids"].any()
    logs = model.keras_model.train_on_batch(batch, return_dict=True)
    assert all(np.isfinite(float(value)) for value in logs.values())
    assert float(logs["rpn_bbox_loss"]) == float(logs["mrcnn_bbox_loss"]) == 0
    assert float(logs["mrcnn_class_loss"]) > 0  # the head trains on negatives
    assert all(np.isfinite(weight).all() for weight in weights_of(model))


def test_a_coco_data_set_with_crowds_trains(coco_folder, tmp_path):
    train, val = (CocoDataset.from_folder(coco_folder, name) for name in ("train", "val"))
    model = training_model(tmp_path, STEPS_PER_EPOCH=1, VALIDATION_STEPS=1)
    model.train(train, val, 0.01, epochs=1, layers=r"mrcnn_.*", verbose=0)
    assert load_metadata(model.last_checkpoint).source_class_ids[0] is None
    assert sorted(load_metadata(model.last_checkpoint).source_class_ids[1:]) == [2, 7, 11]


def test_one_seed_makes_one_model(tmp_path):
    first, again, other = (training_model(tmp_path, seed) for seed in (3, 3, 4))
    for ours, theirs in zip(weights_of(first), weights_of(again)):
        np.testing.assert_array_equal(ours, theirs)
    assert any((ours != theirs).any() for ours, theirs in zip(weights_of(first), weights_of(other)))
    batch = one_batch(first.config, Rectangles([(128, 128)] * 2))
    rois = [array(model.keras_model(batch)["output_rois"]) for model in (first, again)]
    np.testing.assert_array_equal(*rois)


class Broken(Rectangles):
    def load_boxes(self, image_id):
        return np.full((1, 4), np.nan), np.array([1])


def test_an_error_of_the_data_comes_out_as_itself(tmp_path):
    model = training_model(tmp_path)
    with pytest.raises(DatasetError, match="a box that is not finite"):
        model.train(Broken([(128, 128)] * 2), None, 0.01, epochs=1, layers="all", verbose=0)
    assert model.last_checkpoint is None and model.epoch == 0


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(tmp_path):
    def spoil(epoch, logs):
        if epoch == 1:
            kernel = model.keras_model.get_layer("fpn_p2").kernel
            kernel.assign(array(kernel) * np.nan)

    model = training_model(tmp_path)
    message = r"epoch 2, step 1 of 1\D.*mask_rcnn_small_0001\.h5"
    with pytest.raises(TrainingDivergedError, match=message):
        model.train(Rectangles([(128, 128)] * 2), None, 0.01, epochs=3, layers="all", verbose=0,
                    workers=1,
                    custom_callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=spoil)])
    assert model.epoch == 1 and model.last_checkpoint == model.find_last()
    assert [path.name for path in Path(model.log_dir).glob("*.h5")] == ["mask_rcnn_small_0001.h5"]
    assert json.loads((Path(model.log_dir) / "history.json").read_text())["epoch"] == [1]


def test_runs_that_start_in_one_minute_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(MaskRCNN, "build", lambda *_: None)
    first, second = training_model(tmp_path), training_model(tmp_path)
    assert first.make_log_dir() != second.make_log_dir()
    assert Path(second.checkpoint_path).parent == Path(second.log_dir)
    assert first.make_log_dir() == first.log_dir
    assert len(list(tmp_path.iterdir())) == 2
    first.set_log_dir(f"{second.log_dir}/mask_rcnn_small_0003.h5")  # goes on there
    assert first.make_log_dir() == second.log_dir and first.epoch == 3


def test_what_train_refuses(detecting, tmp_path):
    model, data = training_model(tmp_path), Rectangles([(128, 128)])
    for arguments, message in (
        ({"epochs": 0}, "epochs is 0"), ({"learning_rate": 0}, "learning_rate is 0"),
        ({"schedule": "linear"}, "schedule is 'linear'; allowed are constant, warmup_step"),
        ({"layers": "res9.*"}, "matches no layer"),
    ):
        with pytest.raises(ValueError, match=message):
            model.train(data, None, **{"learning_rate": 0.1, "epochs": 1, "layers": "all",
                                       **arguments})
    with pytest.raises(ValueError, match='mode="training"'):
        detecting.train(data, None, 0.1, 1, "all")
    with pytest.raises(ValueError, match='mode="inference"'):
        model.detect([])
    with pytest.raises(ValueError, match="mode is 'test'"):
        MaskRCNN("test", model.config, tmp_path)


def test_frozen_statistics_over_random_weights_are_warned_of(tmp_path):
    model = training_model(tmp_path, NAME=None, TRAIN_BN=False, STEPS_PER_EPOCH=1)
    data = Rectangles([(128, 128)] * 2)
    with pytest.warns(UserWarning, match=r"BatchNorm is frozen .* over random weights"):
        model.train(data, None, 0.01, epochs=1, layers="all", verbose=0, workers=1)
    assert not array(model.keras_model.get_layer("small1_bn").moving_mean).any()
    assert (array(model.keras_model.get_layer("small1_bn").gamma) != 1).any()
    # a run without a name has one all the same
    assert Path(model.last_checkpoint).name == "mask_rcnn_frcnn_0001.h5"
    assert model.find_last() == model.last_checkpoint


# --- weights ------------------------------------------------------------------------------------


def test_other_classes_need_exclude(run, tmp_path):
    first, _, _ = run
    model = MaskRCNN("inference", small_config(NUM_CLASSES=6), tmp_path)
    with pytest.raises(CheckpointError, match="mrcnn_class_logits"):
        model.load_weights(first.last_checkpoint)
    assert model.epoch == 0  # nothing has changed
    report = model.load_weights(first.last_checkpoint, by_name=True, exclude=[
        "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"])
    assert set(report.excluded) == {"mrcnn_class_logits", "mrcnn_bbox_fc"}
    np.testing.assert_array_equal(array(model.keras_model.get_layer("fpn_p2").kernel),
                                  array(first.keras_model.get_layer("fpn_p2").kernel))


def test_imagenet_weights_come_from_the_download(tmp_path, monkeypatch):
    from frcnn.weights import download

    asked = []
    monkeypatch.setattr(download, "get_imagenet_weights",
                        lambda backbone, verbose: asked.append(backbone) or "file.h5")
    model = training_model(tmp_path)
    assert model.get_imagenet_weights() == "file.h5" and asked == [model.config.BACKBONE]


# --- detection ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images():
    return noise([(128, 128), (96, 160), (40, 37), (300, 128), (128, 128)])


def test_images_of_any_number_and_size(detecting, images):
    results = detecting.detect(images)
    assert len(results) == 5
    for image, result in zip(images, results):
        count = len(result["scores"])
        assert count > 0
        assert {name: (value.dtype, value.shape) for name, value in result.items()} == {
            "rois": (np.int32, (count, 4)), "boxes": (np.float32, (count, 4)),
            "class_ids": (np.int32, (count,)), "scores": (np.float32, (count,))}
        assert (result["boxes"] >= 0).all()
        assert (result["boxes"][:, 2:] <= image.shape[:2]).all()
        assert (np.diff(result["scores"]) <= 0).all()
        np.testing.assert_array_equal(result["rois"], np.rint(result["boxes"]))
        # whatever else is in the batch
        (alone,) = detecting.detect([image])
        np.testing.assert_allclose(alone["boxes"], result["boxes"], atol=0.01)
        np.testing.assert_allclose(alone["scores"], result["scores"], atol=1e-5)


def test_no_images(detecting):
    assert detecting.detect([]) == []


def test_a_gray_image_is_named(detecting, images):
    with pytest.raises(ValueError, match=r"Image 1 has the shape \(128, 128\)"):
        detecting.detect([images[0], images[0][..., 0]])


def test_a_progress_bar_if_asked(detecting, images, capfd):
    detecting.detect(images[:3])
    assert capfd.readouterr().err == ""
    detecting.detect(images[:3], verbose=1)
    assert "3/3" in capfd.readouterr().err
    detecting.detect(iter(images[:2]), verbose=1)
    assert "2image" in capfd.readouterr().err


def test_sizes_that_are_not_molded_to_one(tmp_path):
    config = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64, PRE_NMS_LIMIT=100_000)
    model = MaskRCNN("inference", config, tmp_path, seed=0)
    prefer_objects(model)
    images = noise([(64, 96), (64, 96), (128, 100), (64, 96), (200, 64), (128, 100)])
    for image, result in zip(images, model.detect(images)):
        (alone,) = model.detect([image])
        np.testing.assert_allclose(alone["boxes"], result["boxes"], atol=0.01)
        np.testing.assert_allclose(alone["scores"], result["scores"], atol=1e-5)


def test_a_stream_of_arrays_files_and_functions(detecting, images, tmp_path):
    Image.fromarray(images[1]).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no image")
    sources = [images[0], tmp_path / "b.png", tmp_path / "c.png", lambda: images[2]]
    results = list(detecting.detect_stream(iter(sources), return_exceptions=True))
    assert isinstance(results.pop(2), ImageError)
    for result, expected in zip(results, detecting.detect(images[:3], batch_size=2), strict=True):
        np.testing.assert_allclose(result["boxes"], expected["boxes"], atol=0.01)
        np.testing.assert_allclose(result["scores"], expected["scores"], atol=1e-5)
    with pytest.raises(ImageError, match=r"c\.png"):
        detecting.detect(sources)


def test_molded_images(detecting, images):
    molded, metas, windows = detecting.mold_inputs(images[:2])
    assert molded.shape == (2, 128, 128, 3) and metas.shape == (2, 16) and windows.shape == (2, 4)
    found, whole = detecting.detect_molded(molded, metas), detecting.detect(images[:2])
    # the first image is molded as it is; the second has a window that detect undoes
    np.testing.assert_allclose(found[0]["boxes"], whole[0]["boxes"], atol=0.01)
    rows = np.concatenate([found[1]["boxes"], found[1]["class_ids"][:, None],
                           found[1]["scores"][:, None]], axis=1)
    boxes, class_ids, _ = detecting.unmold_detections(rows, (96, 160, 3), molded.shape[1:],
                                                      windows[1])
    np.testing.assert_allclose(boxes, whole[1]["boxes"], atol=0.01)
    np.testing.assert_array_equal(class_ids, whole[1]["class_ids"])


# --- inspection ---------------------------------------------------------------------------------


def test_every_named_tensor_can_be_read(detecting, images):
    names = [*(f"fpn_p{level}" for level in range(2, 7)), "rpn_class_logits", "rpn_class",
             "rpn_bbox", "ROI", "mrcnn_class", "mrcnn_bbox", "mrcnn_detection"]
    model = detecting.keras_model
    found = detecting.run_graph(images[:1], [(name, model.get_layer(name).output)
                                             for name in names])
    assert list(found) == names
    assert found["fpn_p2"].shape == (1, 32, 32, 32) and found["fpn_p6"].shape == (1, 2, 2, 32)
    np.testing.assert_allclose(found["rpn_class"].sum(-1), 1, rtol=1e-5)
    anchors = detecting.get_anchors((128, 128, 3))
    assert found["rpn_bbox"].shape == (1, len(anchors), 4)
    (result,) = detecting.detect(images[:1])
    rows = found["mrcnn_detection"][0]
    np.testing.assert_allclose(rows[:len(result["scores"]), 5], result["scores"], rtol=1e-5)

    molded, metas, _ = detecting.mold_inputs(images[:1])
    again = detecting.run_graph(molded, [("ROI", model.get_layer("ROI").output)], image_metas=metas)
    np.testing.assert_allclose(again["ROI"], found["ROI"], atol=1e-6)


def test_anchors_in_both_units(detecting):
    normalized = detecting.get_anchors((128, 128, 3))
    assert normalized.dtype == np.float32
    np.testing.assert_allclose((detecting.anchors - [0, 0, 1, 1]) / 127, normalized, atol=1e-6)
    inside = detecting.keras_model.get_layer("anchors").output
    found = detecting.run_graph([np.zeros((128, 128, 3), np.uint8)], [("anchors", inside)])
    np.testing.assert_allclose(found["anchors"][0], normalized, atol=1e-6)
    assert len(detecting.get_anchors((64, 192, 3))) == 3 * (16 * 48 + 8 * 24 + 4 * 12 + 2 * 6 + 3)


def test_layers_with_weights_nested_ones_too(detecting):
    names = [layer.name for layer in detecting.get_trainable_layers()]
    assert {"small1_conv", "fpn_p2", "rpn_conv_shared", "rpn_bbox_pred", "mrcnn_class_bn1",
            "mrcnn_bbox_fc"} <= set(names)
    assert "rpn_model" not in names and "ROI" not in names and len(names) == len(set(names))


def test_set_trainable_by_a_pattern(tmp_path):
    model = training_model(tmp_path)
    assert model.set_trainable("fpn_p[23]") == ["fpn_p2", "fpn_p3"]
    names = {variable.path.split("/")[-2] for variable in model.keras_model.trainable_variables}
    assert names == {"fpn_p2", "fpn_p3"}
