"""Rows as a table: HTML in a notebook, text anywhere else."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from frcnn.arrays import FloatArray
from frcnn.evaluate.tables import align_columns
from frcnn.visualize.canvas import in_jupyter

HUGE = 1000  # weights beyond this hint at an overflow


def display_table(table: Sequence[Sequence[Any]]) -> None:
    """Shows rows of values, the first of them the headings.

    Args:
        table: list of rows, each a list of values.
    """
    rows = [[str(value) for value in row] for row in table]
    if in_jupyter():
        from IPython.display import HTML, display

        display(HTML(_as_html(rows)))
    else:
        print("\n".join(align_columns(rows)))


def display_weight_stats(model: Any) -> None:
    """Shows shape, minimum, maximum and deviation of each trainable layer's weights.

    `dead?` marks a weight whose values are all the same, `overflow?` one with values beyond 1000.

    Args:
        model: a MaskRCNN, or a Keras model.
    """
    display_table([["weight", "shape", "minimum", "maximum", "std", ""], *(
        [row["name"], row["shape"], f"{row['min']:+.4f}", f"{row['max']:+.4f}", f"{row['std']:.4f}",
         row["alert"]] for row in weight_stats(model))])


def weight_stats(model: Any) -> list[dict[str, Any]]:
    """Statistics of each weight of the trainable layers.

    Args:
        model: a MaskRCNN, or a Keras model.

    Returns:
        list of dicts: `name` (layer/weight), `shape`, `min`, `max`, `mean`, `std`, `alert` (str,
        empty when nothing looks wrong).
    """
    get_layers = getattr(model, "get_trainable_layers", None)
    rows = []
    for layer in get_layers() if get_layers else model.layers:
        for weight, values in zip(layer.weights, layer.get_weights(), strict=True):
            values = np.asarray(values, float)
            if not values.size:
                continue
            name = weight.name.split("/")[-1]
            rows.append({"name": f"{layer.name}/{name}", "shape": values.shape,
                         "min": float(values.min()), "max": float(values.max()),
                         "mean": float(values.mean()), "std": float(values.std()),
                         "alert": _alert(values)})
    return rows


def _alert(values: FloatArray) -> str:
    if not np.isfinite(values).all():
        return "not finite"
    if np.abs(values).max() > HUGE:
        return "overflow?"
    # biases, and BatchNorm's vectors before training, are constant without a fault
    if values.ndim > 1 and values.min() == values.max():
        return "dead?"
    return ""


def _as_html(rows: list[list[str]]) -> str:
    def line(row: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    body = "".join(line(row, "th" if index == 0 else "td") for index, row in enumerate(rows))
    return f"<table>{body}</table>"
