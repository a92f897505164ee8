"""Plots of a report as embedded pictures: data URIs; their legends are HTML on the page."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frcnn import visualize
from frcnn.arrays import ArrayLike
from frcnn.evaluate.curves import Curve

SIZE = (6.0, 3.9)  # inches; small, so that the text is legible on a phone
# No dates, for equal files from equal figures, and no links to other files.
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def losses(history: Mapping[str, Sequence[Any]], epoch: int | None = None) -> str:
    """The loss curves of `history` (name → a value an epoch); `epoch` is marked by a line."""
    epochs = history.get("epoch")
    ax = visualize.plot_losses(history, _axes(), epochs=epochs)
    return _finished(_marked(ax, epoch, epochs))


def ap_by_epoch(history: Mapping[str, Sequence[Any]], epoch: int | None = None) -> str:
    """AP and AP50 of `history` by epoch; `epoch` is marked by a line."""
    epochs = history.get("epoch")
    ax = visualize.plot_ap_by_epoch(history, _axes(), epochs=epochs)
    return _finished(_marked(ax, epoch, epochs))


def _marked(ax: Axes, epoch: int | None, epochs: Sequence[int] | None) -> Axes:
    """The axes, with a line at an epoch other than the last."""
    if epoch is not None and epochs and epoch in epochs and epoch != epochs[-1]:
        ax.axvline(epoch, color="0.5", linewidth=1, linestyle=":")
    return ax


def precision_recall(curves: Mapping[str, Curve]) -> str:
    """Precision against recall by class, of `frcnn.evaluate.precision_recall_curves`."""
    return _finished(visualize.plot_precision_recall_by_class(curves, _axes()))


def box_sizes(statistics: Mapping[str, Any], class_names: Sequence[str],
              anchors: Sequence[float] | None = None) -> str:
    """A histogram of the boxes' sides, in the resized images where these are known."""
    resized = statistics["resized"]
    sides = statistics["sides"] if resized is None else resized
    positive = sides > 0
    ax = visualize.plot_box_sizes(
        sides[positive], statistics["class_ids"][positive], class_names, _axes(),
        anchors=None if resized is None else anchors,
        unit="pixels" if resized is None else "pixels of the resized image")
    return _finished(ax)


def bland_altman(counted: ArrayLike, true: ArrayLike, method: str, color: str) -> str:
    """The differences of numbers `[N]` of objects from the true ones against their means."""
    return _finished(visualize.plot_bland_altman(counted, true, _axes(), method=method,
                                                 color=color))


def as_jpeg(figure: Figure, dpi: int = 150) -> str:
    """A figure with a photograph in it, as a data URI."""
    buffer = io.BytesIO()
    # no chroma subsampling, which blurs thin colored lines
    figure.savefig(buffer, format="jpg", dpi=dpi, pil_kwargs={"quality": 82, "subsampling": 0})
    return _uri("image/jpeg", buffer.getvalue())


def as_svg(figure: Figure) -> str:
    """A figure of lines and text, as a data URI; equal figures give equal URIs."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "frcnn", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05,
                       metadata=NO_METADATA)
    text = re.sub(r"<!DOCTYPE[^>]*>", "", buffer.getvalue().decode("utf-8"))
    return _uri("image/svg+xml", text.encode("utf-8"))


def _axes() -> Axes:
    figure = Figure(figsize=SIZE)
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _finished(ax: Axes) -> str:
    ax.set_title("")
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()
    return as_svg(figure_of(ax))


def figure_of(ax: Axes) -> Figure:
    """The figure of axes that are not in a subfigure."""
    assert isinstance(ax.figure, Figure)
    return ax.figure


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
