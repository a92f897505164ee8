"""The loop of a training: one call of Keras's `fit`, with everything that it writes."""

import json
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from frcnn import newest, runs
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.loader import DetectionSequence
from frcnn.evaluate.coco import Metrics
from frcnn.files import replacing
from frcnn.runs import BestCheckpoint
from frcnn.training import job
from frcnn.training.callbacks import (
    History,
    PrintEpoch,
    SameValidation,
    SaveCheckpoint,
    StopWhenDiverged,
    WriteHistory,
    average_swap,
    class_lists,
    tensorboard,
)
from frcnn.training.evaluation import EvaluateEpochs, KeepBest, Monitoring
from frcnn.training.interruption import Interruption
from frcnn.training.interval import Interval
from frcnn.training.state import (
    HISTORY,
    RUN,
    VERSIONS,
    TrainingState,
    differing,
    identity_of_run,
    versions,
)
from frcnn.training.state_files import state_path
from frcnn.training.state_writer import RestoreMetrics, WriteState
from frcnn.weights.checkpoint import save_weights


@dataclass
class FitRun:
    """One call of `fit` on a detector: what it needs, and what it leaves.

    After `fit`, also after one that raised, `last_checkpoint`, `best_checkpoint`, `history` and
    `epoch` say how far it got.

    Attributes:
        model: the compiled Detector.
        config: Config.
        log_dir: the run's folder.
        name: the run's name, as in the files' names.
        dataset: the training data set, for the JSON beside a checkpoint.
        first_epoch: epochs that are done already.
        epochs: the total to reach.
        starting_checkpoint: path of the last checkpoint before this run, named in the error of a
            run that diverges before its first own one; or None.
        monitoring: how often it is evaluated, when it stops, which checkpoints are kept.
        interval: how often the state is saved within an epoch.
        about: what the state belongs to; see `TrainingState`.
        state: the state to continue from, with which the model has been restored; or None.
        evaluate: function without arguments that returns the metrics of the current weights, if
            `monitoring` evaluates; else None.
        last_checkpoint: path of the newest checkpoint that this run wrote, or None.
        best_checkpoint: the best one of this run, if it is evaluated and there is one; or None.
        has_stopped_early: whether `monitoring.patience` ended it.
        history: dict of lists: the metrics of each epoch.
    """

    model: keras.Model
    config: Config
    log_dir: str
    name: str
    dataset: Dataset
    first_epoch: int
    epochs: int
    starting_checkpoint: str | None = None
    monitoring: Monitoring = field(default_factory=Monitoring)
    evaluate: Callable[[], Metrics] | None = None
    interval: Interval = field(default_factory=Interval)
    about: dict[str, Any] = field(default_factory=dict)
    state: TrainingState | None = None
    last_checkpoint: str | None = field(default=None, init=False)
    best_checkpoint: BestCheckpoint | None = field(default=None, init=False)
    has_stopped_early: bool = field(default=False, init=False)
    history: History = field(default_factory=dict, init=False)
    _written: dict[str, Any] = field(default_factory=dict, init=False)

    def fit(
        self, batches: DetectionSequence, val_batches: DetectionSequence | None,
        custom_callbacks: Iterable[keras.callbacks.Callback] = (), verbose: int = 1,
    ) -> None:
        """Trains; writes a checkpoint, its JSON, TensorBoard logs and history.json each epoch.

        Args:
            batches, val_batches: as `make_sequences` returns them.
            custom_callbacks: called after this package's own.
            verbose: see `MaskRCNN.train`.

        Raises:
            TrainingDivergedError: the loss or a weight became NaN or infinite.
            DatasetError, ImageError: the loader's own.
        """
        here = job.current()
        writer = WriteHistory(self.log_dir, self.first_epoch, here.is_main,
                              self.state and self.state.about.get(HISTORY))
        saver = SaveCheckpoint(self.log_dir, self.name, self.config, self.dataset,
                               self.monitoring.keep, writer.history.get("epoch", ()), here.is_main,
                               **self._identity())
        guard = StopWhenDiverged(lambda: saver.last or self.starting_checkpoint)
        keeper = KeepBest(runs.best_path(self.log_dir, self.name), lambda: saver.last,
                          self.first_epoch, writer.history, self.monitoring.patience)
        callbacks = [*average_swap(self.config), SameValidation(), guard, saver, writer]
        if self.evaluate is not None and self.monitoring.evaluate_every is not None:
            # The files are written before the evaluation, which may be interrupted, and its
            # figures after it.
            callbacks += [EvaluateEpochs(self.evaluate, self.monitoring.evaluate_every), keeper,
                          writer]
        if here.is_main:
            callbacks += tensorboard(self.log_dir)
        interruption = Interruption()
        about = {**self.about, **self._written, VERSIONS: versions(), HISTORY: writer.history,
                 "config": json.loads(self.config.to_json())}
        states = WriteState(self.log_dir, about, self.interval, interruption,
                            self._write_first_checkpoint,
                            self._remove_first_checkpoint, here.is_main)
        if verbose == 2 and here.is_main:
            # Keras's own output for 2 takes two lines and has control characters.
            callbacks.append(PrintEpoch(self.epochs))
        verbose = 1 if verbose == 1 and here.is_main else 0
        try:
            with interruption.watched():
                self._fit_all(batches, val_batches, [*callbacks, *custom_callbacks], states,
                              verbose)
                states.end_if_asked()
        except Exception as error:
            _raise_cause(error, batches, val_batches)
            raise
        finally:
            self.history, self.last_checkpoint = writer.history, saver.last
            if keeper in callbacks:
                self.best_checkpoint = keeper.best
                self.has_stopped_early = keeper.has_stopped

    def _fit_all(self, batches: DetectionSequence, val_batches: DetectionSequence | None,
                 callbacks: list[keras.callbacks.Callback], states: WriteState,
                 verbose: int) -> None:
        """Calls `fit`; for the rest of an epoch separately, since Keras reads the length once."""
        first, record = self.first_epoch, None
        if self.state is not None and self.state.step:
            states.skipped = self.state.step
            self._fit(batches, val_batches, first, first + 1,
                      [RestoreMetrics(self.state), *callbacks, states], verbose)
            first, record = first + 1, self.model.history
        if first < self.epochs and not self.model.stop_training:
            self._fit(batches, val_batches, first, self.epochs, [*callbacks, states], verbose)
            if record is not None:
                self.model.history = joined(record, self.model.history)

    def _fit(self, batches: DetectionSequence, val_batches: DetectionSequence | None, first: int,
             last: int, callbacks: list[keras.callbacks.Callback], verbose: int) -> None:
        self.model.fit(batches, validation_data=val_batches, initial_epoch=first, epochs=last,
                       callbacks=callbacks, verbose=verbose,
                       shuffle=False)  # the loader shuffles, from its seed

    def _identity(self) -> dict[str, Any]:
        """What the files of this training have in common.

        That are the run, of the one that continues, or a new one; and its line, which is new where
        the training does not continue a state.
        """
        stored = self.state.about if self.state else {}
        run = stored.get(RUN) or identity_of_run(self.log_dir, self.name, self.first_epoch)
        line = stored.get(newest.LINE) if self.state else self._line_to_go_on()
        self._written = {RUN: run or uuid.uuid4().hex, newest.LINE: line or uuid.uuid4().hex}
        return self._written

    def _line_to_go_on(self) -> str | None:
        """The line of which a training that begins without a state is the next stage, if any.

        With a state of the stage before it begins as without one: with a new optimizer. Otherwise
        no earlier state leads to what this training does, so that its line is a new one.
        """
        here = (self.first_epoch, 0)
        places = [*newest.state_places(self.log_dir), *(
            newest.checkpoint_place(Path(self.log_dir) / name, epoch)
            for name, epoch in runs.checkpoints_in(self.log_dir).items() if epoch >= here[0])]
        about = newest.about_state(state_path(self.log_dir, *here)) or {}
        is_next_stage = bool(differing(about, self.about, within_epoch=False))
        is_last = all((place.epoch, place.step) <= here for place in places)
        line = newest.newest_line(places)
        return line if is_next_stage and is_last and line == about.get(newest.LINE) else None

    def _write_first_checkpoint(self, epoch: int) -> None:
        """Writes the checkpoint by which a run is found that is in the first epoch it trains.

        In a new run that is one of epoch 0, with the present weights; a state comes with it, which
        has them, too. A run that goes back to its best checkpoint, or begins with one from another
        folder, may have none of that epoch; then it is copied.
        """
        path = runs.checkpoint_path(self.log_dir, self.name, epoch)
        if epoch != self.first_epoch or Path(path).exists():
            return
        # Without a time where it is copied: until there is a state, the run has not gone back.
        written = self._written | ({newest.SAVED: newest.now()} if epoch == 0 else {})
        runs.save_metadata(path, self.config, *class_lists(self.dataset, self.config), **written)
        start = self.starting_checkpoint
        if start and Path(start).is_file() and runs.epochs_done(start) == epoch:
            with replacing(path) as draft:
                shutil.copyfile(start, draft)
        else:
            save_weights(self.model, path)

    def _remove_first_checkpoint(self) -> None:
        """Deletes the checkpoint of epoch 0 and its JSON, if there is one."""
        path = Path(runs.checkpoint_path(self.log_dir, self.name, 0))
        for written in (path, Path(runs.metadata_path(path))):
            written.unlink(missing_ok=True)

    @property
    def epoch(self) -> int:
        """Epochs that are done, by the newest checkpoint."""
        return runs.epoch_of(self.last_checkpoint) if self.last_checkpoint else self.first_epoch


def joined(first: keras.callbacks.History,
           second: keras.callbacks.History) -> keras.callbacks.History:
    """Keras's record of two calls of `fit`, the second of which went on with the first."""
    count = len(first.epoch)
    for name in {**first.history, **second.history}:
        second.history[name] = [*first.history.get(name, [None] * count),
                                *second.history.get(name, [None] * len(second.epoch))]
    second.epoch = [*first.epoch, *second.epoch]
    return second


def _raise_cause(error: Exception, *sequences: DetectionSequence | None) -> None:
    """Raises what is behind an error of Keras's `fit`; returns where the error says it itself."""
    # Keras and TensorFlow wrap the loader's error beyond recognition.
    failures = (sequence.failure for sequence in sequences if sequence is not None)
    failure = next((failure for failure in failures if failure is not None), None)
    if failure is not None and failure is not error:
        raise failure from None
    explained = job.explained(error)
    if explained is not error:
        raise explained from error
