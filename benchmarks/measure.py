"""Time and memory of a piece of work: single runs on the wall clock, and the kernel's own peak."""

import contextlib
import re
import statistics
import threading
import time
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def time_runs(work, runs, warmup=2):
    """Seconds of each of `runs` calls of `work()`, after `warmup` calls that do not count."""
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
        Dict with those of the keys "VmRSS" and "VmHWM" that the text has.
    """
    found = re.findall(r"^(VmRSS|VmHWM):\s*(\d+) kB$", text, re.MULTILINE)
    return {name: 1024 * int(kilobytes) for name, kilobytes in found}


def resident():
    """This process's resident memory in bytes, or None where there is no `/proc`."""
    return _status().get("VmRSS")


def peak():
    """The most resident memory in bytes since the start or `reset_peak`; None without `/proc`.

    `resource.getrusage` is no substitute: its peak begins with that of the parent process.
    """
    return _status().get("VmHWM")


def reset_peak():
    """Makes `peak` start from here; returns whether the system lets us."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def watch_memory(interval=0.2):
    """Reads `resident` every `interval` seconds while this is open.

    Gives the list that the readings are added to; the last comes when it closes.
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
