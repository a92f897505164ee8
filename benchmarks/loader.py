"""Time of the loader for one image, stage by stage, from the file to finished targets.

    python -m benchmarks.loader
    python -m benchmarks.loader --augmentation microscopy
    python -m benchmarks.loader --images folder/of/images --objects 200

Times are processor time of one thread, the median over many runs; they are valid only on an
otherwise idle machine. Each stage is timed alone; "whole" is a batch of one image as in training.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from frcnn.config import Config
from frcnn.data.augment import PRESETS, resolve
from frcnn.data.dataset import Dataset
from frcnn.data.examples import load_image_gt
from frcnn.data.loader import DetectionSequence
from frcnn.data.molding import mold_image
from frcnn.data.resize import resize_image
from frcnn.data.targets import build_rpn_targets
from frcnn.geometry.anchors import pyramid_anchors

# Times of the reference (Matterport's Mask R-CNN) for such an image on one core, in ms, which the
# goal was set against. The rest of its whole is reading and molding.
REFERENCE = {"resize": 80, "targets": 350, "whole": 500}
GOAL = 45
_OF_THE_GOAL = ("images", "objects", "max_dim", "anchor_stride", "augmentation")
HEIGHT, WIDTH = 720, 1280


class Pictures(Dataset):
    """Image files with boxes drawn at random.

    Args:
        paths: the image files.
        objects: boxes an image.
    """

    def __init__(self, paths, objects):
        super().__init__()
        self.objects = objects
        self.add_class("benchmark", 1, "object")
        for number, path in enumerate(paths):
            with Image.open(path) as image:
                width, height = image.size
            self.add_image("benchmark", number, str(path), width=width, height=height)
        self.prepare()

    def load_boxes(self, image_id):
        """See `Dataset.load_boxes`."""
        info, rng = self.image_info[image_id], np.random.default_rng(image_id)
        frame = np.array([info["height"], info["width"]])
        sides = np.minimum(rng.uniform(12, 120, (self.objects, 2)), frame)
        corners = rng.uniform(0, frame - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        return boxes.astype(np.float32), np.ones(self.objects, np.int32)


def draw_jpeg(path):
    """Writes an image like a micrograph: smooth, with spots and noise, 1280 × 720 pixels."""
    rng = np.random.default_rng(0)
    small = rng.normal(170, 25, (HEIGHT // 8, WIDTH // 8, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noise = rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    pixels = (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


def stages(dataset, config, augmentation):
    """`[(name, function of an image id), …]`; the inputs of a stage are prepared untimed."""
    sequence = DetectionSequence(dataset, config, shuffle=False, augmentation=augmentation,
                                 batch_size=1, seed=0)
    anchors, augment = pyramid_anchors(config, sequence.image_shape), resolve(augmentation)
    made = {}

    def prepared(image_id):
        if image_id not in made:
            made.clear()  # holds one image at a time: folders may be large
            image, boxes = dataset.load_image(image_id), dataset.load_boxes(image_id)
            made[image_id] = image, boxes, load_image_gt(dataset, config, image_id)
        return made[image_id]

    def augmented(image_id):
        image, (boxes, class_ids), _ = prepared(image_id)
        augment(image, boxes, class_ids, np.random.default_rng(next(seeds)))

    def resized(image_id):
        resize_image(prepared(image_id)[0], config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM,
                     min_scale=config.IMAGE_MIN_SCALE, mode=config.IMAGE_RESIZE_MODE, rng=0)

    def targets(image_id):
        example = prepared(image_id)[2]
        build_rpn_targets(example.image.shape, anchors, example.class_ids, example.boxes, config,
                          rng=0)

    def whole(image_id):
        sequence.epoch = next(seeds)
        return sequence[image_id]

    seeds = iter(range(10**9))  # a new one each time: the cost of augmentation is random
    found = [("read", dataset.load_image), ("augment", augmented), ("resize", resized),
             ("mold", lambda image_id: mold_image(prepared(image_id)[2].image, config)),
             ("targets", targets), ("whole", whole)]
    return [stage for stage in found if augment is not None or stage[0] != "augment"]


def measure(function, image_ids, runs):
    """Milliseconds of processor time, `[runs]`, without the first one, which fills caches."""
    times = []
    for run in range(-1, runs):
        image_id = int(image_ids[run % len(image_ids)])
        if run < 0 or len(image_ids) > 1:
            function(image_id)  # prepares the inputs of this image, which is not timed
        start = time.process_time()
        function(image_id)
        times.append(1000 * (time.process_time() - start))
    return times[1:]


def report(dataset, config, augmentation, runs):
    """Prints the table; returns the medians by stage (means of the stages with augmentation)."""
    header = f"{'stage':10}{'ms':>9}{'reference, ms':>16}"
    print(header, "-" * len(header), sep="\n")
    results = {}
    for name, function in stages(dataset, config, augmentation):
        times = measure(function, dataset.image_ids, runs)
        is_random = augmentation is not None and name in ("augment", "whole")
        results[name] = statistics.fmean(times) if is_random else statistics.median(times)
        print(f"{name:10}{results[name]:9.1f}{REFERENCE.get(name, ''):>16}".rstrip())
    return results


def main(arguments=None):
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader",
                                     description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=Path, help="folder of images; default: one drawn image")
    parser.add_argument("--objects", type=int, default=50, help="boxes an image (%(default)s)")
    parser.add_argument("--max-dim", type=int, default=1024, help="IMAGE_MAX_DIM (%(default)s)")
    parser.add_argument("--anchor-stride", type=int, default=1,
                        help="RPN_ANCHOR_STRIDE (%(default)s)")
    parser.add_argument("--augmentation", choices=sorted(PRESETS), help="default none")
    parser.add_argument("--runs", type=int, default=30, help="runs of each stage (%(default)s)")
    options = parser.parse_args(arguments)
    config = Config(NUM_CLASSES=2, IMAGE_MAX_DIM=options.max_dim,
                    IMAGE_MIN_DIM=min(800, options.max_dim),
                    RPN_ANCHOR_STRIDE=options.anchor_stride)
    with tempfile.TemporaryDirectory() as folder:
        if options.images is None:
            paths = [Path(folder) / "drawn.jpg"]
            draw_jpeg(paths[0])
        else:
            paths = image_files(options.images)
            if not paths:
                parser.error(f"there are no images in {options.images}")
        results = report(Pictures(paths, options.objects), config, options.augmentation,
                         options.runs)
    if all(getattr(options, name) == parser.get_default(name) for name in _OF_THE_GOAL):
        met = "met" if results["whole"] <= GOAL else "not met"
        print(f"\nThe goal is {GOAL} ms for the whole; here it is {met}.")


def image_files(folder):
    """Paths of the images in a folder, in alphabetical order."""
    known = Image.registered_extensions()
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in known)


if __name__ == "__main__":
    main()
