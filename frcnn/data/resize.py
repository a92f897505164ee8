"""Resizing as in the reference: the scale, the window, the padding, the crop."""

import numpy as np

from frcnn.errors import ConfigError, ImageError

_STRIP_VALUES = 2**16  # of the resized image, at a time


def resize_image(image, min_dim=None, max_dim=None, padding=False, *, min_scale=None, mode=None,
                 rng=None):
    """Resizes an image without changing its proportions, and pads or crops it.

    Bilinear, without anti-aliasing, truncated to the image's dtype, to the bit as in the
    reference. The scale is `min_dim` over the shorter side, never below 1, and at least
    `min_scale`; with the classic arguments and in the mode "square" it is lowered until the longer
    side fits `max_dim`.

    Args:
        image: `[H, W, C]` (or `[H, W]`), of any dtype.
        min_dim: the shorter side is enlarged to this many pixels.
        max_dim: the longer side is at most this many pixels.
        padding: pad with zeros to `max_dim` by `max_dim`. Without effect when `mode` is given.
        min_scale: the least scale, also where `min_dim` is reached already.
        mode: "none" leaves the image as it is; "square" pads with zeros to `max_dim` by `max_dim`;
            "pad64" pads both sides to multiples of 64, whatever `max_dim` is; "crop" cuts a random
            `min_dim` by `min_dim` out. "fit64", which the reference does not have, scales as
            "square" and pads as "pad64": a wide image is not made square at great cost.
        rng: for the crop: a `numpy.random.Generator`, a seed, or None.

    Returns:
        image: resized, of the same dtype.
        window: `(y1, x1, y2, x2)` pixels: where in it the picture is.
        scale: its size over that of the original.
        padding: `[(top, bottom), (left, right), (0, 0)]` pixels.
        crop: only when `mode` is given: `(y, x, height, width)` in the resized image, or None.

    Raises:
        ImageError: the image has no pixels.
        ConfigError: the mode is unknown, or lacks the dimension it needs.
    """
    kind = mode if mode is not None else ("square" if padding else "fit")
    _check_mode(kind, min_dim, max_dim)
    height, width = image.shape[:2]
    if height == 0 or width == 0:
        raise ImageError(f"an image of shape {image.shape} has no pixels to resize")
    scale, border, crop = 1, [(0, 0), (0, 0), (0, 0)], None
    if kind != "none":
        longest = max_dim if kind in ("square", "fit", "fit64") else None
        scale = resize_scale(height, width, min_dim, longest, min_scale)
        # One pixel at least, for images far longer than wide.
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        image = _resize(image, *shape) if shape != (height, width) else image.copy()
        height, width = shape
    if kind == "square":
        border[:2] = _centred(height, max_dim), _centred(width, max_dim)
    elif kind in ("pad64", "fit64"):
        border[:2] = (_centred(side, -(-side // 64) * 64) for side in (height, width))
    elif kind == "crop":
        image, crop = _random_crop(image, min_dim, np.random.default_rng(rng))
        height = width = min_dim
    top, left = border[0][0], border[1][0]
    window = (top, left, top + height, left + width)
    result = (_pad(image, border), window, scale, border)
    return result if mode is None else (*result, crop)


def _check_mode(kind, min_dim, max_dim):
    if kind not in ("none", "square", "pad64", "fit64", "crop", "fit"):
        raise ConfigError(f"IMAGE_RESIZE_MODE is {kind!r}; allowed is one of none, square, pad64, "
                          "fit64, crop.")
    if kind in ("square", "fit64") and not max_dim:
        raise ConfigError(f"The resize mode {kind!r} needs max_dim (IMAGE_MAX_DIM).")
    if kind == "crop" and not min_dim:
        raise ConfigError("The resize mode 'crop' needs min_dim (IMAGE_MIN_DIM).")


def resize_scale(height, width, min_dim, max_dim, min_scale):
    """The factor by which `resize_image` scales an image; see there. Any limit may be None."""
    scale = max(1, min_dim / min(height, width)) if min_dim else 1
    if min_scale and scale < min_scale:
        scale = min_scale
    if max_dim and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale


def _centred(size, target):
    before = (target - size) // 2
    return before, target - size - before


def _pad(image, border):
    if not any(map(any, border)):
        return image
    (top, bottom), (left, right), _ = border
    height, width = image.shape[:2]
    padded = np.zeros((top + height + bottom, left + width + right, *image.shape[2:]), image.dtype)
    padded[top:top + height, left:left + width] = image
    return padded


def _random_crop(image, side, rng):
    top = int(rng.integers(0, image.shape[0] - side, endpoint=True))
    left = int(rng.integers(0, image.shape[1] - side, endpoint=True))
    return image[top:top + side, left:left + side].copy(), (top, left, side, side)


def _resize(image, height, width):
    """Bit for bit `skimage.transform.resize(..., order=1, mode="constant", preserve_range=True,
    anti_aliasing=False)`, truncated.

    Where the exact value is a whole number, its float64 rounding decides between two levels, and
    flat areas are full of such pixels. So every pixel multiplies and adds its four neighbours in
    float64 in the order of `scipy.ndimage.zoom`: value * row weight * column weight, summed row by
    row from the left. Strips of rows keep the temporary arrays in the processor's cache.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    lines = image.reshape(image.shape[0], -1)
    rows, row_weights = _taps(image.shape[0], height)
    columns, column_weights = _taps(image.shape[1], width)
    columns = (columns[..., None] * channels + np.arange(channels)).ravel()
    column_weights = np.repeat(column_weights.ravel(), channels)
    low, high = (reduce(image, axis=None) for reduce in (np.fmin.reduce, np.fmax.reduce))
    length = width * channels
    resized = np.empty((height, length), image.dtype)
    strip = max(1, _STRIP_VALUES // max(1, length))
    for top in range(0, height, strip):
        part = slice(top, top + strip)
        needed, place = np.unique(rows[:, part], return_inverse=True)
        values = lines[needed].take(columns, axis=1)[place.reshape(2, -1)]
        values = values * row_weights[:, part, None]
        values *= column_weights
        total = values[0, :, :length]
        for row, half in ((0, 1), (1, 0), (1, 1)):
            total += values[row, :, half * length:(half + 1) * length]
        resized[part] = np.clip(total, low, high, out=total)
    return resized.reshape(height, width, *image.shape[2:])


def _taps(size, new_size):
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
