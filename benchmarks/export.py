"""Exported detectors beside TensorFlow and torchvision: time, memory, start.

    python -m benchmarks export --model WEIGHTS
    python -m benchmarks export --model WEIGHTS --files detector.xml detector8.xml

Every engine has a process of its own, and all run at the same time: each round asks one after the
other for one detection, so that what else happens on the machine meets all of them alike. Without
--files, the checkpoint is exported to a temporary folder first. Figures are valid only on an
otherwise idle machine.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import children, machine, report
from benchmarks.measure import median

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}
PRECISIONS = ("float32", "auto")
FILE_PRECISIONS = {"float32": "", "mixed_bfloat16": ", bfloat16"}  # the second of OpenVINO's only
HEAD = ["engine", "side", "batch", "ms", "range, ms", "units", "GB"]
START_RUNS = 3


class Engine:
    """A process that detects when it is asked to.

    Args:
        spec: of `benchmarks.export_child`.
    """

    def __init__(self, spec):
        self.spec, self.name = spec, spec["name"]
        # A pipe that nobody reads would fill up.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        started = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.export_child", json.dumps(spec)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env=children.environment())
        try:
            self.first = self._answer()["time"] - started
        except children.ChildError:
            self.end()
            raise

    def ask(self, **request):
        """What the process answers to a request; raises ChildError if it has ended."""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer, either
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def end(self):
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()
        self.process.wait()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith(children.MARK):
                return json.loads(line.removeprefix(children.MARK))
        self.errors.seek(0)
        text = self.errors.read().strip()[-800:]
        raise children.ChildError(f"{self.name}: {children.reason(self.process.wait(), text)}")


def main(arguments=None):
    """The program; returns 1 if something could not be measured."""
    options = make_parser().parse_args(arguments)
    print(*machine.sentences(machine.describe()), sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = options.files or exported(options.model, Path(folder))
        rows, failures = measure(specs(options, files), options)
    as_text = report.as_markdown if options.markdown else report.as_text
    for section in sections(rows):
        print("\n" + as_text(section), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for failure in failures:
        print("\n" + failure, file=sys.stderr)
    return 1 if failures else 0


def make_parser():
    """The command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks export",
                                     description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", metavar="WEIGHTS", help="checkpoint, for TensorFlow")
    parser.add_argument("--files", nargs="+", default=[], metavar="FILE",
                        help="exported files (default: exported from the checkpoint)")
    parser.add_argument("--torchvision", action="store_true",
                        help="also torchvision's Faster R-CNN, with random weights")
    parser.add_argument("--sides", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--runs", type=int, default=7, help="rounds (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    return parser


def specs(options, files):
    """What is measured: a dict for each engine."""
    found = [{"name": f"TensorFlow {precision}", "kind": "tensorflow", "path": options.model,
              "precision": precision} for precision in PRECISIONS if options.model]
    for path in map(Path, files):
        found += [{"name": path.name + ending, "kind": "file", "path": str(path),
                   "precision": precision} for precision, ending in FILE_PRECISIONS.items()
                  if precision == "float32" or path.suffix == ".xml"]
    if options.torchvision:
        found.append({"name": "torchvision", "kind": "torchvision"})
    return [{**spec, "side": min(options.sides)} for spec in found]


def exported(model, folder):
    """Files of every format in FORMATS, written by `frcnn export`."""
    if model is None:
        return []
    paths = [folder / f"detector{ending}" for ending in FORMATS.values()]
    for format, path in zip(FORMATS, paths):
        children.progress(f"exporting to {format}")
        done = subprocess.run([sys.executable, "-m", "frcnn.cli", "export", "--model", model,
                               "--format", format, "--output", path],
                              env=children.environment(), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr.strip().splitlines()[-1])
    return paths


def measure(wanted, options):
    """Rows of figures, and what failed."""
    engines, rows, failures = [], [], []
    try:
        for spec in wanted:
            try:
                engines.append(Engine(spec))
            except children.ChildError as error:
                failures.append(f"Failed: {error}")
        rows += [{"kind": "start", "engine": engine.name, "seconds": [engine.first]}
                 for engine in engines]
        for side in options.sides:
            for batch in options.batches:
                rows += rounds(engines, side, batch, options.runs, failures)
                children.progress(f"{batch} x {side}²")
    finally:
        for engine in engines:
            engine.end()
    return rows, failures


def rounds(engines, side, batch, runs, failures):
    """Rows of one size: every round asks all engines, the first round is not counted.

    An engine whose process ends is left out from then on, and why is added to `failures`.
    """
    seconds = {engine.name: [] for engine in engines}
    memory, units = {}, []

    def ask(engine, **request):
        try:
            return engine.ask(**request)
        except children.ChildError as error:
            failures.append(f"Failed: {error}")
            engine.end()
            engines.remove(engine)
            del seconds[engine.name]

    for number in range(runs + 1):
        for engine in list(engines):
            answer = ask(engine, side=side, batch=batch)
            if answer and number:
                seconds[engine.name].append(answer["seconds"])
                memory[engine.name] = answer["peak"]
        for engine in [one for one in engines if one.spec["kind"] == "tensorflow"][:1]:
            answer = ask(engine, unit=True)
            units += [answer["seconds"]] if answer else []
    unit = median(units)
    return [{"kind": "detection", "engine": name, "side": side, "batch": batch, "seconds": times,
             "peak": memory[name], "unit": unit} for name, times in seconds.items()]


def sections(rows):
    """The tables: detection, and the first detection of a process."""
    lines = []
    for row in rows:
        if row["kind"] == "detection":
            value = median(row["seconds"])
            lines.append([row["engine"], str(row["side"]), str(row["batch"]),
                          report.figure(1e3 * value), report.span(row["seconds"], 1e-3),
                          report.figure(value / row["unit"], 2) if row["unit"] else "",
                          report.gigabytes(row["peak"]) if row["peak"] else ""])
    starts = [[row["engine"], report.figure(median(row["seconds"]))] for row in rows
              if row["kind"] == "start"]
    return [report.Section("Detection: `detect` from uint8 images to boxes", HEAD, lines,
                           ["GB is the highest resident memory of the engine's process so far."]),
            report.Section("From the start of the process to the first result",
                           ["engine", "seconds"], starts, [])]
