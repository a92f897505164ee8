"""The detector under measurement, its inputs, and the rows measured with it."""

import tempfile
import time

import numpy as np

from benchmarks import arithmetic, measure
from benchmarks.loader import draw_jpeg
from benchmarks.machine import cores
from benchmarks.matrix_product import SIDE, product_times
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.loader import DetectionSequence
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.startup import detection_only
from frcnn.weights.checkpoint import save_weights

# Settings of every row besides the image size; weights are random, and all layers are trained.
CONDITIONS = {
    "NAME": "benchmark", "BACKBONE": "resnet50", "NUM_CLASSES": 8, "RPN_ANCHOR_STRIDE": 1,
    "POST_NMS_ROIS_INFERENCE": 1000, "POST_NMS_ROIS_TRAINING": 2000, "TRAIN_ROIS_PER_IMAGE": 200,
}
OBJECTS = 20
# So small that the random weights hardly change; the arithmetic does not depend on it.
LEARNING_RATE = 1e-6


def make_config(side, batch=1, precision="float32", train_bn=False, **settings):
    """The Config of a row: images are square and `side` pixels wide."""
    return Config(**{**CONDITIONS, "IMAGE_MIN_DIM": side, "IMAGE_MAX_DIM": side,
                     "IMAGES_PER_GPU": batch, "PRECISION": precision, "TRAIN_BN": train_bn,
                     **settings})


def make_image(height, width=None, seed=0):
    """An image of noise, uint8 `[height, width, 3]`."""
    shape = (height, width or height, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class Noise(Dataset):
    """Square images of noise with boxes drawn at random.

    Args:
        side: of the images, in pixels.
        images: how many.
        num_classes: background included.
    """

    def __init__(self, side, images, num_classes):
        super().__init__()
        for class_id in range(1, num_classes):
            self.add_class("noise", class_id, f"class {class_id}")
        for number in range(images):
            self.add_image("noise", number, None, width=side, height=side)
        self.prepare()

    def load_image(self, image_id):
        """See `Dataset.load_image`."""
        return make_image(self.image_info[image_id]["height"], seed=image_id)

    def load_boxes(self, image_id):
        """See `Dataset.load_boxes`."""
        rng, side = np.random.default_rng(image_id), self.image_info[image_id]["height"]
        sizes = rng.uniform(side / 32, side / 3, (OBJECTS, 2))
        corners = rng.uniform(0, side - sizes)
        boxes = np.concatenate([corners, corners + sizes], axis=1)
        ids = rng.integers(1, self.num_classes, OBJECTS)
        return boxes.astype(np.float32), ids.astype(np.int32)


def make_batch(config):
    """The inputs of one training step, by name."""
    dataset = Noise(config.IMAGE_MAX_DIM, config.BATCH_SIZE, config.NUM_CLASSES)
    return DetectionSequence(dataset, config, shuffle=False, seed=0)[0][0]


def make_detector(mode, config, jit_compile=None):
    """A MaskRCNN with seeded random weights; for training, compiled with all layers trained.

    Args:
        jit_compile: True, False, or None for Keras's choice.
    """
    # Nothing is written to the folder without training.
    model = MaskRCNN(mode, config, tempfile.gettempdir(), seed=0)
    if mode == "training":
        model.set_trainable(".*")
        model.compile(LEARNING_RATE, jit_compile="auto" if jit_compile is None else jit_compile)
    elif jit_compile is not None:
        model.compile_detection(jit_compile)
    return model


def make_work(task, config, jit_compile=None):
    """The timed work, as a function without arguments, and the MaskRCNN.

    Args:
        task: "detect" (a batch of images, already of the molded size, from arrays to boxes) or
            "train" (one step on a prepared batch).
    """
    model = make_detector("inference" if task == "detect" else "training", config, jit_compile)
    if task == "detect":
        images = [make_image(config.IMAGE_MAX_DIM, seed=i) for i in range(config.BATCH_SIZE)]
        return lambda: model.detect(images, batch_size=len(images)), model
    batch = make_batch(config)

    def step():
        loss = np.asarray(model.keras_model.train_on_batch(batch)).ravel()[0]
        if not np.isfinite(loss):
            raise FloatingPointError(f"The loss of the random network is {loss}, so its time is "
                                     "not valid.")

    return step, model


def measure_row(task, side, batch=1, precision="float32", train_bn=False, jit_compile=None,
                settings=None, weights_change=False, runs=5, warmup=2, product=SIDE):
    """Time and memory of one row in this process, which should be a new one.

    Args:
        task: see `make_work`.
        settings: further settings of the Config.
        weights_change: True for a detection without `detection_only`; otherwise it is called, and
            applies to this process from then on.
        product: side of the matrices that give the unit.

    Returns:
        Dict of `seconds` (of each run), `first_seconds` (the first call, which traces),
        `unit_before` and `unit_after` (seconds of each product), `half_products` (the same in
        bfloat16, only if that is the precision), `multiply_adds` of one run, and in bytes, or None
        without `/proc`: `memory_start` (after the imports), `memory_built` (after the build) and
        `memory_peak` (after the warm-up).
    """
    if task == "detect" and not weights_change:
        detection_only()
    measure.reset_peak()
    memory_start = measure.resident()
    config = make_config(side, batch, precision, train_bn, **settings or {})
    work, model = make_work(task, config, jit_compile)
    memory_built = measure.resident()
    start = time.perf_counter()
    work()
    first_seconds = time.perf_counter() - start
    measure.time_runs(work, max(0, warmup - 1), 0)
    # Read before the first product, whose matrices would add to it.
    memory_peak = measure.peak()
    unit_before = product_times(side=product)
    seconds = measure.time_runs(work, runs, 0)
    works = arithmetic.multiply_adds(model.keras_model, batch)
    is_half = precision == "mixed_bfloat16"
    return {
        "seconds": seconds, "first_seconds": first_seconds,
        "unit_before": unit_before, "unit_after": product_times(side=product),
        "half_products": product_times("bfloat16", product) if is_half else [],
        "multiply_adds": arithmetic.total(works, task == "train"),
        "memory_start": memory_start, "memory_built": memory_built, "memory_peak": memory_peak,
    }


def measure_many(images, sizes, side, precision, resize_mode):
    """Detects on many images of several sizes in one call, and records the memory meanwhile.

    Args:
        images: how many, of `sizes` different sizes between half and one and a half of `side`.
        resize_mode: the Config's `IMAGE_RESIZE_MODE`.

    Returns:
        Dict of `seconds`, `processor_seconds`, `cores`, `first_seconds` (one image of each size,
        before), `shapes` ((B, H, W) of each graph that was compiled; None is any number), and
        `resident`: bytes at regular intervals from the start to the end of the call.
    """
    config = make_config(side, 1, precision, IMAGE_RESIZE_MODE=resize_mode)
    model = make_detector("inference", config)
    scales = np.linspace(0.5, 1.5, sizes)
    drawn = [make_image(int(side * scale), int(side * (2 - scale)), i)
             for i, scale in enumerate(scales)]
    start = time.perf_counter()
    model.detect(drawn)
    first_seconds = time.perf_counter() - start
    with measure.watch_memory() as readings:
        start, processor = time.perf_counter(), time.process_time()
        for _ in model.detect_stream(drawn[i % sizes] for i in range(images)):
            pass
        seconds = time.perf_counter() - start
        processor = time.process_time() - processor
    return {"seconds": seconds, "processor_seconds": processor, "cores": cores(),
            "first_seconds": first_seconds, "shapes": model.detection_shapes,
            "resident": readings}


def write_files(weights, picture, side):
    """Writes a checkpoint of the network with random weights, and a JPEG of 1280 × 720."""
    save_weights(make_detector("inference", make_config(side)).keras_model, weights)
    draw_jpeg(picture)
