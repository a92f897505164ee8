"""Pictures on images: which boxes, labels and colors are drawn."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from visualize_tools import GRAY, NAMES, drawn_box, legend_texts, outlines, texts

from frcnn import visualize
from frcnn.visualize import differences
from frcnn.visualize.canvas import NEUTRAL

BOXES = np.array([[10, 20, 40, 60], [50, 100, 90, 180], [15, 120, 35, 150]], np.float32)


def axes():
    return Figure(figsize=(6, 4)).add_subplot()


@pytest.mark.smoke
def test_every_object_has_its_box_name_score_and_class_color():
    ax = visualize.display_instances(GRAY, BOXES, [1, 3, 1], NAMES, [0.912, 0.5, 0.25], title="a")
    assert [drawn_box(patch) for patch in outlines(ax)] == [tuple(box) for box in BOXES]
    colors = [visualize.class_color(class_id) for class_id in (1, 3, 1)]
    assert [to_hex(patch.get_edgecolor()) for patch in outlines(ax)] == colors
    assert texts(ax) == ["cast 0.91", "eryth 0.50", "cast 0.25"]
    backgrounds = [text.get_bbox_patch().get_facecolor()[:3] for text in ax.texts]
    assert [to_hex(color) for color in backgrounds] == colors
    assert ax.get_title() == "a" and ax.get_legend() is None


def test_crowds_are_dotted_and_share_a_label():
    ax = visualize.display_instances(GRAY, [BOXES[0], BOXES[1], BOXES[1]], [1, -1, -3], NAMES)
    assert len(outlines(ax, style="dotted")) == 2 and len(outlines(ax, style="solid")) == 1
    assert texts(ax) == ["cast", "cast, eryth (crowd)"]


def test_captions_and_colors_can_be_given():
    ax = visualize.display_instances(GRAY, BOXES, [1, 2, 3], NAMES, captions=["one", "", None],
                                     colors=["#010203", "#112233", "#445566"])
    assert texts(ax) == ["one"]
    assert len(outlines(ax, color="#112233")) == 1


def test_many_objects_get_a_legend_with_counts():
    boxes = np.tile(BOXES, (20, 1))
    ax = visualize.display_instances(GRAY, boxes, [1, 3, 1] * 20, NAMES)
    assert legend_texts(ax) == ["cast (40)", "eryth (20)"]
    given = axes()
    assert visualize.display_instances(GRAY, boxes, [1, 3, 1] * 20, NAMES, ax=given) is given
    assert given.get_legend() is None
    assert legend_texts(visualize.display_instances(GRAY, BOXES, [1, 3, 1], NAMES, legend=True)) \
        == ["cast (2)", "eryth (1)"]


def test_an_image_without_objects_is_drawn():
    ax = visualize.display_instances(GRAY, np.zeros((0, 4)), np.zeros(0), NAMES, np.zeros(0))
    assert outlines(ax) == [] and texts(ax) == [] and len(ax.images) == 1


def test_boxes_before_and_after_refinement():
    moved = BOXES + 3
    ax = visualize.draw_boxes(GRAY, BOXES, moved, captions=["a", "b", "c"])
    assert [drawn_box(p) for p in outlines(ax, style="dashed")] == [tuple(box) for box in BOXES]
    assert [drawn_box(p) for p in outlines(ax, style="solid")] == [tuple(box) for box in moved]
    assert texts(ax) == ["a", "b", "c"]
    lines = [line.get_xydata().tolist() for line in ax.lines]
    assert lines[0] == [[20, 10], [23, 13]]  # corner to corner, x first
    alone = visualize.draw_boxes(GRAY, BOXES)
    assert len(outlines(alone, style="solid")) == 3 and not alone.lines


def test_visibilities_are_dim_dashed_and_solid():
    ax = visualize.draw_boxes(GRAY, BOXES, captions=["x", "y", "z"], visibilities=[0, 1, 2])
    dim, dashed, solid = outlines(ax)
    assert (dim.get_linestyle(), dashed.get_linestyle(), solid.get_linestyle()) == \
        ("dotted", "dashed", "solid")
    assert to_hex(dim.get_edgecolor()) == NEUTRAL and dim.get_alpha() < 1
    assert NEUTRAL not in {to_hex(dashed.get_edgecolor()), to_hex(solid.get_edgecolor())}


def test_rows_of_zeros_are_not_drawn():
    ax = visualize.draw_boxes(GRAY, BOXES, np.array([BOXES[0] + 1, [0] * 4, [0] * 4]))
    assert len(outlines(ax)) == 4 and len(ax.lines) == 1


def test_rois_are_counted_and_drawn_by_kind():
    rois = np.concatenate([BOXES, BOXES + 2, np.zeros((4, 4))])
    ax = visualize.draw_rois(GRAY, rois, rois + 1, [1, 3] + [0] * 8, NAMES, limit=None)
    assert ax.get_title() == "6 of 6 RoIs; 2 positive (33%), 4 negative"
    assert len(outlines(ax, style="dotted", color=NEUTRAL)) == 4
    assert len(outlines(ax, style="dashed")) == len(outlines(ax, style="solid")) == 2
    assert sorted(texts(ax)) == ["cast", "eryth"]


def test_rois_are_chosen_at_random_up_to_the_limit():
    rois = np.array([[i, i, i + 20, i + 30] for i in range(1, 41)], float)
    args = (GRAY, rois, rois, np.zeros(40, int), NAMES)
    chosen = [{drawn_box(p) for p in outlines(visualize.draw_rois(*args, limit=5, seed=seed))}
              for seed in (0, 0, 1)]
    assert len(chosen[0]) == 5 and chosen[0] == chosen[1] != chosen[2]
    assert visualize.draw_rois(*args, limit=100).get_title().startswith("40 of 40")
    empty = visualize.draw_rois(GRAY, np.zeros((3, 4)), np.zeros((3, 4)), [0, 0, 0], NAMES)
    assert empty.get_title() == "0 of 0 RoIs; 0 positive, 0 negative"


def test_differences_show_hits_misses_errors_and_ignored():
    crowd = [5, 150, 45, 195]
    truth = np.array([*BOXES[:2], [60, 10, 90, 40], crowd])
    found = np.array([BOXES[0], [61, 10, 91, 40], [10, 160, 20, 170], [5, 70, 25, 90], BOXES[1]])
    ax = visualize.display_differences(
        GRAY, truth, [1, 2, 3, -1], found, [1, 2, 1, 2, 2], [0.9, 0.8, 0.7, 0.6, 0.3], NAMES)
    assert len(outlines(ax, differences.HIT, "solid")) == 1
    assert [drawn_box(p) for p in outlines(ax, differences.MISSED)] == \
        [tuple(truth[1]), tuple(truth[2])]  # the one below the score is missed
    assert len(outlines(ax, differences.FALSE)) == 2
    assert len(outlines(ax, NEUTRAL)) == 2
    assert texts(ax) == ["cryst", "eryth", "cast 0.90 / 1.00", "cryst 0.80, is eryth", "cast 0.70",
                         "cryst 0.60"]
    assert legend_texts(ax) == ["1 hit (score / IoU; truth dotted)", "2 missed", "2 false",
                                "ignored region, 1 detection in it"]


def test_truth_and_detections_side_by_side_with_errors_dashed():
    crowd = [5, 150, 45, 195]
    truth = np.array([*BOXES[:2], [60, 10, 90, 40], crowd])
    found = np.array([BOXES[0], [61, 10, 91, 40], [10, 160, 20, 170], [5, 70, 25, 90], BOXES[1]])
    left, right = visualize.display_beside_truth(
        GRAY, truth, [1, 2, 3, -1], found, [1, 2, 1, 2, 2], [0.9, 0.8, 0.7, 0.6, 0.3], NAMES)
    assert left.figure is right.figure
    assert [patch.get_linestyle() for patch in outlines(left)] == [
        "solid", "dashed", "dashed", "dotted"]
    assert texts(left) == ["cast", "cryst, missed", "eryth, missed", "cast (crowd)"]
    assert [patch.get_linestyle() for patch in outlines(right)] == [
        "solid", "dashed", "dotted", "dashed"]  # the third is in the crowd
    assert texts(right) == ["cast 0.90", "cryst 0.80, is eryth", "cast 0.70", "cryst 0.60, false"]
    assert to_hex(outlines(right)[1].get_edgecolor()) == visualize.class_color(2)
    given = [axes(), axes()]
    assert visualize.display_beside_truth(GRAY, BOXES[:0], [], BOXES[:0], [], [], NAMES,
                                          given) is given


def test_hits_among_many_objects_have_short_labels():
    boxes = np.tile(BOXES, (20, 1)) + np.arange(60)[:, None]
    ax = visualize.display_differences(GRAY, boxes, [1] * 60, boxes, [1] * 59 + [2], [0.9] * 60,
                                       NAMES)
    assert texts(ax) == ["cast"] * 60 + ["cryst 0.90, is cast"]  # the first is the missed one's
    assert legend_texts(ax) == ["59 hit (truth dotted)", "1 missed", "1 false"]


def test_differences_without_truth_or_detections():
    nothing = (np.zeros((0, 4)), np.zeros(0, int))
    given = axes()
    ax = visualize.display_differences(GRAY, *nothing, *nothing, np.zeros(0), NAMES, ax=given)
    assert ax is given and outlines(ax) == []
    ax = visualize.display_differences(GRAY, BOXES, [1, 1, 1], *nothing, np.zeros(0), NAMES)
    assert len(outlines(ax, differences.MISSED, "dashed")) == 3
    ax = visualize.display_differences(GRAY, *nothing, BOXES, [1, 1, 1], np.ones(3), NAMES,
                                       legend=False)
    assert len(outlines(ax, differences.FALSE)) == 3 and ax.get_legend() is None


@pytest.mark.parametrize("count, rows, columns", [(1, 1, 1), (4, 1, 4), (6, 2, 4)])
def test_images_in_a_grid(count, rows, columns):
    images = [np.zeros((40 + 10 * i, 60, 3), np.uint8) for i in range(count)]
    figure = visualize.display_images(images, [f"image {i}" for i in range(count)])
    assert [ax.get_title() for ax in figure.axes] == [f"image {i}" for i in range(count)]
    lefts = {round(ax.get_position().x0, 3) for ax in figure.axes}
    tops = {round(ax.get_position().y1, 3) for ax in figure.axes}
    assert (len(tops), len(lefts)) == (rows, columns)
    assert min(ax.get_position().y0 for ax in figure.axes) >= 0
    assert visualize.display_images([]).axes == []


def test_long_titles_keep_to_their_own_image():
    names = ["short", "x" * 70 + ".png", "y" * 200 + ".jpg"]
    figure = visualize.display_images([GRAY] * 3, names)
    figure.canvas.draw()
    extents = [ax.title.get_window_extent() for ax in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(extents))
    shown = [ax.get_title() for ax in figure.axes]
    assert shown[0] == "short" and "…" in shown[2]
    assert shown[1].endswith(".png") and shown[2].endswith(".jpg")


def test_gray_images_take_a_color_map():
    figure = visualize.display_images([GRAY[:, :, 0], GRAY[:, :, :1]], cmap="viridis", cols=1)
    assert [ax.images[0].get_cmap().name for ax in figure.axes] == ["viridis"] * 2
    assert visualize.display_images([GRAY[:, :, 0]]).axes[0].images[0].get_cmap().name == "gray"


def test_detections_beside_the_truth():
    truths = [(BOXES, np.array([1, 2, -3])), (BOXES[:0], np.zeros(0, int))]
    results = [{"rois": BOXES.astype(int), "boxes": BOXES + 0.5, "class_ids": np.array([1, 1, 2]),
                "scores": np.array([0.9, 0.6, 0.2])},
               {"rois": BOXES[:1].astype(int), "class_ids": np.array([3]),
                "scores": np.array([0.7])}]
    figure = visualize.draw_detections_beside_truth(
        [GRAY, np.zeros((150, 100, 3), np.uint8)], truths, results, NAMES, titles=["a", "b"])
    assert [ax.get_title() for ax in figure.axes] == [
        "a: truth, 2 objects", "a: 2 detections, score 0.5 or more",
        "b: truth, 0 objects", "b: 1 detection, score 0.5 or more"]
    assert [len(outlines(ax)) for ax in figure.axes] == [3, 2, 0, 1]
    assert drawn_box(outlines(figure.axes[1])[0]) == tuple(BOXES[0] + 0.5)
    assert texts(figure.axes[1]) == ["cast 0.90", "cast 0.60"]
    for ax in figure.axes:  # the panels keep their images' proportions
        box = ax.get_window_extent()
        height, width = ax.images[0].get_array().shape[:2]
        assert box.height / box.width == pytest.approx(height / width, rel=1e-3)
