"""The one `openvino.Core` of a process."""

import os
import threading
from typing import Any

_lock = threading.Lock()
_cores: list[Any] = []
_inherited: list[Any] = []  # of the process that this one was forked from


def _begin_anew() -> None:
    """In a forked process: its parent's core has threads that do not exist here, and stays unused.

    It is kept, since freeing it would wait for them.
    """
    global _lock
    _lock = threading.Lock()  # another thread may have held it
    _inherited.extend(_cores)
    _cores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def openvino_core() -> Any:
    """The process's `openvino.Core`, made with the first call and never freed.

    A core installs an alternate stack for signals with its first use of the CPU, and puts the
    earlier one back when it is freed. Of two cores, freed in the order in which they were made, the
    second puts back the stack of the first, which no longer exists: the next signal, be it Ctrl-C,
    then ends Python with a segmentation fault.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    with _lock:
        if not _cores:
            _cores.append(openvino.Core())
        return _cores[0]
