"""`python -m benchmarks export`: rows of every engine, measured in turn."""

import json
import subprocess
import sys

import keras
import pytest

from benchmarks import __main__ as program
from benchmarks import children, export


def test_engines_are_asked_in_turn():
    asked = []

    class Fake:
        def __init__(self, name, kind):
            self.name, self.spec = name, {"kind": kind}

        def ask(self, **request):
            asked.append((self.name, *request))
            return {"seconds": 0.5, "peak": 10**9}

    rows = export.rounds([Fake("a", "tensorflow"), Fake("b", "file")], 64, 2, 3, [])
    assert asked == [("a", "side", "batch"), ("b", "side", "batch"), ("a", "unit")] * 4
    assert [row["seconds"] for row in rows] == [[0.5] * 3] * 2
    detection, start = export.sections([*rows, {"kind": "start", "engine": "a", "seconds": [2.0]}])
    assert detection.rows[0][:6] == ["a", "64", "2", "500", "500–500", "1.0"]
    assert start.rows == [["a", "2.00"]]


def test_an_engine_that_is_killed_is_left_out_from_then_on(monkeypatch):
    class Child(export.Engine):
        def _answer(self):
            return {"time": 0.0} if not hasattr(self, "first") else super()._answer()

    idle = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen(idle, **options))
    engine = Child({"name": "large", "kind": "file", "side": 64})
    engine.process.kill()
    engines, failures = [engine], []
    assert export.rounds(engines, 64, 8, 2, failures) == [] and engines == []
    assert failures[0].startswith("Failed: large: ") and "no memory was left" in failures[0]
    engine.end()  # is no error, either


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an engine's file is made")
def test_a_file_and_one_that_fails(exports, tmp_path, capsys):
    path, _ = exports("litert")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"?")
    figures = tmp_path / "figures.json"
    assert program.main(["export", "--files", str(path), str(broken), "--sides", "128",
                         "--batches", "1", "2", "--runs", "1", "--json", str(figures)]) == 1
    captured = capsys.readouterr()
    assert "Failed: broken.onnx" in captured.err and "cannot be read by its engine" in captured.err
    rows = json.loads(figures.read_text())
    assert [(row["kind"], row.get("batch")) for row in rows] == [
        ("start", None), ("detection", 1), ("detection", 2)]
    assert path.name in captured.out


def test_a_child_that_ends_is_an_error():
    with pytest.raises(children.ChildError, match="a: "):
        export.Engine({"name": "a", "kind": "unknown", "side": 64})
    assert sys.executable
