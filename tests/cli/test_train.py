"""samples/urinary/train.py and evaluate.py: their options, and how they fail."""

import contextlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from cli_tools import NAMES, TINY, checkpoint, fails
from PIL import Image
from places import PROJECT

from frcnn.cli import plan, run_report, settings, starts, train
from frcnn.cli.program import explain
from frcnn.errors import ConfigError, ImageError
from samples.urinary.evaluate import main as evaluate_main
from samples.urinary.train import main as train_main
from samples.urinary.urinary import SAMPLE


def parse(*arguments):
    return train.build_parser(sample=SAMPLE).parse_args(list(map(str, arguments)))


# --- bad input ----------------------------------------------------------------------------------


def test_missing_folder(capsys, tmp_path):
    line = fails(capsys, train_main, "--dataset", tmp_path / "absent")
    assert line.startswith("train.py: error: ") and str(tmp_path / "absent") in line


def test_missing_subset(capsys, coco_folder):
    (coco_folder / "annotations/instances_val.json").unlink()
    assert "instances_val.json" in fails(capsys, train_main, "--dataset", coco_folder)


def test_annotations_that_are_not_json(capsys, coco_folder):
    (coco_folder / "annotations/instances_train.json").write_text("{images: oops")
    assert "instances_train.json" in fails(capsys, train_main, "--dataset", coco_folder)


@pytest.mark.parametrize("section", ["images", "annotations", "categories"])
def test_annotations_without_a_section(capsys, coco_folder, section):
    path = coco_folder / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    del content[section]
    path.write_text(json.dumps(content))
    line = fails(capsys, train_main, "--dataset", coco_folder)
    assert "instances_train.json" in line and section in line


def test_absent_image(capsys, coco_folder):
    (coco_folder / "train/train_2.png").unlink()
    assert "train_2.png" in fails(capsys, train_main, "--dataset", coco_folder)


def test_unreadable_image(capsys, coco_folder):
    (coco_folder / "val/val_1.png").write_bytes(b"not an image")
    assert "val_1.png" in fails(capsys, train_main, "--dataset", coco_folder)


def test_image_that_breaks_off(capsys, coco_folder):
    path = coco_folder / "train/train_2.png"
    path.write_bytes(path.read_bytes()[:-40])  # the header is whole
    assert "train_2.png" in fails(capsys, train_main, "--dataset", coco_folder)


def test_subsets_of_different_classes(capsys, coco_folder):
    path = coco_folder / "annotations/instances_val.json"
    path.write_text(path.read_text().replace('"bar"', '"rod"'))
    line = fails(capsys, train_main, "--dataset", coco_folder)
    assert "bar" in line and "rod" in line


def test_unknown_model(capsys, coco_folder):
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", "resnet.h5")
    assert "resnet.h5" in line and "imagenet" in line


def test_model_that_is_a_folder(capsys, coco_folder, tmp_path):
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", tmp_path)
    assert str(tmp_path) in line


def test_model_that_is_no_weight_file(capsys, coco_folder, tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", tmp_path / "text.h5")
    assert "text.h5" in line


def test_last_without_a_run(capsys, coco_folder, tmp_path):
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", "last", "--logs",
                 tmp_path / "logs")
    assert "logs" in line


def test_checkpoint_of_another_number_of_classes(capsys, coco_folder, tmp_path):
    path = checkpoint(tmp_path, 8)
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", path)
    assert "7 classes" in line and "has 3" in line and "--new-head" in line


def test_checkpoint_of_other_classes(capsys, coco_folder, tmp_path):
    path = checkpoint(tmp_path, 4, names=["BG", "eryth", "leuko", "cast"])
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", path)
    assert "eryth" in line and "square" in line
    line = fails(capsys, evaluate_main, "--dataset", coco_folder, "--model", path)
    assert line.startswith("evaluate.py: error: ") and "eryth" in line


def test_run_that_is_complete(capsys, coco_folder, tmp_path):
    path = checkpoint(tmp_path, 4, epoch=50)
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", path, "--epochs", 50)
    assert "50 epochs" in line


@pytest.mark.parametrize("arguments, told", [
    (["--batch-norm", "freeze"], "random weights"),
    (["--set", "TRAIN_BN=False"], "random weights"),
    (["--model", "coco", "--backbone", "densenet121"], "resnet101"),
    (["--set", "IMAGE_RESIZE_MODE=square", "--image-size", "100"], "multiple of 64"),
    (["--image-size", "0"], "--image-size"),
    (["--set", "RPN_STRIDE=1"], "RPN_STRIDE"),
    (["--set", "rpn=1"], "rpn=1"),
    (["--epochs", "0"], "--epochs"),
    (["--batch-size", "two"], "--batch-size"),
    (["--learning-rate", "nan"], "--learning-rate"),
    (["--learning-rate", "-1"], "--learning-rate"),
    (["--seed", "-1"], "--seed"),
    (["--backbone", "vgg16"], "vgg16"),
    (["--precision", "float8"], "float8"),
    (["--colour"], "--colour"),
])
def test_options_that_are_refused(capsys, coco_folder, arguments, told):
    assert told in fails(capsys, train_main, "--dataset", coco_folder, *arguments)


@pytest.mark.parametrize("model", ["imagenet", "coco"])
def test_weights_that_cannot_be_fetched(capsys, coco_folder, tmp_path, monkeypatch, model):
    def refuse(*arguments, **options):
        raise requests.ConnectionError("no connection")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("FRCNN_CACHE", str(tmp_path))
    monkeypatch.setattr("requests.get", refuse)
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", model)
    assert "no connection" in line and str(tmp_path) in line


def test_evaluation_needs_a_configuration(capsys, coco_folder, tmp_path):
    path = checkpoint(tmp_path, 4)
    line = fails(capsys, evaluate_main, "--dataset", coco_folder, "--model", path)
    assert str(path) in line and "--config" in line


def test_mistakes_show_before_keras_is_loaded(tmp_path):
    code = ("import sys; from samples.urinary import train; "
            f"code = train.main(['--dataset', {str(tmp_path / 'absent')!r}]); "
            "sys.exit(99 if {'keras', 'tensorflow'} & set(sys.modules) else code)")
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr


def test_errors_that_a_backend_wraps_are_still_one_line():
    wrapped = RuntimeError("{{node PyFunc}} Traceback…\n  frcnn.errors.ImageError: a.png: broken\n")
    assert explain(wrapped) == "a.png: broken"
    assert explain(ImageError("a.png:\nbroken")) == "a.png: broken"
    assert explain(RuntimeError("a bug")) is None


def test_bugs_keep_their_traceback(monkeypatch, coco_folder):
    def broken(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(train, "_introduce", broken)
    with pytest.raises(ZeroDivisionError):
        train_main(["--dataset", str(coco_folder)])


# --- what the options mean ----------------------------------------------------------------------


def test_help_tells_of_every_option(capsys):
    assert train_main(["--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--dataset", "--model", "--backbone", "--epochs", "--layers", "--learning-rate",
                   "--image-size", "--batch-size", "--logs", "--seed", "--precision"):
        assert option in text


def test_options_become_settings():
    options = parse("--dataset", "d", "--recipe", "reference", "--backbone", "densenet121",
                    "--image-size", 320, "--batch-size", 3, "--learning-rate", 0.02,
                    "--precision", "auto", "--steps", 7, "--set", "IMAGE_RESIZE_MODE=pad64",
                    "--set", "RPN_ANCHOR_SCALES=8,16,32,64,128")
    config = settings.training_config(starts.find("none", "logs"), options, 4, SAMPLE)
    assert (config.NAME, config.NUM_CLASSES, config.BACKBONE) == ("ury", 4, "densenet121")
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.BATCH_SIZE) == (320, 320, 3)
    assert (config.LEARNING_RATE, config.PRECISION, config.STEPS_PER_EPOCH) == (0.02, "auto", 7)
    assert config.RPN_ANCHOR_SCALES == (8, 16, 32, 64, 128)
    assert config.IMAGE_RESIZE_MODE == "pad64"


def test_batch_norm_trains_from_nothing_and_rests_on_pretrained_weights():
    for model, trains in (("none", True), ("imagenet", False), ("coco", False)):
        config = settings.training_config(starts.find(model, "logs"), parse("--dataset", "d"), 4,
                                        SAMPLE)
        assert config.TRAIN_BN is trains
    options = parse("--dataset", "d", "--batch-norm", "train")
    config = settings.training_config(starts.find("imagenet", "logs"), options, 4, SAMPLE)
    assert config.TRAIN_BN is True


def test_coco_brings_its_backbone():
    config = settings.training_config(starts.find("coco", "logs"), parse("--dataset", "d"), 4,
                                      SAMPLE)
    assert config.BACKBONE == "resnet101"


def test_a_checkpoint_brings_its_settings_and_options_win(tmp_path):
    path = checkpoint(tmp_path, 4, names=NAMES, BACKBONE="densenet169", IMAGE_MAX_DIM=448,
                      IMAGE_MIN_DIM=448, TRAIN_BN=True)
    start = starts.find(str(path), "logs")
    assert (start.epoch, start.class_names, start.num_classes) == (3, NAMES, 4)
    config = settings.training_config(start, parse("--dataset", "d", "--image-size", 512), 4,
                                      SAMPLE)
    assert (config.BACKBONE, config.IMAGE_MAX_DIM, config.TRAIN_BN) == ("densenet169", 512, True)


def test_last_finds_the_newest_run_of_the_name(tmp_path):
    checkpoint(tmp_path / "ury20180101T0000", 4, epoch=50)
    newest = checkpoint(tmp_path / "ury20190101T0000", 4, epoch=2)
    checkpoint(tmp_path / "cells20200101T0000", 4, epoch=9)
    start = starts.find("last", tmp_path, "ury")
    assert start.path == newest and start.epoch == 2


def test_detection_and_evaluation_take_the_newest_run_of_any_name(tmp_path):
    checkpoint(tmp_path / "ury20180101T0000", 4, epoch=50, names=NAMES)
    assert starts.find_trained("last", tmp_path).epoch == 50
    newest = checkpoint(tmp_path / "cells20200101T0000", 4, epoch=9, names=NAMES)
    assert starts.find_trained("last", tmp_path).path == newest


def test_last_follows_a_name_that_was_set(capsys, coco_folder, tmp_path):
    arguments = ["--dataset", coco_folder, "--model", "last", "--logs", tmp_path]
    checkpoint(tmp_path / "ury20180101T0000", 4, names=NAMES)
    assert "'mine'" in fails(capsys, train_main, *arguments, "--set", "NAME=mine")
    checkpoint(tmp_path / "mine20200101T0000", 8, names=[*NAMES, *"abcd"])
    assert "mine2020" in fails(capsys, train_main, *arguments, "--set", "NAME=mine")


def test_stages(tmp_path):
    def stages(model, *arguments):
        options = parse("--dataset", "d", "--model", model, *arguments)
        start = starts.find(str(model), "logs")
        stored = plan.load(start.run_folder) if start.run_folder else []
        made = plan.make(start, stored, 20, epochs=options.epochs, layers=options.layers)
        return [(stage.layers, stage.since, stage.until) for stage in made]

    assert stages("none", "--epochs", 10) == [("all", 0, 10)]
    assert stages("imagenet", "--epochs", 10) == [("heads", 0, 2), ("all", 2, 10)]
    assert stages("coco", "--epochs", 1) == [("all", 0, 1)]
    assert stages("imagenet", "--epochs", 10, "--layers", "4+") == [("4+", 0, 10)]
    path = checkpoint(tmp_path, 4, epoch=3)
    assert stages(path, "--epochs", 10) == [("all", 3, 10)]
    with pytest.raises(ConfigError):
        stages(path, "--epochs", 3)
    # A stopped run goes on with its own plan, an extended one with a new stage.
    plan.save([plan.Stage("heads", 0, 4), plan.Stage("all", 4, 20)], tmp_path)
    assert stages(path) == [("heads", 0, 4), ("all", 4, 20)]
    assert stages(checkpoint(tmp_path, 4, epoch=5)) == [("all", 4, 20)]
    assert stages(path, "--epochs", 30) == [("all", 3, 30)]
    (tmp_path / plan.FILE_NAME).write_text("[")
    assert stages(path, "--epochs", 20) == [("all", 3, 20)]


def test_a_grayscale_model_trains_on_grayscale_images(coco_folder, monkeypatch):
    def look(folder, train, val, *others):
        seen.extend(dataset.load_image(0).shape for dataset in (train, val))
        raise ConfigError("seen enough")

    seen = []
    monkeypatch.setattr(train, "_introduce", look)
    assert train_main(["--dataset", str(coco_folder), "--set", "IMAGE_CHANNEL_COUNT=1",
                       "--set", "MEAN_PIXEL=[120]"]) == 2
    assert seen == [(96, 128, 1)] * 2


def test_a_grayscale_model_is_evaluated_on_grayscale_images(coco_folder, tmp_path, monkeypatch,
                                                            capsys):
    def look(path, config, dataset, *others):
        seen.append(dataset.load_image(0).shape)
        raise ConfigError("seen enough")

    seen = []
    monkeypatch.setattr(run_report, "evaluate_checkpoint", look)
    path = checkpoint(tmp_path / "gray", 4, names=NAMES, IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=[120])
    assert "seen enough" in fails(capsys, evaluate_main, "--dataset", coco_folder, "--model", path)
    assert seen == [(96, 128, 1)]


# --- being stopped ------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [0, 2])
def test_ctrl_c_names_the_last_checkpoint(capsys, monkeypatch, coco_folder, tmp_path, epochs):
    def interrupted(model, *arguments, resume):
        for epoch in range(1, epochs + 1):
            model.last_checkpoint = checkpoint(tmp_path, 4, epoch=epoch)
        raise KeyboardInterrupt

    model = SimpleNamespace(log_dir=str(tmp_path), last_checkpoint=None)
    monkeypatch.setattr(train, "_build", lambda *_: model)
    monkeypatch.setattr(train, "_train", interrupted)
    assert train_main(["--dataset", str(coco_folder)]) == 130
    out = capsys.readouterr().out.splitlines()[-1]
    assert ("mask_rcnn_ury_0002.h5" in out) if epochs else ("no checkpoint" in out)


# --- the whole of it ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def finished(coco_original, tmp_path_factory):
    """A finished run of two epochs, not to be changed: its folder, and what was printed."""
    logs = tmp_path_factory.mktemp("finished") / "logs"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = train_main(["--dataset", str(coco_original), "--logs", str(logs), "--epochs", "2",
                           *TINY])
    assert code == 0, out.getvalue()
    (folder,) = logs.iterdir()
    return folder, out.getvalue()


@pytest.fixture
def run(finished, tmp_path):
    """A copy of `finished`, which a test may change, as if it had been trained there."""
    original, printed = finished
    folder = shutil.copytree(original, tmp_path / "logs" / original.name)
    return folder, printed.replace(str(original), str(folder))


@pytest.mark.slow
def test_train_evaluate_and_go_on(run, coco_folder, capsys):
    folder, printed = run
    assert folder.name.startswith("ury20")
    losses = r"\(" + ", ".join(rf"{name} [\d.]+" for name in (
        "rpn_class", "rpn_bbox", "class", "bbox")) + r"\)"
    assert len(re.findall(rf"^epoch \d/2 .* loss [\d.]+ {losses}", printed, re.MULTILINE)) == 2
    assert str(folder) in printed.rstrip().splitlines()[-1]
    assert list(folder.rglob("events.out.tfevents*"))
    for epoch in (1, 2):
        assert (folder / f"mask_rcnn_ury_{epoch:04d}.h5").is_file()
    beside = json.loads((folder / "config_mask_rcnn_ury_0002.json").read_text())
    assert beside["class_names"] == NAMES
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "per_class"} <= set(metrics)
    assert set(metrics["per_class"]) == set(NAMES[1:])
    assert metrics["settings"]["score_threshold"] <= 0.05
    for name in ("losses.png", "detections.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 200

    logs = str(folder.parent)
    assert evaluate_main(["--dataset", str(coco_folder), "--logs", logs]) == 0
    again = json.loads((folder / "evaluate_val/metrics.json").read_text())
    assert again["AP"] == metrics["AP"] and again["per_class"] == metrics["per_class"]

    assert train_main(["--dataset", str(coco_folder), "--logs", logs, "--model", "last",
                       "--epochs", "3"]) == 0
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "mask_rcnn_ury_0003.h5").is_file()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another kind of Ctrl-C")
def test_ctrl_c_in_the_middle_of_training(coco_folder, tmp_path):
    logs = tmp_path / "logs"
    process = subprocess.Popen(
        [sys.executable, "samples/urinary/train.py", "--dataset", str(coco_folder), "--logs",
         str(logs), "--epochs", "1000", *TINY],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        deadline = time.monotonic() + 300
        while not list(logs.glob("*/config_mask_rcnn_ury_0002.json")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in out + err
    named = Path(re.search(r"the state .* is saved in (\S+\.state)\. ", out.splitlines()[-1])[1])
    assert named == max(logs.glob("*/*.state"))


@pytest.mark.slow
def test_a_run_that_diverges_ends_with_one_line(coco_folder, tmp_path, capsys):
    assert train_main(["--dataset", str(coco_folder), "--logs", str(tmp_path), "--epochs", "3",
                       "--recipe", "reference", "--learning-rate", "1e30", *TINY]) == 2
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert re.match(r"train.py: error: .* epoch 1.* lower learning rate .*no checkpoint", last)
    assert "Traceback" not in captured.out + captured.err
    (folder,) = tmp_path.glob("ury2*")
    assert not list(folder.glob("*.h5"))


@pytest.mark.nightly
def test_new_head_begins_a_run_of_its_own(run, coco_folder, capsys):
    folder, _ = run
    for subset in ("train", "val"):
        path = coco_folder / f"annotations/instances_{subset}.json"
        content = json.loads(path.read_text())
        content["categories"].append({"id": 12, "name": "wheel"})
        path.write_text(json.dumps(content))
    weights = folder / "mask_rcnn_ury_0002.h5"
    before = weights.read_bytes()
    assert train_main(["--dataset", str(coco_folder), "--logs", str(folder.parent), "--model",
                       str(weights), "--new-head", "--epochs", "2"]) == 0
    assert weights.read_bytes() == before
    (made,) = set(folder.parent.iterdir()) - {folder}
    assert [(stage.layers, stage.until) for stage in plan.load(made)] == [("heads", 1), ("all", 2)]
    assert "wheel" in json.loads((made / "metrics.json").read_text())["per_class"]
