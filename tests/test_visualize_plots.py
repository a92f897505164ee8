"""Curves and matrices: what lines, cells and names they hold."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from visualize_tools import NAMES, legend_texts, texts

from frcnn import visualize

LOSSES = ("loss", "rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss")


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def test_losses_are_solid_in_training_and_dashed_in_validation():
    history = {name: [3.0, 2.0, 1.0] for name in LOSSES}
    history |= {"val_" + name: [3.5, 2.5, 1.5] for name in LOSSES} | {"learning_rate": [1, 1, 1]}
    ax = visualize.plot_losses(history)
    drawn = lines(ax)
    assert len(drawn) == 10 and legend_texts(ax) == list(drawn)
    assert drawn["total"].get_linestyle() == "-"
    assert drawn["total, validation"].get_linestyle() == "--"
    assert drawn["total"].get_color() == drawn["total, validation"].get_color()
    assert len({drawn[label].get_color() for label in
                ("total", "RPN class", "RPN box", "head class", "head box")}) == 5
    np.testing.assert_array_equal(drawn["head box"].get_xydata(), [[1, 3], [2, 2], [3, 1]])
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "epoch"


def test_losses_of_a_run_that_went_on_keep_their_epochs():
    class History:
        epoch = [4, 5]
        history = {"loss": [1.0, 0.0], "val_loss": [0.5]}

    given = Figure().add_subplot()
    ax = visualize.plot_losses(History, ax=given)
    assert ax is given and ax.get_yscale() == "linear"  # a loss of 0 has no logarithm
    assert lines(ax)["total"].get_xdata().tolist() == [5, 6]
    assert lines(ax)["total, validation"].get_xdata().tolist() == [6]
    assert visualize.plot_losses({"loss": [2.0, 1.0]}, epochs=[8, 9]).lines[0].get_xdata()[0] == 8


def test_losses_of_an_empty_history():
    assert len(visualize.plot_losses({}).lines) == 0


def test_precision_and_recall_of_one_image():
    ax = visualize.plot_precision_recall(0.75, [1, 1, 0.5, 0], [0, 0.5, 1, 1])
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 1], [0.5, 1], [1, 0.5], [1, 0]])
    assert "0.750" in ax.get_title()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("recall", "precision")


def test_precision_and_recall_by_class_put_the_best_first():
    recalls = np.linspace(0, 1, 101)
    curves = {"cast": {"class_id": 1, "AP": 0.5, "recalls": recalls,
                       "precisions": (recalls <= 0.5) * 1.0},
              "eryth": {"class_id": 3, "AP": 0.9, "recalls": recalls,
                        "precisions": np.full(101, 0.9)}}
    ax = visualize.plot_precision_recall_by_class(curves)
    assert legend_texts(ax) == ["eryth  0.900", "cast  0.500"]
    eryth, cast = ax.lines
    assert (eryth.get_color(), cast.get_color()) == \
        (visualize.class_color(3), visualize.class_color(1))
    assert cast.get_xdata()[-1] == pytest.approx(0.51) and cast.get_ydata()[-1] == 0
    assert len(visualize.plot_precision_recall_by_class({}).lines) == 0


def test_overlaps_name_matches_and_mistakes():
    overlaps = np.array([[0.9, 0.0], [0.2, 0.7]])
    ax = visualize.plot_overlaps([1, 3], [1, 2], [0.95, 0.5], overlaps, NAMES)
    assert texts(ax) == ["0.90\nmatch", "0.20", "0.70\nwrong"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cast", "eryth"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cast 0.95", "cryst 0.50"]
    np.testing.assert_array_equal(ax.images[0].get_array(), overlaps)
    strict = visualize.plot_overlaps([1, 3], [1, 2], [0.95, 0.5], overlaps, NAMES, threshold=0.8)
    assert texts(strict)[2] == "0.70"


@pytest.mark.parametrize("objects, detections", [(0, 0), (2, 0), (0, 2)])
def test_overlaps_of_nothing(objects, detections):
    ax = visualize.plot_overlaps([1] * objects, [1] * detections, [0.5] * detections,
                                 np.zeros((detections, objects)), NAMES)
    assert len(ax.get_xticklabels()) == objects and texts(ax) == []


def test_confusion_shows_counts_and_shares_with_misses_last():
    counts = np.array([[0, 5, 0, 0], [1, 8, 0, 1], [0, 0, 4, 0], [0, 0, 0, 0]])
    ax = visualize.plot_confusion_matrix(counts, NAMES)
    assert [label.get_text() for label in ax.get_xticklabels()] == [*NAMES[1:], "missed"]
    assert [label.get_text() for label in ax.get_yticklabels()] == [*NAMES[1:], "no object"]
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text()
             for text in ax.texts}
    assert cells == {(0, 0): "8\n80%", (0, 2): "1\n10%", (0, 3): "1\n10%", (1, 1): "4\n100%",
                     (3, 0): "5"}
    np.testing.assert_allclose(ax.images[0].get_array()[0], [0.8, 0, 0.1, 0.1])


def test_plots_draw_on_given_axes():
    ax = Figure().add_subplot()
    assert visualize.plot_precision_recall(0.5, [1, 0], [0, 1], ax=ax) is ax
    assert to_hex(ax.lines[0].get_color()) != "#000000"
    assert visualize.plot_overlaps([1], [1], [0.5], [[0.6]], NAMES, ax=Figure().add_subplot())
