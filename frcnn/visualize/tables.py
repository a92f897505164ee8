"""Rows as a table: HTML in a notebook, text anywhere else."""

import html

import numpy as np

from frcnn.visualize.canvas import in_jupyter

HUGE = 1000  # weights beyond this hint at an overflow


def display_table(table):
    """Shows rows of values, the first of them the headings.

    Args:
        table: list of rows, each a list of values.
    """
    rows = [[str(value) for value in row] for row in table]
    if in_jupyter():
        from IPython.display import HTML, display

        display(HTML(_as_html(rows)))
    else:
        print(_as_text(rows))


def display_weight_stats(model):
    """Shows shape, minimum, maximum and deviation of each trainable layer's weights.

    `dead?` marks a weight whose values are all the same, `overflow?` one with values beyond 1000.

    Args:
        model: a MaskRCNN, or a Keras model.
    """
    display_table([["weight", "shape", "minimum", "maximum", "std", ""], *(
        [row["name"], row["shape"], f"{row['min']:+.4f}", f"{row['max']:+.4f}", f"{row['std']:.4f}",
         row["alert"]] for row in weight_stats(model))])


def weight_stats(model):
    """Statistics of each weight of the trainable layers.

    Args:
        model: a MaskRCNN, or a Keras model.

    Returns:
        list of dicts: `name` (layer/weight), `shape`, `min`, `max`, `mean`, `std`, `alert` (str,
        empty when there is nothing to say).
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
                         "alert": _alert(name, values)})
    return rows


def _alert(name, values):
    if not np.isfinite(values).all():
        return "not finite"
    if np.abs(values).max() > HUGE:
        return "overflow?"
    # biases, and BatchNorm's numbers before training, are all the same by right
    if values.ndim > 1 and values.min() == values.max():
        return "dead?"
    return ""


def _as_html(rows):
    def line(row, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    body = "".join(line(row, "th" if index == 0 else "td") for index, row in enumerate(rows))
    return f"<table>{body}</table>"


def _as_text(rows):
    columns = max((len(row) for row in rows), default=0)
    rows = [row + [""] * (columns - len(row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(columns)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                     .rstrip() for row in rows)
