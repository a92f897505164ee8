"""Formats with a row for each object: COCO's results, CSV, JSON lines, Parquet."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from frcnn.files import escaped, to_plain_json
from frcnn.formats.detections import Classes, ImageDetections

COLUMNS = ("file_name", "image_id", "category_id", "category_name", "score",
           "x", "y", "width", "height")
_ROWS_AT_ONCE = 10_000


def rows(images: Iterable[ImageDetections], classes: Classes) -> Iterator[dict[str, Any]]:
    """One detection after the other, as in COCO's results format, with names added."""
    for image in images:
        for box, class_id, score in zip(image.xywh, image.class_ids, image.scores):
            yield {"image_id": image.image_id, "category_id": classes.category_ids[class_id],
                   "bbox": box, "score": round(float(score), 6),
                   "category_name": classes.name(class_id), "file_name": escaped(image.path)}


def write_coco(path: Path, images: Iterable[ImageDetections], classes: Classes) -> None:
    """A list of COCO's results, written row by row."""
    with open(path, "w", encoding="utf-8") as file:
        start = "[\n"
        for row in rows(images, classes):
            file.write(start + _as_json(row))
            start = ",\n"
        file.write("[]\n" if start == "[\n" else "\n]\n")


def write_json_lines(path: Path, images: Iterable[ImageDetections], classes: Classes) -> None:
    """An object in each line, as in COCO's results."""
    with open(path, "w", encoding="utf-8") as file:
        for row in rows(images, classes):
            file.write(_as_json(row) + "\n")


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps(to_plain_json(row, non_finite="null"))


def write_csv(path: Path, images: Iterable[ImageDetections], classes: Classes) -> None:
    """A table with a header, UTF-8."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows(images, classes):
            writer.writerow([*(row[name] for name in COLUMNS[:5]), *row["bbox"]])


def write_parquet(path: Path, images: Iterable[ImageDetections], classes: Classes) -> None:
    """The columns of the CSV; image ids are texts."""
    import pyarrow
    from pyarrow import parquet

    kinds = [pyarrow.string(), pyarrow.string(), pyarrow.string(), pyarrow.string(),
             *[pyarrow.float64()] * 5]
    schema = pyarrow.schema(list(zip(COLUMNS, kinds)))
    with parquet.ParquetWriter(path, schema) as writer:
        chunk: list[dict[str, Any]] = []
        for row in rows(images, classes):
            values = [*(row[name] for name in COLUMNS[:5]), *row["bbox"]]
            chunk.append({name: str(value) if kind == pyarrow.string() else value
                          for name, kind, value in zip(COLUMNS, kinds, values)})
            if len(chunk) == _ROWS_AT_ONCE:
                writer.write_table(pyarrow.Table.from_pylist(chunk, schema))
                chunk = []
        writer.write_table(pyarrow.Table.from_pylist(chunk, schema))
