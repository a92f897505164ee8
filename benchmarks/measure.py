"""Time and memory of a function: wall-clock time of single runs, and the kernel's peak memory."""

import contextlib
import re
import statistics
import threading
import time
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def time_runs(work, runs, warmup=2):
    """Seconds of each of `runs` calls of `work()`, after `warmup` calls that are not timed."""
    for _ in range(warmup):
        work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def median(times):
    """The median of a list of seconds, or None of an empty one."""
    return statistics.median(times) if times else None


def parse_status(text):
    """Resident memory now and at its peak, in bytes, from a `/proc/<pid>/status`.

    Returns:
        Dict with those of the keys "VmRSS" and "VmHWM" that are in the text.
    """
    found = re.findall(r"^(VmRSS|VmHWM):\s*(\d+) kB$", text, re.MULTILINE)
    return {name: 1024 * int(kilobytes) for name, kilobytes in found}


def resident():
    """This process's resident memory in bytes, or None where there is no `/proc`."""
    return _status().get("VmRSS")


def peak():
    """The most resident memory in bytes since the start or `reset_peak`; None without `/proc`.

    Unlike this, the peak of `resource.getrusage` includes that of the parent process.
    """
    return _status().get("VmHWM")


def reset_peak():
    """Restarts `peak` from the present memory; returns whether the system supports that."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def watch_memory(interval=0.2):
    """Reads `resident` every `interval` seconds within the `with` block.

    Yields the list that the readings are appended to; the last is taken at the end of the block.
    """
    readings, end = [], threading.Event()

    def watch():
        while not end.wait(interval):
            readings.append(resident())

    thread = threading.Thread(target=watch, daemon=True)
    readings.append(resident())
    thread.start()
    try:
        yield readings
    finally:
        end.set()
        thread.join()
        readings.append(resident())


def _status():
    try:
        return parse_status(STATUS.read_text())
    except OSError:
        return {}
