"""Figures, colors, boxes and labels: the parts of all pictures."""

import colorsys
import contextlib
import math
import random
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from frcnn.arrays import Array, ArrayLike, FloatArray, Image
from frcnn.files import expanded, replacing
from frcnn.visualize.reduction import reduced, reduction

# Saturated and rather dark: visible on bright micrographs, and legible under white text.
PALETTE = ("#d81e1e", "#1259c3", "#0b7d3b", "#9a2fc2", "#c95a00", "#00808a", "#c2126f",
           "#6b4a12", "#4038d0", "#5c7a00", "#8c0f3a", "#3f5566")
NEUTRAL = "#555555"
MARGIN = 0.35  # inches around the axes of a figure made here
MIN_PIXELS_PER_INCH = 10  # of an image, so that a thumbnail does not fill the screen
MAX_PICTURE_SIDE = 3900  # pixels
MAX_HEIGHT = 39.0  # inches of a figure, so that it need not be scaled down
MAX_LABEL = 60  # characters
MAX_LEGEND = 48  # entries
_CURRENT: weakref.WeakSet[Figure] = weakref.WeakSet()  # the last one made here, if any
_FILE_BACKENDS = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


class LegendEntry(NamedTuple):
    """A line of a legend: color, text and line style."""

    color: str
    text: str
    style: str


def class_color(class_id: int) -> str:
    """The color of a class, the same in every picture: hex str; a crowd region has its class's."""
    index = abs(int(class_id)) - 1
    if index < 0:
        return NEUTRAL
    if index < len(PALETTE):
        return PALETTE[index]
    return matplotlib.colors.to_hex(colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.9, 0.7))


def random_colors(N: int, bright: bool = True, seed: int | None = None
                  ) -> list[tuple[float, float, float]]:
    """N distinct colors in random order: hues evenly apart, as a list of (r, g, b) from 0 to 1."""
    value = 1.0 if bright else 0.7
    colors = [colorsys.hsv_to_rgb(index / N, 1, value) for index in range(N)]
    random.Random(seed).shuffle(colors)
    return colors


# --- figures --------------------------------------------------------------------------------


def new_figure(figsize: tuple[float, float]) -> Figure:
    """A figure; pyplot manages it in a notebook or where there are windows, to display it.

    In a program that has imported pyplot it is pyplot's current one, so that `plt.savefig` writes
    it; without a display pyplot keeps only the last one, lest all stay in memory. Elsewhere it is
    not registered with pyplot.
    """
    is_shown = _in_notebook() or _has_windows()
    if is_shown or "matplotlib.pyplot" in sys.modules:
        from matplotlib import pyplot

        for before in () if is_shown else list(_CURRENT):
            pyplot.close(before)
        figure = pyplot.figure(figsize=figsize)
        _CURRENT.clear()
        _CURRENT.add(figure)
        return figure
    figure = Figure(figsize=figsize)
    FigureCanvasAgg(figure)  # without a canvas a figure makes a renderer for each text it measures
    return figure


def new_axes(figsize: tuple[float, float], ax: Axes | None = None) -> Axes:
    """`ax`, or the only axes of a new figure."""
    return ax if ax is not None else new_figure(figsize).add_subplot()


def show_if_window(made: bool) -> None:
    """Opens the window of a figure made here; does nothing without a display or in a notebook."""
    if made and _has_windows() and not matplotlib.is_interactive():
        from matplotlib import pyplot

        pyplot.show()


def save_figure(ax_or_fig: Axes | Figure, path: str | Path, dpi: float = 100, *,
                software: str | None = None) -> Path:
    """Writes a figure, or the figure of an axes, as an image file.

    Args:
        ax_or_fig: Axes or Figure.
        path: file to write, its format by the suffix (`.png`); written atomically. Its folder is
            made if missing.
        dpi: pixels an inch; lowered where a side would have more than MAX_PICTURE_SIDE pixels.
        software: what a PNG file names as the program that made it; None for Matplotlib.

    Returns:
        Path of the file.

    Raises:
        ValueError: Matplotlib does not write the format.
    """
    figure = _outermost_figure(ax_or_fig)
    path = expanded(path)
    kind = path.suffix.lstrip(".") or "png"
    options: dict[str, Any] = {}
    if software and kind == "png":
        options["metadata"] = {"Software": software}
    dpi = min(dpi, MAX_PICTURE_SIDE / max(figure.get_size_inches()))
    with replacing(path) as temporary:
        while True:
            figure.savefig(temporary, dpi=dpi, bbox_inches="tight", pad_inches=0.1, format=kind,
                           **options)
            excess = _longer_side(temporary) / MAX_PICTURE_SIDE
            if excess <= 1:  # else by what is written beside the axes
                return path
            dpi *= 0.99 / excess


def _longer_side(path: Path) -> int:
    """Pixels of the longer side of an image file; 0 if it has no pixels, as an SVG file."""
    try:
        with PIL.Image.open(path) as image:
            return max(image.size)
    except PIL.UnidentifiedImageError:
        return 0


@contextlib.contextmanager
def default_style() -> Iterator[None]:
    """A context in which Matplotlib's defaults hold, whatever the user's matplotlibrc sets."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def _outermost_figure(artist: Axes | Figure) -> Figure:
    """The figure of axes that may be in a subfigure; a figure is returned as it is."""
    figure = artist.figure
    assert figure is not None  # axes have a figure from the start
    return figure.figure


def _in_notebook() -> bool:
    return in_jupyter() and matplotlib.get_backend().lower() not in _FILE_BACKENDS


def _has_windows() -> bool:
    """Whether figures can be shown in windows: at a prompt, or in a script that uses pyplot."""
    if in_jupyter() or not ("matplotlib.pyplot" in sys.modules or hasattr(sys, "ps1")):
        return False
    return matplotlib.get_backend().lower() not in _FILE_BACKENDS


# --- images ---------------------------------------------------------------------------------


def image_axes(image: Image, figsize: tuple[float, float], ax: Axes | None = None) -> Axes:
    """Axes for one image: `ax`, or a new figure of the image's proportions within `figsize`.

    The figure of a tiny image is smaller, so that labels are not small beside its pixels.
    """
    if ax is not None:
        return ax
    height, width = np.shape(image)[:2]
    scale = min((figsize[0] - 2 * MARGIN) / width, (figsize[1] - 2 * MARGIN) / height,
                1 / MIN_PIXELS_PER_INCH)
    size = (width * scale + 2 * MARGIN, height * scale + 2 * MARGIN)
    figure = new_figure(size)
    return figure.add_axes((MARGIN / size[0], MARGIN / size[1],
                            1 - 2 * MARGIN / size[0], 1 - 2 * MARGIN / size[1]))


def show_image(ax: Axes, image: Image, title: str = "", **options: Any) -> None:
    """Draws an image so that box coordinates are its pixels' edges: (0, 0) is the outer corner."""
    image = np.asarray(image)
    height, width = image.shape[:2]
    image = reduced(image, reduction(image.shape), smooth=not options)
    if image.ndim == 3 and image.shape[2] != 3:  # the channels that can be displayed
        image = image[:, :, :3] if image.shape[2] > 3 else image[:, :, 0]
    if image.ndim == 2:
        options.setdefault("cmap", "gray")
    elif image.dtype != np.uint8 and image.max(initial=0) > 1:
        image = np.clip(image, 0, 255).astype(np.uint8)
    ax.imshow(image, extent=(0, width, height, 0), **options)
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.set_frame_on(False)
    if title:
        _shorten(ax.set_title(plain(title), fontsize=11, pad=5), ax)


def _shorten(title: Text, ax: Axes) -> None:
    """Makes a title as narrow as its axes: in smaller type, then with "…" for its middle."""
    def excess() -> float:
        return title.get_window_extent().width / width

    ax.apply_aspect()
    text, width = title.get_text(), ax.get_window_extent().width
    size = float(title.get_fontsize())
    title.set_fontsize(float(np.clip(0.97 * size / excess(), 8, size)))
    kept = len(text)
    while excess() > 1 and kept > 8:
        kept = min(kept - 1, int(kept / excess()))
        title.set_text(f"{text[:(kept + 1) // 2]}…{text[len(text) - kept // 2:]}")


# --- boxes and labels -----------------------------------------------------------------------


class Annotator:
    """Draws boxes and labels on axes that show an image, sized by how many there will be.

    Draw all boxes, then the labels: they stay inside the image and, where there is space, clear of
    one another and of the objects.

    Args:
        ax: axes prepared by `show_image`.
        count: number of boxes to come.
    """

    def __init__(self, ax: Axes, count: int) -> None:
        self.ax = ax
        ax.apply_aspect()
        extent, dots = ax.get_window_extent(), _outermost_figure(ax).dpi / 72
        spacing = math.sqrt(extent.width * extent.height / max(count, 1)) / dots
        self.linewidth = float(np.clip(spacing / 50, 0.7, 1.8))
        # A large figure is usually scaled down for display, so its labels may be larger.
        side = max(extent.width, extent.height) / dots
        self.fontsize = float(np.clip(spacing / 8, 5, np.clip(side / 90, 9, 12)))
        self._right, self._bottom = ax.get_xlim()[1], ax.get_ylim()[0]
        # image pixels of one dot of the figure, down and across
        self._dot = np.array([self._bottom / extent.height, self._right / extent.width])
        self._pad = dots * self._dot  # one point
        self._objects: list[tuple[float, ...]] = []
        self._labels: list[tuple[float, ...]] = []

    def box(self, box: Array, color: Any, style: str = "solid", alpha: float = 1.0,
            linewidth: float | None = None) -> Rectangle:
        """Adds the outline of `box` [4] in pixels; returns the Rectangle."""
        y1, x1, y2, x2 = (float(side) for side in box)
        linewidth = linewidth or self.linewidth
        halo = withStroke(linewidth=1.7 * linewidth, foreground="white", alpha=0.55 * alpha)
        outline = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color,
                            linestyle=style, linewidth=linewidth, alpha=alpha,
                            path_effects=[halo])
        if style != "dotted":
            self._objects.append((y1, x1, y2, x2))
        self.ax.add_patch(outline)
        # An outline on the image's border is drawn in full; what is outside the image is clipped.
        inside = min(y1, x1) >= -1 and y2 <= self._bottom + 1 and x2 <= self._right + 1
        outline.set_clip_on(not inside)
        return outline

    def label(self, box: Array, text: str, color: Any, alpha: float = 0.85) -> Text:
        """Adds a label to `box` [4] in pixels, above it if there is space; returns the Text."""
        label = self.ax.text(
            0, 0, plain(_clipped(text)), color=_text_color(color), fontsize=self.fontsize,
            va="top", ha="left",
            bbox={"facecolor": color, "alpha": alpha, "pad": 1, "linewidth": 0}, zorder=3)
        extent = label.get_window_extent()  # without the padding, which is added when drawn
        height, width = np.array([extent.height, extent.width]) * self._dot + 2 * self._pad
        y, x = self._place([float(side) for side in box], height, width)
        self._labels.append((y, x, y + height, x + width))
        label.set_position((x + self._pad[1], y + self._pad[0]))
        return label

    def _place(self, box: list[float], height: float, width: float) -> FloatArray:
        """The first position at a box that hides nothing, or the one that hides least: (y, x)."""
        y1, x1, y2, x2 = box
        spots = np.array([(y1 - height, x1), (y1 - height, x2 - width), (y2, x1),
                          (y2, x2 - width), (y1, x2), (y1, x1 - width), (y1, x1),
                          (y2 - height, x1), (y2 - height, x2 - width)])
        low = np.minimum(np.maximum(spots, 0),
                         [max(self._bottom - height, 0), max(self._right - width, 0)])
        places = np.concatenate([low, low + [height, width]], axis=1)
        # A label over a label is worse than one over a small object; over a large one it is fine.
        hidden = 5 * _shared(places, self._labels).sum(axis=1)
        objects = np.array(self._objects or [(0, 0, 0, 0)])
        small = np.prod(objects[:, 2:] - objects[:, :2], axis=1) < 40 * height * width
        hidden += (_shared(places, objects) * small).sum(axis=1)
        return low[np.argmin(hidden)]


def _shared(boxes1: Array, boxes2: ArrayLike) -> FloatArray:
    """Areas that boxes `[N, 4]` share with boxes `[M, 4]`: `[N, M]`."""
    boxes1, boxes2 = boxes1[:, None], np.reshape(boxes2, (1, -1, 4))
    sides = np.minimum(boxes1[..., 2:], boxes2[..., 2:]) \
        - np.maximum(boxes1[..., :2], boxes2[..., :2])
    return np.prod(np.maximum(sides, 0), axis=2)


def plain(text: str) -> str:
    """A text that Matplotlib can draw: without formulas, which it typesets between dollar signs.

    Characters that cannot be displayed, as in names that are not UTF-8, are escaped.
    """
    text = "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1]
                   for letter in text)
    return text.replace("$", r"\$")


def _clipped(text: str) -> str:
    """A text without its middle if it is longer than a label may be."""
    half = MAX_LABEL // 2
    return text if len(text) <= MAX_LABEL else f"{text[:half]}…{text[-half:]}"


def _text_color(color: Any) -> str:
    """Black or white, whichever has more contrast with a color."""
    red, green, blue = matplotlib.colors.to_rgb(color)
    return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.6 else "white"


def add_legend(ax: Axes, entries: Sequence[LegendEntry]) -> None:
    """A legend below the axes, of at most MAX_LEGEND entries."""
    if len(entries) > MAX_LEGEND:
        more = LegendEntry(NEUTRAL, f"and {len(entries) - MAX_LEGEND + 1} more", "dotted")
        entries = [*entries[:MAX_LEGEND - 1], more]
    handles = [Patch(facecolor="none" if style != "solid" else color, edgecolor=color,
                     label=plain(_clipped(text)), linestyle=style)
               for color, text, style in entries]
    if handles:
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.005),
                  ncol=min(len(handles), 8), frameon=False, fontsize=9, handlelength=1.2,
                  columnspacing=1.4, borderaxespad=0.2)


def in_jupyter() -> bool:
    """Whether this runs in an IPython kernel, which shows HTML."""
    shell = sys.modules.get("IPython")
    return shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None
