"""Which formats there are, and which one a file's name means."""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from frcnn.errors import MissingExtraError, OutputError
from frcnn.files import replacing
from frcnn.formats import correction, imagej, qupath, tables, voc
from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.names import distinct_names, file_names, relative_names


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        ending: of its files.
        text: what it is.
        write: the function that writes it.
        by_image: whether each image has a file of its own.
        names_images: whether the file names images by their paths alone, so that these must differ.
        needs: the module that writes it, what that is for, and the extra that brings it; or None.
    """

    ending: str
    text: str
    write: Callable[[Path, Any, Classes], None]
    by_image: bool = False
    names_images: bool = False
    needs: tuple[str, str, str] | None = None

    def check_installed(self) -> None:
        """Raises MissingExtraError if the library that writes the format is not installed."""
        if self.needs is not None and importlib.util.find_spec(self.needs[0]) is None:
            raise MissingExtraError(*self.needs[1:])


FORMATS = {
    "coco": Format(".json", "COCO's results", tables.write_coco),
    "csv": Format(".csv", "a table", tables.write_csv),
    "jsonl": Format(".jsonl", "COCO's results, one a line", tables.write_json_lines),
    "parquet": Format(".parquet", "a table for pandas, Spark and others", tables.write_parquet,
                      needs=("pyarrow", "Parquet files", "shards")),
    "geojson": Format(".geojson", "QuPath's detections", qupath.write_geojson, by_image=True),
    "imagej": Format(".zip", "regions for ImageJ's and Fiji's ROI manager", imagej.write_imagej,
                     by_image=True, needs=("roifile", "ROI files of ImageJ", "formats")),
    "voc": Format(".xml", "Pascal VOC's annotations", voc.write_voc, by_image=True),
    "annotations": Format(".json", "COCO's annotations, to correct and train on",
                          correction.write_annotations, names_images=True),
    "labelstudio": Format(".json", "tasks with predictions for Label Studio",
                          correction.write_label_studio, names_images=True),
}


# Files with these endings are results, and no images.
ENDINGS = tuple(dict.fromkeys(known.ending for known in FORMATS.values()))


def describe() -> str:
    """A line for each format: its name, its ending, and what it is."""
    return "\n".join(f"  {name:13}{known.ending:10}{known.text}"
                     + ", a file for each image" * known.by_image
                     for name, known in FORMATS.items())


def format_of(path: Path, name: str | None = None) -> Format:
    """The format of a name, or that which a file's ending means.

    Raises:
        OutputError: the ending means none, or not the one that is named.
        MissingExtraError: its library is not installed.
    """
    endings = {each.ending: each for each in reversed(FORMATS.values())}
    suffix = path.suffix.lower()
    if name is None:
        if suffix not in endings:
            raise OutputError(f"{path}: the ending means no format; name a file that ends in "
                              f"{', '.join(ENDINGS)}.")
        return _installed(endings[suffix])
    chosen = FORMATS[name]
    if suffix != chosen.ending and not (chosen.by_image and suffix == ""):
        place = f"a folder, or a file that ends in {chosen.ending}" if chosen.by_image \
            else f"a file that ends in {chosen.ending}"
        raise OutputError(f"{path}: the format {name} needs {place}.")
    return _installed(chosen)


def _installed(chosen: Format) -> Format:
    """The format; it is checked before the work whose results it will hold."""
    chosen.check_installed()
    return chosen


def write(images: Iterable[ImageDetections], path: Path, chosen: Format, classes: Classes) -> int:
    """Writes detections, each file at once; returns how many files were written.

    Args:
        images: in order; drawn one at a time by formats with a row for each object.
        path: a file, or a folder for the files of the images. A file is enough for a format with
            a file for each image if there is only one image. In a folder, files are in folders as
            the images are.
        chosen: the Format.
        classes: Classes.

    Raises:
        OutputError: several images, and one file for a format with a file for each; or two images
            of one name, see `check_names`.
    """
    if not chosen.by_image:
        with replacing(path) as draft:
            chosen.write(draft, _named(images) if chosen.names_images else images, classes)
        return 1
    images = list(images)
    if path.suffix and len(images) > 1:
        raise OutputError(f"{path}: there are several images, and this format has a file for "
                          "each; name a folder, and the format with --format.")
    paths = [image.path for image in images]
    for image, name, file in zip(images, relative_names(paths), file_names(paths, chosen.ending)):
        with replacing(path if path.suffix else path / file) as draft:
            chosen.write(draft, replace(image, given_name=name), classes)
    return len(images)


def _named(images: Iterable[ImageDetections]) -> list[ImageDetections]:
    """The images with names that differ; see `distinct_names`."""
    images = list(images)
    return [replace(image, given_name=name) for image, name in zip(
        images, distinct_names([image.path for image in images]))]


def check_names(paths: Sequence[str], chosen: Format) -> None:
    """Checks, before the work whose results it will hold, that a format can tell images apart.

    Raises:
        OutputError: it names images, and two have one name.
    """
    if chosen.names_images:
        distinct_names(paths)
