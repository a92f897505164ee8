"""The callback that saves the state of a training: at intervals, each epoch, on interruption."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from frcnn.errors import CheckpointError
from frcnn.training.agreement import highest
from frcnn.training.callbacks import Logs
from frcnn.training.interruption import Interruption, TrainingInterrupted
from frcnn.training.interval import Interval
from frcnn.training.state import TrainingState

log = logging.getLogger(__name__)

# Saving may take this share of the time; where it takes more, it is done less often.
HIGHEST_SHARE = 0.01


class WriteState(keras.callbacks.Callback):
    """Saves the state after an epoch, at intervals within it, and before an interruption.

    It is the last of the callbacks, so that everything else about an epoch is done.

    Args:
        folder: the run's.
        about: see `TrainingState`.
        interval: how often within an epoch.
        interruption: what asks the training to end.
        before_first: called with the epochs that are done before a state is written within an
            epoch. Within the first that is trained, there may be no checkpoint yet.
        after_first: called after each epoch, when what `before_first` wrote is of no use any more.
        writes: False in a process other than the first, which alone writes; all of them end
            after the same step.
    """

    def __init__(self, folder: str | Path, about: Mapping[str, Any], interval: Interval,
                 interruption: Interruption, before_first: Callable[[int], None],
                 after_first: Callable[[], None], writes: bool = True) -> None:
        super().__init__()
        self.writes = writes
        self.folder, self.about, self.interval = Path(folder), dict(about), interval
        self.interruption = interruption
        self.before_first, self.after_first = before_first, after_first
        self.skipped = 0  # steps of the first epoch that an earlier process has done
        self._epoch = self._step = 0
        self._saved_at, self._cost, self._can_save = time.monotonic(), 0.0, True

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Begins to count the epoch's steps."""
        # Where the run has gone back to an earlier epoch, the first state that is saved deletes
        # those beyond: until then they are what it continues from.
        self._epoch, self._step, self.skipped = epoch, self.skipped, 0

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Saves where it is time, and ends where a signal has asked for it."""
        self._step += 1
        is_last = batch + 1 == (self.params or {}).get("steps")
        if is_last:  # the epoch's end, which comes now, saves
            return
        number = self._signal()
        if number or self._is_due():
            self._save(self._epoch, self._step)
            self._end(number)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Saves, and ends where a signal has asked for it."""
        self._save(epoch + 1, 0)
        if self.writes:
            self.after_first()
        self._end(self._signal())

    def _signal(self) -> int:
        """The signal that has asked this or another process to end; 0 for none."""
        return highest(self.interruption.number or 0)

    def _is_due(self) -> bool:
        if self.interval.steps is not None:
            return self._step % self.interval.steps == 0
        if self.interval.seconds is None:
            return False
        wait = max(self.interval.seconds, self._cost / HIGHEST_SHARE)
        return time.monotonic() - self._saved_at >= wait

    def _save(self, epoch: int, step: int) -> None:
        if not self._can_save or not self.writes:
            return
        began = time.monotonic()
        try:
            state = TrainingState.of(self._model, epoch, step, self.about)
            if not state.is_finite():
                return  # the check of the next loss ends the training
            if step:
                self.before_first(epoch)
            self.interruption.path = state.save(self.folder)
        except (OSError, CheckpointError) as error:
            # The training itself can go on, and its checkpoints have errors of their own.
            log.warning("The state of the training cannot be saved in %s (%s); an interrupted "
                        "run will continue from its last checkpoint.", self.folder, error)
            self._can_save = False
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began

    def end_if_asked(self) -> None:
        """Ends after the last epoch, too; all processes of a job have to call it."""
        self._end(self._signal())

    def _end(self, number: int) -> None:
        if number:
            raise TrainingInterrupted(number, self.interruption.path)


class RestoreMetrics(keras.callbacks.Callback):
    """Gives the metrics back to the epoch that a state is in the middle of.

    Args:
        state: of a step within the first epoch that is trained.
    """

    def __init__(self, state: TrainingState) -> None:
        super().__init__()
        self.state: TrainingState | None = state

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Keras has just reset them."""
        if self.state is not None:
            self.state.restore_metrics(self._model)
            self.state = None
