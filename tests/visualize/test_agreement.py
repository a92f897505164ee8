"""The plot of agreement: its points and lines are the numbers'."""

import numpy as np
import pytest

from frcnn import visualize
from frcnn.errors import ArgumentError
from frcnn.evaluate.counts import Agreement


def lines(ax, style):
    return sorted(line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == style)


def test_points_and_lines():
    counted, true = np.array([3, 3, 5, 10.5]), np.array([2, 2, 5, 12])
    ax = visualize.plot_bland_altman(counted, true, method="expected", title="rbc")
    agreement = Agreement.of(counted, true)
    (points,) = (part for part in ax.collections if len(part.get_offsets()))
    np.testing.assert_allclose(sorted(points.get_offsets().tolist()),
                               [[2.5, 1], [5, 0], [11.25, -1.5]])
    sizes = dict(zip(points.get_offsets()[:, 0].tolist(), points.get_sizes()))
    assert sizes[2.5] == 2 * sizes[5.0]  # two images there
    assert lines(ax, "-") == sorted([0, agreement.bias])
    assert lines(ax, "--") == pytest.approx(list(agreement.limits))
    texts = [text.get_text() for text in ax.texts]
    assert texts == [f"{agreement.limits[0]:+.2f}  −1.96 SD".replace("-", "−"),
                     f"{agreement.bias:+.2f}  bias",
                     f"{agreement.limits[1]:+.2f}  +1.96 SD"]
    assert (ax.get_ylabel(), ax.get_title()) == ("expected − true", "rbc")


def test_confidence_bands_by_hand():
    """Four differences of standard deviation s: the bias is uncertain by t · s / √4, a limit by
    √3 times as much, with t of 3 degrees of freedom."""
    counted, true = np.array([1, 2, 3, 6]), np.array([1, 1, 5, 5])
    ax = visualize.plot_bland_altman(counted, true)
    s = np.std([0, 1, -2, 1], ddof=1)
    half = sorted(patch.get_height() / 2 for patch in ax.patches)
    np.testing.assert_allclose(half, 3.182446 * s / 2 * np.sqrt([1, 3, 3]), rtol=1e-5)


@pytest.mark.parametrize("counted", [[2], [2, 2, 2]])
def test_without_differences(counted, recwarn):
    ax = visualize.plot_bland_altman(counted, counted)
    assert [text.get_text()[:5] for text in ax.texts] == ["+0.00"] * 3
    heights = [text.xy[1] for text in ax.texts]
    assert heights == sorted(set(heights))  # the labels do not overlap
    assert not recwarn.list


def test_nothing_to_plot():
    with pytest.raises(ArgumentError, match="0 counted and 0 true"):
        visualize.plot_bland_altman([], [])
