"""Scenes for the tests of augmentation: objects that a search finds again."""

import numpy as np
from hypothesis import strategies as st

BACKGROUND, FIRST_OBJECT = 60, 180


@st.composite
def drawn_scenes(draw):
    """An image, and boxes of objects in it that do not overlap: one in each cell of a grid.

    Object number i has the gray level 20 * (i + 1), the rest is black.
    """
    cell_height, cell_width = draw(st.integers(3, 12)), draw(st.integers(3, 12))
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    margin_y, margin_x = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    image = np.zeros((rows * cell_height + margin_y, columns * cell_width + margin_x, 3), np.uint8)
    boxes = []
    for row in range(rows):
        for column in range(columns):
            y1 = row * cell_height + draw(st.integers(0, cell_height - 1))
            x1 = column * cell_width + draw(st.integers(0, cell_width - 1))
            y2 = draw(st.integers(y1 + 1, (row + 1) * cell_height))
            x2 = draw(st.integers(x1 + 1, (column + 1) * cell_width))
            boxes.append((y1, x1, y2, x2))
            image[y1:y2, x1:x2] = 20 * len(boxes)
    count = draw(st.integers(0, len(boxes)))
    for y1, x1, y2, x2 in boxes[count:]:
        image[y1:y2, x1:x2] = 0
    return image, np.array(boxes[:count], np.float32).reshape(-1, 4)


def found(image, levels):
    """The boxes of the given gray levels, by search."""
    return np.array([extent(image[..., 0] == level) for level in levels],
                    np.float32).reshape(-1, 4)


def extent(mask):
    """The box around what is true."""
    rows, columns = np.nonzero(mask)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def coordinates(height, width, channels=3):
    """An image of pixels that tell where they are: rows in channel 0, columns in the others."""
    image = np.empty((height, width, channels), np.uint8)
    image[...] = np.arange(width)[None, :, None]
    image[..., 0] = np.arange(height)[:, None]
    return image
