"""`frcnn convert`: a data set in COCO's layout from Pascal VOC's, or from corrected detections."""

import argparse
import os
from collections.abc import Sequence

from frcnn.cli.options import add_skip_bad, add_subset
from frcnn.cli.program import Parser, program, shows_progress
from frcnn.data.convert import convert_file, convert_voc
from frcnn.data.layouts import ALL
from frcnn.errors import ArgumentError
from frcnn.files import expanded

DESCRIPTION = """\
Writes a data set in COCO's layout: annotations, and copies of the images. If anything fails,
nothing is written. SOURCE is one of

  a folder in Pascal VOC's layout, which is converted without loss; objects marked difficult become
  crowd regions;

  a file with --images FOLDER: Label Studio's export "JSON", or annotations in COCO's format, such
  as those of 'frcnn detect --format labelstudio' or 'annotations' after their correction:

    frcnn detect scans/ --output found.json --format labelstudio
    frcnn convert corrected.json sediment_coco --images scans/

Of a task of Label Studio its annotation is taken, or the prediction where nobody annotated it;
tasks that were skipped are left out. Other shapes than upright rectangles are errors that name the
task.

exit code: 0 done, 2 nothing was written.
"""


def build_parser(prog: str = "frcnn convert") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("source", metavar="SOURCE", help="the data set, or a file of annotations")
    parser.add_argument("coco_dir", metavar="COCO_DIR", help="the folder to write; new or empty")
    add_subset(parser)
    add_skip_bad(parser)
    parser.add_argument("--first-pixel", type=int, choices=(0, 1), default=1,
                        help="the value of xmin at the image's left edge: 1 as Pascal VOC defines "
                             "it (default), 0 as some tools write it")
    group = parser.add_argument_group("a file of annotations")
    group.add_argument("--images", metavar="FOLDER",
                       help="the images of the file, which may be in folders there; --subset is "
                            f"the name of their subset (default: {ALL}, which is divided into "
                            "train and val when it is loaded)")
    group.add_argument("--classes", nargs="+", metavar="NAME",
                       help="the classes of Label Studio's tasks, in the order in which they are "
                            "numbered (default: those that occur, sorted)")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn convert") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Converts according to the options of `build_parser`; returns the exit code."""
    source = expanded(options.source)
    if not source.exists():
        raise ArgumentError(f"There is no file or folder {options.source}.")
    if source.is_file():
        counts, notes = _convert_file(options)
    else:
        for option in ("images", "classes"):
            if getattr(options, option) is not None:
                raise ArgumentError(f"--{option} is for a file of annotations, and {options.source}"
                                    " is none; leave it out.")
        notes = []
        counts = convert_voc(options.source, options.coco_dir, options.subset,
                             skip_bad=options.skip_bad, first_pixel=options.first_pixel,
                             progress=shows_progress())
    for subset, (images, objects) in counts.items():
        print(f"{subset}: {images} images with {objects} objects")
    for note in notes:
        print(note)
    print(f"written in COCO's layout to {os.path.abspath(options.coco_dir)}")
    return 0


def _convert_file(options: argparse.Namespace) -> tuple[dict[str, tuple[int, int]], list[str]]:
    if options.images is None:
        raise ArgumentError(f"{options.source} is a file of annotations; name the folder of its "
                            "images with --images.")
    subsets = options.subset or [ALL]
    if len(subsets) > 1:
        raise ArgumentError(f"{options.source} is one subset; give --subset once.")
    return convert_file(options.source, options.images, options.coco_dir, subsets[0],
                        options.classes, skip_bad=options.skip_bad, progress=shows_progress())
