"""Time from the start of a process to its first detection: import, build, weights, one image."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import children, report
from benchmarks.measure import median
from benchmarks.rows import PRECISIONS, SHORT, shrink_side

HELP = "the first detection from the start of a process"
SIDE = 1024
RUNS = 3
PARTS = {"import": "start and import", "build": "build", "load": "weights", "detect": "detect"}


def add_options(parser):
    """Options of this subject alone: none."""


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    starts, errors = measure(options)
    return ([section(starts)] if starts else []), starts, errors


def measure(options):
    """Starts a new process `RUNS` times for each precision.

    Returns:
        By precision, seconds of each run by part, and "total"; and errors.
    """
    found, errors = {}, []
    with tempfile.TemporaryDirectory() as folder:
        weights, picture = Path(folder) / "weights.h5", Path(folder) / "picture.jpg"
        side = shrink_side(SIDE, options.shrink)
        try:
            children.run("network:write_files", weights=str(weights), picture=str(picture),
                         side=side)
            for precision in PRECISIONS:
                runs = [_first_detection(weights, picture, side, precision) for _ in range(RUNS)]
                found[precision] = {name: [run[name] for run in runs] for name in runs[0]}
                children.progress(f"first detection, {SHORT[precision]}: "
                                  f"{median(found[precision]['total']):.2f} s")
        except children.ChildError as error:
            errors.append(f"Failed: first detection. {error}")
    return found, errors


def _first_detection(weights, picture, side, precision):
    """Seconds by part of one new process, counted from just before it is started."""
    command = [sys.executable, "-m", "benchmarks.first_detection", str(weights), str(picture),
               str(side), precision]
    began = time.time()
    finished = subprocess.run(command, env=children.environment(), capture_output=True, text=True,
                              check=False)
    if finished.returncode:
        raise children.ChildError(finished.stderr)
    return split(began, json.loads(finished.stdout.splitlines()[-1]))


def split(began, stamps):
    """Seconds of each part and "total", from the time stamps at the ends of the parts."""
    parts, before = {}, began
    for name in PARTS:
        parts[name], before = stamps[name] - before, stamps[name]
    return {**parts, "total": before - began}


def section(starts):
    """The parts as a table."""
    lines = [[SHORT[precision], report.figure(median(runs["total"])),
              report.figure(min(runs["total"])),
              *(report.figure(median(runs[name])) for name in PARTS)]
             for precision, runs in starts.items()]
    return report.Section(
        "First detection from process start, seconds",
        ["precision", "median", "best", *PARTS.values()], lines,
        [f"Each of {RUNS} new processes imports the library, builds the network, loads a "
         "checkpoint and detects on one JPEG of 1280×720; the parts are medians."])
