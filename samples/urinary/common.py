"""What the urinary programs share: options, errors in one line, and the choice of the data set.

Nothing here loads Keras, so that mistakes in the command or the data show at once.
"""

import argparse
import ast
import contextlib
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from frcnn.config import BACKBONES, PRECISIONS
from frcnn.errors import DatasetError
from frcnn.programs import Parser, explain, program  # noqa: F401 - handed on to the programs

# So many images of a subset are read in full before training, some seconds on a laptop.
MOST_DECODED = 2000


def start_backend():
    """Imports Keras and wakes its backend; returns the names of the devices it computes on.

    What the backend's libraries tell on the way (TensorFlow prints a page before any log level
    counts) is held back, unless it fails or TF_CPP_MIN_LOG_LEVEL asks for it.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_held_back() if level >= "2" else contextlib.nullcontext():
        import keras

        keras.ops.zeros(1)
        devices = keras.distribution.list_devices()
    gpus = [name for name in devices if not name.lower().startswith("cpu")]
    return gpus or devices


@contextlib.contextmanager
def _stderr_held_back():
    """Sends what C libraries write to stderr to a file; shows it only if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                aside.seek(0)
                sys.stderr.write(aside.read().decode(errors="replace"))


# --- options ------------------------------------------------------------------------------------


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


def with_settings(config, **settings):
    """A copy of a configuration with some settings replaced."""
    kept = {name: getattr(config, name) for name in config.setting_names()}
    return type(config)(**{**kept, **settings})


# --- data ---------------------------------------------------------------------------------------


def dataset_folder(folder):
    """The data set's folder: the one given, or that of the synthetic micrographs."""
    if folder is not None:
        return Path(folder)
    from samples.urinary import synthetic

    return Path(synthetic.ensure())


def load_subset(folder, subset, skip_bad=False):
    """One prepared subset of a folder in COCO's layout or Pascal VOC's.

    Raises:
        DatasetError, FileNotFoundError: naming the file and what is wrong with it.
    """
    from frcnn.dataset import open_folder

    return open_folder(folder, subset, skip_bad=skip_bad)


def check_images(dataset, decode=True, skip_bad=False):
    """Reads the images once, so that a bad one shows now and not in the middle of the work.

    Args:
        decode: whether to read them in full, which finds those that break off; of more than
            MOST_DECODED images the rest is checked by the header alone.
        skip_bad: whether to leave bad images out of the data set, with a warning.

    Raises:
        DatasetError: naming the first few bad images and what is wrong with them.
    """
    from frcnn.check import settle_images

    settle_images(dataset, skip_bad=skip_bad, decode=MOST_DECODED if decode else 0, progress=True)


def check_same_classes(names, dataset, where, advice):
    """Raises DatasetError unless `names` (background first) are the data set's classes."""
    if list(names) != list(dataset.class_names):
        raise DatasetError(f"{where} has the classes {', '.join(names[1:])}, but the data set has "
                           f"{', '.join(dataset.class_names[1:])}. {advice}")


def command():
    """The command that started this process, as one line for a shell."""
    return shlex.join(sys.argv)


def describe(dataset):
    """One line on a subset: how many images and objects."""
    objects = sum(len(dataset.load_boxes(image_id)[1]) for image_id in dataset.image_ids)
    return f"{dataset.num_images} images with {objects} objects"
