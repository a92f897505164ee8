"""The options that several programs share, and the types of their values.

Nothing here loads Keras, so that mistakes in the command show at once.
"""

import argparse
import ast
import re
import shlex
import sys

from frcnn.config import BACKBONES, PRECISIONS


def positive_integer(text):
    """argparse type: a whole number of 1 or more."""
    value = int(text) if re.fullmatch(r"\d+", text) else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def whole_number(text):
    """argparse type: a whole number from 0 up to what fits in 32 bits."""
    value = int(text) if re.fullmatch(r"\d+", text) else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return value


def positive_number(text):
    """argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def fraction(text):
    """argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def setting(text):
    """argparse type: `NAME=VALUE` → (name, value), the value as in Python, else as a text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isupper():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE with NAME in capitals")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def add_model_options(parser):
    """The options that replace settings of the configuration."""
    parser.add_argument("--backbone", choices=BACKBONES,
                        help="network that reads the image (default: the checkpoint's own, or "
                             "resnet50)")
    parser.add_argument("--image-size", type=positive_integer, metavar="PIXELS",
                        help="images are scaled until their longer side has this length; "
                             "larger finds smaller objects and takes longer")
    parser.add_argument("--batch-size", type=positive_integer, metavar="N",
                        help="images worked on at once; more need more memory")
    parser.add_argument("--precision", choices=PRECISIONS,
                        help="arithmetic; 'auto' is bfloat16 where the processor has it")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
                        dest="settings",
                        help="any other setting of frcnn.config.Config, as in "
                             "--set RPN_ANCHOR_SCALES=8,16,32,64,128; may be repeated")


def add_checkpoint_options(parser):
    """The options that name a trained detector."""
    parser.add_argument("--model", default="last", metavar="WEIGHTS",
                        help="the trained weights: the path of an .h5 file, or 'last', the newest "
                             "run in LOGS (default)")
    parser.add_argument("--logs", default="logs", metavar="LOGS",
                        help="folder of all runs (default: logs)")
    parser.add_argument("--config", metavar="FILE",
                        help="configuration of the weights (default: the one beside them)")
    parser.add_argument("--batch-size", type=positive_integer, metavar="N",
                        help="images that go through the network together (default: what suits "
                             "their size and the processor)")
    parser.add_argument("--precision", choices=PRECISIONS,
                        help="arithmetic; 'auto' is bfloat16 where the processor has it (default: "
                             "as in training)")


def add_skip_bad(parser):
    """The option to go on without what is wrong with the data."""
    parser.add_argument("--skip-bad", action="store_true",
                        help="leave out images and boxes that cannot be used, and say how many, "
                             "instead of stopping ('frcnn check DIR' lists them)")


def add_subset(parser):
    """The option that picks subsets of a data set."""
    parser.add_argument("--subset", action="append", metavar="NAME",
                        help="only this subset, such as train; may be repeated (default: all)")


def chosen_settings(options):
    """The configuration's settings that the command line asks for, by name."""
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


def command():
    """The command that started this process, as one line for a shell."""
    return shlex.join(sys.argv)
