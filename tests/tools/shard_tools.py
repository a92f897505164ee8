"""A detector without a network, and images, for the tests of shards."""

import numpy as np
from PIL import Image

from frcnn.config import Config
from frcnn.inference.transform import as_result


class Bright:
    """Finds one object in an image: its size is the value of the first pixel."""

    def __init__(self, config=None):
        self.config = config or Config(NAME="shards", NUM_CLASSES=3)

    def detect_stream(self, images, batch_size=None, return_exceptions=False):
        for image in images:
            try:
                value = int((image() if callable(image) else image)[0, 0, 0])
            except Exception as error:
                if not return_exceptions:
                    raise
                yield error
                continue
            yield as_result(np.array([[0, 0, value, value]], np.float32),
                            np.array([1 + value % 2], np.int32), np.array([0.5], np.float32))


def write_images(folder, count):
    """Images 1.png, 2.png, … of these values; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1, count + 1):
        paths.append(str(folder / f"{number:03d}.png"))
        Image.new("RGB", (4, 3), (number, 0, 0)).save(paths[-1])
    return paths
