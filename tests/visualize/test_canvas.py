"""Figures, colors and labels: their positions, sizes and files."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from visualize_tools import GRAY, NAMES, label_areas

from frcnn import visualize
from frcnn.visualize import canvas


def test_neither_keras_nor_pyplot_is_loaded():
    code = ("import sys; from frcnn import evaluate, report, visualize; "
            "sys.exit(any(name in sys.modules for name in "
            "('keras', 'tensorflow', 'matplotlib.pyplot')))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_class_colors_are_fixed_distinct_and_dark_enough():
    colors = [visualize.class_color(class_id) for class_id in range(1, 31)]
    assert colors == [visualize.class_color(class_id) for class_id in range(1, 31)]
    assert len(set(colors)) == 30
    assert visualize.class_color(-3) == visualize.class_color(np.int32(3))
    for color in colors[:12]:  # white text on them: contrast of at least 4 (WCAG)
        linear = [c / 12.92 if c < 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        luminance = np.dot(linear, [0.2126, 0.7152, 0.0722])
        assert 1.05 / (luminance + 0.05) >= 4, color


def test_random_colors_are_distinct_and_repeat_with_a_seed():
    colors = visualize.random_colors(9, seed=3)
    assert len(set(colors)) == 9 and all(0 <= c <= 1 for color in colors for c in color)
    assert colors == visualize.random_colors(9, seed=3)
    assert max(max(color) for color in visualize.random_colors(9, bright=False)) == \
        pytest.approx(0.7)
    assert visualize.random_colors(0) == []


def test_figures_do_not_pile_up_in_pyplot():
    from matplotlib import pyplot

    visualize.display_images([GRAY])
    before = len(pyplot.get_fignums())
    for _ in range(3):
        visualize.display_instances(GRAY, [[10, 10, 40, 60]], [1], NAMES)
        visualize.display_images([GRAY])
    assert len(pyplot.get_fignums()) == before


def test_windows_open_only_in_interactive_use(monkeypatch):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "TkAgg")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert canvas._has_windows()
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "Agg")
    assert not canvas._has_windows()
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "TkAgg")
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot")
    monkeypatch.delattr(sys, "ps1", raising=False)
    assert not canvas._has_windows()  # a program that only writes files


@pytest.mark.parametrize("shape", [(100, 200, 3), (200, 100), (100, 200, 1)])
def test_a_new_figure_has_the_images_proportions(shape):
    ax = visualize.display_instances(np.zeros(shape, np.uint8), [], [], NAMES, figsize=(6, 6))
    width, height = ax.figure.get_size_inches()
    assert max(width, height) == pytest.approx(6)
    assert (width > height) == (shape[1] > shape[0])


def test_a_thumbnail_has_a_small_figure():
    ax = visualize.display_instances(np.zeros((64, 64, 3), np.uint8), [], [], NAMES)
    assert max(ax.figure.get_size_inches()) < 8
    ax = visualize.display_instances(np.zeros((720, 1280, 3), np.uint8), [], [], NAMES)
    assert max(ax.figure.get_size_inches()) == pytest.approx(16)


def test_outlines_at_the_border_are_drawn_in_full_and_clipped_outside():
    ax = visualize.display_instances(GRAY, [[0, 0, 100, 200], [50, 150, 90, 260]], [1, 1], NAMES)
    assert [patch.get_clip_on() for patch in ax.patches] == [False, True]


def test_dashed_outlines_show_on_dark_images(tmp_path):
    """Along every kind of line there are pixels much brighter than the background."""
    boxes = np.array([[20, 20 + 90 * i, 80, 90 + 90 * i] for i in range(3)])
    ax = visualize.draw_boxes(np.zeros((100, 300, 3), np.uint8), boxes, visibilities=[0, 1, 2],
                              colors=["#000060"] * 3)
    ax.figure.savefig(tmp_path / "dark.png", dpi=100)
    pixels = np.asarray(Image.open(tmp_path / "dark.png").convert("L")).astype(float)
    row = round(pixels.shape[0] / 2)
    for left, right in ((0.1, 0.33), (0.38, 0.62), (0.67, 0.9)):
        band = pixels[row - 30:row + 30, int(left * pixels.shape[1]):int(right * pixels.shape[1])]
        assert band.max() > 70


def test_pixels_are_drawn_at_their_edges(tmp_path):
    """A box around bright pixels frames them exactly, on the file too."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = 255
    ax = visualize.display_instances(image, [], [], NAMES, figsize=(6.7, 4.7))
    # the axes fill the figure but for a margin of 0.35 inches: 10 pixels of file for one of image
    ax.figure.savefig(tmp_path / "a.png", dpi=100)
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    bright = pixels[35:435, 35:635] > 128
    assert bright.shape == (400, 600)
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    np.testing.assert_allclose([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1],
                               [100, 200, 300, 500], atol=1)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, bool])
def test_images_of_any_kind_are_drawn(dtype):
    image = (np.random.default_rng(0).random((20, 30, 3)) * 255).astype(dtype)
    shown = visualize.draw_boxes(image).images[0].get_array()
    assert shown.shape == (20, 30, 3)
    if dtype is np.float32:
        assert shown.dtype == np.uint8  # molded images range to 255, which imshow would cut at 1


CORNERS = [[-5, -5, 30, 30], [0, 190, 20, 200], [90, 0, 100, 10], [80, 180, 100, 200],
           [0, 0, 100, 200], [50, 199, 52, 200]]


@pytest.mark.parametrize("shape, figsize", [((100, 200), (16, 16)), ((100, 200), (3, 3)),
                                            ((1000, 300), (8, 8)), ((48, 48), (5, 5))])
def test_labels_stay_inside_the_image(shape, figsize):
    boxes = np.array(CORNERS, float) * np.tile([shape[0] / 100, shape[1] / 200], 2)
    ax = visualize.display_instances(np.full((*shape, 3), 99, np.uint8), boxes, [1] * 6, NAMES,
                                     np.linspace(0.5, 1, 6), figsize=figsize)
    areas = label_areas(ax)
    assert len(areas) == 6
    slack = 0.01 * max(shape)
    assert (areas[:, :2] >= -slack).all()
    assert (areas[:, 2:] <= np.array(shape) + slack).all()


def test_labels_keep_off_one_another_and_off_the_objects():
    y, x = np.mgrid[20:480:60, 20:640:80]
    boxes = np.stack([y, x, y + 30, x + 40], axis=-1).reshape(-1, 4)
    boxes = np.concatenate([boxes, boxes[:20] + [5, 5, 5, 5]])  # overlapping pairs
    ax = visualize.display_instances(np.full((500, 660, 3), 220, np.uint8), boxes,
                                     [1] * len(boxes), NAMES, np.full(len(boxes), 0.5))
    areas = label_areas(ax)
    shared = canvas._shared(areas, areas) - np.diag(np.prod(areas[:, 2:] - areas[:, :2], axis=1))
    assert shared.max() < 3
    assert (canvas._shared(areas, boxes).sum(axis=1) > 10).mean() < 0.1


def test_lines_and_labels_shrink_with_the_number_of_objects():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 900, (300, 2))
    boxes = np.concatenate([corner, corner + 40], axis=1)
    image = np.full((1000, 1000, 3), 230, np.uint8)
    few = visualize.display_instances(image, boxes[:5], [1] * 5, NAMES)
    many = visualize.display_instances(image, boxes, [1] * 300, NAMES)
    assert few.texts[0].get_fontsize() > many.texts[0].get_fontsize() >= 5
    small = visualize.display_instances(image, boxes[:5], [1] * 5, NAMES, figsize=(5, 5))
    assert 12 >= few.texts[0].get_fontsize() > small.texts[0].get_fontsize() >= 8
    assert few.patches[0].get_linewidth() > many.patches[0].get_linewidth() >= 0.7


def test_images_of_many_channels_show_three_and_of_two_one():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 5), np.uint8)
    shown = [visualize.draw_boxes(image[:, :, :channels]).images[0].get_array()
             for channels in (5, 4, 2)]
    np.testing.assert_array_equal(shown[0], image[:, :, :3])
    np.testing.assert_array_equal(shown[1], image[:, :, :3])
    np.testing.assert_array_equal(shown[2], image[:, :, 0])


def test_names_with_dollars_are_no_formulas():
    names = ["BG", r"$\frac$"]
    ax = visualize.display_instances(GRAY, [[10, 10, 40, 60]], [1], names, title="$x^$.png",
                                     legend=True)
    ax.figure.canvas.draw()  # a formula that cannot be read would raise an error


def test_save_figure_takes_axes_or_figure(tmp_path):
    ax = visualize.display_instances(GRAY, [], [], NAMES, figsize=(4, 4))
    for number, drawing in enumerate((ax, ax.figure)):
        path = visualize.save_figure(drawing, tmp_path / "new" / f"{number}.png", dpi=50)
        with Image.open(path) as image:
            assert image.format == "PNG" and image.width > 150
    with pytest.raises(ValueError):
        visualize.save_figure(ax, tmp_path / "new" / "0.nonsense")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["0.png", "1.png"]
