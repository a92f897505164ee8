"""A training that is interrupted and taken up again is the training that was not interrupted."""

import json
import os
import signal
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from model_tools import Rectangles, array, small_config
from places import PROJECT

from frcnn import newest, runs
from frcnn.data import CocoDataset
from frcnn.errors import CheckpointError, ConfigError
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.training import callbacks, fit, state, trainer
from frcnn.training.agreement import fingerprint
from frcnn.training.interruption import TrainingInterrupted
from frcnn.training.state import TrainingState, find_state
from frcnn.training.state_files import state_files
from frcnn.weights import hdf5_checks

IMAGES, BATCHES = 6, 3  # of two images


class Interrupt(keras.callbacks.Callback):
    """Sends this process a signal in a step of an epoch, counted from 0."""

    def __init__(self, epoch, step, number=signal.SIGTERM):
        super().__init__()
        self.place, self.number, self.epoch = (epoch, step), number, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            os.kill(os.getpid(), self.number)


def config_of(**settings):
    return small_config(NAME="resumed", TRAIN_BN=True, **settings)


def data():
    return Rectangles([(128, 128)] * IMAGES)


def train(folder, settings, epochs=3, layers="all", model=None, interrupt=None, **options):
    model = model or MaskRCNN("training", config_of(**settings), folder, seed=3)
    callbacks = [] if interrupt is None else [Interrupt(*interrupt)]
    model.train(data(), data(), 0.003, epochs, layers, verbose=0, custom_callbacks=callbacks,
                schedule="warmup_cosine", **options)
    return model


def taken_up(folder, settings, **options):
    """The run's training in a new model, as a new process would continue it."""
    keras.utils.set_random_seed(99)  # another process has other random numbers
    model = MaskRCNN("training", config_of(**settings), folder, seed=77)
    model.load_weights(model.find_last())
    model.seed = 3
    return train(folder, settings, model=model, schedule_start=0, resume=True, **options)


def weights(model):
    return {layer.name: [array(variable) for variable in layer.variables]
            for layer in model.get_trainable_layers()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        for a, b in zip(one[name], other[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Weights and losses of a whole training, by the settings' name."""
    found = {}

    def of(settings):
        key = str(settings)
        if key not in found:
            model = train(tmp_path_factory.mktemp("whole"), settings)
            found[key] = weights(model), model.history
        return found[key]

    return of


SETTINGS = {"sgd": {}, "adamw": {"OPTIMIZER": "adamw"}, "average": {"EMA_MOMENTUM": 0.9},
            "half": {"PRECISION": "mixed_float16"}, "bfloat16": {"PRECISION": "mixed_bfloat16"}}


@pytest.mark.parametrize(("name", "place"), [
    ("sgd", (1, 0)), pytest.param("adamw", (0, 1), marks=pytest.mark.slow),
    pytest.param("sgd", (2, 1), marks=pytest.mark.slow),
    *(pytest.param("sgd", place, marks=pytest.mark.nightly) for place in ((0, 1), (1, 2))),
    *(pytest.param("average", place, marks=pytest.mark.nightly) for place in ((1, 0), (0, 2))),
])  # fmt: skip
def test_nothing_shows_that_it_was_interrupted(uninterrupted, tmp_path, name, place):
    settings = SETTINGS[name]
    with pytest.raises(TrainingInterrupted) as stopped:
        train(tmp_path, settings, interrupt=place)
    assert stopped.value.exit_code == 143
    expected, history = uninterrupted(settings)
    model = taken_up(tmp_path, settings)
    assert_equal(weights(model), expected)
    assert model.epoch == 3
    assert model.history.keys() == history.keys()
    for metric, values in history.items():
        np.testing.assert_array_equal(model.history[metric], values, err_msg=metric)
    assert len(state_files(model.log_dir)) == 2
    record = model.keras_model.history  # of this call, that is of the rest of an epoch, too
    done = place[0] + (place[1] == BATCHES - 1)
    assert record.epoch == list(range(done, 3))
    for metric, values in record.history.items():
        np.testing.assert_array_equal(values, history[metric][done:], err_msg=metric)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["half", "bfloat16"])
def test_mixed_precision_goes_on_with_its_loss_scale(uninterrupted, tmp_path, name):
    with pytest.raises(TrainingInterrupted):
        train(tmp_path, SETTINGS[name], interrupt=(1, 0))
    assert_equal(weights(taken_up(tmp_path, SETTINGS[name])), uninterrupted(SETTINGS[name])[0])


@pytest.mark.slow
def test_it_can_be_interrupted_again_and_again(uninterrupted, tmp_path):
    with pytest.raises(TrainingInterrupted):
        train(tmp_path, {}, interrupt=(0, 0))
    with pytest.raises(TrainingInterrupted) as stopped:
        taken_up(tmp_path, {}, interrupt=(0, 0, signal.SIGINT))  # the second step of the epoch
    assert stopped.value.exit_code == 130
    with pytest.raises(TrainingInterrupted):
        taken_up(tmp_path, {}, interrupt=(1, 2))
    assert_equal(weights(taken_up(tmp_path, {})), uninterrupted({})[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "average"])
def test_a_new_stage_begins_with_a_new_optimizer(tmp_path, name):
    settings = SETTINGS[name]
    whole = train(tmp_path / "whole", settings, epochs=1, layers="heads")
    train(tmp_path / "whole", settings, epochs=2, model=whole)
    with pytest.raises(TrainingInterrupted):  # at the end of the first stage
        train(tmp_path / "cut", settings, epochs=1, layers="heads", interrupt=(0, BATCHES - 1))
    model = MaskRCNN("training", config_of(**settings), tmp_path / "cut", seed=77)
    model.load_weights(model.find_last())
    model.seed = 3
    train(tmp_path / "cut", settings, epochs=2, model=model, resume=True)
    assert_equal(weights(model), weights(whole))


def test_states_are_saved_by_steps(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(TrainingState, "save", lambda self, folder: saved.append(
        (self.epoch, self.step)))
    train(tmp_path, {}, epochs=2, save_every=2)
    assert saved == [(0, 2), (1, 0), (1, 2), (2, 0)]


@pytest.mark.slow
def test_another_call_does_not_continue_within_an_epoch(tmp_path):
    with pytest.raises(TrainingInterrupted):
        train(tmp_path, {}, interrupt=(1, 0))
    with pytest.raises(ConfigError, match=r"within epoch 2, .*layers 'all', now 'heads'.*"
                                          r"training_state_\*"):
        taken_up(tmp_path, {}, layers="heads")


ABOUT = {"layers": "all", "optimizer": "sgd", "average": False, "seed": 3, "steps": 5,
         "batch_size": 2, "schedule_start": 0, "data": "8 images"}
OTHER = {"layers": "heads", "optimizer": "adamw", "average": True, "seed": 4, "steps": 6,
         "batch_size": 3, "schedule_start": 1, "data": "8 others"}


@pytest.mark.parametrize("name", ABOUT)
def test_whatever_costs_the_momentum_is_said(caplog, name):
    """Not of other layers, which are another stage; other data between two epochs cost nothing."""
    about = {**ABOUT, name: OTHER[name]}
    goes_on = TrainingState(2, 0, ABOUT).optimizer_goes_on(about, "logs")
    assert goes_on is (name == "data")
    if name in ("layers", "data"):
        assert not caplog.records
    else:
        (record,) = caplog.records
        assert f"{name} {ABOUT[name]!r}, now {OTHER[name]!r}" in record.getMessage()
        assert "without its momentum" in record.getMessage()
    with pytest.raises(ConfigError, match=f"{name} {ABOUT[name]!r}, now {OTHER[name]!r}"):
        TrainingState(2, 1, ABOUT).optimizer_goes_on(about, "logs")


@pytest.mark.parametrize("step", [0, 1])
def test_what_an_older_version_did_not_store_is_no_difference(caplog, step):
    assert TrainingState(2, step, ABOUT).optimizer_goes_on(ABOUT, "logs")
    old = {name: value for name, value in ABOUT.items() if name not in ("data", "average")}
    assert TrainingState(2, step, old).optimizer_goes_on(ABOUT, "logs") and not caplog.records


def test_several_differences_are_one_warning(caplog):
    found = TrainingState(2, 0, ABOUT)
    assert not found.optimizer_goes_on({**ABOUT, "seed": 4, "steps": 6}, "logs")
    (record,) = caplog.records
    assert "seed 3, now 4; steps 5, now 6" in record.getMessage()


@pytest.mark.slow
def test_without_a_seed_it_goes_on_with_the_one_that_was_drawn(tmp_path, monkeypatch, caplog):
    made, make = [], trainer.make_sequences

    def remember(*arguments, **options):
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(trainer, "make_sequences", remember)
    options = {"verbose": 0, "jit_compile": False}
    model = MaskRCNN("training", config_of(), tmp_path)
    with pytest.raises(TrainingInterrupted):
        model.train(data(), data(), 0.003, 2, "all", custom_callbacks=[Interrupt(0, 0)], **options)
    again = MaskRCNN("training", config_of(), tmp_path)
    again.load_weights(again.find_last())
    again.train(data(), data(), 0.003, 1, "all", resume=True, **options)  # else a ConfigError
    (first, first_val), (second, second_val) = made
    assert first.seed == second.seed and first_val.seed == second_val.seed
    assert not caplog.records
    with pytest.raises(ConfigError, match="seed"):
        TrainingState(0, 1, {"seed": first.seed}).optimizer_goes_on({"seed": 5}, tmp_path)


def test_the_fingerprint_of_data(coco_folder):
    def of(change=None):
        found = CocoDataset()
        found.load_coco(coco_folder, "train")
        found.prepare()
        if change:
            change(found.image_info[0])
        return fingerprint(found)

    assert of() == of()
    changes = (lambda info: info["boxes"].__iadd__(1), lambda info: info.update(id="another"),
               lambda info: info.update(category_ids=info["category_ids"][:-1]))
    assert len({of(), *map(of, changes)}) == 4
    # Where the files lie says nothing.
    one, other = (of(lambda info, folder=folder: info.update(id=f"/{folder}/1.png"))
                  for folder in ("a", "b"))
    assert one == other != of()


def test_damaged_states_are_errors_and_the_one_before_is_used(tmp_path):
    model = train(tmp_path, {}, epochs=2)
    newest, older = state_files(model.log_dir)
    assert find_state(model.log_dir, 1).epoch == 2
    content = newest.read_bytes()
    for damaged in (content[:100], content[:-5000], b"", b"no HDF5 at all"):
        newest.write_bytes(damaged)
        assert find_state(model.log_dir, 1).epoch == find_state(model.log_dir, 2).epoch == 1
        with pytest.raises(CheckpointError, match=f"{newest.name} is .*damaged.*checkpoint alone"):
            find_state(model.log_dir, 3)
    at = content.index(array(model.keras_model.get_layer("fpn_p2").kernel).tobytes()[:64])
    newest.write_bytes(content[:at] + bytes(64) + content[at + 64:])
    with pytest.raises(CheckpointError, match="damaged"):
        TrainingState.load(newest)
    older.unlink()
    newest.unlink()
    assert find_state(model.log_dir, 2) is None
    assert os.path.basename(runs.find_last(tmp_path)) == "mask_rcnn_resumed_0002.h5"


def test_a_state_of_another_network_changes_nothing(tmp_path):
    model = train(tmp_path, {}, epochs=1)
    found = find_state(model.log_dir, 1)
    other = MaskRCNN("training", config_of(FPN_CLASSIF_FC_LAYERS_SIZE=32), tmp_path, seed=1)
    other.compile(0.001)
    before = weights(other)
    with pytest.raises(CheckpointError, match="another network or optimizer"):
        found.restore(other.keras_model)
    assert_equal(weights(other), before)


@pytest.mark.slow
def test_a_state_of_another_run_is_an_error_and_the_checkpoint_alone_loads(tmp_path):
    one, other = (train(tmp_path / name, {}, epochs=1) for name in ("one", "other"))
    (path,), (foreign,) = state_files(one.log_dir), state_files(other.log_dir)
    path.write_bytes(foreign.read_bytes())
    with pytest.raises(CheckpointError, match=f"{path.name} is of another run.*checkpoint alone"):
        taken_up(tmp_path / "one", {}, epochs=2)
    path.unlink()
    assert taken_up(tmp_path / "one", {}, epochs=2).epoch == 2
    assert taken_up(tmp_path / "other", {}, epochs=2).epoch == 2


def test_a_state_that_cannot_be_written_does_not_end_the_training(tmp_path, monkeypatch, caplog):
    def full(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TrainingState, "save", full)
    model = train(tmp_path, {}, epochs=1, save_every=1)
    assert model.epoch == 1
    assert "No space left on device" in caplog.text and "last checkpoint" in caplog.text


@pytest.mark.parametrize("value", [0, -3, "soon", "0 min", 2.5, True, "10 parsec"])
def test_intervals_that_are_none(tmp_path, value):
    with pytest.raises(ValueError, match=r"save_every is .*30 s"):
        train(tmp_path, {}, save_every=value)


@pytest.mark.slow
def test_a_run_that_is_killed_between_its_checkpoint_and_its_state_does_the_same_again(
        uninterrupted, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(self, folder):
        if self.epoch == 2:
            raise Killed
        return save(self, folder)

    save = TrainingState.save
    monkeypatch.setattr(TrainingState, "save", killed)
    with pytest.raises(Killed):
        train(tmp_path, {}, save_every=2)
    monkeypatch.setattr(TrainingState, "save", save)
    assert os.path.basename(runs.find_last(tmp_path)) == "mask_rcnn_resumed_0002.h5"
    model = taken_up(tmp_path, {})
    expected, history = uninterrupted({})
    assert_equal(weights(model), expected)
    assert model.history == history


def test_a_run_that_goes_back_forgets_the_states_beyond(tmp_path):
    model = train(tmp_path, {}, epochs=2)
    first = runs.checkpoint_path(model.log_dir, "resumed", 1)
    back = MaskRCNN("training", config_of(), tmp_path, seed=3)
    back.load_weights(first)
    with pytest.raises(TrainingInterrupted):
        train(tmp_path, {}, model=back, interrupt=(1, 0))
    assert [path.name for path in state_files(model.log_dir)] == [
        "training_state_0001_000001.state", "training_state_0001_000000.state"]


def test_drafts_of_killed_processes_are_removed(tmp_path):
    found = TrainingState(1, 0, {}, {"model/a/0": np.zeros(3)})
    left = [tmp_path / ".training_state_0001_000000.state.99999999.abc.tmp",
            tmp_path / ".mask_rcnn_small_0001.h5.99999999.abc.tmp"]
    for path in left:
        path.write_bytes(b"half")
    found.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["training_state_0001_000000.state"]


def test_a_state_with_too_much_text_is_not_read(tmp_path):
    path = TrainingState(1, 0, {}, {"model/a/0": np.zeros(3)}).save(tmp_path)
    with h5py.File(path) as file:
        texts = dict(file.attrs)
    for name in ("about", "digest"):
        with h5py.File(path, "w", libver="latest") as file:  # older formats have less
            for other in texts.keys() - {name}:
                file.attrs[other] = texts[other]
            file.attrs[name] = np.zeros(hdf5_checks.MAX_ARRAYS + 1, "S1")
        with pytest.raises(CheckpointError, match=f"attribute '{name}' .*100,001 entries"):
            TrainingState.load(path)
        assert (newest.state_place(path) is None) is (name == "about")


def test_other_versions_are_said(tmp_path, caplog):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for versions in ({}, state.versions(), None, "3.0"):
        TrainingState.of(model, 1, 0, {"versions": versions}).restore(model)
    assert not caplog.records
    TrainingState.of(model, 1, 0, {"versions": {**state.versions(), "keras": "2.4"}}).restore(model)
    (record,) = caplog.records
    assert f"keras 2.4 and goes on with {keras.__version__}" in record.getMessage()


# --- disks that are full, folders that are read-only --------------------------------------------

FULL = """
import resource, sys
import numpy as np
from frcnn.training.state import TrainingState, find_state
folder, limit = sys.argv[1], int(sys.argv[2])
TrainingState(1, 0, {}, {"model/a/0": np.zeros(1000)}).save(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    TrainingState(2, 0, {}, {f"model/a/{i}": np.random.rand(50_000) for i in range(4)}).save(folder)
except OSError as error:
    print("refused", error)
print(find_state(folder, 1).epoch)
"""


@pytest.mark.parametrize("limit", [0, 100, 50_000, 799_000, 1_600_000])
def test_a_full_disk_is_an_oserror_and_leaves_the_state_before(tmp_path, limit):
    """A limit on the size of files fails as a full disk does, at that byte."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), str(limit)], text=True,
                          capture_output=True, check=False, env={
                              **os.environ, "PYTHONPATH": str(PROJECT)})
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].startswith("refused"), done.stderr
    assert lines[-1] == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["training_state_0001_000000.state"]


def test_without_any_place_for_a_state_the_training_goes_on(tmp_path, monkeypatch, caplog):
    """Also within the first epoch, where a checkpoint of epoch 0 is written with it."""
    def full(*arguments):
        raise CheckpointError("No space left on device")

    monkeypatch.setattr(fit, "save_weights", full)
    monkeypatch.setattr(callbacks, "save_weights", full)
    model = MaskRCNN("training", config_of(), tmp_path, seed=3)
    with pytest.raises(CheckpointError, match="No space left"):  # that of the epoch's end
        train(tmp_path, {}, model=model, epochs=1, save_every=1)
    assert "No space left on device" in caplog.text


@pytest.mark.slow
def test_kills_at_any_moment_leave_only_whole_files(tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tests/tools/kill_writers.py"), str(tmp_path), "100",
         "30", "1"],
        text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["saved"] > 10
    assert found["drafts after a write"] == 0
