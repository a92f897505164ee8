"""Signals that end a training after the step under way, with its state saved."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """A training ended by SIGINT or SIGTERM after a whole step.

    Args:
        number: of the signal.
        path: the state file that was written, or None.

    Attributes:
        exit_code: 128 and the signal's number: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, number: int, path: Any = None) -> None:
        super().__init__(f"training interrupted by {signal.Signals(number).name}")
        self.number, self.path, self.exit_code = number, path, 128 + number


class Interruption:
    """Whether a signal has asked the training to end.

    Attributes:
        number: of the first signal, or None.
        path: of the state that was saved last, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.path: Any = None

    @contextlib.contextmanager
    def watched(self) -> Iterator["Interruption"]:
        """A context in which SIGINT and SIGTERM are noted; a second one ends at once.

        Signals can only be handled in the main thread; in others the context does nothing.

        Raises:
            TrainingInterrupted: at the end, where one came too late for the training to notice.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        earlier = {number: signal.signal(number, self._note)
                   for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
        if self.number is not None:
            raise TrainingInterrupted(self.number, self.path)

    def _note(self, number: int, frame: Any) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
