"""Agreement of two methods of measurement, as J. M. Bland and D. G. Altman plot it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.stats import t

from frcnn.arrays import ArrayLike
from frcnn.evaluate.counts import Agreement
from frcnn.visualize.canvas import PALETTE, new_axes

_DIGITS = 2  # that points must have in common to be drawn as one


def plot_bland_altman(counted: ArrayLike, true: ArrayLike, ax: Axes | None = None, *,
                      method: str = "counted", color: str = PALETTE[1], title: str = "") -> Axes:
    """The difference of counted and true numbers against their mean, a point an image.

    Lines mark the bias and the limits of agreement (bias ± 1.96 standard deviations), bands their
    95 % confidence intervals, as of J. M. Bland, D. G. Altman, Lancet 327 (1986) 307-310. Points
    for several images are larger, with areas in proportion.

    Args:
        counted: `[N]`, N of 1 or more.
        true: `[N]`.
        ax: axes to draw on, or None for a new figure.
        method: what the numbers are called that are compared with the true ones.
        color: of the points.
        title: of the plot.

    Returns:
        Axes.

    Raises:
        ArgumentError: as of `Agreement.of`.
    """
    ax = new_axes((6, 4), ax)
    counted, true = np.asarray(counted, float), np.asarray(true, float)
    agreement = Agreement.of(counted, true)
    points = np.stack([(counted + true) / 2, counted - true], axis=1).round(_DIGITS)
    places, numbers = np.unique(points, axis=0, return_counts=True)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.scatter(places[:, 0], places[:, 1], s=16 * numbers, color=color, alpha=0.6,
               edgecolor="white", linewidth=0.5, zorder=3)

    spread = (agreement.limits[1] - agreement.limits[0]) / 2 / 1.96
    quantile = t.ppf(0.975, agreement.images - 1) if agreement.images > 1 else 0.0
    # Variances of the bias, and of a limit.
    errors = quantile * spread * np.sqrt(np.array([1, 3]) / agreement.images)
    for value, style, error in ((agreement.bias, "solid", errors[0]),
                                (agreement.limits[0], "dashed", errors[1]),
                                (agreement.limits[1], "dashed", errors[1])):
        ax.axhline(value, color="black", linestyle=style, linewidth=1.2, zorder=2)
        ax.axhspan(value - error, value + error, color="black", alpha=0.07, linewidth=0)
    _label_lines(ax, agreement)
    ax.set(xlabel="mean of both numbers", ylabel=f"{method} − true", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.2)
    return ax


def _label_lines(ax: Axes, agreement: Agreement) -> None:
    """Values of the lines at the right of the axes, apart from each other where lines are close."""
    low, high = ax.get_ylim()
    gap = 0.06 * (high - low)
    lines = [(agreement.limits[0], "−1.96 SD"), (agreement.bias, "bias"),
             (agreement.limits[1], "+1.96 SD")]
    heights = [agreement.bias + min(-gap, agreement.limits[0] - agreement.bias), agreement.bias,
               agreement.bias + max(gap, agreement.limits[1] - agreement.bias)]
    for (value, name), height in zip(lines, heights):
        text = f"{round(value, 2) + 0:+.2f}  {name}"  # no −0.00
        ax.annotate(text.replace("-", "−"), (1, height),
                    xycoords=("axes fraction", "data"), xytext=(4, 0),
                    textcoords="offset points", va="center", fontsize=8,
                    annotation_clip=False)
