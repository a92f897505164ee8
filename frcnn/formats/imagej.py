"""Regions of interest as ImageJ and Fiji open them in the ROI manager: a ZIP of rectangles."""

from pathlib import Path

import numpy as np

from frcnn.formats.detections import Classes, ImageDetections


def write_imagej(path: Path, image: ImageDetections, classes: Classes) -> None:
    """A rectangle with sub-pixel sides for each object, named by number, class and score."""
    import roifile

    regions = []
    for number, (box, class_id, score) in enumerate(
            zip(image.boxes.astype(float), image.class_ids, image.scores), start=1):
        y1, x1, y2, x2 = box
        region = roifile.ImagejRoi.frompoints(
            np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]),
            name=f"{number:04d} {classes.name(class_id)} {score:.3f}")
        region.roitype = roifile.ROI_TYPE.POLYGON
        red, green, blue = classes.color(class_id)
        region.stroke_color = bytes((255, red, green, blue))
        regions.append(region)
    path.unlink(missing_ok=True)  # roifile adds to a file that is there
    if regions:
        roifile.roiwrite(path, regions)
    else:
        _write_empty(path)


def _write_empty(path: Path) -> None:
    import zipfile

    zipfile.ZipFile(path, "w").close()
