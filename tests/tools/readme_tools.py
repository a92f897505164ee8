"""README.md taken apart, and a folder in which its code runs."""

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from cli_tools import TINY
from PIL import Image
from places import PROJECT
from voc_tools import draw_voc

TEXT = (PROJECT / "README.md").read_text(encoding="utf-8")

# What is added to a command so that it ends in time, by the script; the last value of an option
# counts. Nothing can be downloaded here, so training begins from nothing.
SMALLER = {
    "samples/urinary/synthetic.py": ["--train", "6", "--val", "3", "--size", "128"],
    "--model imagenet": ["--model", "none", "--epochs", "1", *TINY],
    "--model last": ["--epochs", "2"],
}
# Modules that blocks need beyond the requirements, by a mark.
NEEDS = {"frcnn export": ("onnx", "onnxruntime", "tf2onnx"), "frcnn.runtime": ("onnxruntime",)}
# Likewise of Python: each number must be in a block, lest the test run something else.
FEWER = {
    "epochs=40": [("640", "128"), ("epochs=5", "epochs=1"), ("epochs=40", "epochs=2")],
    "mask_rcnn_ury_0050.h5": [("768", "128"), ("1024", "128")],
}


def blocks(text=TEXT):
    """`[(language, content), ...]` of all code blocks; indented ones have the language ""."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$|^((?:    \S[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
    found, position = [], 0
    while match := fence.search(text, position):
        position = match.end()
        language, content, indented = match.groups()
        if indented is None:
            found.append((language, content))
        else:
            found.append(("", re.sub("^    ", "", indented, flags=re.MULTILINE)))
    return found


def runnable():
    """The blocks that can be executed."""
    return [(language, content) for language, content in blocks() if language in ("python", "bash")]


def commands():
    """Every line of the console blocks."""
    return [line for language, content in blocks() if language == "bash"
            for line in content.splitlines()]


def missing_modules(content):
    """The modules that a block needs and that are not installed."""
    return [name for mark, names in NEEDS.items() if mark in content for name in names
            if importlib.util.find_spec(name) is None]


class Workspace:
    """A folder as a reader has it: the clone, and images of their own, a few and small."""

    def __init__(self, folder):
        self.folder = folder
        self.done, self.failed = 0, None  # blocks that have run, and one that could not
        self.namespaces = {}
        (folder / "samples").symlink_to(PROJECT / "samples", target_is_directory=True)
        for name, count, ending in (("slides", 2, "png"), ("more", 1, "jpg"), ("smears", 3, "png"),
                                    ("scans", 1, "png")):
            (folder / name).mkdir()
            for number in range(count):
                pixels = np.full((90, 120, 3), 170, np.uint8)
                pixels[20:50, 30:70] = 200, 40 * number, 40
                Image.fromarray(pixels).save(folder / name / f"{number}.{ending}")
        with open(folder / "smears" / "boxes.csv", "w", newline="") as file:
            csv.writer(file).writerows([
                ["file", "x1", "y1", "x2", "y2", "label"], ["0.png", 30, 20, 70, 50, "white"],
                ["0.png", 1.5, 2, 30, 40, "red"], ["2.png", 30, 20, 70, 50, "red"]])
        region = {"type": "rectanglelabels", "original_width": 120, "original_height": 90,
                  "value": {"x": 25, "y": 20, "width": 50, "height": 40,
                            "rectanglelabels": ["red"]}}
        (folder / "corrected.json").write_text(json.dumps([
            {"data": {"image": "0.png"}, "annotations": [{"result": [region]}]}]))
        draw_voc(folder / "sediment_voc")
        (folder / "detect_objects.py").write_text("import mrcnn.model as modellib\n")
        self.programs = self._programs()

    def _programs(self):
        """A folder with `python` and `frcnn`, whatever is installed."""
        folder = self.folder / "bin"
        folder.mkdir()
        for name, options in (("python", ""), ("frcnn", "-m frcnn.cli")):
            path = folder / name
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
            path.chmod(0o755)
        return folder

    def run_until(self, index, monkeypatch):
        """Runs the blocks up to this one that have not run yet, each in the state left before."""
        if self.failed:
            pytest.skip(f"A block before this one failed: {self.failed}")
        for number in range(self.done, index + 1):
            language, content = runnable()[number]
            if missing_modules(content):
                self.done = number + 1
                continue
            self.failed = content
            if language == "bash":
                for line in content.splitlines():
                    self._run_command(line)
            else:
                monkeypatch.chdir(self.folder)
                self.namespaces[number] = self._run_python(content)
            self.done, self.failed = number + 1, None

    def _run_command(self, line):
        more = [word for mark, words in SMALLER.items() if mark in line for word in words]
        environment = {
            **os.environ, "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT), "FRCNN_CACHE": str(self.folder / "cache"),
            "KERAS_HOME": str(self.folder / "keras"), "MPLBACKEND": "Agg"}
        done = subprocess.run(["bash", "-c", " ".join([line, *more])], cwd=self.folder,
                              env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    def _run_python(self, content):
        for mark, pairs in FEWER.items():
            for old, new in pairs if mark in content else ():
                assert old in content
                content = content.replace(old, new)
        namespace = {"__name__": "readme"}
        exec(compile(content, "README.md", "exec"), namespace)
        return namespace
