"""One detection as in a user's program, with a time stamp after each part.

    python -m benchmarks.first_detection WEIGHTS PICTURE SIDE PRECISION

Imports are inside the function, and only those that detection needs, since they are timed too.
"""

import json
import sys
import time


def main(weights, picture, side, precision):
    """Detects on one image; prints the time stamps as a line of JSON."""
    from frcnn.startup import detection_only, start_backend

    detection_only()
    start_backend()  # as the programs do, which so spare garbage collections of what they import

    from frcnn.config import Config
    from frcnn.data.image_io import read_image
    from frcnn.model.mask_rcnn import MaskRCNN

    stamps = {"import": time.time()}
    config = Config(NAME="benchmark", BACKBONE="resnet50", NUM_CLASSES=8, IMAGES_PER_GPU=1,
                    IMAGE_MIN_DIM=int(side), IMAGE_MAX_DIM=int(side), PRECISION=precision)
    model = MaskRCNN("inference", config, ".")
    stamps["build"] = time.time()
    model.load_weights(weights)
    stamps["load"] = time.time()
    model.detect([read_image(picture)])
    stamps["detect"] = time.time()
    print(json.dumps(stamps))


if __name__ == "__main__":
    main(*sys.argv[1:])
