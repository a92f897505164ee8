"""Plots of a report as embedded pictures: data URIs, without legends, which the page writes."""

import base64
import io
import re

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frcnn import visualize

SIZE = (6.0, 3.9)  # inches; small, so that the letters can be read on a phone
# Nothing in the file tells when it was made, and nothing names another file.
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def losses(history, epoch=None):
    """The loss curves of `history` (figure → a value an epoch); `epoch` is marked by a line."""
    epochs = history.get("epoch")
    ax = visualize.plot_losses(history, _axes(), epochs=epochs)
    if epochs and epoch in epochs and epoch != epochs[-1]:
        ax.axvline(epoch, color="0.5", linewidth=1, linestyle=":")
    return _finished(ax)


def precision_recall(curves):
    """Precision against recall by class, of `frcnn.evaluate.precision_recall_curves`."""
    return _finished(visualize.plot_precision_recall_by_class(curves, _axes()))


def box_sizes(statistics, class_names, anchors=None):
    """A histogram of the boxes' sides, as the network sees them where that is known."""
    resized = statistics["resized"]
    sides = statistics["sides"] if resized is None else resized
    positive = sides > 0
    ax = visualize.plot_box_sizes(
        sides[positive], statistics["class_ids"][positive], class_names, _axes(),
        anchors=None if resized is None else anchors,
        unit="pixels" if resized is None else "pixels of the resized image")
    return _finished(ax)


def as_jpeg(figure, dpi=150):
    """A figure with a photograph in it, as a data URI."""
    buffer = io.BytesIO()
    # full resolution of the colours, or thin lines would fray
    figure.savefig(buffer, format="jpg", dpi=dpi, pil_kwargs={"quality": 82, "subsampling": 0})
    return _uri("image/jpeg", buffer.getvalue())


def as_svg(figure):
    """A figure of lines and letters, as a data URI; equal figures give equal texts."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "frcnn", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05,
                       metadata=NO_METADATA)
    text = re.sub(r"<!DOCTYPE[^>]*>", "", buffer.getvalue().decode("utf-8"))
    return _uri("image/svg+xml", text.encode("utf-8"))


def _axes():
    figure = Figure(figsize=SIZE)
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _finished(ax):
    ax.set_title("")
    if ax.get_legend() is not None:
        ax.get_legend().remove()
    return as_svg(ax.figure)


def _uri(kind, content):
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
