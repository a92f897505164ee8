"""`frcnn convert`: a data set from Pascal VOC's layout to COCO's."""

import os
import sys

from frcnn.cli.options import add_subset
from frcnn.cli.program import Parser, program
from frcnn.data.convert import convert_voc

DESCRIPTION = """\
Writes a data set in Pascal VOC's layout anew in COCO's, without loss: annotations, and copies of
the images. Objects marked difficult become crowd regions. Nothing is written unless everything is.

exit code: 0 done, 2 nothing was written.
"""


def build_parser(prog="frcnn convert"):
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("voc_dir", metavar="VOC_DIR", help="the data set")
    parser.add_argument("coco_dir", metavar="COCO_DIR", help="the folder to write, a new one")
    add_subset(parser)
    parser.add_argument("--skip-bad", action="store_true",
                        help="leave out what cannot be used, and say how much it is")
    parser.add_argument("--first-pixel", type=int, choices=(0, 1), default=1,
                        help="what xmin is at the image's left edge: 1 as the format has it "
                             "(default), 0 as some tools write it")
    return parser


@program
def main(argv=None, prog="frcnn convert"):
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options):
    """Converts as the options of `build_parser` say; returns the exit code."""
    counts = convert_voc(options.voc_dir, options.coco_dir, options.subset,
                         skip_bad=options.skip_bad, first_pixel=options.first_pixel,
                         progress=sys.stderr.isatty())
    for subset, (images, objects) in counts.items():
        print(f"{subset}: {images} images with {objects} objects")
    print(f"COCO's layout lies in {os.path.abspath(options.coco_dir)}")
    return 0
