"""Colored squares, circles and triangles, drawn when an image is needed; no file is read.

A data set whose images are not files overrides `load_image`, and `load_boxes` for its boxes.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from frcnn import arrays
from frcnn.cli.sample import Sample
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.geometry.boxes import non_max_suppression

DESCRIPTION = """\
Trains Faster R-CNN with a feature pyramid on squares, circles and triangles that are drawn as they
are needed, then evaluates it. No data are needed.

All files of a run are in one folder, LOGS/shapes<date>T<time>.
"""

EPOCHS = 6
CLASS_NAMES = ("square", "circle", "triangle")
SUBSETS = {"train": 400, "val": 40}  # images of each
_MOST_SHAPES = 4
_MOST_OVERLAP = 0.3  # IoU; of shapes that overlap more, one is left out


class ShapesConfig(Config):
    """Small images and a small detector, trained in minutes on a CPU."""

    NAME = "shapes"
    BACKBONE = "resnet50"
    NUM_CLASSES = 1 + len(CLASS_NAMES)
    IMAGES_PER_GPU = 8
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TRAIN_ROIS_PER_IMAGE = 32
    POST_NMS_ROIS_TRAINING = 200
    POST_NMS_ROIS_INFERENCE = 100
    MAX_GT_INSTANCES = 8
    DETECTION_MIN_CONFIDENCE = 0.5
    LEARNING_RATE = 0.01


class ShapesDataset(Dataset):
    """Images of a single color with up to four shapes, some of them overlapping."""

    def load_shapes(self, count: int, height: int = 128, width: int = 128, seed: int = 0) -> None:
        """Adds `count` images of `height` by `width` pixels; one seed gives the same ones.

        Only what is to be drawn is stored: the background, and of each shape its class, color and
        box `(y1, x1, y2, x2)` in whole pixels, from the back to the front.
        """
        for class_id, name in enumerate(CLASS_NAMES, start=1):
            self.add_class("shapes", class_id, name)
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            boxes = _random_boxes(rng, height, width)
            self.add_image("shapes", number, path=None, height=height, width=width,
                           background=_color(rng), boxes=boxes,
                           shape_ids=rng.integers(1, len(CLASS_NAMES) + 1, len(boxes)),
                           colors=[_color(rng) for _ in boxes])

    @classmethod
    def from_folder(cls, folder: str | Path | None, subset: str,
                    skip_bad: bool = False) -> "ShapesDataset":
        """The subset "train" or "val", prepared; `folder` and `skip_bad` are ignored."""
        dataset = cls()
        dataset.load_shapes(SUBSETS[subset], seed=list(SUBSETS).index(subset))
        dataset.prepare()
        return dataset

    def load_image(self, image_id: int) -> arrays.Image:
        """Draws an image: uint8 `[height, width, 3]`."""
        info = self.image_info[image_id]
        image = Image.new("RGB", (info["width"], info["height"]), info["background"])
        draw = ImageDraw.Draw(image)
        for box, class_id, color in zip(info["boxes"], info["shape_ids"], info["colors"]):
            _draw_shape(draw, CLASS_NAMES[class_id - 1], box.tolist(), color)
        return np.array(image)

    def load_boxes(self, image_id: int) -> tuple[arrays.Boxes, arrays.ClassIds]:
        """Boxes float32 `[N, 4]` and class ids int32 `[N]` of the shapes in an image."""
        info = self.image_info[image_id]
        class_ids = [self.map_source_class_id(f"shapes.{shape_id}")
                     for shape_id in info["shape_ids"]]
        return info["boxes"].astype(np.float32), np.array(class_ids, np.int32)


def _random_boxes(rng: np.random.Generator, height: int, width: int) -> arrays.IntArray:
    """int `[N, 4]`, squares inside the image; N is 1 to 4."""
    count = int(rng.integers(1, _MOST_SHAPES + 1))
    sides = rng.integers(min(height, width) // 8, min(height, width) // 2, count)
    tops, lefts = rng.integers(0, height - sides), rng.integers(0, width - sides)
    boxes = np.stack([tops, lefts, tops + sides, lefts + sides], axis=1)
    kept = non_max_suppression(boxes.astype(np.float32), rng.random(count).astype(np.float32),
                               _MOST_OVERLAP)
    return boxes[np.sort(kept)]


def _color(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _draw_shape(draw: ImageDraw.ImageDraw, name: str, box: list[int],
                color: tuple[int, ...]) -> None:
    """Draws a shape that touches all four sides of its box."""
    top, left, bottom, right = box[0], box[1], box[2] - 1, box[3] - 1  # Pillow draws the last pixel
    if name == "square":
        draw.rectangle((left, top, right, bottom), fill=color)
    elif name == "circle":
        draw.ellipse((left, top, right, bottom), fill=color)
    else:
        tip = (left + right) // 2
        draw.polygon([(tip, top), (right, bottom), (left, bottom)], fill=color)


SAMPLE = Sample(ShapesConfig(), EPOCHS, ShapesDataset.from_folder, description=DESCRIPTION,
                folder=lambda _: "drawn on the fly", data_help=None, recipe="reference")
