"""Keras preprocessing layers as augmentation.

They run eagerly, on the CPU, in the loader's threads and thus in the process that trains, so no
worker starts a backend of its own. The seed state of a layer is set for every image, one image at a
time, so that equal seeds give equal images in any order of the threads.

Boxes are transformed by the layer, and Keras's are not all as exact as the presets: in 3.15
rotations are off by up to a pixel and shears by several, and objects that are cut at the edge are
kept however little is left of them.
"""

import threading
from typing import Any

import keras
import numpy as np

from frcnn.arrays import Boxes, ClassIds, Image
from frcnn.errors import ConfigError


class KerasLayer:
    """An augmentation, as `frcnn.data.augment` describes it, from a Keras preprocessing layer.

    Args:
        layer: such as `keras.layers.RandomFlip(bounding_box_format="xyxy")`, or a
            `keras.layers.Pipeline` of several; all built with that format, also those that do not
            move boxes. Pixels are 0 to 255.

    Raises:
        ConfigError: the layer fails on a trial image with a box.
    """

    turns = False

    def __init__(self, layer: "keras.layers.Layer") -> None:
        self.layer = layer
        self._lock = threading.Lock()
        image = np.full((96, 128, 3), 100, np.uint8)
        box = np.array([[20, 20, 80, 90]], np.float32)
        try:
            self(image, box, np.array([1], np.int32), np.random.default_rng(0))
        except Exception as error:  # whatever a layer raises, before training starts
            reason = str(error).strip().splitlines() or [repr(error)]
            raise ConfigError(
                f"The Keras layer {layer.name!r} cannot serve as augmentation: {reason[0]} Build "
                'it (and each one in a Pipeline) with bounding_box_format="xyxy", or wrap it in a '
                "callable (image, boxes, class_ids, rng) -> (image, boxes, class_ids).") from error

    def __call__(self, image: Image, boxes: Boxes, class_ids: ClassIds,
                 rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
        """See `frcnn.data.augment`; the image comes back rounded to uint8."""
        data: dict[str, Any] = {"images": image[None].astype(np.float32)}
        if len(boxes):  # several layers fail without boxes
            y1, x1, y2, x2 = boxes.T
            data["bounding_boxes"] = {"boxes": np.stack([x1, y1, x2, y2], axis=1)[None],
                                      "labels": np.arange(len(boxes), dtype=np.int32)[None]}
        with self._lock, keras.device("cpu"):
            for variable in self.layer.variables:
                if variable.path.endswith("seed_generator_state"):
                    variable.assign(rng.integers(2**31, size=variable.shape))
            result = self.layer(data, training=True)
            image = keras.ops.convert_to_numpy(result["images"])[0]
            if len(boxes):
                boxes, class_ids = self._objects(result["bounding_boxes"], class_ids)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8), boxes, class_ids

    def _objects(self, result: dict[str, Any], class_ids: ClassIds) -> tuple[Boxes, ClassIds]:
        """Boxes and class ids of the objects that Keras kept; it gives the others the label -1."""
        boxes, numbers = (keras.ops.convert_to_numpy(result[name])[0]
                          for name in ("boxes", "labels"))
        kept = numbers >= 0
        x1, y1, x2, y2 = boxes[kept].astype(np.float32).T
        return np.stack([y1, x1, y2, x2], axis=1), class_ids[numbers[kept].astype(int)]
