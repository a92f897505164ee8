"""The options that several subcommands share, and the argparse types of their values.

Nothing here loads Keras, so that mistakes in the command are reported at once.
"""

import argparse
import ast
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

from frcnn.config import BACKBONES, FLIPS, PRECISIONS
from frcnn.data.intensity import CLIP, IntensityRange, as_range
from frcnn.data.measure import MEASURE, PERCENTILES
from frcnn.training.interval import Interval

# What options are added to: a parser or one of its groups.
OptionGroup: TypeAlias = argparse._ActionsContainer

ALL, OFF = "all", "off"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_DIGITS = re.compile("[0-9]{1,18}")  # more are no number of anything here


def _shown(text: str) -> str:
    """A value for a message, cut off when long."""
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


def positive_integer(text: str) -> int:
    """argparse type: a whole number of 1 or more."""
    value = int(text) if _DIGITS.fullmatch(text) else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not a whole number of 1 or more")
    return value


def positive_integer_or_all(text: str) -> int | str:
    """argparse type: a whole number of 1 or more, or the text "all"."""
    return ALL if text == ALL else positive_integer(text)


def positive_integer_or_off(text: str) -> int | str:
    """argparse type: a whole number of 1 or more, or the text "off"."""
    return OFF if text == OFF else positive_integer(text)


def steps_or_time_or_off(text: str) -> int | str:
    """argparse type: a number of steps, a time such as "10 min", or the text "off"."""
    value: int | str = int(text) if re.fullmatch(r"\d+", text) else text
    if value != OFF:
        try:
            Interval.parse(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of steps of 1 or more, a time such as '30 s', '10 min' "
                "or '2 h', or 'off'") from error
    return value


def whole_number(text: str) -> int:
    """argparse type: a whole number from 0 up to what fits in 32 bits."""
    value = int(text) if _DIGITS.fullmatch(text) else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not a whole number from 0 to "
                                         f"{2**32 - 1}")
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


def intensity_range(text: str) -> IntensityRange | str:
    """argparse type: "LOW,HIGH", "LOW,HIGH,clip", or a word for how the range is measured."""
    if text in (MEASURE, PERCENTILES):
        return text
    sides: list[float | str] = []
    try:
        sides = [side if side == CLIP else float(side) for side in text.split(",")]
        limits = as_range(sides)
    except ValueError:  # a ConfigError is one, too
        limits = None
    if limits is None:
        raise argparse.ArgumentTypeError(
            f"{_shown(text.replace(',', ' '))} is neither LOW HIGH, two numbers of which the lower "
            f"one comes first, such as 0 4095, nor '{MEASURE}' or '{PERCENTILES}'")
    return limits


def join_range(arguments: Sequence[str]) -> list[str]:
    """The arguments of a program with `--range LOW HIGH` as one, `--range=LOW,HIGH`.

    argparse has options of one value or of two, and not of either.
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*joined, argument, *rest]
        if argument == "--range" and rest and _NUMBER.fullmatch(rest[0]):
            count = 1 + (len(rest) > 1 and bool(_NUMBER.fullmatch(rest[1])))
            count += count == 2 and rest[2:3] == [CLIP]
            argument, rest = f"--range={','.join(rest[:count])}", rest[count:]
        joined.append(argument)
    return joined


def flips(text: str) -> tuple[str, ...]:
    """argparse type: names of mirrored copies, separated by commas, or the text "none"."""
    names = tuple(text.split(",")) if text != "none" else ()
    if len({*names} & {*FLIPS}) < len(names):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither 'none' nor some of {', '.join(FLIPS)}, separated by commas")
    return names


def setting(text: str) -> tuple[str, Any]:
    """argparse type: `NAME=VALUE` → (name, value); the value is a Python literal, else a str."""
    name, equals, value = text.partition("=")
    if not equals or not name.isupper():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE with NAME in capitals")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
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
    add_trained_options(parser, ", or of a file that 'frcnn export' wrote")
    parser.add_argument("--batch-size", type=positive_integer, metavar="N",
                        help="images in a batch (default: chosen for their size and the "
                             "processor)")
    _add_precision(parser, " (default: as in training; of an exported file float32)")


def add_trained_options(parser: OptionGroup, or_other: str = "") -> None:
    """Adds the options that select a trained detector.

    Args:
        or_other: what `--model` takes besides an .h5 file, for the help.
    """
    parser.add_argument("--model", default="last", metavar="WEIGHTS",
                        help=f"the trained weights: the path of an .h5 file{or_other}, 'last' for "
                             "the last checkpoint of the newest run in LOGS (default), or 'best' "
                             "for the one that had the highest AP while it trained")
    parser.add_argument("--logs", default="logs", metavar="LOGS",
                        help="folder of all runs (default: logs)")
    parser.add_argument("--config", metavar="FILE",
                        help="configuration of the weights (default: the JSON file beside them)")
    add_trust(parser)
    add_flips(parser)


def add_flips(parser: OptionGroup) -> None:
    """Adds the option to detect in mirrored copies."""
    parser.add_argument("--flips", type=flips, metavar="NAMES",
                        help="detect also in mirrored copies of each image, and fuse what is "
                             f"found: some of {', '.join(FLIPS)}, separated by commas, or 'none'; "
                             "each copy takes as long as the image (default: the configuration's "
                             "DETECTION_FLIPS)")


def add_trust(parser: OptionGroup) -> None:
    """Adds the option to import what a configuration names."""
    parser.add_argument("--trust", action="store_true",
                        help="import the Python functions that the configuration of the weights "
                             "names (a network of your own): only for files whose source you trust")


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


def add_range(parser: OptionGroup, default: str) -> None:
    """Adds the option for the intensity range of images of more than 8 bits.

    Args:
        parser: what the option is added to.
        default: the text on what happens without the option.
    """
    parser.add_argument(
        "--range", type=intensity_range, metavar="LOW HIGH", dest="intensity_range",
        help="lowest and highest possible value of images of more than 8 bits, such as 0 4095 for "
             "a camera of 12 bits; other values are an error, or with LOW HIGH clip are clipped. "
             f"'{MEASURE}' finds them in the images, rounded up to a camera's bits; "
             f"'{PERCENTILES}' takes the 0.1 and 99.9 percentiles and clips (default: {default})")


def add_subset(parser: OptionGroup) -> None:
    """Adds the option that selects subsets of a data set."""
    parser.add_argument("--subset", action="append", metavar="NAME",
                        help="only this subset, such as train; may be repeated (default: all)")


def min_confidence(options: argparse.Namespace) -> dict[str, Any]:
    """The setting that `--min-confidence` replaces, if it is given."""
    chosen = options.min_confidence
    return {} if chosen is None else {"DETECTION_MIN_CONFIDENCE": chosen}


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
