"""Twelve epochs of a loader in a process of its own: what the process holds after each, in MB.

    python loader_child.py FOLDER      writes images there, and prints a list as JSON
"""

import gc
import json
import sys
from pathlib import Path

import numpy as np
from loader_tools import config_for, run_epoch
from PIL import Image

from frcnn.data.dataset import Dataset
from frcnn.data.loader import DetectionSequence


def main(folder):
    rng = np.random.default_rng(0)
    dataset = Dataset()
    dataset.add_class("s", 1, "object")
    for number in range(24):
        pixels = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
        dataset.add_image("s", number, folder / f"{number}.jpg", width=640, height=480)
    dataset.prepare()
    dataset.load_boxes = lambda image_id: (np.float32([[9, 9, 90, 90]]), np.ones(1, np.int32))
    config = config_for(IMAGE_MIN_DIM=512, IMAGE_MAX_DIM=512)
    sequence = DetectionSequence(dataset, config, augmentation="microscopy", workers=3, seed=0)
    sizes = []
    for _ in range(12):
        run_epoch(sequence)
        sizes.append(megabytes())
    print(json.dumps(sizes))


def megabytes():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
