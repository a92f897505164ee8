"""`last` is the training that was written last, however often a run goes back and is killed.

Real files, written by the real callbacks in Keras's order; only the network is a number: it stands
for everything that was done to the weights, so that two trainings have the same number only if the
one continues the other exactly.
"""

import contextlib
import json
import os
import random
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from model_tools import Rectangles, small_config

from frcnn import newest, runs
from frcnn.training import callbacks, fit, state
from frcnn.training.fit import FitRun
from frcnn.training.interruption import Interruption, TrainingInterrupted
from frcnn.training.interval import Interval
from frcnn.training.state import TrainingState, find_state
from frcnn.training.state_files import state_files, usable_states
from frcnn.training.state_writer import WriteState

NAME, STEPS, PRIME = "lines", 3, 2**31 - 1


class Killed(BaseException):
    """Stands for SIGKILL: from then on, the process changes no file any more."""


class Disk:
    """Ends the process before one of its changes of the file system.

    Args:
        changes: how many it may still make; None for all.
    """

    def __init__(self, monkeypatch):
        self.changes = None
        monkeypatch.setattr(os, "fsync", lambda file: None)  # which takes most of the time
        for name in ("replace", "unlink", "mkdir", "rename"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        for name in ("unlink", "rename", "mkdir"):
            monkeypatch.setattr(Path, name, self._counted(getattr(Path, name)))

    def _counted(self, change):
        def counted(*arguments, **options):
            if self.changes is not None:
                if self.changes <= 0:
                    raise Killed
                self.changes -= 1
            return change(*arguments, **options)

        return counted


class Network:
    """What Keras's model is for the callbacks; a step is a function of all steps before."""

    def __init__(self):
        self.content, self.stop_training, self.weights, self.metrics_variables = 0, False, [], []
        self.history = SimpleNamespace(epoch=[], history={})
        self.optimizer = SimpleNamespace(variables=[], learning_rate=0.1, use_ema=False)
        self.layers = [SimpleNamespace(name="all", variables=[self])]
        self.shape, self.steps_left = (), STEPS

    def __array__(self, dtype=None, copy=None):
        return np.array(self.content, dtype)

    def assign(self, value):
        self.content = int(value)

    def fit(self, batches, validation_data, initial_epoch, epochs, callbacks, verbose, shuffle):
        for callback in callbacks:
            callback.set_model(self)
            callback.set_params({"epochs": epochs, "steps": batches.left})

        def tell(name, *arguments):
            for callback in callbacks:
                getattr(callback, f"on_{name}")(*arguments)

        tell("train_begin")
        for epoch in range(initial_epoch, epochs):
            tell("epoch_begin", epoch)
            for batch in range(batches.left):
                tell("train_batch_begin", batch)
                self.content = (self.content * 31 + 7) % PRIME
                tell("train_batch_end", batch, {"loss": 1.0})
            batches.left = STEPS
            tell("epoch_end", epoch, {"loss": 1.0})
        tell("train_end")


class Ends(callbacks.PrintEpoch):
    """Sends a signal in the middle of a step."""

    def __init__(self, epoch, step, first_step):
        super().__init__(0)
        self.place, self.epoch, self.skipped = (epoch, step), -1, first_step

    def on_epoch_begin(self, epoch, logs=None):
        self.skipped = self.skipped if self.epoch < 0 else 0
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        pass

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, self.skipped + batch) == self.place:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def disk(monkeypatch):
    def save_weights(model, path):
        with fit.replacing(path) as draft:
            draft.write_text(str(model.content))

    for module in (fit, callbacks):
        monkeypatch.setattr(module, "save_weights", save_weights)
    monkeypatch.setattr(fit, "tensorboard", lambda folder: [])
    monkeypatch.setattr(state.keras.ops, "convert_to_numpy", np.asarray)
    return Disk(monkeypatch)


class Run:
    """The trainings of one run's folder, and a simple account of what they have done.

    Attributes:
        written: (content, what) of everything that was written whole, in this order.
    """

    def __init__(self, root, disk, save_every):
        self.root, self.disk, self.save_every, self.salt = root, disk, save_every, 5000
        self.folder = root / f"{NAME}20260101T0000"
        self.folder.mkdir(parents=True)
        self.dataset = Rectangles([(128, 128)])
        self.config = small_config(NAME=NAME)
        self.layers, self.begins_exactly = "heads", False

    def stage(self, content):
        """What a stage of these layers makes of weights, with which it begins."""
        return (content * 31 + {"heads": 1009, "all": 2003}[self.layers]) % PRIME

    def train(self, start, epochs, *, resume, kill=None, stop=None, keep=None):
        """One process; returns whether it came to its end."""
        network = Network()
        if start is not None:
            network.content = int(Path(start).read_text())
        epoch = runs.epochs_done(start) if start else 0
        found = find_state(self.folder, epoch, NAME) if resume else None
        first_step = found.step if found else 0
        about = {"steps": STEPS, "layers": self.layers}
        before = found or self._end_of(epoch, network.content)
        self.begins_exactly = found is not None
        if found is not None:
            found.restore(network)
            epoch = found.epoch
        if before is not None and not before.optimizer_goes_on(about, self.folder):
            network.content = self.stage(network.content)
        elif found is None:  # a new optimizer: another training than what followed before
            self.salt += 1
            network.content = (network.content * 31 + self.salt) % PRIME
        run = FitRun(network, self.config, str(self.folder), NAME, self.dataset, epoch, epochs,
                     start if epoch else None, fit.Monitoring(keep=keep), None,
                     Interval(steps=self.save_every), about, found)
        batches = SimpleNamespace(left=STEPS - first_step, failure=None)
        ends = [Ends(*stop, first_step)] if stop else []
        self.disk.changes = kill
        try:
            run.fit(batches, None, ends, 0)
            return True
        except (Killed, TrainingInterrupted):
            return False
        finally:
            self.disk.changes = None

    def _end_of(self, epoch, content):
        """The state of an epoch's end, if it is the one that the checkpoint belongs to."""
        path = state.state_path(self.folder, epoch, 0)
        found = TrainingState.load(path) if path.exists() else None
        return found if found and int(found.arrays["model/all/0"]) == content else None

    def last(self):
        """The content from which `last` goes on, its place, and whether exactly."""
        checkpoint = runs.find_last(self.root, NAME)
        found = find_state(self.folder, runs.epoch_of(checkpoint), NAME)
        if found is None:
            return int(Path(checkpoint).read_text()), (runs.epoch_of(checkpoint), 0), False
        return int(found.arrays["model/all/0"]), (found.epoch, found.step), True


@contextlib.contextmanager
def recorded(monkeypatch, kinds):
    """Collects (kind, content, epochs) of every state and checkpoint that is written whole."""
    save, saved = TrainingState.save, callbacks.SaveCheckpoint.on_epoch_end

    def save_state(self, folder):
        path = state_path(self, folder)
        before = path.read_bytes() if path.exists() else None
        try:
            return save(self, folder)
        finally:
            if path.exists() and path.read_bytes() != before:
                kinds.append(("state", int(self.arrays["model/all/0"]), (self.epoch, self.step)))

    def save_checkpoint(self, epoch, logs=None):
        path = runs.checkpoint_path(self.log_dir, self.name, epoch + 1)
        before = newest.checkpoint_place(path, epoch + 1)
        try:
            saved(self, epoch, logs)
        finally:
            if Path(path).exists() and newest.checkpoint_place(path, epoch + 1) != before:
                kinds.append(("checkpoint", self.model.content, (epoch + 1, 0)))

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", save_state)
        patch.setattr(callbacks.SaveCheckpoint, "on_epoch_end", save_checkpoint)
        yield


def state_path(found, folder):
    return state.state_path(folder, found.epoch, found.step)


def steps_on(content, count):
    for _ in range(count):
        content = (content * 31 + 7) % PRIME
    return content


def check(run, written, must_be_exact):
    """`last` goes on from what was written last, or from a place from which that comes again.

    `must_be_exact`: whether the line of the last training has a state.
    """
    kind, content, place = written[-1]
    found, where, is_exact = run.last()
    if kind == "state":
        assert (found, where, is_exact) == (content, place, True)
        return
    between = STEPS * (place[0] - where[0]) + place[1] - where[1]
    assert 0 <= between <= STEPS
    assert content in (steps_on(found, between), steps_on(run.stage(found), between))
    assert is_exact or not must_be_exact


@pytest.mark.parametrize("seed", range(40))
def test_the_newest_line_goes_on_whatever_happened_before(tmp_path, monkeypatch, disk, seed):
    rng = random.Random(seed)
    run = Run(tmp_path, disk, save_every=rng.choice([1, 2, None]))
    written, done = [], 0
    with recorded(monkeypatch, written):
        for _ in range(12):
            checkpoints = runs.checkpoints_in(run.folder)
            goes_back = bool(checkpoints) and rng.random() < 0.4
            if goes_back:
                start, resume = str(run.folder / rng.choice(sorted(checkpoints))), False
            elif written:
                start, resume = runs.find_last(tmp_path, NAME), True
            else:
                start, resume = None, False
            epoch = runs.epoch_of(start) if start else 0
            # A run that continues has its own layers, but for its next stage.
            if not resume or (run.last()[1:] == ((epoch, 0), True) and rng.random() < 0.3):
                run.layers = rng.choice(["heads", "all"])
            last = epoch + rng.randint(1, 3) + 1
            how = rng.choice(["ends", "killed", "killed", "stopped"])
            before = len(written)
            run.train(start, last, resume=resume,
                      kill=rng.randint(0, 40) if how == "killed" else None,
                      stop=(rng.randint(epoch, last - 1), rng.randint(0, STEPS - 1))
                      if how == "stopped" else None, keep=rng.choice([None, None, 1, 2]))
            new = written[before:]
            if new:
                done, layers = done + 1, run.layers
                must_be_exact = run.begins_exactly or "state" in [kind for kind, *_ in new[:-1]]
            if written:
                run.layers = layers  # one that wrote nothing has never been
                check(run, written, must_be_exact)
    assert done > 3


def six_epochs(tmp_path, disk, **options):
    run = Run(tmp_path, disk, **{"save_every": None, **options})
    assert run.train(None, 6, resume=False)
    return run


@pytest.mark.parametrize("step", range(STEPS - 1))
def test_going_back_and_being_stopped_in_the_first_epoch(tmp_path, disk, step):
    run = six_epochs(tmp_path, disk)
    assert run.last()[1:] == ((6, 0), True)
    second = runs.checkpoint_path(run.folder, NAME, 2)
    run.train(second, 6, resume=False, stop=(2, step))
    assert runs.find_last(tmp_path) == second
    content, place, is_exact = run.last()
    assert (place, is_exact) == ((2, step + 1), True)
    assert content != steps_on(int(Path(second).read_text()), step + 1)  # of the abandoned line
    assert run.train(second, 3, resume=True)
    assert run.last() == (steps_on(content, STEPS - step - 1), (3, 0), True)
    assert int(Path(runs.find_last(tmp_path)).read_text()) == run.last()[0]


def test_going_back_to_the_best_checkpoint_whose_own_was_deleted(tmp_path, disk):
    run = six_epochs(tmp_path, disk)
    second, best = runs.checkpoint_path(run.folder, NAME, 2), runs.best_path(run.folder, NAME)
    runs.save_best(second, best, 2, {"val_AP": 0.5})
    content = Path(second).read_text()
    Path(second).unlink()
    newest.metadata_path(second).unlink()
    run.train(best, 6, resume=False, stop=(2, 0))
    assert runs.find_last(tmp_path) == second and Path(second).read_text() == content
    assert run.last()[1:] == ((2, 1), True)
    assert run.train(second, 4, resume=True) and run.last()[1:] == ((4, 0), True)


def test_until_the_first_state_the_old_line_is_whole(tmp_path, disk):
    run = six_epochs(tmp_path, disk)
    expected = run.last()
    run.train(runs.checkpoint_path(run.folder, NAME, 2), 6, resume=False, kill=0)
    assert run.last() == expected and expected[1:] == ((6, 0), True)


def test_a_run_in_another_folder_that_was_stopped_later_is_newer(tmp_path, disk, monkeypatch):
    """One wrote its epoch at 12:00; the other began before it, and was stopped at 13:00."""
    time = ["2026-01-01T10:00:00+00:00"]
    monkeypatch.setattr(newest, "now", lambda: time[0])
    first = Run(tmp_path, disk, save_every=1)
    time[0] = "2026-01-01T12:00:00+00:00"
    first.train(None, 1, resume=False)
    second = Run(tmp_path / "second", disk, save_every=1)
    time[0] = "2026-01-01T13:00:00+00:00"
    second.train(None, 2, resume=False, stop=(0, 1))
    second.folder.rename(tmp_path / f"{NAME}20260101T1130")
    assert runs.find_last(tmp_path).endswith("T1130/mask_rcnn_lines_0000.h5")
    time[0] = "2026-01-01T14:00:00+00:00"
    first.train(runs.checkpoint_path(first.folder, NAME, 1), 2, resume=True)
    assert runs.find_last(tmp_path).endswith("T0000/mask_rcnn_lines_0002.h5")


def test_states_of_older_versions_name_no_line(tmp_path, disk, monkeypatch):
    """The run goes on, and goes back, as the files allow it."""
    with monkeypatch.context() as patch:
        patch.setattr(newest, "_place", lambda epoch, step, data: newest.Place(epoch, step))
        run = six_epochs(tmp_path, disk)
        assert run.last()[1:] == ((6, 0), True)
    for path in run.folder.glob("*.json"):
        path.write_text(path.read_text().replace(f'"{newest.LINE}"', '"unknown"'))
    for old in [TrainingState.load(path) for path in reversed(state_files(run.folder))]:
        old.about.pop(newest.LINE)
        old.save(run.folder)
    assert run.last()[1:] == ((6, 0), True) and len(usable_states(run.folder, 6)) == 2
    run.train(runs.checkpoint_path(run.folder, NAME, 6), 7, resume=True)
    assert run.last()[1:] == ((7, 0), True)
    run.train(runs.checkpoint_path(run.folder, NAME, 2), 7, resume=False, stop=(2, 1))
    assert run.last()[1:] == ((2, 2), True)


def test_a_state_has_versions_settings_and_the_history(tmp_path, disk):
    run = six_epochs(tmp_path, disk)
    about = newest.about_state(state_files(run.folder)[0])
    assert about["config"]["NAME"] == NAME
    assert about["versions"].keys() == {"frcnn", "keras", state.keras.backend.backend()}
    history = json.loads((run.folder / newest.HISTORY).read_text())
    assert about["history"] == history and history["epoch"] == [1, 2, 3, 4, 5, 6]
    for damaged in (None, "{", "[]", '{"loss": [1]}'):  # then the state's is taken
        (run.folder / newest.HISTORY).unlink()
        if damaged is not None:
            (run.folder / newest.HISTORY).write_text(damaged)
        epoch = runs.epoch_of(runs.find_last(tmp_path))
        run.train(runs.find_last(tmp_path), epoch + 1, resume=True)
        history = json.loads((run.folder / newest.HISTORY).read_text())
        assert history["epoch"] == list(range(1, epoch + 2))
        assert len(history["loss"]) == epoch + 1


# --- signals at the end ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", [(WriteState, "on_epoch_end"), (Network, "fit"),
                                   (FitRun, "_fit_all"), (WriteState, "end_if_asked")])
def test_a_signal_at_the_very_end_is_not_lost(tmp_path, disk, monkeypatch, where, number):
    """After the state was saved; a run of several stages would go on with the next one."""
    owner, name = where
    method = getattr(owner, name)

    def and_then_a_signal(*arguments, **options):
        method(*arguments, **options)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(owner, name, and_then_a_signal)
    run = Run(tmp_path, disk, save_every=None)
    assert not run.train(None, 1, resume=False)
    assert run.last()[1:] == ((1, 0), True)


def test_a_signal_after_the_last_look_is_not_lost():
    interruption, handler = Interruption(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingInterrupted) as raised, interruption.watched():
        interruption.path = "state"
        os.kill(os.getpid(), signal.SIGTERM)
    assert (raised.value.exit_code, raised.value.path) == (143, "state")
    assert signal.getsignal(signal.SIGTERM) is handler
    with pytest.raises(ZeroDivisionError), Interruption().watched():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError
    with Interruption().watched():
        pass
