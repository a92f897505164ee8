"""A lock between processes, which ends with the process that holds it."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_PAUSE = 0.5  # seconds between two attempts


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], on_wait: Callable[[], None] | None = None
           ) -> Iterator[None]:
    """Holds a lock while the block runs; waits as long as another process or thread holds it.

    The operating system releases the lock of a process that has ended, however it ended. The file
    is left where it is: removing it would let a third process lock a new file of that name.

    Args:
        path: the lock's file; it is made, with its folder, if missing.
        on_wait: called once if the lock is not free.

    Raises:
        OSError: the file cannot be written, or its file system has no locks.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if not _acquire(file):
            if on_wait is not None:
                on_wait()
            while not _acquire(file):
                time.sleep(_PAUSE)
        try:
            yield
        finally:
            _release(file)


if sys.platform == "win32":
    import msvcrt

    def _acquire(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _release(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _acquire(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
