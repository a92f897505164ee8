"""Malformed inputs, and what is said about them: a table for each kind, one entry a case.

A case makes its small input in a fresh folder and reads it. What happens is written down as lines:

    warning: MESSAGE        of the Python interface
    ERROR_CLASS: MESSAGE    of the Python interface
    exit CODE               of a command, then the lines that it wrote to stderr, then to stdout
    = RESULT                where the input was repaired, or needs no repair

The folder's path is written as DIR in them, and what a library says, which depends on its version,
as (…); of a letter that is repeated very often the first and the last are left.
"""

import contextlib
import io
import logging
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frcnn.cli.program import one_line
from frcnn.errors import FrcnnError

# The reasons that Pillow, h5py, argparse and Python's JSON reader give.
FOREIGN = re.compile(r"(?<=image cannot be read )\((?!\[Errno).*?\)(?=; replace)"
                     r"|(?<=truncated or damaged )\(.*\)(?=\. Take)"
                     r"|(?<=is not JSON: )[A-Z][^.]*(?= in line)"
                     r"|(?<=is not JSON: )[A-Z][^.]*\(char \d+\)(?=\.)"
                     r"|(?<=is not JSON: )'utf-8' codec[^.]*(?=\.)"
                     r"|(?<=cannot be used )\(Expecting.*\)(?=, so the)"
                     r"|(?<=invalid choice: ).*(?= \(frcnn)"
                     r"|(?<=read as JSON: )(?!it )[^.]*(?=\.$)")


@dataclass(frozen=True)
class Case:
    """One malformed input.

    Attributes:
        name: what is wrong with it.
        act: makes the input in a folder and reads it; its result is a repaired value, or None.
        says: the lines.
        harmless: whether the input is right although it looks odd, so that nothing is to be said.
    """

    name: str
    act: Callable[[Path], Any]
    says: tuple[str, ...]
    harmless: bool = False


def case(name, act, *says):
    """A case about which something is said."""
    return Case(name, act, says)


def harmless(name, act, *says):
    """A case that is read right without a word."""
    return Case(name, act, says, harmless=True)


def lines_of(act, folder):
    """What happens when a case's input is read, as lines.

    Any other exception than the package's own, or a FileNotFoundError, is a stack trace for a user
    and leaves this function. So does a warning that is not meant for users.
    """
    lines: list[str] = []
    log = logging.Handler()
    log.emit = lambda record: lines.append(f"warning: {one_line(record.getMessage())}")
    logging.getLogger("frcnn").addHandler(log)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = act(folder)
            if result is not None:
                lines += result if isinstance(result, list) else [f"= {result}"]
        except (FrcnnError, FileNotFoundError) as error:
            lines.append(f"{type(error).__name__}: {one_line(error)}")
        finally:
            logging.getLogger("frcnn").removeHandler(log)
    other = [warning for warning in caught if warning.category is not UserWarning]
    assert not other, f"{other[0].category.__name__}: {other[0].message}"
    said = [f"warning: {one_line(warning.message)}" for warning in caught
            if "/PIL/" not in warning.filename]  # about EXIF data, before the error
    texts = [FOREIGN.sub("(…)", line.replace(os.fspath(folder), "DIR")) for line in said + lines]
    return [re.sub(r"(.)\1{19,}", r"\1…\1", text) for text in texts]


def is_said(lines):
    """Whether lines hold more than results: an error, a warning, or an exit code that is not 0."""
    return any(re.match(r"warning: |\w+Error: |exit [12]|(error|repaired|doubtful): "
                        r"|frcnn[\w ]*: (warning|skipped)", line) for line in lines)


def command(main, *arguments):
    """What a program answers, as lines; its arguments are relative to the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    text = err.getvalue() + out.getvalue()
    assert "Traceback" not in text
    return [f"exit {code}", *text.splitlines()]


def boxes_of(dataset):
    """The images of a data set with their boxes and classes, as one text."""
    def box_text(box, class_id):
        name = ("crowd of " if class_id < 0 else "") + dataset.class_names[abs(class_id)]
        return f"{name} " + " ".join(f"{side:g}" for side in box)

    return "; ".join(
        f"{Path(dataset.image_info[image_id]['path']).name}: "
        + ", ".join(map(box_text, *dataset.load_boxes(image_id)))
        for image_id in dataset.image_ids)
