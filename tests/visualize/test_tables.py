"""Tables as text and HTML, and the statistics of weights."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np

from frcnn import visualize


class Weight:
    def __init__(self, name):
        self.name = name


class Layer:
    def __init__(self, name, **weights):
        self.name = name
        self.weights = [Weight(key) for key in weights]
        self.values = [np.asarray(value, np.float32) for value in weights.values()]

    def get_weights(self):
        return self.values


class Model:
    layers = [
        Layer("conv1", kernel=[[-1.0, 3.0]], bias=[0.0, 0.0]),
        Layer("dead", kernel=[[2.0, 2.0]]),
        Layer("huge", kernel=[[-5000.0, 1.0]], odd=[[np.nan, 1.0]]),
        Layer("empty"),
    ]


def test_statistics_of_each_weight():
    rows = visualize.weight_stats(Model())
    assert [row["name"] for row in rows] == [
        "conv1/kernel", "conv1/bias", "dead/kernel", "huge/kernel", "huge/odd"]
    assert rows[0] == {"name": "conv1/kernel", "shape": (1, 2), "min": -1, "max": 3, "mean": 1,
                       "std": 2, "alert": ""}
    assert [row["alert"] for row in rows] == ["", "", "dead?", "overflow?", "not finite"]


def test_a_detectors_trainable_layers_are_taken():
    class Detector(Model):
        def get_trainable_layers(self):
            return self.layers[:1]

    assert len(visualize.weight_stats(Detector())) == 2


def test_weights_are_shown_as_a_table(capsys):
    visualize.display_weight_stats(Model())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["weight", "shape", "minimum", "maximum", "std"]
    assert lines[3].split() == ["dead/kernel", "(1,", "2)", "+2.0000", "+2.0000", "0.0000", "dead?"]


def test_a_table_is_aligned_text_outside_notebooks(capsys):
    visualize.display_table([["name", "n"], ["a", 10], ["longer", 2, "more"]])
    assert capsys.readouterr().out.splitlines() == ["name    n", "a       10", "longer  2   more"]


def test_a_table_is_escaped_html_in_notebooks(monkeypatch, capsys):
    shown = []
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel="a kernel")
    display.HTML, display.display = str, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    visualize.display_table([["name"], ["<b>"]])
    assert shown == ["<table><tr><th>name</th></tr><tr><td>&lt;b&gt;</td></tr></table>"]
    ipython.get_ipython = lambda: None  # IPython is loaded, but this is a plain program
    visualize.display_table([["name"]])
    assert len(shown) == 1 and capsys.readouterr().out == "name\n"
