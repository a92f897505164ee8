"""Reads boxes, labels and legends from axes, for the tests of pictures."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

NAMES = ["BG", "cast", "cryst", "eryth"]
GRAY = np.full((100, 200, 3), 170, np.uint8)


def outlines(ax, color=None, style=None):
    """Rectangles drawn as outlines of boxes; those of a color (hex) or line style only."""
    return [patch for patch in ax.patches if isinstance(patch, Rectangle) and not patch.get_fill()
            and (color is None or to_hex(patch.get_edgecolor()) == color)
            and (style is None or patch.get_linestyle() == style)]


def drawn_box(patch):
    """(y1, x1, y2, x2) of a Rectangle."""
    x, y, width, height = patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()
    return y, x, y + height, x + width


def texts(ax):
    return [text.get_text() for text in ax.texts]


def label_areas(ax):
    """`[N, 4]` (y1, x1, y2, x2) of the labels with their backgrounds, in image pixels."""
    ax.figure.canvas.draw()
    areas = []
    for text in ax.texts:
        extent = text.get_bbox_patch().get_window_extent()
        (x1, y1), (x2, y2) = ax.transData.inverted().transform(
            [(extent.x0, extent.y0), (extent.x1, extent.y1)])
        areas.append([min(y1, y2), min(x1, x2), max(y1, y2), max(x1, x2)])
    return np.array(areas).reshape(-1, 4)


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]
