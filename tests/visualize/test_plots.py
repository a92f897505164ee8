"""Curves and matrices: their lines, cells and names."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from visualize_tools import NAMES, legend_texts, texts

from frcnn import visualize
from frcnn.config import LOSS_NAMES

LOSSES = ("loss", *LOSS_NAMES)


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


def test_a_single_epoch_has_whole_numbers_and_hollow_validation():
    ax = visualize.plot_losses({"loss": [2.0], "val_loss": [2.5]}, epochs=[7])
    ax.figure.canvas.draw()
    assert {label.get_text() for label in ax.get_xticklabels()} <= {"6", "7", "8"}
    training, validation = ax.lines
    assert training.get_markerfacecolor() == "black" != validation.get_markerfacecolor()


def test_losses_that_are_missing_leave_gaps():
    ax = visualize.plot_losses({"loss": [3.0, None, 1.0], "val_loss": [None, 2.0, np.nan],
                                "learning_rate": ["x"]})
    assert ax.get_yscale() == "log" and len(ax.lines) == 2
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [3, np.nan, 1])


def test_ap_of_the_epochs_that_were_evaluated():
    history = {"loss": [1.0] * 4, "val_AP": [None, 0.25, None, 0.125],
               "val_AP50": [np.nan, 0.5, None, 0.3]}
    ax = visualize.plot_ap_by_epoch(history, epochs=[4, 5, 6, 7])
    ap, highest, ap50 = ax.lines
    np.testing.assert_array_equal(ap.get_xydata(), [[5, 0.25], [7, 0.125]])
    np.testing.assert_array_equal(highest.get_xydata(), [[5, 0.25]])
    np.testing.assert_array_equal(ap50.get_xydata(), [[5, 0.5], [7, 0.3]])
    assert (ap.get_linestyle(), ap50.get_linestyle()) == ("-", "--")
    assert legend_texts(ax) == ["AP", "AP50"] and ax.get_xlabel() == "epoch"
    assert ax.get_ylim()[0] == 0 and 0.5 < ax.get_ylim()[1] < 1
    # below the losses of the same epochs
    assert ax.get_xlim() == pytest.approx(visualize.plot_losses(history, epochs=[4, 5, 6, 7])
                                          .get_xlim())


@pytest.mark.parametrize("history", [{}, {"loss": [1.0]}, {"val_AP": [None, None]}])
def test_ap_that_was_not_computed(history):
    ax = visualize.plot_ap_by_epoch(history)
    assert len(ax.lines) == 0 and ax.get_legend() is None


def test_an_ap_of_zero_is_drawn():
    given = Figure().add_subplot()
    ax = visualize.plot_ap_by_epoch({"val_AP": [0.0]}, given)
    assert ax is given and ax.get_ylim() == (0, 1.02)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 0]])


def test_sizes_of_boxes_are_counted_by_class():
    sides = np.array([10, 10.5, 40, 300, 300, 300])
    ax = visualize.plot_box_sizes(sides, [1, 3, 1, 3, 3, 3], NAMES, anchors=(16, 32))
    assert legend_texts(ax) == ["cast", "eryth", "anchors"]
    colors = [visualize.class_color(class_id) for class_id in (1, 3)]
    areas = {color: sum(patch.get_height() for patch in ax.patches
                        if to_hex(patch.get_facecolor()) == color) for color in colors}
    assert list(areas.values()) == [2, 4]
    assert [line.get_xdata()[0] for line in ax.lines] == [16, 32]
    given = Figure().add_subplot()
    assert visualize.plot_box_sizes([], [], NAMES, given) is given and given.get_legend() is None
    assert sum(patch.get_height() for patch in visualize.plot_box_sizes([5], [1], NAMES).patches) \
        == 1


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
    assert legend_texts(ax) == ["0.900  eryth", "0.500  cast", "0.700  mean"]
    assert ax.get_legend().get_title().get_text() == "AP"
    eryth, cast, mean = ax.lines
    np.testing.assert_allclose(mean.get_ydata()[[0, 50, 51, 100]], [0.95, 0.95, 0.45, 0.45])
    assert (eryth.get_color(), cast.get_color()) == \
        (visualize.class_color(3), visualize.class_color(1))
    assert cast.get_xdata()[-1] == pytest.approx(0.51) and cast.get_ydata()[-1] == 0
    assert len(visualize.plot_precision_recall_by_class({}).lines) == 0
    curves["cast"]["iou_threshold"] = 0.75
    alone = visualize.plot_precision_recall_by_class({"cast": curves["cast"]})
    assert legend_texts(alone) == ["0.500  cast"]
    assert alone.get_legend().get_title().get_text() == "AP at IoU 0.75"


def test_the_legend_of_many_classes_is_as_high_as_the_plot():
    recalls = np.linspace(0, 1, 101)
    ax = visualize.plot_precision_recall_by_class({
        f"class {i} {'x' * 50}": {"class_id": i, "AP": i / 100, "recalls": recalls,
                                  "precisions": np.full(101, i / 100)} for i in range(1, 47)})
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().height < 1.15 * ax.get_window_extent().height
    assert max(map(len, legend_texts(ax))) < 40  # a long name is cut, with a sign of it
    assert legend_texts(ax)[0].endswith("…")


def test_overlaps_name_matches_and_mistakes():
    overlaps = np.array([[0.9, 0.0], [0.2, 0.7]])
    ax = visualize.plot_overlaps([1, 3], [1, 2], [0.95, 0.5], overlaps, NAMES)
    assert texts(ax) == ["0.90\nmatch", "0.20", "0.70\nwrong"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cast", "eryth"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cast 0.95", "cryst 0.50"]
    np.testing.assert_array_equal(ax.images[0].get_array(), overlaps)
    strict = visualize.plot_overlaps([1, 3], [1, 2], [0.95, 0.5], overlaps, NAMES, threshold=0.8)
    assert texts(strict)[2] == "0.70"


def test_overlaps_of_many_objects_name_only_what_matters():
    overlaps = np.zeros((61, 61))
    overlaps[0, 0], overlaps[1, 1], overlaps[2, 2] = 0.9, 0.7, 0.3
    ids = np.ones(61, int)
    ax = visualize.plot_overlaps(ids, [1, 2, *ids[2:]], np.ones(61), overlaps, NAMES)
    assert texts(ax) == ["0.90", "0.70 ×"]
    ax.figure.canvas.draw()
    labels = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(low.y0 >= high.y1 - 1 for low, high in pairwise(labels))


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


def test_shares_are_rounded_to_all_or_nothing_only_where_exact():
    counts = np.array([[0, 0, 0], [0, 999, 1], [0, 0, 5]])
    ax = visualize.plot_confusion_matrix(counts, NAMES[:3])
    assert texts(ax) == ["999\n>99%", "1\n<1%", "5\n100%"]
    many = visualize.plot_confusion_matrix(np.diag(np.arange(31)), ["BG", *"a" * 30])
    assert texts(many)[:2] == ["1", "2"]  # no space for shares; the shades show them


def test_plots_draw_on_given_axes():
    ax = Figure().add_subplot()
    assert visualize.plot_precision_recall(0.5, [1, 0], [0, 1], ax=ax) is ax
    assert to_hex(ax.lines[0].get_color()) != "#000000"
    assert visualize.plot_overlaps([1], [1], [0.5], [[0.6]], NAMES, ax=Figure().add_subplot())
