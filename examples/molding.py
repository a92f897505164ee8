"""From an image to the input of an exported graph and back, for the examples beside this file.

`frcnn.runtime` does the same to the bit; here a resized pixel may differ by one level of gray.
"""

import numpy as np
from PIL import Image


def mold(image, about):
    """The image [1, H, W, 3], molded, its window [1, 4], and the scale, by the file's metadata."""
    settings = about["settings"]
    least, most = settings["IMAGE_MIN_DIM"], settings["IMAGE_MAX_DIM"]
    scale = max(1, least / min(image.size), settings["IMAGE_MIN_SCALE"])
    if settings["IMAGE_RESIZE_MODE"] in ("square", "fit64"):
        scale = min(scale, most / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    # Bilinear without smoothing, as the images of the training were resized.
    image = image.transform((width, height), Image.Transform.AFFINE,
                            (image.width / width, 0, 0, 0, image.height / height, 0),
                            Image.Resampling.BILINEAR)
    sides = about["shape"] or [-(-side // 64) * 64 for side in (height, width)]
    canvas = np.zeros((*sides, 3))
    canvas[:height, :width] = np.asarray(image)
    molded = (canvas - settings["MEAN_PIXEL"]).astype(np.float32)
    return molded[None], np.array([[0, 0, height, width]], np.float32), scale


def show(detections, scale, about):
    """Prints the detections [1, N, 6] of a graph, in pixels of the image."""
    for y1, x1, y2, x2, class_id, score in detections[0]:
        if class_id > 0:
            y1, x1, y2, x2 = (side / scale for side in (y1, x1, y2, x2))
            name = about["class_names"][int(class_id)]
            print(f"{name} {score:.3f} {y1:.2f} {x1:.2f} {y2:.2f} {x2:.2f}")
