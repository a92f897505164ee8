"""Data sets and helpers for the tests of the loader."""

import threading
import time

import keras
import numpy as np

from frcnn.config import Config
from frcnn.data.dataset import Dataset


def config_for(**settings):
    return Config(**{"NUM_CLASSES": 4, "IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 128,
                     "IMAGES_PER_GPU": 2, "RPN_ANCHOR_SCALES": (8, 16, 32, 64, 128),
                     "MAX_GT_INSTANCES": 10, **settings})


class Blank(Dataset):
    """Gray images drawn on the fly, of these shapes and with these boxes."""

    def __init__(self, shapes, boxes):
        super().__init__()
        self.boxes = boxes
        self.add_class("blank", 1, "object")
        for number, (height, width) in enumerate(shapes):
            self.add_image("blank", number, None, height=height, width=width)
        self.prepare()

    def load_image(self, image_id):
        info = self.image_info[image_id]
        return np.full((info["height"], info["width"], 3), 90, np.uint8)

    def load_boxes(self, image_id):
        return self.boxes[image_id], np.ones(len(self.boxes[image_id]), np.int32)


def image_ids(sequence):
    """Image ids of the current epoch, batch by batch."""
    return [sequence[index][0]["input_image_meta"][:, 0].astype(int).tolist()
            for index in range(len(sequence))]


def run_epoch(sequence):
    """What Keras does with an epoch; returns the image ids, batch by batch."""
    sequence.on_epoch_begin()
    seen = image_ids(sequence)
    sequence.on_epoch_end()
    return seen


def flat(lists):
    return [item for each in lists for item in each]


def end_of_threads():
    """Waits until no thread of a loader is left, and fails if that takes long."""
    deadline = time.monotonic() + 60
    while _threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _threads()


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == "frcnn batches"]


class Recorder(keras.Model):
    """Trains nothing and notes the image ids that it is given; crashes at a step if asked to."""

    def __init__(self, crash_at=None):
        super().__init__()
        self.seen, self.crash_at = [], crash_at

    def call(self, inputs):
        return inputs["input_image_meta"][:, 0]

    def train_step(self, *args):
        if len(self.seen) == self.crash_at:
            raise RuntimeError("the training crashes")
        data = args[-1]  # the JAX backend passes its state first
        self.seen.append(np.asarray(data[0]["input_image_meta"])[:, 0].astype(int).tolist())
        logs = {"loss": keras.ops.zeros(())}
        return logs if len(args) == 1 else (logs, args[0])

    def test_step(self, *args):
        return self.train_step(*args)
