"""What the tests of the urinary programs share."""

import h5py
import numpy as np

from frcnn.config import Config
from frcnn.errors import ImageError
from frcnn.runs import save_metadata

# conftest's classes, by ascending category id
NAMES = ["BG", "bar", "square", "slab"]
CATEGORY_IDS = [None, 2, 7, 11]

# Options for a detector that trains in seconds.
TINY = ["--image-size", "128", "--batch-size", "2", "--set", "POST_NMS_ROIS_TRAINING=50",
        "--set", "POST_NMS_ROIS_INFERENCE=50", "--set", "TRAIN_ROIS_PER_IMAGE=20",
        "--set", "TOP_DOWN_PYRAMID_SIZE=32", "--set", "FPN_CLASSIF_FC_LAYERS_SIZE=32",
        "--set", "RPN_ANCHOR_SCALES=16,32,64,128,256"]


class Reached(Exception):
    """What a test raises in a program where it would load Keras."""


def fails(capsys, main, *arguments):
    """The one line on stderr with which a program refuses its input."""
    code = main(list(map(str, arguments)))
    captured = capsys.readouterr()
    assert code == 2
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert "error: " in lines[0] and "Traceback" not in captured.out
    return lines[0]


def checkpoint(folder, num_classes, *, epoch=3, names=None, category_ids=None,
               **settings):
    """A file that looks like a checkpoint to everything but the model; with a JSON if named."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mask_rcnn_ury_{epoch:04d}.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"mrcnn_class_logits"]
        group = file.create_group("mrcnn_class_logits")
        group.attrs["weight_names"] = [b"mrcnn_class_logits/bias:0"]
        group["mrcnn_class_logits/bias:0"] = np.zeros(num_classes, np.float32)
    if names:
        config = Config(NAME="ury", NUM_CLASSES=num_classes, **settings)
        save_metadata(path, config, names, category_ids)
    return path


class Stub:
    """Finds one object in each image: the whole of it, of class 1 + (width mod 3)."""

    def __init__(self, path, config, logs):
        self.config = config
        self.batches, self.batch_size = [], None

    def detect_stream(self, images, batch_size=None, return_exceptions=False):
        self.batch_size = batch_size
        for image in images:
            try:
                image = image() if callable(image) else image  # a tile is an array
            except (ImageError, OSError) as error:
                assert return_exceptions
                yield error
            else:
                yield from self.detect([image])

    def detect(self, images):
        self.batches.append(len(images))
        results = []
        for image in images:
            height, width = image.shape[:2]
            box = np.array([[0.25, 0.5, height, width]], np.float32)
            results.append({"rois": box.round().astype(np.int32), "boxes": box,
                            "class_ids": np.array([1 + width % 3], np.int32),
                            "scores": np.array([0.875], np.float32)})
        return results
