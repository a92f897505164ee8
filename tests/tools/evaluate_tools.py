"""A data set held in memory, boxes and results, for the tests of evaluation."""

import numpy as np

from frcnn.data.dataset import Dataset

A, B, C = [0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 80]


def shift(box, down=0.0, right=0.0):
    return [box[0] + down, box[1] + right, box[2] + down, box[3] + right]


class Boxes(Dataset):
    """A data set held in memory: `images` is a list of (boxes, class ids)."""

    def __init__(self, images, names=("cast", "cryst", "eryth")):
        super().__init__()
        self.truth = images
        for index, name in enumerate(names):
            self.add_class("lab", 10 * (index + 1), name)
        for index in range(len(images)):
            self.add_image("lab", 100 + index, path=None)
        self.prepare()

    def load_boxes(self, image_id):
        boxes, class_ids = self.truth[image_id]
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int32)

    def load_image(self, image_id):
        return np.full((100, 100, 3), image_id, np.uint8)


def result(boxes, class_ids, scores=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else scores
    return {"rois": np.nan_to_num(boxes).round().astype(np.int32), "boxes": boxes,
            "class_ids": np.array(class_ids, np.int32), "scores": np.array(scores, np.float32)}


def perfect(dataset):
    found = {}
    for image_id in dataset.image_ids:
        boxes, class_ids = dataset.load_boxes(image_id)
        found[int(image_id)] = result(boxes[class_ids > 0], class_ids[class_ids > 0])
    return found


def random_set(rng, images=12):
    """Truth with crowds, and detections that are near it, off it, or of the wrong class."""
    truth, found = [], {}
    for image_id in range(images):
        n = rng.integers(0, 9)
        corner, size = rng.uniform(0, 300, (n, 2)), rng.uniform(8, 150, (n, 2))
        boxes = np.concatenate([corner, corner + size], axis=1).round(1)
        class_ids = rng.integers(1, 4, n)
        moved = boxes + rng.normal(0, 4, boxes.shape)
        stray = rng.uniform(0, 300, (3, 4))
        stray[:, 2:] = stray[:, :2] + 30
        guessed = np.where(rng.random(n) < 0.2, rng.integers(1, 4, n), class_ids)
        found[image_id] = result(np.concatenate([moved, stray]),
                                 np.concatenate([guessed, rng.integers(1, 4, 3)]),
                                 rng.permutation(n + 3) / (n + 4))
        truth.append((boxes, np.where(rng.random(n) < 0.15, -class_ids, class_ids)))
    return truth, found
