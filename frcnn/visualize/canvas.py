"""Figures, colours, boxes and labels: what the pictures are made of."""

import colorsys
import math
import os
import random
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

# Saturated and rather dark: they stand out on bright micrographs and carry white text.
PALETTE = ("#d81e1e", "#1259c3", "#0b7d3b", "#9a2fc2", "#c95a00", "#00808a", "#c2126f",
           "#6b4a12", "#4038d0", "#5c7a00", "#8c0f3a", "#3f5566")
NEUTRAL = "#555555"
MARGIN = 0.35  # inches around the axes of a figure made here


def class_color(class_id):
    """The colour of a class, the same in every picture: hex str; a crowd's is its class's."""
    index = abs(int(class_id)) - 1
    if index < 0:
        return NEUTRAL
    if index < len(PALETTE):
        return PALETTE[index]
    return matplotlib.colors.to_hex(colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.9, 0.7))


def random_colors(N, bright=True, seed=None):
    """N distinct colours in random order: hues evenly apart, as a list of (r, g, b) from 0 to 1."""
    value = 1.0 if bright else 0.7
    colors = [colorsys.hsv_to_rgb(index / N, 1, value) for index in range(N)]
    random.Random(seed).shuffle(colors)
    return colors


# --- figures --------------------------------------------------------------------------------


def new_figure(figsize):
    """A figure that shows itself in a notebook or window, where there is one.

    Anywhere else it stays out of pyplot's list, which would keep it alive.
    """
    if _in_notebook() or _has_windows():
        from matplotlib import pyplot

        return pyplot.figure(figsize=figsize)
    return Figure(figsize=figsize)


def new_axes(figsize, ax=None):
    """`ax`, or the only axes of a new figure."""
    return ax if ax is not None else new_figure(figsize).add_subplot()


def show_if_window(made):
    """Opens the window of a figure made here; does nothing without a display or in a notebook."""
    if made and _has_windows() and not matplotlib.is_interactive():
        from matplotlib import pyplot

        pyplot.show()


def save_figure(ax_or_fig, path, dpi=100):
    """Writes a figure, or the figure of an axes, as an image file, and lets go of it.

    Args:
        ax_or_fig: Axes or Figure.
        path: file to write, its kind by the ending (`.png`); replaced only once it is whole. Its
            folder is made if missing.
        dpi: pixels an inch.

    Returns:
        Path of the file.
    """
    figure = ax_or_fig if isinstance(ax_or_fig, Figure) else ax_or_fig.get_figure(root=True)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=path.suffix)
    os.close(handle)
    try:
        figure.savefig(temporary, dpi=dpi, bbox_inches="tight", pad_inches=0.1)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _in_notebook():
    backend = matplotlib.get_backend().lower()
    return any(name in backend for name in ("inline", "nbagg", "ipympl", "widget"))


def _has_windows():
    backend = matplotlib.get_backend().lower()
    interactive = matplotlib.backends.backend_registry.list_builtin(
        matplotlib.backends.BackendFilter.INTERACTIVE)
    return not _in_notebook() and backend in {name.lower() for name in interactive}


# --- images ---------------------------------------------------------------------------------


def image_axes(image, figsize, ax=None):
    """Axes for one image: `ax`, or a new figure of the image's proportions within `figsize`."""
    if ax is not None:
        return ax
    height, width = np.shape(image)[:2]
    scale = min((figsize[0] - 2 * MARGIN) / width, (figsize[1] - 2 * MARGIN) / height)
    size = (width * scale + 2 * MARGIN, height * scale + 2 * MARGIN)
    figure = new_figure(size)
    return figure.add_axes([MARGIN / size[0], MARGIN / size[1],
                            1 - 2 * MARGIN / size[0], 1 - 2 * MARGIN / size[1]])


def show_image(ax, image, title="", **options):
    """Draws an image so that box coordinates are its pixels' edges: (0, 0) is the outer corner."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 2:
        options.setdefault("cmap", "gray")
    elif image.dtype != np.uint8 and image.max(initial=0) > 1:
        image = np.clip(image, 0, 255).astype(np.uint8)
    height, width = image.shape[:2]
    ax.imshow(image, extent=(0, width, height, 0), **options)
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.set_frame_on(False)
    if title:
        ax.set_title(title, fontsize=11, pad=5)


# --- boxes and labels -----------------------------------------------------------------------


class Brush:
    """Draws boxes and labels on an axes that shows an image, sized for how many there will be.

    Labels stay inside the image and, where there is room, off one another.

    Args:
        ax: axes prepared by `show_image`.
        count: number of boxes to come.
    """

    def __init__(self, ax, count):
        self.ax = ax
        ax.apply_aspect()
        extent = ax.get_window_extent()
        points = 72 / ax.get_figure(root=True).dpi
        room = math.sqrt(extent.width * extent.height) * points / math.sqrt(max(count, 1))
        self.linewidth = float(np.clip(room / 50, 0.7, 1.8))
        self.fontsize = float(np.clip(room / 8, 4.5, 9))
        self._taken = np.zeros((0, 4))

    def box(self, box, color, style="solid", alpha=1.0, linewidth=None):
        """Adds the outline of `box` [4] in pixels; returns the Rectangle."""
        y1, x1, y2, x2 = (float(side) for side in box)
        linewidth = linewidth or self.linewidth
        halo = withStroke(linewidth=linewidth + 1.2, foreground="white", alpha=0.55 * alpha)
        outline = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color,
                            linestyle=style, linewidth=linewidth, alpha=alpha,
                            path_effects=[halo] if style == "solid" else None)
        return self.ax.add_patch(outline)

    def label(self, box, text, color, alpha=0.85):
        """Adds a label to `box` [4] in pixels, above it or where there is room."""
        label = self.ax.text(
            0, 0, text, color="white", fontsize=self.fontsize, va="top", ha="left",
            bbox={"facecolor": color, "alpha": alpha, "pad": 1, "linewidth": 0}, zorder=3)
        height, width = self._size(label)
        y, x = self._place(box, height, width)
        self._taken = np.vstack([self._taken, [y, x, y + height, x + width]])
        pad_y, pad_x = self._pad()
        label.set_position((x + pad_x, y + pad_y))
        return label

    def _pad(self):
        """The label's padding, one point, in image pixels down and across."""
        pixels = self.ax.get_figure(root=True).dpi / 72
        (x0, y0), (x1, y1) = self.ax.transData.inverted().transform([(0, 0), (pixels, pixels)])
        return abs(y1 - y0), abs(x1 - x0)

    def _size(self, label):
        """Height and width of a label with its padding, in image pixels."""
        # The text's own extent: that of the padded box around it is known only once it is drawn.
        corners = label.get_window_extent()
        (x1, y1), (x2, y2) = self.ax.transData.inverted().transform(
            [(corners.x0, corners.y0), (corners.x1, corners.y1)])
        pad_y, pad_x = self._pad()
        return abs(y2 - y1) + 2 * pad_y, abs(x2 - x1) + 2 * pad_x

    def _place(self, box, height, width):
        y1, x1, y2, x2 = (float(side) for side in box)
        right, bottom = self.ax.get_xlim()[1], self.ax.get_ylim()[0]
        spots = [(y1 - height, x1), (y1 - height, x2 - width), (y2, x1), (y2, x2 - width),
                 (y1, x1), (y2 - height, x1), (y1, x2), (y1, x1 - width)]
        best, least = None, math.inf
        for y, x in spots:
            y = min(max(y, 0), max(bottom - height, 0))
            x = min(max(x, 0), max(right - width, 0))
            hidden = self._covered(y, x, y + height, x + width)
            if hidden < least:
                best, least = (y, x), hidden
            if not hidden:
                break
        return best

    def _covered(self, y1, x1, y2, x2):
        """Area of a spot, in image pixels, that other labels have taken."""
        down = np.minimum(self._taken[:, 2], y2) - np.maximum(self._taken[:, 0], y1)
        across = np.minimum(self._taken[:, 3], x2) - np.maximum(self._taken[:, 1], x1)
        return float(np.sum(np.maximum(down, 0) * np.maximum(across, 0)))


def add_legend(ax, entries):
    """A legend in a row below the axes; `entries` are (colour, text, line style)."""
    handles = [Patch(facecolor="none" if style != "solid" else color, edgecolor=color, label=text,
                     linestyle=style) for color, text, style in entries]
    if handles:
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.005),
                  ncol=min(len(handles), 8), frameon=False, fontsize=9, handlelength=1.2,
                  columnspacing=1.4, borderaxespad=0.2)


def in_jupyter():
    """Whether this runs in an IPython kernel, which shows HTML."""
    shell = sys.modules.get("IPython")
    return shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None
