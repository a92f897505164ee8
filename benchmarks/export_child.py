"""One engine of `benchmarks.export`: detects when a line on stdin asks for it.

    python -m benchmarks.export_child '{"kind": "file", "path": "detector.onnx", "side": 512}'

Imports are inside the functions: each engine needs its own, and they count in its start.
"""

import json
import sys
import time

import numpy as np

from benchmarks.children import MARK
from benchmarks.measure import peak


def main(text):
    """Makes the engine, detects once, then answers requests, one a line."""
    spec = json.loads(text)
    detect = {"file": of_file, "tensorflow": of_tensorflow, "torchvision": of_torchvision}[
        spec["kind"]](spec)
    detect(pictures(spec["side"], 1), spec["side"])
    say({"time": time.time()})
    for line in sys.stdin:
        request = json.loads(line)
        if "unit" in request:
            from benchmarks.matrix_product import product_times

            say({"seconds": min(product_times(runs=2))})
            continue
        images = pictures(request["side"], request["batch"])
        start = time.perf_counter()
        detect(images, request["side"])
        say({"seconds": time.perf_counter() - start, "peak": peak()})


def say(answer):
    """Prints an answer as a line."""
    print(MARK + json.dumps(answer), flush=True)


def pictures(side, count):
    """Images of noise, the same every time."""
    return [np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
            for number in range(count)]


def of_file(spec):
    """A function of images and their side, by `frcnn.runtime`."""
    from frcnn.runtime import Detector

    detector = Detector(spec["path"], precision=spec["precision"])

    def detect(images, side):
        # The graph takes any size; the molding is told not to change that of the images.
        detector.config = detector.config.replaced(IMAGE_MIN_DIM=side, IMAGE_MAX_DIM=side)
        return detector.detect(images, batch_size=len(images))

    return detect


def of_tensorflow(spec):
    """The same by `MaskRCNN`, in a process that only detects."""
    from frcnn.startup import detection_only, start_backend

    detection_only()
    start_backend(program=True)
    from frcnn.model.mask_rcnn import MaskRCNN
    from frcnn.runs import load_metadata

    config = load_metadata(spec["path"]).config().replaced(PRECISION=spec["precision"])
    model = MaskRCNN("inference", config, ".")
    model.load_weights(spec["path"])

    def detect(images, side):
        for name in ("IMAGE_MIN_DIM", "IMAGE_MAX_DIM"):
            setattr(config, name, side)
        return model.detect(images, batch_size=len(images))

    return detect


def of_torchvision(spec):
    """The same by torchvision's Faster R-CNN, in float32."""
    import torch
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    models = {}

    def detect(images, side):
        if side not in models:
            models[side] = fasterrcnn_resnet50_fpn(
                weights=None, weights_backbone=None, num_classes=8, min_size=side,
                max_size=side).eval()
        with torch.inference_mode():
            return models[side]([torch.from_numpy(image).permute(2, 0, 1).float().div(255)
                                 for image in images])

    return detect


if __name__ == "__main__":
    main(sys.argv[1])
