"""Detections as a file, in any of the formats of `frcnn.formats`."""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from frcnn.errors import FrcnnError, MissingExtraError
from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.registry import FORMATS, Format, write
from frcnn.serve.limits import Refusal
from frcnn.serve.schemas import ExportImage, ExportRequest

MEDIA_TYPES = {".json": "application/json", ".geojson": "application/geo+json",
               ".csv": "text/csv; charset=utf-8", ".jsonl": "application/jsonl",
               ".zip": "application/zip", ".xml": "application/xml",
               ".parquet": "application/vnd.apache.parquet"}


def is_available(chosen: Format) -> bool:
    """Whether the library that writes a format is installed."""
    try:
        chosen.check_installed()
    except MissingExtraError:
        return False
    return True


def exported(request: ExportRequest, name: str, classes: Classes) -> tuple[bytes, str]:
    """A file with the detections of a request.

    Args:
        request: images are numbered from 1 in its order.
        name: of the format.
        classes: of the detector.

    Returns:
        content: of the file.
        file_name: a name for it.

    Raises:
        Refusal: there is no such format, its library is missing, a class is unknown, or two images
            have one name in a format that tells images apart by it.
    """
    if name not in FORMATS:
        raise Refusal(422, f"There is no format {name[:40]!r}; choose one of {', '.join(FORMATS)}.")
    chosen = FORMATS[name]
    images = [_image(image, number, classes)
              for number, image in enumerate(request.images, start=1)]
    # The writers need files. They have no pixels in them, and are gone at once.
    with tempfile.TemporaryDirectory(prefix="frcnn-export-") as folder:
        place = Path(folder) / "files"
        target = place if chosen.by_image else place / f"detections{chosen.ending}"
        try:
            chosen.check_installed()
            write(images, target, chosen, classes)
        except FrcnnError as error:
            raise Refusal(422, str(error)) from error
        files = sorted(path for path in place.rglob("*") if path.is_file())
        if len(files) == 1:
            return files[0].read_bytes(), files[0].name
        return _zipped(place, files), f"{name}.zip"


def _image(image: ExportImage, number: int, classes: Classes) -> ImageDetections:
    found = image.detections
    unknown = {one.class_id for one in found if one.class_id >= len(classes.names)}
    if unknown:
        raise Refusal(422, f"class_id {min(unknown)} is unknown; the detector has 1 to "
                           f"{len(classes.names) - 1}.")
    boxes = np.array([one.box for one in found], np.float32).reshape(-1, 4)
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise Refusal(422, f"{image.name}: a box ends before it begins; boxes are y1, x1, y2, x2.")
    return ImageDetections(_without_dots(image.name), number, image.height, image.width, boxes,
                           np.array([one.class_id for one in found], np.int32),
                           np.array([one.score for one in found], np.float32))


def _without_dots(name: str) -> str:
    """A name with its folders, that leads out of none and into none of the server's."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "image"


def _zipped(folder: Path, files: Sequence[Path]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))
    return content.getvalue()
