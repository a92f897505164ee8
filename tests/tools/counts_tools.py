"""Images with known objects as a detector sees them, for the tests of counts."""

import json

import numpy as np
from cli_tools import CATEGORY_IDS, NAMES
from PIL import Image

from frcnn.config import Config
from frcnn.evaluate.calibration_file import Calibration, score_settings
from frcnn.evaluate.counts import ImageCounts


def drawn(random, images, mean=12, found=0.85, spread=0.0):
    """Images as a detector sees them: a score of s is right with a probability of s squared."""
    result = []
    for _ in range(images):
        share = np.clip(found + spread * random.normal(), 0.05, 1)  # differs by image
        objects = random.poisson(mean)
        seen = random.binomial(objects, share)
        right = random.uniform(0, 1, 4 * seen + 40)
        scores = np.sqrt(random.uniform(0, 1, len(right)))
        is_right = right < scores**2
        # As many right ones as are seen, and the false ones that come with them.
        last = np.flatnonzero(np.cumsum(is_right) <= seen)
        result.append(ImageCounts(scores[last], is_right[last], objects))
    return result


def calibration(names=("bar",), images=20, objects=8.0, **values):
    """A Calibration of the default configuration, with so many objects an image on average."""
    random = np.random.default_rng(0)
    content = {"checkpoint": "a.h5", "sha256": "a" * 64, "settings": score_settings(Config()),
               "class_names": ["BG", *names], "min_score": 0.05, "score_limit": 0.7,
               "data": "drawn, val",
               "classes": [drawn(random, images, objects) for _ in names]}
    return Calibration(**{**content, **values})


def whole_images(folder, count, empty=0, subset="val"):
    """A data set in COCO's layout whose images are each filled by an object of the first class, but
    for the first ones, which have none; as for `cli_tools.Stub`, which finds one in each."""
    categories = [{"id": number, "name": name} for number, name in
                  zip(CATEGORY_IDS[1:], NAMES[1:])]
    content = {"images": [], "annotations": [], "categories": categories}
    (folder / subset).mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number in range(1, count + 1):
        name = f"{number:03d}.png"
        pixels = np.full((20, 30, 3), number, np.uint8)
        pixels[5:9, 7:13] = 200
        Image.fromarray(pixels).save(folder / subset / name)
        content["images"].append({"id": number, "file_name": name, "width": 30, "height": 20})
        if number > empty:
            content["annotations"].append({
                "id": number, "image_id": number, "category_id": CATEGORY_IDS[1],
                "bbox": [0, 0, 30, 20], "area": 600, "iscrowd": 0})
    path = folder / "annotations" / f"instances_{subset}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder
