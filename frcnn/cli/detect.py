"""`frcnn detect`: files, folders or patterns of images in, boxes out, in any of the formats."""

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frcnn.cli import options as opts
from frcnn.cli import outputs, ranges, results, sharded, starts, tiles
from frcnn.cli.detecting import FileDetection
from frcnn.cli.detection_progress import Progress
from frcnn.cli.program import Parser, explain, one_line, program
from frcnn.cli.results import Detections, Preview
from frcnn.cli.settings import detection_config
from frcnn.files import escaped, expanded
from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.registry import FORMATS, check_names, describe, format_of, write

DESCRIPTION = """\
Detects objects in images of any size and number with a trained detector.

INPUT is an image, a folder (with the folders in it), or a pattern such as 'slides/**/*.png'. In
COCO's results bbox is x, y, width and height in the image's own pixels, category_id is that of the
training data. Images are numbered from 1 in the order given, unless --annotations names a
COCO file that lists them by file name. A file that is not an image is reported and skipped.

formats, by the output's ending or --format:
{formats}

exit code: 0 all done, 1 some files were skipped, 2 an error ended it, 130 stopped by Ctrl-C.
What was found before an error or Ctrl-C is written to the output.
"""


def build_parser(prog: str = "frcnn detect") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION.format(formats=describe()))
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image, folder or pattern")
    opts.add_checkpoint_options(parser)
    parser.add_argument("--output", default="results.json", metavar="FILE",
                        help="results, or a folder for many images (default: results.json)")
    parser.add_argument("--format", choices=tuple(FORMATS),
                        help="the format, where the output's ending does not say it")
    parser.add_argument("--pictures", metavar="DIR",
                        help="also write each image with its boxes into this folder, as PNG, in "
                             "folders as the images are")
    parser.add_argument("--min-confidence", type=opts.fraction, metavar="SCORE",
                        help="leave out detections with a lower score (default: the "
                             "configuration's DETECTION_MIN_CONFIDENCE)")
    opts.add_range(parser, "the checkpoint's")
    parser.add_argument("--annotations", metavar="FILE",
                        help="COCO annotation file to take image ids from, by file name")
    tiles.add_options(parser)
    sharded.add_options(parser)
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn detect") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv), prog)


def run(options: argparse.Namespace, prog: str = "frcnn detect") -> int:
    """Detects according to the options of `build_parser`; returns the exit code."""
    if sharded.is_folder(options.output) and options.format is None:
        return sharded.run(options, prog)
    sharded.check_file_options(options)
    return _run_into_file(options, prog)


def _run_into_file(options: argparse.Namespace, prog: str) -> int:
    """Detects, and writes all results at the end."""
    tiling = tiles.tiling_of(options)
    output = expanded(options.output)
    chosen = format_of(output, options.format)
    paths = results.find_images(options.inputs)
    results.check_output("--output", output, chosen, len(paths))
    check_names(list(map(str, paths)), chosen)
    annotations = options.annotations and str(expanded(options.annotations))
    image_ids = results.number_images(paths, annotations)
    start = starts.trained_of(options)
    config = ranges.for_detection(
        detection_config(start, options, **opts.min_confidence(options)), options, paths)
    classes = Classes(starts.class_names(start), starts.category_ids(start))
    artist = results.Artist(options.pictures, classes.names, paths) if options.pictures else None
    if artist is not None:
        results.check_outside("--pictures", artist.folder, options.inputs)
    outputs.check_not_inputs("--output", [output], [
        *paths, annotations, *outputs.files_of(start, options.config)])
    outputs.check_writable_as("--output", output.parent, output.name)
    if artist is not None:
        outputs.check_writable_as("--pictures", artist.folder)
    progress = Progress(len(paths), prog)
    with contextlib.closing(FileDetection(start, config, options, tiling, output,
                                          progress)) as detection:
        try:
            _collect(detection, paths, image_ids, artist, progress)
        finally:
            # An error at the first image keeps an older file.
            if detection.finished or progress.stopped or progress.found:
                write(progress.found, output, chosen, classes)
                progress.tell(output, options.pictures)
            if not detection.finished:
                progress.say("stopped before all images were done.")
    return progress.finish()


def _collect(detection: FileDetection, paths: Sequence[Path], image_ids: Mapping[Path, Any],
             artist: results.Artist | None, progress: Progress) -> None:
    """Detects, until Ctrl-C; results go into `progress.found`, pictures into their folder."""
    try:
        for path, preview, result in detection.run(paths, artist):
            progress.found.append(ImageDetections(
                str(path), image_ids[path], *progress.sizes.pop(path), result["boxes"],
                result["class_ids"], result["scores"]))
            if artist is not None and preview is not None:
                _draw(artist, path, preview, result, progress)
    except KeyboardInterrupt:
        progress.stopped = True


def _draw(artist: results.Artist, path: Path, preview: Preview, result: Detections,
          progress: Progress) -> None:
    """Writes a picture; one that cannot be written is reported, and the results go on."""
    try:
        artist.draw(path, preview, result)
    except Exception as error:
        if not outputs.concerns_one_file(error):
            raise
        progress.undrawn += 1
        progress.say(f"no picture of {one_line(escaped(path))}: "
                     f"{explain(error) or one_line(error)}")
