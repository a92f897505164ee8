"""The files of `frcnn detect`: which images to read, and results as JSON, CSV and pictures."""

import csv
import glob
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from frcnn.arrays import Image
from frcnn.errors import DatasetError, FrcnnError
from frcnn.files import check_writable, expanded, replacing, write_json

# What `MaskRCNN.detect` returns for an image, and one detection as in COCO's results format.
Detections: TypeAlias = Mapping[str, Any]
Row: TypeAlias = dict[str, Any]

KINDS = (".json", ".csv")
COLUMNS = ("file_name", "image_id", "category_id", "category_name", "score",
           "x", "y", "width", "height")


def find_images(inputs: Iterable[str]) -> list[Path]:
    """The files that images, folders and patterns name, each once, in order.

    Of a folder these are all files directly in it, except hidden ones.

    Raises:
        FileNotFoundError: an input names no file.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        path = expanded(text)
        if path.is_dir():
            files = [file for file in sorted(path.iterdir())
                     if file.is_file() and not file.name.startswith(".")]
        elif path.exists():
            files = [path]
        else:
            names = glob.glob(str(path), recursive=True)
            files = [Path(name) for name in sorted(names) if os.path.isfile(name)]
        if not files:
            raise FileNotFoundError(f"{text}: no such file, and no file matches it."
                                    if not path.is_dir() else f"{text}: the folder has no files.")
        found.update((file, None) for file in files)
    return list(found)


def number_images(paths: Sequence[Path], annotation_path: str | None = None) -> dict[Path, Any]:
    """Image ids by path: those of a COCO annotation file by file name, else 1, 2, 3, …

    Raises:
        DatasetError: the annotation file is unusable, or does not list an image.
    """
    if annotation_path is None:
        return {path: number for number, path in enumerate(paths, start=1)}
    try:
        entries = json.loads(Path(annotation_path).read_text(encoding="utf-8"))["images"]
        known = {Path(entry["file_name"]).name: entry["id"] for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{annotation_path} is no COCO annotation file: it needs 'images' with "
                           "'id' and 'file_name'.") from error
    unknown = [path for path in paths if path.name not in known]
    if unknown:
        raise DatasetError(f"{annotation_path} does not list {unknown[0].name}; leave "
                           "--annotations out to number the images instead.")
    return {path: known[path.name] for path in paths}


def check_output(text: str) -> Path:
    """The Path to write results to.

    Raises:
        FrcnnError: its ending is not one of KINDS, or it is a folder.
    """
    path = expanded(text)
    if path.suffix.lower() not in KINDS or path.is_dir():
        raise FrcnnError(f"--output {text}: name a file that ends in {' or '.join(KINDS)}.")
    return path


def check_writable_as(option: str, folder: Path, name: str = "picture.png") -> None:
    """Makes the folder and tries to write a file of that name, before detection takes hours.

    Raises:
        FrcnnError: nothing can be written there; the message names the option.
    """
    try:
        check_writable(folder, name)
    except OSError as error:
        raise FrcnnError(f"{option}: nothing can be written as {Path(folder) / name} "
                         f"({error.strerror}); name another place.") from error


def to_rows(path: Path, image_id: Any, result: Detections, class_names: Sequence[str],
            category_ids: Sequence[Any]) -> list[Row]:
    """One image's detections in COCO's results format, with class and file names added.

    Args:
        path: the image's file.
        image_id: the id to give it.
        result: `boxes` float32 `[N, 4]` (y1, x1, y2, x2) in pixels, `class_ids` and `scores` `[N]`.
        class_names, category_ids: by class id, background first.
    """
    rows: list[Row] = []
    for box, class_id, score in zip(result["boxes"], result["class_ids"], result["scores"]):
        y1, x1, y2, x2 = (float(side) for side in box)
        rows.append({
            "image_id": image_id,
            "category_id": category_ids[class_id],
            "bbox": [round(side, 3) for side in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(float(score), 6),
            "category_name": class_names[class_id],
            "file_name": str(path),
        })
    return rows


def write(rows: Sequence[Row], path: Path) -> None:
    """Writes results as JSON or CSV, by the path's extension; atomically."""
    if path.suffix.lower() == ".csv":
        _write_csv(rows, path)
    else:
        write_json(path, rows, indent=1, non_finite="null")


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with replacing(path) as draft, open(draft, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([row[name] for name in COLUMNS[:5]] + row["bbox"])


class Artist:
    """Writes images with their detections into a folder, as PNG files named after the images.

    Args:
        folder: the folder; it is made when the first picture is written.
        class_names: by class id, background first.

    Raises:
        FrcnnError: the folder is a file.
    """

    def __init__(self, folder: str, class_names: Sequence[str]) -> None:
        self.folder = expanded(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise FrcnnError(f"--pictures {folder} is a file; name a folder.")
        self.class_names = class_names
        self.taken: set[str] = set()

    def draw(self, path: Path, image: Image, result: Detections) -> None:
        """Writes one picture; an image whose name is taken gets a number."""
        from frcnn import visualize

        name, number = path.stem, 1
        while name in self.taken:
            number += 1
            name = f"{path.stem}-{number}"
        self.taken.add(name)
        axes = visualize.display_instances(image, result["boxes"], result["class_ids"],
                                           self.class_names, scores=result["scores"])
        visualize.save_figure(axes, self.folder / f"{name}.png")
