"""`frcnn detections`: the results of many images, a folder of shards, in another format."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from frcnn.cli import outputs, results
from frcnn.cli.program import Parser, program
from frcnn.files import expanded
from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.registry import FORMATS, describe, format_of, write
from frcnn.shards.store import Row, Store, unfinished

DESCRIPTION = """\
Writes what 'frcnn detect --output FOLDER' has found in another format. An image's id is that of the
table or annotations it was listed in, else its path. Tables and COCO's results are written image by
image, so that any number of them needs little memory.

formats, by the file's ending or --format:
{formats}

exit code: 0 done, 1 some images could not be read or shards are missing, 2 nothing was written.
"""


def build_parser(prog: str = "frcnn detections") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION.format(formats=describe()))
    parser.add_argument("folder", metavar="FOLDER", help="the folder of results")
    parser.add_argument("--to", required=True, metavar="FILE",
                        help="the file to write, or a folder for files of the images")
    parser.add_argument("--format", choices=tuple(FORMATS),
                        help="the format, where the ending does not say it")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn detections") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv), prog)


def run(options: argparse.Namespace, prog: str = "frcnn detections") -> int:
    """Converts according to the options of `build_parser`; returns the exit code."""
    output = expanded(options.to)
    chosen = format_of(output, options.format)
    results.check_output("--to", output, chosen)
    store = Store(options.folder)
    manifest, shards = store.manifest(), store.shards()
    outputs.check_not_inputs("--to", [output], [shard.path for shard in shards])
    counts = {"images": 0, "objects": 0, "errors": 0}
    classes = Classes(manifest["class_names"], manifest["category_ids"])
    write(_images(store, counts), output, chosen, classes)
    print(f"{counts['objects']} objects in {counts['images']} images, written to {output}")
    missing = len(unfinished(shards))
    if missing:
        print(f"{prog}: {missing} of {len(shards)} shards are missing; frcnn detect --resume makes "
              "them.")
    if counts["errors"]:
        print(f"{prog}: {counts['errors']} images could not be read; the column 'error' of their "
              "shards says why.")
    return int(bool(missing or counts["errors"]))


def _images(store: Store, counts: dict[str, int]) -> Iterator[ImageDetections]:
    """The detections of all images that were read; counts what they are."""
    for row in store.rows():
        if row["error"] is not None:
            counts["errors"] += 1
            continue
        counts["images"] += 1
        counts["objects"] += len(row["scores"])
        yield _detections(row)


def _detections(row: Row) -> ImageDetections:
    image_id: Any = row["path"] if row["image_id"] is None else json.loads(row["image_id"])
    return ImageDetections(
        row["path"], image_id, row["height"] or 0, row["width"] or 0,
        np.array(row["boxes"], np.float32).reshape(-1, 4), np.array(row["class_ids"], np.int32),
        np.array(row["scores"], np.float32))
