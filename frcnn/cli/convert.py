"""`frcnn convert`: a data set from Pascal VOC's layout to COCO's."""

import argparse
import os
from collections.abc import Sequence

from frcnn.cli.options import add_skip_bad, add_subset
from frcnn.cli.program import Parser, program, shows_progress
from frcnn.data.convert import convert_voc

DESCRIPTION = """\
Converts a data set from Pascal VOC's layout to COCO's, without loss: the annotations, and copies of
the images. Objects marked difficult become crowd regions. If anything fails, nothing is written.

exit code: 0 done, 2 nothing was written.
"""


def build_parser(prog: str = "frcnn convert") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("voc_dir", metavar="VOC_DIR", help="the data set")
    parser.add_argument("coco_dir", metavar="COCO_DIR", help="the folder to write; new or empty")
    add_subset(parser)
    add_skip_bad(parser)
    parser.add_argument("--first-pixel", type=int, choices=(0, 1), default=1,
                        help="the value of xmin at the image's left edge: 1 as the format defines "
                             "it (default), 0 as some tools write it")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn convert") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Converts according to the options of `build_parser`; returns the exit code."""
    counts = convert_voc(options.voc_dir, options.coco_dir, options.subset,
                         skip_bad=options.skip_bad, first_pixel=options.first_pixel,
                         progress=shows_progress())
    for subset, (images, objects) in counts.items():
        print(f"{subset}: {images} images with {objects} objects")
    print(f"written in COCO's layout to {os.path.abspath(options.coco_dir)}")
    return 0
