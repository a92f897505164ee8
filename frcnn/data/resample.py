"""Bilinear resampling of images in NumPy, to the bit as in scikit-image."""

import numpy as np

from frcnn.arrays import FloatArray, Image, IntArray

_STRIP_VALUES = 2**16  # of the resampled image, at a time


def resample(image: Image, height: int, width: int,
             part: tuple[int, int, int, int] | None = None) -> Image:
    """An image resized bilinearly, to the bit as the reference does it.

    That is `skimage.transform.resize(..., order=1, mode="constant", preserve_range=True,
    anti_aliasing=False)`, truncated to the image's dtype.

    Args:
        image: `[H, W, C]` or `[H, W]`, of any dtype.
        height: of the resized image, pixels.
        width: of the resized image, pixels.
        part: `(y, x, height, width)`, the part of the resized image to compute; None for all.

    Returns:
        `[height, width, C]` or `[height, width]` of the whole or of the part, a new array of the
        same dtype.
    """
    # Where the exact value is a whole number, its float64 rounding decides between two levels, and
    # flat areas are full of such pixels. So every pixel multiplies and adds its four neighbors in
    # float64 in the order of `scipy.ndimage.zoom`: value * row weight * column weight, summed row
    # by row from the left. Strips of rows keep the temporary arrays in the processor's cache.
    channels = image.shape[2] if image.ndim == 3 else 1
    lines = image.reshape(image.shape[0], -1)
    rows, row_weights = _taps(image.shape[0], height)
    columns, column_weights = _taps(image.shape[1], width)
    if part is not None:
        top, left, height, width = part
        rows, row_weights = rows[:, top:top + height], row_weights[:, top:top + height]
        columns = columns[:, left:left + width]
        column_weights = column_weights[:, left:left + width]
    columns = (columns[..., None] * channels + np.arange(channels)).ravel()
    column_weights = np.repeat(column_weights.ravel(), channels)
    low, high = (reduce(image, axis=None) for reduce in (np.fmin.reduce, np.fmax.reduce))
    length = width * channels
    resized = np.empty((height, length), image.dtype)
    strip = max(1, _STRIP_VALUES // max(1, length))
    for top in range(0, height, strip):
        lot = slice(top, top + strip)
        needed, place = np.unique(rows[:, lot], return_inverse=True)
        values = lines[needed].take(columns, axis=1)[place.reshape(2, -1)]
        values = values * row_weights[:, lot, None]
        values *= column_weights
        total = values[0, :, :length]
        for row, half in ((0, 1), (1, 0), (1, 1)):
            total += values[row, :, half * length:(half + 1) * length]
        resized[lot] = np.clip(total, low, high, out=total)
    return resized.reshape(height, width, *image.shape[2:])


def _taps(size: int, new_size: int) -> tuple[IntArray, FloatArray]:
    """The two pixels `[2, new_size]` of the original that make each new one, and their weights.

    A pixel outside the original counts as zero: an enlarged image fades at its border.
    """
    position = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
    first = np.floor(position)
    near = 1 - (position - first)
    # Far is not `position - first`, which may differ in the last bit.
    weights = np.stack([near, 1 - near])
    taps = first.astype(int) + [[0], [1]]
    weights[(taps < 0) | (taps >= size)] = 0
    return taps.clip(0, size - 1), weights
