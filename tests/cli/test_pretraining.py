"""`--model synthetic`: made once for each network, continued, checked; what a run takes of it."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
from cli_tools import NAMES, fails
from model_tools import small_config
from places import PROJECT

from frcnn import runs
from frcnn.cli import main as cli
from frcnn.cli import plan, pretraining, recipes, settings, starts, train
from frcnn.cli.locks import locked
from frcnn.cli.pretraining import cache_key, cache_path, ensure, own_config
from frcnn.cli.sample import Pretraining, Sample, SmallObjectsConfig
from frcnn.config import Config
from frcnn.errors import FrcnnError
from frcnn.weights.recipes import class_layers
from samples.shapes import train as shapes_train
from samples.urinary import synthetic
from samples.urinary.config import SLIM_NETWORK
from samples.urinary.pretrain import main as pretrain_main
from samples.urinary.train import main as urinary_main
from samples.urinary.urinary import PRETRAINING, SAMPLE

TARGET = small_config(NAME="mine")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the cached checkpoints."""
    monkeypatch.setenv("FRCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pretrained"


def draw(original, folder):
    """A data set to pretrain on: of four classes, while those to train on have three."""
    shutil.copytree(original, folder)
    for path in (folder / "annotations").iterdir():
        content = json.loads(path.read_text())
        content["categories"].append({"id": 12, "name": "wheel"})
        path.write_text(json.dumps(content))
    return folder


def make_own(data):
    """A Pretraining of two epochs."""
    return Pretraining("drawn", "drawings", small_config(NAME="drawn"), 2, "a second",
                       version=lambda: "v1", folder=lambda: data)


def make_sample(own):
    return Sample(TARGET, 2, data_required=True, pretraining=own)


@pytest.fixture
def own(coco_original, tmp_path):
    return make_own(draw(coco_original, tmp_path / "drawn"))


@pytest.fixture
def sample(own):
    return make_sample(own)


def options_of(sample, *arguments):
    return train.build_parser(sample=sample).parse_args(
        ["--dataset", "data", "--model", "synthetic", *arguments])


def target_config(sample, *arguments):
    return settings.training_config(starts.find("synthetic", "logs"),
                                    options_of(sample, *arguments), 4, sample)


def path_of(own, config):
    config = own_config(own, config)
    return cache_path(own, cache_key(own, config))


# --- who has it ---------------------------------------------------------------------------------


def test_only_programs_with_synthetic_data_have_it(capsys, coco_folder):
    for main, arguments in ((cli.main, ["train", "--dataset", coco_folder]),
                            (shapes_train.main, [])):
        line = fails(capsys, main, *arguments, "--model", "synthetic")
        assert "--model synthetic: this program has no synthetic data" in line
        assert "samples/urinary/train.py" in line
    line = fails(capsys, urinary_main, "--model", "synthetic")
    assert "--model synthetic needs --dataset DIR" in line


def test_it_is_no_detector(capsys, coco_folder):
    line = fails(capsys, cli.main, "evaluate", "--dataset", coco_folder, "--model", "synthetic")
    assert "--model synthetic is no detector trained on your classes" in line


def test_the_help_says_who_has_it(capsys):
    def help_of(main, *arguments):
        assert main([*arguments, "--help"]) == 0
        return " ".join(capsys.readouterr().out.split())

    assert "'synthetic' (all but the output layers of a detector" in help_of(urinary_main)
    assert "'synthetic'" not in help_of(cli.main, "train")
    text = help_of(pretrain_main)
    assert "FRCNN_CACHE" in text and "--backbone" in text and "10 epochs" in text


def test_its_program_starts_as_a_script():
    done = subprocess.run([sys.executable, "samples/urinary/pretrain.py", "--help"], cwd=PROJECT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--recipe" in done.stdout, done.stderr


# --- the run that begins with it ----------------------------------------------------------------


def test_a_run_has_the_settings_of_one_from_random_weights(sample):
    from_nothing = settings.training_config(
        starts.Start("none"), options_of(sample, "--model", "none"), 4, sample)
    assert target_config(sample).to_json() == from_nothing.to_json()
    assert from_nothing.OPTIMIZER == "adamw" and from_nothing.TRAIN_BN
    slim = dataclasses.replace(sample, from_scratch=SLIM_NETWORK)
    assert target_config(slim).TOP_DOWN_PYRAMID_SIZE == TARGET.TOP_DOWN_PYRAMID_SIZE
    assert target_config(sample, "--batch-norm", "freeze").TRAIN_BN is False


def test_all_layers_are_trained_from_the_first_epoch():
    (stage,) = plan.make(starts.Start("synthetic"), [], 10)
    assert (stage.layers, stage.since, stage.until) == ("all", 0, 10)


def test_a_recipe_can_be_chosen(sample):
    recipes.check_start("accurate", starts.Start("synthetic"))
    config = target_config(sample, "--recipe", "accurate")
    assert config.CASCADE_IOUS == own_config(sample.pretraining, config).CASCADE_IOUS != ()


# --- its key ------------------------------------------------------------------------------------


def test_the_network_is_that_of_the_run(own):
    values = {"BACKBONE": "densenet121", "COMPUTE_BACKBONE_SHAPE": None,
              "TOP_DOWN_PYRAMID_SIZE": 64, "PYRAMID_BATCH_NORM": False, "PYRAMID_ATTENTION": True,
              "FPN_CLASSIF_FC_LAYERS_SIZE": 96, "POOL_SIZE": 5, "ROI_ALIGN_SAMPLES": 3,
              "CASCADE_IOUS": (0.5, 0.75), "IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": [120],
              "RPN_ANCHOR_STRIDE": 2, "RPN_BBOX_STD_DEV": [0.1, 0.1, 0.1, 0.1],
              "BBOX_STD_DEV": [0.2, 0.2, 0.2, 0.2]}
    assert {*values, "BACKBONE_STRIDES"} == set(pretraining.NETWORK)
    config = own_config(own, Config(NUM_CLASSES=4, IMAGE_MIN_DIM=640, IMAGE_MAX_DIM=640,
                                    LEARNING_RATE=0.5, **values))
    for name, value in values.items():
        np.testing.assert_array_equal(getattr(config, name), value, err_msg=name)
    assert (config.IMAGE_MAX_DIM, config.LEARNING_RATE, config.TRAIN_BN) == (128, 2e-4, True)


def test_what_shapes_the_weights_has_its_own_place(own):
    changes = [{"TOP_DOWN_PYRAMID_SIZE": 64}, {"FPN_CLASSIF_FC_LAYERS_SIZE": 32},
               {"BACKBONE": "densenet121", "COMPUTE_BACKBONE_SHAPE": None},
               {"PYRAMID_BATCH_NORM": True}, {"CASCADE_IOUS": (0.5, 0.6)},
               {"CASCADE_IOUS": (0.5, 0.7)}, {"PYRAMID_ATTENTION": True}, {"POOL_SIZE": 5},
               {"RPN_ANCHOR_RATIOS": [0.5, 1, 2, 4]}, {"RPN_ANCHOR_RATIOS": [1]},
               {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": [9]}, {"MEAN_PIXEL": [1, 2, 3]},
               {"BBOX_STD_DEV": [1, 1, 1, 1]}]
    paths = [path_of(own, TARGET.replaced(**change)) for change in changes]
    others = [dataclasses.replace(own, **change) for change in (
        {"epochs": 3}, {"version": lambda: "v2"}, {"recipe": "reference"},
        {"augmentation": "flip"}, {"schedule": "constant"},
        {"config": small_config(NAME="drawn", IMAGE_MIN_DIM=192, IMAGE_MAX_DIM=192)})]
    paths += [path_of(other, TARGET) for other in others] + [path_of(own, TARGET)]
    assert len(set(paths)) == len(paths)
    assert "densenet121" in paths[2].name and "small_backbone" in paths[0].name


def test_what_does_not_shape_them_does_not(own):
    for change in ({"NAME": "other", "NUM_CLASSES": 9},
                   {"IMAGE_MIN_DIM": 256, "IMAGE_MAX_DIM": 256},
                   {"LEARNING_RATE": 0.3, "OPTIMIZER": "adamw", "STEPS_PER_EPOCH": 3},
                   {"RPN_ANCHOR_SCALES": (1, 2, 3, 4, 5), "RPN_ANCHOR_RATIOS": [0.7, 1.1, 1.9]},
                   {"PRECISION": "mixed_bfloat16", "DETECTION_MIN_CONFIDENCE": 0.5}):
        assert path_of(own, TARGET.replaced(**change)) == path_of(own, TARGET)


def test_the_key_is_json_and_new_settings_that_are_off_are_not_in_it(own, monkeypatch):
    key = cache_key(own, own_config(own, TARGET))
    assert json.loads(json.dumps(key)) == key
    monkeypatch.setattr(Config, "OF_A_LATER_VERSION", False, raising=False)
    monkeypatch.setattr(type(TARGET), "OF_A_LATER_VERSION", False, raising=False)
    assert cache_key(own, own_config(own, TARGET)) == key


def test_the_sample_pretrains_the_network_of_its_runs():
    config = target_config(SAMPLE)
    own = own_config(PRETRAINING, config)
    assert isinstance(config, SmallObjectsConfig)
    for name in pretraining.NETWORK:
        np.testing.assert_array_equal(getattr(own, name), getattr(config, name), err_msg=name)
    assert (own.TOP_DOWN_PYRAMID_SIZE, own.FPN_CLASSIF_FC_LAYERS_SIZE) == (256, 1024)
    assert (own.PYRAMID_BATCH_NORM, own.OPTIMIZER, own.IMAGE_MAX_DIM) == (True, "adamw", 320)
    key = cache_key(PRETRAINING, own)
    assert key["data"] == synthetic.name_of() and key["data"].startswith("urinary-synthetic-v")
    assert str(synthetic.VERSION) in key["data"] and key["epochs"] == 10


def test_its_program_takes_the_network_from_the_same_options(monkeypatch):
    def seen(own, config):
        assert own is PRETRAINING
        paths.append(path_of(own, config))

    paths = []
    monkeypatch.setattr(pretraining, "ensure", seen)
    for arguments in ([], ["--backbone", "densenet121"], ["--recipe", "accurate"],
                      ["--recipe", "reference"], ["--set", "TOP_DOWN_PYRAMID_SIZE=128"]):
        assert pretrain_main(arguments) == 0
        assert paths[-1] == path_of(PRETRAINING, target_config(SAMPLE, *arguments))
    assert len(set(paths)) == 5


# --- the cache ----------------------------------------------------------------------------------


class Reached(Exception):
    """A training would now begin."""


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*arguments):
        raise Reached

    monkeypatch.setattr(pretraining, "_train", refuse)


@pytest.fixture
def quick(monkeypatch):
    """Stands in for the training: a function that makes a file, and the list of its calls."""
    def make(own, config, dataset, folder, check):
        calls.append(own)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{config.NAME}.h5"
        path.write_bytes(b"weights %d" % len(calls))
        return str(path)

    calls = []
    monkeypatch.setattr(pretraining, "_train", make)
    return calls


def test_it_is_made_once_and_kept_with_its_json(own, quick, cache, capsys):
    path = ensure(own, TARGET)
    assert path.read_bytes() == b"weights 1" and path.parent == cache
    assert {file.suffix for file in cache.iterdir()} == {".h5", ".json", ".lock"}
    metadata = runs.load_metadata(path)
    assert metadata.class_names == [*NAMES, "wheel"] and metadata.extra["epoch"] == 2
    assert metadata.extra["pretraining"] == cache_key(own, own_config(own, TARGET))
    out = capsys.readouterr().out
    assert ("there is none for this network yet; it is trained on drawings, once: 2 epochs, about "
            "a second\n") in out and str(path) in out
    assert ensure(own, TARGET) == path and len(quick) == 1
    assert capsys.readouterr().out == f"pretraining   {path}\n"
    assert ensure(own, TARGET.replaced(TOP_DOWN_PYRAMID_SIZE=64)) != path and len(quick) == 2
    assert path.read_bytes() == b"weights 1"


def forget(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def change(path):
    path.write_bytes(b"W" + path.read_bytes()[1:])


def describe_another(path):
    content = json.loads(path.read_text())
    content["pretraining"]["epochs"] = 1
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("suffix, damage, told", [
    (".h5", cut, "is damaged: its SHA-256 is not that in"),
    (".h5", change, "is damaged: its SHA-256 is not that in"),
    (".h5", forget, "is missing"),
    (".json", cut, "is damaged: "),
    (".json", forget, "is incomplete: the JSON file beside it is missing"),
    (".json", describe_another, "is damaged: it is about another training"),
])
def test_a_damaged_one_is_reported_and_made_again(own, quick, capsys, suffix, damage, told):
    path = ensure(own, TARGET)
    capsys.readouterr()
    damage(path if suffix == ".h5" else runs.metadata_path(path))
    assert ensure(own, TARGET) == path
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith(f"pretraining   {path.parent}") and path.stem in line
    assert told in line and "; it is trained on drawings" in line
    assert path.read_bytes() == b"weights 2"
    assert ensure(own, TARGET) == path and len(quick) == 2


def test_another_process_is_waited_for(own, quick, capsys):
    path = path_of(own, TARGET)
    waiting = threading.Event()
    results = []
    with locked(path.with_suffix(".lock")):
        thread = threading.Thread(target=lambda: results.append(ensure(own, TARGET)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("frcnn.cli.locks.time.sleep", lambda _: waiting.set())
            thread.start()
            assert waiting.wait(60) and not quick
            # What the other process does.
            config = own_config(own, TARGET)
            pretraining._make(own, config, cache_key(own, config), path, None)
    thread.join(60)
    assert results == [path] and len(quick) == 1
    assert f"another process trains {path}; waiting for it" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_cannot_be_written(own, quick, tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FRCNN_CACHE", str(tmp_path / place))
    with pytest.raises(FrcnnError, match=r"Cannot write to .*pretrained.*FRCNN_CACHE"):
        ensure(own, TARGET)


def test_it_comes_after_all_that_can_be_wrong(sample, no_training, coco_folder, tmp_path, capsys):
    def main(arguments):
        return train.main([*arguments, "--logs", str(tmp_path / "logs")], sample=sample)

    arguments = ["--model", "synthetic", "--dataset"]
    assert "nowhere" in fails(capsys, main, *arguments, tmp_path / "nowhere")
    arguments.append(str(coco_folder))
    assert "RPN_STRIDE" in fails(capsys, main, *arguments, "--set", "RPN_STRIDE=1")
    assert "AdamW" in fails(capsys, main, *arguments, "--learning-rate", 0.01)
    with pytest.raises(Reached):
        main(arguments)


# --- training -----------------------------------------------------------------------------------


@pytest.fixture
def main(sample, coco_folder, tmp_path, monkeypatch):
    """The training program, which stores the weights that each training begins with."""
    from frcnn.model.mask_rcnn import MaskRCNN

    def look(model, *arguments, **options):
        seen.append((model.run_name, weights_of(model)))
        return original(model, *arguments, **options)

    original, seen = MaskRCNN.train, []
    monkeypatch.setattr(MaskRCNN, "train", look)

    def run(*arguments):
        seen.clear()
        assert train.main([*arguments, "--dataset", str(coco_folder), "--logs",
                           str(tmp_path / "logs")], sample=sample) == 0
        return list(seen)

    return run


def weights_of(model):
    """A model's weights by layer and name, those of the RPN's own model included."""
    from frcnn.weights.checkpoint import model_layers

    return {(name, key): np.array(variable) for name, layer in model_layers(
        model.keras_model).items() for key, variable in layer.variables.items()}


def in_file(path):
    """The arrays of an .h5 file, by the last two parts of their names."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            layer, key = name.split("/")[-2:]
            found[layer, key.split(":")[0]] = np.array(item)

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.mark.nightly
def test_a_run_begins_with_its_weights(main, sample, cache, tmp_path, capsys):
    """The same ones whether they were trained just before or are in the cache."""
    (first, drawn), (second, initial) = main("--model", "synthetic", "--epochs", "1")
    assert (first, second) == ("drawn", "mine")
    out = capsys.readouterr().out
    assert re.search(r"^epoch 2/2 .*\n(.*\n)*pretraining   done: .*\n(.*\n)*epoch 1/1 ", out,
                     re.MULTILINE)
    (path,) = cache.glob("*.h5")
    assert path == path_of(sample.pretraining, target_config(sample))
    assert {file.suffix for file in cache.iterdir()} == {".h5", ".json", ".lock"}

    stored, outputs = in_file(path), set(class_layers(name for name, _ in initial))
    new = {key for key in initial if key[0] in outputs}
    assert {name for name, _ in new} == {"mrcnn_class_logits", "mrcnn_bbox_fc"}
    assert initial.keys() == stored.keys()
    for key in initial.keys() - new:
        np.testing.assert_array_equal(initial[key], stored[key], err_msg=str(key))
    kernels = [key for key in initial.keys() - new if key[1] == "kernel"]
    assert len(kernels) > 12 and ("rpn_bbox_pred", "kernel") in kernels
    assert not any(np.array_equal(drawn[key], stored[key]) for key in kernels)
    assert all(initial[key].shape != stored[key].shape for key in new)

    (_, again), = main("--model", "synthetic", "--epochs", "1")
    for key, values in initial.items():
        np.testing.assert_array_equal(again[key], values, err_msg=str(key))
    check_run(tmp_path / "logs", main)


def check_run(logs, main):
    """The runs are like any others, and the newest continues."""
    folders = sorted(logs.iterdir())
    assert len(folders) == 2
    metadata = runs.load_metadata(runs.checkpoint_path(folders[-1], "mine", 1))
    config = metadata.config(allow_custom=True)
    assert metadata.class_names == NAMES and config.TRAIN_BN and config.OPTIMIZER == "adamw"
    assert [(stage.layers, stage.until) for stage in plan.load(folders[-1])] == [("all", 1)]
    shutil.rmtree(folders[0])
    ((name, _),) = main("--model", "last", "--epochs", "2")
    assert name == "mine" and list(logs.iterdir()) == folders[1:]
    assert (folders[-1] / "mask_rcnn_mine_0002.h5").is_file()


@pytest.fixture
def trainings(monkeypatch):
    """The epochs that `MaskRCNN.train` begins after; it can be told to stop after one more."""
    from frcnn.model.mask_rcnn import MaskRCNN

    def watched(model, train, val, rate, epochs, *arguments, **options):
        seen.append(model.epoch)
        if not stops:
            original(model, train, val, rate, epochs, *arguments, **options)
            return
        original(model, train, val, rate, model.epoch + 1, *arguments, **options)
        raise stops.pop()

    original, seen, stops = MaskRCNN.train, [], [KeyboardInterrupt]
    monkeypatch.setattr(MaskRCNN, "train", watched)
    return seen


@pytest.mark.slow
def test_a_stopped_one_continues(own, trainings, cache, capsys, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        ensure(own, TARGET)
    assert "stopped after 1 of 2 epochs. The same command continues it." in capsys.readouterr().out
    assert not list(cache.glob("*.h5")) and len(list(cache.glob("*/*/*.h5"))) == 1

    def stopped(source, target):
        if str(target).endswith(".h5") and "-training" not in str(target):
            raise KeyboardInterrupt
        return replace(source, target)

    replace = pretraining.os.replace
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("os.replace", stopped)
        ensure(own, TARGET)
    assert trainings == [0, 1] and "continues   after epoch 1" in capsys.readouterr().out
    (last,) = cache.glob("*/*/*.h5")
    content = last.read_bytes()
    assert runs.epoch_of(last) == 2 and not list(cache.glob("*.h5"))
    # Stopped when all was done but the last step, which is all that is left.
    path = ensure(own, TARGET)
    assert trainings == [0, 1] and path.read_bytes() == content
    assert {file.suffix for file in cache.iterdir()} == {".h5", ".json", ".lock"}


@pytest.mark.slow
def test_one_that_cannot_be_continued_starts_again(own, cache, capsys):
    path = path_of(own, TARGET)
    damaged = cache / f"{path.stem}-training" / "drawn20200101T0000" / "mask_rcnn_drawn_0001.h5"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half a file")
    assert ensure(own, TARGET) == path and path.is_file()
    out = capsys.readouterr().out
    assert re.search(r"from start  .*mask_rcnn_drawn_0001.h5", out) and "epoch 1/2" in out


@pytest.mark.slow
def test_a_mistake_in_the_layers_is_found_before_the_training(sample, trainings, coco_folder, cache,
                                                              tmp_path, capsys):
    assert train.main(["--model", "synthetic", "--dataset", str(coco_folder), "--layers", "nosuch",
                       "--logs", str(tmp_path / "logs")], sample=sample) == 2
    assert "nosuch" in capsys.readouterr().err
    assert not trainings and not list(cache.glob("*.h5"))
