"""The options that several subcommands share, and the argparse types of their values.

Nothing here loads Keras, so that mistakes in the command are reported at once.
"""

import argparse
import ast
import re
import shlex
import sys
from typing import Any, TypeAlias

from frcnn.config import BACKBONES, PRECISIONS

# What options are added to: a parser or one of its groups.
OptionGroup: TypeAlias = argparse._ActionsContainer

ALL = "all"


def positive_integer(text: str) -> int:
    """argparse type: a whole number of 1 or more."""
    value = int(text) if re.fullmatch(r"\d+", text) else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def positive_integer_or_all(text: str) -> int | str:
    """argparse type: a whole number of 1 or more, or the text "all"."""
    return ALL if text == ALL else positive_integer(text)


def whole_number(text: str) -> int:
    """argparse type: a whole number from 0 up to what fits in 32 bits."""
    value = int(text) if re.fullmatch(r"\d+", text) else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return value


def positive_number(text: str) -> float:
    """argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def fraction(text: str) -> float:
    """argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def setting(text: str) -> tuple[str, Any]:
    """argparse type: `NAME=VALUE` → (name, value); the value is a Python literal, else a str."""
    name, equals, value = text.partition("=")
    if not equals or not name.isupper():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE with NAME in capitals")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def add_model_options(parser: OptionGroup) -> None:
    """Adds the options that replace settings of the configuration; see `chosen_settings`."""
    parser.add_argument("--backbone", choices=BACKBONES, metavar="NAME",
                        help=f"network that computes the image features: {', '.join(BACKBONES)} "
                             "(default: that of the weights, or resnet50)")
    parser.add_argument("--image-size", type=positive_integer, metavar="PIXELS",
                        help="images are scaled so that their longer side has this length; a "
                             "larger one finds smaller objects and takes longer")
    parser.add_argument("--batch-size", type=positive_integer, metavar="N",
                        help="images in a training step; more need more memory")
    _add_precision(parser)
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
                        dest="settings",
                        help="any other setting of frcnn.config.Config, such as "
                             "--set RPN_ANCHOR_SCALES=8,16,32,64,128; may be repeated")


def add_checkpoint_options(parser: OptionGroup) -> None:
    """Adds the options that select a trained detector and how it runs."""
    parser.add_argument("--model", default="last", metavar="WEIGHTS",
                        help="the trained weights: the path of an .h5 file, or 'last' for the "
                             "newest run in LOGS (default)")
    parser.add_argument("--logs", default="logs", metavar="LOGS",
                        help="folder of all runs (default: logs)")
    parser.add_argument("--config", metavar="FILE",
                        help="configuration of the weights (default: the JSON file beside them)")
    parser.add_argument("--batch-size", type=positive_integer, metavar="N",
                        help="images in a batch (default: chosen for their size and the "
                             "processor)")
    _add_precision(parser, " (default: as in training)")


def _add_precision(parser: OptionGroup, default: str = "") -> None:
    parser.add_argument("--precision", choices=PRECISIONS, metavar="NAME",
                        help=f"arithmetic: {', '.join(PRECISIONS)}; 'auto' is mixed_bfloat16 where "
                             f"the processor supports it, else float32{default}")


def add_skip_bad(parser: OptionGroup, *, stored: bool = False) -> None:
    """Adds the option to continue without unusable items.

    Args:
        stored: whether a run stores the option. Then its value is None unless it is given, and
            --no-skip-bad turns a stored one off.
    """
    text = ("leave out images and boxes that cannot be used, and report how many, instead of "
            "stopping ('frcnn check DIR' lists them)")
    if stored:
        parser.add_argument("--skip-bad", action=argparse.BooleanOptionalAction, default=None,
                            help=text)
    else:
        parser.add_argument("--skip-bad", action="store_true", help=text)


def add_subset(parser: OptionGroup) -> None:
    """Adds the option that selects subsets of a data set."""
    parser.add_argument("--subset", action="append", metavar="NAME",
                        help="only this subset, such as train; may be repeated (default: all)")


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of Config that the options of `add_model_options` give, by name."""
    settings = {}
    if options.backbone:
        settings["BACKBONE"] = options.backbone
    if options.image_size:
        settings["IMAGE_MIN_DIM"] = settings["IMAGE_MAX_DIM"] = options.image_size
    if options.batch_size:
        settings["IMAGES_PER_GPU"] = options.batch_size
    if options.precision:
        settings["PRECISION"] = options.precision
    settings.update(options.settings)
    return settings


def command() -> str:
    """The command that started this process, quoted for a shell."""
    return shlex.join(sys.argv)
