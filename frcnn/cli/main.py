"""The `frcnn` command: one subcommand a task, each a module of this package.

A subcommand's module has `build_parser(prog)`, `main(argv, prog)` and `run(options)`. It is
imported when it is asked for, so that `frcnn --help` stays quick.
"""

import importlib
import sys

from frcnn import __version__
from frcnn.cli.program import Parser, program
from frcnn.startup import detection_only

COMMANDS = {
    "train": "train a detector on a data set, then evaluate it",
    "detect": "detect objects in images",
    "evaluate": "evaluate a trained detector on a data set",
    "check": "list what is wrong with a data set",
    "anchors": "compare anchors with a data set's objects, and recommend better ones",
    "convert": "convert a data set from Pascal VOC's layout to COCO's",
}
DETECTING = ("detect", "evaluate")  # these never train


def build_parser():
    """The parser of the command itself; each subcommand parses its own arguments."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:{width}}{text}" for name, text in COMMANDS.items())
    parser = Parser(prog="frcnn", usage="frcnn [-h] [--version] COMMAND ...",
                    description="Faster R-CNN with a feature pyramid, on Keras 3.\n\n"
                                f"commands:\n{commands}",
                    epilog="frcnn COMMAND --help explains a command's options.")
    parser.add_argument("--version", action="version", version=f"frcnn {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of the above")
    return parser


@program
def main(argv=None, prog="frcnn"):
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # What follows the command's name is the subcommand's affair.
    options = build_parser().parse_args(arguments[:1])
    module = importlib.import_module(f"frcnn.cli.{options.command}")
    return module.main(arguments[1:], prog=f"{prog} {options.command}")


def entry():
    """The console script: the whole process is the command's, and so are its settings."""
    if sys.argv[1:2] and sys.argv[1] in DETECTING:
        detection_only()
    sys.exit(main())


if __name__ == "__main__":
    entry()
