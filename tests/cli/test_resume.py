"""A run that continues keeps its options; what the command line changes is printed."""

import json
import os
import re
import shutil
import signal
import warnings

import pytest
from cli_tools import NAMES, TINY, Reached, checkpoint, fails

from frcnn import runs
from frcnn.cli import main as cli
from frcnn.cli import plan, run_options, train
from frcnn.cli.run_options import RunOptions
from frcnn.errors import ConfigError
from frcnn.training.state_writer import WriteState
from samples.shapes import train as shapes_train
from samples.urinary.train import main as train_main

OWN = RunOptions(skip_bad=True, schedule="warmup_step", augmentation="microscopy", val_images=2,
                 seed=7)
WATCHED = {"evaluate_every": 2, "patience": 3, "keep": 4}


@pytest.fixture
def introduced(monkeypatch, capsys):
    """Function: runs a program up to Keras; returns its lines, the Config, RunOptions, stages."""
    def stop(config, start, options, choices, stages):
        seen[:] = config, choices, stages
        raise Reached

    def run(main, *arguments):
        # Outside pytest's own recording, so that the program shows its warnings as lines.
        with warnings.catch_warnings(), pytest.raises(Reached):
            main(list(map(str, arguments)))
        return capsys.readouterr().out.splitlines(), *seen

    seen = []
    monkeypatch.setattr(train, "_build", stop)
    return run


@pytest.fixture
def logs(tmp_path, coco_folder):
    """A folder with a stopped run on `coco_folder`, at epoch 3 of 10."""
    folder = tmp_path / "logs" / "ury20200101T0000"
    checkpoint(folder, 4, names=NAMES, LEARNING_RATE=0.02, STEPS_PER_EPOCH=5, IMAGE_MIN_DIM=128,
               IMAGE_MAX_DIM=128)
    plan.save([plan.Stage("heads", 0, 4), plan.Stage("4+", 4, 10)], folder)
    run_options.save(RunOptions(**{**vars(OWN), "dataset": str(coco_folder)}), folder)
    return folder.parent


def test_it_keeps_all_its_options(introduced, logs, coco_folder):
    lines, config, choices, stages = introduced(train_main, "--model", "last", "--logs", logs)
    assert choices == RunOptions(**{**vars(OWN), "dataset": str(coco_folder)})
    assert (config.LEARNING_RATE, config.STEPS_PER_EPOCH, config.IMAGE_MAX_DIM) == (0.02, 5, 128)
    assert [(stage.layers, stage.until) for stage in stages] == [("heads", 4), ("4+", 10)]
    assert not [line for line in lines if "(was " in line]
    assert lines[0] == f"data set      {coco_folder}"
    assert "epochs        4 to 10 (the checkpoint has had 3)" in lines


def test_the_path_of_its_checkpoint_is_as_good_as_last(introduced, logs):
    (path,) = logs.glob("*/*.h5")
    assert introduced(train_main, "--model", path)[2].augmentation == "microscopy"


def test_what_the_command_line_changes_is_printed(introduced, logs, coco_folder):
    copy = shutil.copytree(coco_folder, coco_folder.parent / "copy")
    lines, config, choices, stages = introduced(
        train_main, "--model", "last", "--logs", logs, "--dataset", copy, "--augmentation", "none",
        "--schedule", "constant", "--seed", 8, "--val-images", "all", "--no-skip-bad",
        "--learning-rate", 0.03, "--steps", 6, "--set", "WEIGHT_DECAY=0.5", "--epochs", 12,
        "--layers", "all", "--batch-size", 3)
    assert lines[:lines.index(f"data set      {copy}")] == [
        "epochs        12 (was 10)",
        "layers        all (was 4+)",
        f"dataset       {copy} (was {coco_folder})",
        "skip-bad      False (was True)",
        "schedule      constant (was warmup_step)",
        "augmentation  none (was microscopy)",
        "val-images    all (was 2)",
        "seed          8 (was 7)",
        "IMAGES_PER_GPU  3 (was 2)",
        "LEARNING_RATE  0.03 (was 0.02)",
        "STEPS_PER_EPOCH  6 (was 5)",
        "WEIGHT_DECAY  0.5 (was 0.0001)",
    ]
    assert choices == RunOptions(dataset=str(copy), schedule="constant", augmentation="none",
                                 seed=8)
    assert (config.LEARNING_RATE, config.WEIGHT_DECAY) == (0.03, 0.5)
    assert [(stage.layers, stage.since, stage.until) for stage in stages] == [("all", 3, 12)]


def test_it_keeps_how_it_is_evaluated(introduced, logs, coco_folder):
    (folder,) = logs.iterdir()
    stored = RunOptions(**{**vars(OWN), **WATCHED, "dataset": str(coco_folder)})
    run_options.save(stored, folder)
    lines, _, choices, _ = introduced(train_main, "--model", "last", "--logs", logs)
    assert choices == stored and not [line for line in lines if "(was " in line]
    lines, _, choices, _ = introduced(train_main, "--model", "last", "--logs", logs, "--patience",
                                      "off", "--evaluate-every", 1, "--keep", "all")
    assert (choices.evaluate_every, choices.patience, choices.keep) == (1, None, None)
    assert lines[:3] == ["evaluate-every  1 (was 2)", "patience      off (was 3)",
                         "keep          all (was 4)"]
    _, _, choices, _ = introduced(train_main, "--model", "last", "--logs", logs, "--patience",
                                  "off", "--evaluate-every", "off")
    assert choices.evaluate_every is choices.patience is None and choices.val_images == 2


def test_patience_needs_evaluations(logs, coco_folder, capsys):
    line = fails(capsys, train_main, "--dataset", coco_folder, "--patience", 3)
    assert "--patience 3 needs --evaluate-every" in line
    (folder,) = logs.iterdir()
    run_options.save(RunOptions(dataset=str(coco_folder), **WATCHED), folder)
    line = fails(capsys, train_main, "--model", "last", "--logs", logs, "--evaluate-every", "off")
    assert "--patience 3 needs --evaluate-every N" in line and "--patience off" in line


@pytest.mark.parametrize("option", ["--evaluate-every", "--patience", "--keep"])
@pytest.mark.parametrize("value", ["0", "none", "1.5", ""])
def test_numbers_of_epochs_and_evaluations(capsys, option, value):
    assert option in fails(capsys, train_main, option, value)


def test_it_can_continue_from_its_best_checkpoint(introduced, logs, coco_folder):
    (folder,) = logs.iterdir()
    path = checkpoint(folder, 4, names=NAMES, epoch=2)
    runs.save_best(path, runs.best_path(folder, "ury"), 2, {"val_AP": 0.5})
    lines, _, choices, stages = introduced(train_main, "--model", "best", "--logs", logs)
    assert choices.augmentation == "microscopy"
    assert [(stage.layers, stage.until) for stage in stages] == [("heads", 4), ("4+", 10)]
    assert "epochs        3 to 10 (the checkpoint has had 2)" in lines
    lines, _, _, _ = introduced(train_main, "--model", runs.best_path(folder, "ury"))
    assert "epochs        3 to 10 (the checkpoint has had 2)" in lines
    lines, _, _, _ = introduced(train_main, "--model", "last", "--logs", logs)
    assert "epochs        4 to 10 (the checkpoint has had 3)" in lines


def test_a_run_without_a_best_checkpoint(capsys, logs, coco_folder):
    line = fails(capsys, train_main, "--model", "best", "--logs", logs)
    assert "ury20200101T0000" in line and "--evaluate-every" in line


def test_options_given_as_they_were_are_no_change(introduced, logs, coco_folder, monkeypatch):
    monkeypatch.chdir(coco_folder.parent)
    lines, _, _, stages = introduced(
        train_main, "--model", "last", "--logs", logs, "--dataset", coco_folder.name, "--seed", 7,
        "--augmentation", "microscopy", "--epochs", 10)
    assert not [line for line in lines if "(was " in line] and len(stages) == 2


def test_a_longer_run_goes_on_with_its_last_layers(introduced, logs):
    _, _, _, stages = introduced(train_main, "--model", "last", "--logs", logs, "--epochs", 30)
    assert [(stage.layers, stage.since, stage.until) for stage in stages] == [("4+", 3, 30)]


def test_a_new_run_has_the_defaults(introduced, coco_folder, logs):
    (path,) = logs.glob("*/*.h5")
    for arguments in ([], ["--model", path, "--new-head"]):
        _, _, choices, _ = introduced(train_main, "--dataset", coco_folder, *arguments)
        assert choices == RunOptions(dataset=str(coco_folder))


def test_the_general_command_continues_without_the_data_sets_name(introduced, coco_folder, tmp_path,
                                                                  capsys):
    folder = tmp_path / "logs" / "frcnn20200101T0000"
    path = checkpoint(folder, 4, names=NAMES)
    run_options.save(RunOptions(dataset=str(coco_folder)), folder)
    _, _, choices, _ = introduced(cli.main, "train", "--model", "last", "--logs", tmp_path / "logs")
    assert choices.dataset == str(coco_folder)
    run_options.save(RunOptions(), folder)  # of a sample that makes its own data
    assert "--dataset" in fails(capsys, cli.main, "train", "--model", path)
    assert "--dataset" in fails(capsys, cli.main, "train")


# --- synthetic data -----------------------------------------------------------------------------


@pytest.fixture
def synthetic(monkeypatch, coco_folder):
    """Stands in for the synthetic micrographs."""
    from samples.urinary import synthetic

    monkeypatch.setattr(synthetic, "ensure", lambda: coco_folder)
    return coco_folder


def test_a_run_on_synthetic_data_stays_on_them(introduced, synthetic, tmp_path):
    folder = tmp_path / "logs" / "ury20200101T0000"
    checkpoint(folder, 4, names=NAMES)
    run_options.save(RunOptions(), folder)
    lines, _, choices, stages = introduced(train_main, "--model", "last", "--logs", folder.parent)
    assert choices.dataset is None and lines[0] == f"data set      {synthetic}"
    assert stages[-1].until == 13  # ten more
    lines, _, _, _ = introduced(train_main, "--model", "last", "--logs", folder.parent, "--dataset",
                                synthetic)
    assert f"dataset       {synthetic} (was the sample's own)" in lines


def test_synthetic_data_never_replace_unknown_ones(introduced, synthetic, tmp_path, capsys):
    """A run of an older version, on whatever data."""
    folder = tmp_path / "logs" / "ury20200101T0000"
    checkpoint(folder, 4, names=NAMES)
    line = fails(capsys, train_main, "--model", "last", "--logs", folder.parent)
    assert "does not record what data" in line and "--dataset" in line
    lines, _, choices, stages = introduced(train_main, "--model", "last", "--logs", folder.parent,
                                           "--dataset", synthetic, "--seed", 4)
    assert lines[0].startswith(f"options       not stored in {folder}; using augmentation flip, ")
    assert choices == RunOptions(dataset=str(synthetic), seed=4) and stages[-1].until == 23


def test_a_sample_without_the_option_needs_no_data(introduced, tmp_path):
    folder = tmp_path / "shapes20200101T0000"
    path = checkpoint(folder, 4, names=["BG", "square", "circle", "triangle"])
    assert introduced(shapes_train.main, "--model", path)[2] == RunOptions()


# --- the file -----------------------------------------------------------------------------------


def test_the_file(tmp_path):
    assert run_options.load(tmp_path) is None
    run_options.save(OWN, tmp_path)
    assert run_options.load(tmp_path) == OWN
    path = tmp_path / run_options.FILE_NAME
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "of_a_newer_version": 1}))
    assert run_options.load(tmp_path) == OWN
    path.write_text("{}")
    assert run_options.load(tmp_path) == RunOptions()


@pytest.mark.parametrize("content", [
    "[", "[]", "3", '{"seed": -1}', '{"seed": true}', '{"augmentation": ["flip"]}',
    '{"schedule": "cosine"}', '{"dataset": 3}', '{"keep": 0}', '{"patience": 1}',
    '{"evaluate_every": "off"}', '{"val_images": 0}', '{"skip_bad": 1}'])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / run_options.FILE_NAME
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"options\.json cannot be used: .*Remove it"):
        run_options.load(tmp_path)


@pytest.mark.parametrize("value", ["0", "many", "ALL", ""])
def test_val_images_is_a_number_or_all(capsys, value):
    assert "--val-images" in fails(capsys, train_main, "--val-images", value)


@pytest.mark.slow
def test_a_run_writes_and_reads_them(coco_folder, tmp_path, capsys):
    logs = tmp_path / "logs"
    arguments = ["--logs", str(logs), "--steps", "1"]
    assert cli.main(["train", "--dataset", str(coco_folder), "--epochs", "1", "--augmentation",
                     "microscopy", "--val-images", "2", *arguments, *TINY]) == 0
    (folder,) = logs.iterdir()
    stored = run_options.load(folder)
    assert stored == RunOptions(dataset=str(coco_folder), augmentation="microscopy", val_images=2)
    capsys.readouterr()
    assert cli.main(["train", "--model", "last", "--epochs", "2", "--seed", "3", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "(was " in line] == [
        "epochs        2 (was 1)", "seed          3 (was 0)"]
    assert run_options.load(folder) == RunOptions(**{**vars(stored), "seed": 3})
    assert (folder / "mask_rcnn_frcnn_0002.h5").is_file()
    assert json.loads((folder / "metrics.json").read_text())["settings"]["images"] == 2


@pytest.mark.nightly
def test_a_run_that_is_evaluated(coco_folder, tmp_path, capsys):
    """It is evaluated in both stages, in a resumed run, and on the best of its checkpoints."""
    logs = tmp_path / "logs"
    arguments = ["--logs", str(logs), "--steps", "1"]
    assert cli.main(["train", "--dataset", str(coco_folder), "--epochs", "2", "--layers", "heads",
                     "--batch-norm", "train", "--evaluate-every", "1", "--keep", "1",
                     "--val-images", "2", *arguments, *TINY]) == 0
    (folder,) = logs.iterdir()
    assert len(re.findall(r"^epoch \d/2 .*  val_AP \d\.\d{3}  val_AP50 \d\.\d{3}$",
                          capsys.readouterr().out, re.MULTILINE)) == 2
    assert cli.main(["train", "--model", "last", "--epochs", "20", "--patience", "1", "--layers",
                     "all", *arguments]) == 0
    out = capsys.readouterr().out
    history = json.loads((folder / "history.json").read_text())
    best = runs.load_best(runs.best_path(folder, "frcnn"))
    assert best.ap == max(history["val_AP"]) == history["val_AP"][best.epoch - 1]
    stop = re.search(r"^stopped       after epoch (\d+) of 20: no better AP", out, re.MULTILINE)
    assert stop and history["epoch"][-1] == int(stop[1]) < 20
    assert f"evaluated     epoch {best.epoch}, the best of {stop[1]} by AP on val" in out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["settings"]["checkpoint"] == best.path
    assert metrics["AP"] == pytest.approx(best.ap, abs=0.02)
    assert {path.name for path in folder.glob("*.h5")} == {
        "best_mask_rcnn_frcnn.h5", f"mask_rcnn_frcnn_{int(stop[1]):04d}.h5"}
    assert cli.main(["detect", str(coco_folder / "val"), "--logs", str(logs), "--model", "best",
                     "--output", str(tmp_path / "found.json")]) == 0


@pytest.mark.slow
def test_validation_images_without_objects_are_one_line(coco_folder, tmp_path, capsys):
    path = coco_folder / "annotations/instances_val.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    assert cli.main(["train", "--dataset", str(coco_folder), "--logs", str(tmp_path / "logs"),
                     "--epochs", "1", "--evaluate-every", "1", *TINY]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "validation images have no objects" in line and "--evaluate-every" in line


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_within_its_first_epoch(coco_folder, tmp_path, capsys, monkeypatch,
                                                      number):
    logs, begin = tmp_path / "logs", WriteState.on_train_batch_begin
    monkeypatch.setattr(WriteState, "on_train_batch_begin", lambda self, batch, logs=None: (
        os.kill(os.getpid(), number) if batch == 1 else None))
    arguments = ["train", "--dataset", str(coco_folder), "--epochs", "1", "--steps", "4", *TINY]
    assert cli.main([*arguments, "--logs", str(logs)]) == 128 + number
    (folder,) = logs.iterdir()
    (state,) = folder.glob("training_state_*")
    assert state.name == "training_state_0000_000002.state"
    assert f"saved in {state}. Continue exactly there with --model last." in capsys.readouterr().out
    monkeypatch.setattr(WriteState, "on_train_batch_begin", begin)
    assert cli.main(["train", "--model", "last", "--logs", str(logs)]) == 0
    assert "continues     in epoch 1, after step 2 of 4" in capsys.readouterr().out
    assert cli.main([*arguments, "--logs", str(tmp_path / "whole")]) == 0
    (whole,) = (tmp_path / "whole").iterdir()
    for name in ("mask_rcnn_frcnn_0001.h5", "history.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert not (folder / "mask_rcnn_frcnn_0000.h5").exists()
