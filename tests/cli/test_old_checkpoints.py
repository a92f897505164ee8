"""Checkpoints with nothing beside them: training, detection and evaluation read what they can."""

import json
import re
import subprocess
import sys

import pytest
from cli_tools import Reached, fails
from places import PROJECT
from reference_tools import reference_layout, write_reference_checkpoint

from frcnn.cli import detect, settings, starts, train
from frcnn.cli import main as cli
from samples.urinary.evaluate import main as evaluate_main
from samples.urinary.train import main as train_main
from samples.urinary.urinary import SAMPLE

# Of a detector that trains in seconds, without what the weight file determines.
QUICK = ["--image-size", "128", "--batch-size", "2", "--set", "POST_NMS_ROIS_TRAINING=50",
         "--set", "POST_NMS_ROIS_INFERENCE=50", "--set", "TRAIN_ROIS_PER_IMAGE=20",
         "--set", "RPN_ANCHOR_SCALES=16,32,64,128,256"]


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Function: backbone → path of a checkpoint as the reference wrote it, made once."""
    made = {}

    def path(backbone, **sizes):
        key = backbone, *sizes.items()
        if key not in made:
            folder = tmp_path_factory.mktemp("old") / "logs"
            made[key] = write_reference_checkpoint(folder / "mask_rcnn_ury_0050.h5", backbone,
                                                   **sizes)
        return made[key]

    return path


@pytest.fixture
def introduced(monkeypatch, capsys):
    """Function: runs train.py up to the point where Keras is loaded; returns what it printed."""
    def stop(config, *_):
        configs.append(config)
        raise Reached

    def run(*arguments):
        with pytest.raises(Reached):
            train_main(list(map(str, arguments)))
        return capsys.readouterr().out, configs[-1]

    configs = []
    monkeypatch.setattr(train, "_build", stop)
    return run


def test_it_trains_for_the_default_number_of_further_epochs(introduced, coco_folder, old):
    path = old("resnet50")
    printed, config = introduced(f"--dataset={coco_folder}", f"--model={path}")
    assert "epochs        51 to 70 (the checkpoint has had 50)" in printed.splitlines()
    assert f"model         resnet50 from {path}" in printed
    assert "  from file   BACKBONE resnet50, IMAGE_CHANNEL_COUNT 3, TOP_DOWN_PYRAMID_SIZE 32" \
        in printed
    assert (config.BACKBONE, config.NUM_CLASSES, config.IMAGE_MAX_DIM) == ("resnet50", 4, 640)
    assert (config.TOP_DOWN_PYRAMID_SIZE, config.FPN_CLASSIF_FC_LAYERS_SIZE) == (32, 32)
    assert config.TRAIN_BN is False  # as every pretrained detector


def test_epochs_stay_the_running_total(introduced, capsys, coco_folder, old):
    arguments = ["--dataset", coco_folder, "--model", old("resnet50")]
    assert "epochs        51 to 60 (" in introduced(*arguments, "--epochs", 60)[0]
    line = fails(capsys, train_main, *arguments, "--epochs", 50)
    assert "has had 50 epochs already" in line and "leave it out for 20 more" in line


def test_a_densenet_needs_no_option(introduced, coco_folder, old):
    path = old("densenet121", hidden=48, pyramid=24)
    printed, config = introduced("--dataset", coco_folder, "--model", path)
    assert "model         densenet121 from" in printed
    assert (config.BACKBONE, config.FPN_CLASSIF_FC_LAYERS_SIZE) == ("densenet121", 48)
    introduced("--dataset", coco_folder, "--model", path, "--backbone", "densenet121")


@pytest.mark.parametrize("arguments, expected", [
    (["--backbone", "resnet50"], "is a densenet121; leave --backbone out"),
    (["--set", "BACKBONE=resnet101"], "is a densenet121; leave --backbone out"),
    (["--set", "TOP_DOWN_PYRAMID_SIZE=256"], "has TOP_DOWN_PYRAMID_SIZE 32, not 256"),
    (["--set", "RPN_ANCHOR_RATIOS=[1]"], "has 3 RPN_ANCHOR_RATIOS, not 1"),
    (["--set", "IMAGE_CHANNEL_COUNT=1", "--set", "MEAN_PIXEL=[1]"], "has IMAGE_CHANNEL_COUNT 3"),
])
def test_options_that_contradict_the_file(capsys, coco_folder, old, arguments, expected):
    path = old("densenet121")
    line = fails(capsys, train_main, "--dataset", coco_folder, "--model", path, *arguments)
    assert str(path) in line and expected in line


@pytest.fixture(scope="module")
def cascade(tmp_path_factory, reference_weights):
    """A checkpoint with the layers of a cascade of three stages."""
    entries = reference_layout("resnet50")
    for entry in list(entries):
        if re.fullmatch("mrcnn_(class|bbox)_(conv|bn|logits|fc).*", entry["layer"]):
            entries += [{"layer": f"{entry['layer']}_s{stage}", "weights": [
                [name.replace(entry["layer"], f"{entry['layer']}_s{stage}"), shape]
                for name, shape in entry["weights"]]} for stage in (2, 3)]
    path = tmp_path_factory.mktemp("cascade") / "mask_rcnn_ury_0050.h5"
    reference_weights.write_checkpoint(path, entries)
    return path


def test_a_cascade_needs_no_option(introduced, capsys, coco_folder, cascade):
    arguments = ["--dataset", coco_folder, "--model", cascade]
    printed, config = introduced(*arguments)
    assert "CASCADE_IOUS (0.5, 0.6, 0.7)" in printed
    assert config.CASCADE_IOUS == (0.5, 0.6, 0.7) and config.PYRAMID_ATTENTION is False
    for text in ("0.5,0.55,0.6", "0.5,0.6,0.7,0.8"):  # of other thresholds, with a stage more
        _, config = introduced(*arguments, "--set", f"CASCADE_IOUS={text}")
        assert list(config.CASCADE_IOUS) == [float(iou) for iou in text.split(",")]
    for text in ("()", "0.5,0.6"):
        line = fails(capsys, train_main, *arguments, "--set", f"CASCADE_IOUS={text}")
        assert str(cascade) in line and "has CASCADE_IOUS (0.5, 0.6, 0.7), not" in line


def test_a_plain_checkpoint_may_begin_a_cascade_or_attention(introduced, coco_folder, old):
    _, config = introduced(
        "--dataset", coco_folder, "--model", old("resnet50"), "--set", "CASCADE_IOUS=0.5,0.6,0.7",
        "--set", "PYRAMID_ATTENTION=True")
    assert config.CASCADE_IOUS == (0.5, 0.6, 0.7) and config.PYRAMID_ATTENTION is True


def test_gray_images_need_their_mean(capsys, introduced, coco_folder, old):
    arguments = ["--dataset", coco_folder, "--model", old("densenet121", channels=1)]
    assert "--set MEAN_PIXEL=" in fails(capsys, train_main, *arguments)
    _, config = introduced(*arguments, "--set", "MEAN_PIXEL=[120]")
    assert config.IMAGE_CHANNEL_COUNT == 1


def test_other_classes_need_a_new_head(capsys, introduced, coco_folder, old):
    arguments = ["--dataset", coco_folder, "--model", old("resnet50", classes=8)]
    line = fails(capsys, train_main, *arguments)
    assert "7 classes" in line and "--new-head" in line
    printed, config = introduced(*arguments, "--new-head")
    assert "epochs        1 to 20" in printed.splitlines() and config.NUM_CLASSES == 4


def test_the_data_must_be_named(capsys, old):
    """The synthetic micrographs are no substitute for what it was trained on."""
    line = fails(capsys, train_main, "--model", old("resnet50"))
    assert "--dataset" in line


def test_a_json_of_other_weights(capsys, coco_folder, old, tmp_path):
    path = write_reference_checkpoint(tmp_path / "mask_rcnn_ury_0050.h5", "densenet121")
    config = SAMPLE.config.replaced(NUM_CLASSES=4, BACKBONE="resnet101")
    config.save(path.with_suffix(".json"))
    for main in (train_main, evaluate_main):
        line = fails(capsys, main, "--dataset", coco_folder, "--model", path)
        assert "has BACKBONE densenet121, but its configuration has resnet101" in line
    config.replaced(BACKBONE="densenet121", NUM_CLASSES=3).save(path.with_suffix(".json"))
    line = fails(capsys, evaluate_main, "--dataset", coco_folder, "--model", path)
    assert "has NUM_CLASSES 4, but its configuration has 3" in line


# --- detection and evaluation -------------------------------------------------------------------


def suggestion(line):
    """The command that an error message suggests, and the file that it writes."""
    command, target = re.search(r'(python -c ".+?") and add --config (\S+)\. ', line).groups()
    return command.replace("python", sys.executable, 1), target


@pytest.mark.parametrize("sizes", [{}, {"hidden": 48, "channels": 1, "ratios": 5}])
def test_detection_says_how_to_write_the_configuration(capsys, coco_folder, old, tmp_path, sizes):
    path = old("densenet121", **sizes)
    line = fails(capsys, detect.main, coco_folder / "val", "--model", path)
    assert "BACKBONE='densenet121'" in line and "IMAGE_MAX_DIM" in line
    assert "--config" in fails(capsys, evaluate_main, "--dataset", coco_folder, "--model", path)
    command, target = suggestion(line)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env={"PYTHONPATH": str(PROJECT)})
    start = starts.find_trained(str(path), "logs", str(tmp_path / target))
    options = detect.build_parser().parse_args(["x"])
    config = settings.detection_config(start, options)
    assert {name: getattr(config, name) for name in start.architecture} == start.architecture
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == (800, 1024)
    assert len(config.RPN_ANCHOR_RATIOS) == sizes.get("ratios", 3)


def test_a_written_configuration_need_not_repeat_the_file(capsys, coco_folder, old, tmp_path):
    path, target = old("densenet121"), tmp_path / "my.json"
    content = {"IMAGE_MIN_DIM": 128, "IMAGE_MAX_DIM": 128, "RPN_ANCHOR_STRIDE": 1,
               "RPN_ANCHOR_SCALES": [16, 32, 64, 128, 256]}
    target.write_text(json.dumps(content))
    config = starts.find_trained(str(path), "logs", str(target)).config
    assert (config.BACKBONE, config.NUM_CLASSES, config.IMAGE_MAX_DIM) == ("densenet121", 4, 128)
    del content["IMAGE_MAX_DIM"]
    target.write_text(json.dumps(content))
    line = fails(capsys, detect.main, coco_folder / "val", "--model", path, "--config", target)
    assert "my.json lacks IMAGE_MAX_DIM" in line


def test_a_backbone_is_no_detector(capsys, coco_folder, tmp_path, reference_weights):
    path = tmp_path / "densenet.h5"
    reference_weights.write_checkpoint(path, [
        entry for entry in reference_layout("densenet121")
        if not entry["layer"].startswith(("fpn", "rpn", "mrcnn", "anchors"))])
    line = fails(capsys, detect.main, coco_folder / "val", "--model", path)
    assert "no trained detector" in line and "python -c" not in line


# --- with Keras ---------------------------------------------------------------------------------


@pytest.mark.nightly
def test_other_classes_and_new_parts_together(coco_folder, tmp_path, cascade, capsys):
    """A new head is new in every stage; the layers of the attention are new altogether."""
    arguments = [f"--dataset={coco_folder}", f"--model={cascade}", "--epochs", "1", "--steps", "1",
                 "--precision", "float32", "--new-head", "--set", "PYRAMID_ATTENTION=True", *QUICK]
    assert cli.main(["train", *arguments, "--logs", str(tmp_path / "logs")]) == 0
    printed = capsys.readouterr().out
    assert "missing 8 (fpn_attention_p" in printed  # the others depend on the classes
    assert "excluded 14 (" in printed  # 2 of each stage, 2 of each level
    (run,) = (tmp_path / "logs").iterdir()
    assert cli.main(["detect", str(coco_folder / "val"), "--model",
                     str(run / "mask_rcnn_frcnn_0001.h5"), "--output", str(tmp_path / "found.json"),
                     "--min-confidence", "0"]) == 0


@pytest.mark.parametrize("backbone, sizes", [
    pytest.param("resnet50", {}, marks=pytest.mark.slow),
    pytest.param("densenet121", {"pyramid": 24, "hidden": 48, "pool": 5},
                 marks=pytest.mark.nightly)])
def test_training_and_detection(coco_folder, tmp_path, old, backbone, sizes, capsys):
    path, logs = old(backbone, **sizes), tmp_path / "logs"
    assert cli.main(["train", f"--dataset={coco_folder}", f"--model={path}", "--epochs", "51",
                     "--steps", "1", "--logs", str(logs), "--precision", "float32", *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "epochs        51 to 51 (" in printed
    assert re.search(r"ignored \d+ \(anchors, mrcnn_mask_conv1, ", printed)
    (run,) = logs.iterdir()
    assert (run / "mask_rcnn_frcnn_0051.h5").is_file()
    written = json.loads((run / "config_mask_rcnn_frcnn_0051.json").read_text())["config"]
    assert written["BACKBONE"] == backbone
    assert written["POOL_SIZE"] == sizes.get("pool", 7)

    config, output = tmp_path / "old.json", tmp_path / "found.json"
    config.write_text(json.dumps({
        "IMAGE_MIN_DIM": 128, "IMAGE_MAX_DIM": 128, "RPN_ANCHOR_SCALES": [16, 32, 64, 128, 256],
        "RPN_ANCHOR_STRIDE": 2, "POST_NMS_ROIS_INFERENCE": 50}))
    assert cli.main(["detect", str(coco_folder / "val"), "--model", str(path), "--config",
                     str(config), "--output", str(output), "--min-confidence", "0"]) == 0
    rows = json.loads(output.read_text())
    assert {row["category_name"] for row in rows} <= {"class 1", "class 2", "class 3"}
    assert cli.main(["evaluate", "--dataset", str(coco_folder), "--model", str(path), "--config",
                     str(config), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/metrics.json").is_file()
