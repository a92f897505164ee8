"""The `frcnn` command: each subcommand is a module of this package.

A subcommand's module has `build_parser(prog)`, `main(argv, prog)` and `run(options)`. It is
imported only when it is called, so that `frcnn --help` is fast.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from frcnn import __version__
from frcnn.cli.program import Parser, program
from frcnn.startup import detection_only

COMMANDS = {
    "train": "train a detector on a data set, then evaluate it",
    "detect": "detect objects in images",
    "detections": "write the detections of many images as one file",
    "serve": "detect in the browser, and for other programs over HTTP",
    "evaluate": "evaluate a trained detector on a data set",
    "count": "count objects in images and samples, with intervals",
    "export": "write a trained detector for ONNX, OpenVINO, TensorFlow Serving or LiteRT",
    "check": "list what is wrong with a data set",
    "anchors": "compare anchors with a data set's objects, and recommend better ones",
    "tile": "cut the large images of a data set into tiles to train on",
    "convert": "convert a data set from Pascal VOC's layout to COCO's",
    "migrate": "change scripts that were written for Matterport's Mask R-CNN",
}
DETECTING = ("detect", "serve", "evaluate", "count")  # these never train

DESCRIPTION = """\
Detects and classifies objects in images: Faster R-CNN with a feature pyramid, on Keras 3.

commands:
{commands}
"""

EPILOG = """\
a first detector on your own images:
  frcnn check DIR
  frcnn train --dataset DIR --model imagenet
  frcnn detect IMAGES --pictures shown

frcnn COMMAND --help explains the options of a command.
"""


def build_parser() -> Parser:
    """The parser of the command itself; each subcommand parses its own arguments."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:{width}}{text}" for name, text in COMMANDS.items())
    parser = Parser(prog="frcnn", usage="frcnn [-h] [--version] COMMAND ...",
                    description=DESCRIPTION.format(commands=commands), epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"frcnn {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS,
                        help=argparse.SUPPRESS)  # the description lists them
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn") -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--debug"]:  # it belongs to the subcommand
        arguments[:2] = arguments[1::-1]
    # What follows the command's name is parsed by the subcommand.
    options = build_parser().parse_args(arguments[:1])
    module = importlib.import_module(f"frcnn.cli.{options.command}")
    code: int = module.main(arguments[1:], prog=f"{prog} {options.command}")
    return code


def entry() -> None:
    """The console script. It owns the process, so that process-wide settings are allowed."""
    os.environ["MPLBACKEND"] = "agg"  # no windows; another one may be missing or misspelled
    if sys.argv[1:2] and sys.argv[1] in DETECTING:
        detection_only()
    sys.exit(main())


if __name__ == "__main__":
    entry()
