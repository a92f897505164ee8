"""`frcnn detect`: files, folders or patterns of images in, a JSON or CSV file of boxes out."""

import argparse
import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn.arrays import Image
from frcnn.cli import detections, starts
from frcnn.cli import options as opts
from frcnn.cli.detections import Detections, Row
from frcnn.cli.program import Parser, explain, program, shows_progress
from frcnn.cli.settings import detection_config
from frcnn.data.image_io import read_image

if TYPE_CHECKING:  # loads Keras
    from frcnn.model.mask_rcnn import MaskRCNN

DESCRIPTION = """\
Detects objects in images of any size and number with a trained detector.

INPUT is an image, a folder (every file in it), or a pattern such as 'slides/**/*.png'. The results
are in COCO's format: bbox is x, y, width and height in the image's own pixels, category_id is that
of the training data. Images are numbered from 1 in the order given, unless --annotations names a
COCO file that lists them by file name. A file that is not an image is reported and skipped.

exit code: 0 all done, 1 some files were skipped, 2 an error ended it, 130 stopped by Ctrl-C.
What was found before an error or Ctrl-C is written to the output.
"""


def build_parser(prog: str = "frcnn detect") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image, folder or pattern")
    opts.add_checkpoint_options(parser)
    parser.add_argument("--output", default="results.json", metavar="FILE",
                        help="results, .json or .csv (default: results.json)")
    parser.add_argument("--pictures", metavar="DIR",
                        help="also write each image with its boxes into this folder, as PNG")
    parser.add_argument("--min-confidence", type=opts.fraction, metavar="SCORE",
                        help="leave out detections with a lower score (default: the "
                             "configuration's DETECTION_MIN_CONFIDENCE)")
    parser.add_argument("--annotations", metavar="FILE",
                        help="COCO annotation file to take image ids from, by file name")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn detect") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv), prog)


def run(options: argparse.Namespace, prog: str = "frcnn detect") -> int:
    """Detects according to the options of `build_parser`; returns the exit code."""
    output = detections.check_output(options.output)
    paths = detections.find_images(options.inputs)
    image_ids = detections.number_images(paths, options.annotations)
    start = starts.find_trained(options.model, options.logs, options.config)
    assert start.path is not None
    settings: dict[str, Any] = {}
    if options.min_confidence is not None:
        settings["DETECTION_MIN_CONFIDENCE"] = options.min_confidence
    config = detection_config(start, options, **settings)
    names = starts.class_names(start)
    artist = detections.Artist(options.pictures, names) if options.pictures else None
    detections.check_writable_as("--output", output.parent, output.name)
    if artist is not None:
        detections.check_writable_as("--pictures", artist.folder)

    print(f"weights       {start.path}", flush=True)

    from frcnn.cli.run_report import inference_model

    model = inference_model(start.path, config, options.logs)
    rows: list[Row] = []
    skipped: list[str] = []
    done, stopped, finished = 0, False, False
    try:
        for path, image, result in _detect(model, paths, skipped, prog, options.batch_size,
                                           keep_images=artist is not None):
            rows += detections.to_rows(path, image_ids[path], result, names,
                                       starts.category_ids(start))
            done += 1
            if artist is not None:
                assert image is not None
                artist.draw(path, image, result)
        finished = True
    except KeyboardInterrupt:
        stopped = True
    finally:
        if finished or stopped or done:  # an error at the first image keeps an older file
            _write(rows, output, done, len(paths), options.pictures)
        if not finished:
            print(f"{prog}: stopped before all images were done.", file=sys.stderr)
    if stopped:
        return 130
    if skipped:
        print(f"{prog}: {len(skipped)} of {len(paths)} files are no readable images and were "
              "skipped.", file=sys.stderr)
    return int(bool(skipped))


def _write(rows: list[Row], output: Path, done: int, total: int, pictures: str | None) -> None:
    detections.write(rows, output)
    print(f"{len(rows)} objects in {done} of {total} images, written to {output}")
    if pictures:
        print(f"pictures are in {pictures}")


def _detect(model: "MaskRCNN", paths: Sequence[Path], skipped: list[str], prog: str,
            batch_size: int | None = None, keep_images: bool = False,
            ) -> Iterator[tuple[Path, Image | None, Detections]]:
    """Yields (path, image, result) of each file that is an image; reports the others.

    The image is None without `keep_images`.
    """
    from tqdm import tqdm

    kept: dict[Path, Image] = {}

    def read(path: Path) -> Image:  # in a thread, while the network computes
        image = read_image(path, model.config.IMAGE_CHANNEL_COUNT)
        if keep_images:
            kept[path] = image
        return image

    results = model.detect_stream((functools.partial(read, path) for path in paths),
                                  batch_size=batch_size, return_exceptions=True)
    with tqdm(total=len(paths), desc="detect", unit="image",
              disable=not shows_progress()) as bar:
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, Exception):
                skipped.append(explain(result) or str(result))
                bar.write(f"{prog}: skipped: {skipped[-1]}", file=sys.stderr)
            else:
                yield path, kept.pop(path, None), result
            bar.update()
