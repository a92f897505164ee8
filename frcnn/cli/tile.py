"""`frcnn tile`: large images cut into tiles, as a data set to train on."""

import argparse
import os
import warnings
from collections.abc import Sequence

from frcnn.cli import options as opts
from frcnn.cli import ranges
from frcnn.cli.program import Parser, program, shows_progress
from frcnn.data.cut import Cut, cut_dataset
from frcnn.data.folders import find_layout, open_folder
from frcnn.data.intensity import CLIP, DeclaredRange, as_range, describe_range

DESCRIPTION = """\
Cuts the images of a data set into overlapping tiles and writes them, with their annotations, as a
data set in COCO's layout. Boxes are clipped to the tiles. Objects that are hardly visible in a tile
become crowd regions there, which training and evaluation ignore. Each tile's entry names the image
and the place that it comes from. If anything fails, nothing is written.

exit code: 0 done, 2 nothing was written.
"""


def build_parser(prog: str = "frcnn tile") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("data", metavar="DATA", help="the data set, in COCO's or VOC's layout")
    parser.add_argument("output", metavar="OUT", help="the folder to write; new or empty")
    parser.add_argument("--size", type=opts.positive_integer, default=1024, metavar="PIXELS",
                        help="side of a tile (default: 1024)")
    parser.add_argument("--overlap", type=opts.fraction, default=0.2, metavar="SHARE",
                        help="share of a tile's side that the next tile covers, too (default: 0.2)")
    parser.add_argument("--min-visible", type=opts.fraction, default=0.3, metavar="SHARE",
                        help="objects of whose area less than this is in a tile are ignored there "
                             "(default: 0.3)")
    parser.add_argument("--keep-empty", type=opts.fraction, default=1.0, metavar="SHARE",
                        help="share of the tiles without objects that is kept (default: 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the choice among these (default: 0)")
    opts.add_range(parser, "measured as by 'frcnn train', and said; tiles have 8 bits")
    opts.add_subset(parser)
    opts.add_skip_bad(parser)
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn tile") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Cuts according to the options of `build_parser`; returns the exit code."""
    cut = Cut(options.size, options.overlap, options.min_visible, options.keep_empty, options.seed)
    limits = _range_of(options)
    counts = cut_dataset(options.data, options.output, cut, options.subset, intensity_range=limits,
                         skip_bad=options.skip_bad, progress=shows_progress())
    for subset, count in counts.items():
        left_out = f", {count.left_out} tiles without objects left out" * (count.left_out > 0)
        print(f"{subset}: {count.tiles} tiles with {count.objects} objects and {count.ignored} "
              f"regions to ignore{left_out}")
    print(f"written in COCO's layout to {os.path.abspath(options.output)}")
    return 0


def _range_of(options: argparse.Namespace) -> DeclaredRange | None:
    """The intensity range of all subsets, which is printed: tiles no longer show it."""
    subsets = options.subset or find_layout(options.data)[1]
    with warnings.catch_warnings():  # they come again when the tiles are cut
        warnings.simplefilter("ignore")
        dataset = open_folder(options.data, "train" if "train" in subsets else subsets[0],
                              skip_bad=options.skip_bad)
    measured = ranges.of_data(options.intensity_range, dataset)
    limits = as_range(dataset.intensity_range)
    if limits is not None:
        print(f"intensity     {measured or f'range {describe_range(limits)}'}; detect in images of "
              f"this kind with --range {' '.join(f'{side:g}' for side in limits[:2])}"
              + f" {CLIP}" * (len(limits) == 3), flush=True)
    return limits
