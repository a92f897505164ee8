"""The plot of `scaling`: time above, memory below, a column an axis."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.rows import SHORT, WORKS

COLORS = {"detect": "tab:blue", "train": "tab:red"}
STYLES = {"float32": "-", "mixed_bfloat16": "--"}
ROWS = {"seconds": "time, s", "gigabytes": "peak memory, GB"}


def draw(points, labels, path):
    """Draws the points into a PNG.

    Args:
        points: dicts as `scaling.point` gives them.
        labels: text below each axis, by its name, in the order of the columns.
        path: the file.
    """
    figure = Figure(figsize=(10, 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(ROWS), len(labels), squeeze=False)
    for axes_row, (quantity, name) in zip(grid, ROWS.items()):
        for axes, (axis, label) in zip(axes_row, labels.items()):
            _panel(axes, [point for point in points if point["axis"] == axis], quantity)
            axes.set_xlabel(label)
        axes_row[0].set_ylabel(name)
    lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    if lines:
        figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=len(lines),
                      frameon=False)
    figure.savefig(path, metadata={"Software": None})


def _panel(axes, points, quantity):
    for task, color in COLORS.items():
        for precision, style in STYLES.items():
            found = sorted((point for point in points if (point["task"], point["precision"])
                            == (task, precision) and point[quantity] is not None),
                           key=lambda point: point["value"])
            if not found:
                continue
            values = [point["value"] for point in found]
            axes.plot(values, [point[quantity] for point in found], style, color=color,
                      marker="o", markersize=3, label=f"{WORKS[task]}, {SHORT[precision]}")
            if quantity == "seconds":
                axes.vlines(values, [point["low"] for point in found],
                            [point["high"] for point in found], color=color, alpha=0.4)
    axes.set_ylim(bottom=0)
    ticks = sorted({point["value"] for point in points})
    if ticks:
        # Ticks whose labels would overlap, as those of few proposals, are left out.
        kept = [tick for tick in ticks if tick == ticks[0] or tick >= ticks[-1] / 8]
        axes.set_xticks(kept)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
