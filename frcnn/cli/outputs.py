"""Where the programs write: never over an input, and tried before the work begins."""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from frcnn import runs
from frcnn.cli.starts import Start
from frcnn.errors import FrcnnError, OutputError
from frcnn.files import check_writable, expanded

SOFTWARE = "frcnn detect"  # marks the pictures that may be replaced by newer ones
PLOT_KINDS = (".png", ".jpg", ".jpeg", ".svg", ".pdf")

# Errors that the next file would meet, too.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# The beginning of results: a list that is empty or whose first object is one's; or nothing.
_RESULTS_JSON = re.compile(rb'\s*(?:\[\s*(?:\]\s*|\{\s*"image_id"\s*:.*))?', re.DOTALL)
_Place: TypeAlias = str | tuple[int, int]


def check_not_inputs(option: str, outputs: Iterable[Path], inputs: Iterable[Any]) -> None:
    """Checks that no file to be written is an input, under whatever name.

    Args:
        option: that names the outputs, for the message.
        outputs: files to be written.
        inputs: paths of files that are read; None is ignored.

    Raises:
        OutputError: one is both.
    """
    places = {place: path for path in outputs if os.path.lexists(path) for place in _places(path)}
    if not places:
        return
    for given in inputs:
        for place in _places(given) if given is not None else ():
            if place in places:
                raise OutputError(f"{option}: {places[place]} is one of the inputs, and would be "
                                  "replaced; name another place.")


def check_no_folder_of(option: str, folder: Path, inputs: Iterable[Any]) -> None:
    """Checks that a folder to be written into has no inputs in it, which pictures would join.

    Raises:
        OutputError: one is in it.
    """
    if not folder.is_dir():
        return
    for parent, given in {Path(given).parent: given for given in inputs if given}.items():
        if parent.is_dir() and os.path.samefile(parent, folder):
            raise OutputError(f"{option} {folder}: {given} is in this folder, and is read; name "
                              "another folder.")


def _places(path: str | os.PathLike[str]) -> Iterator[_Place]:
    """What identifies a file: its path without links, and its number on the disk."""
    path = expanded(path)
    yield os.path.realpath(path)
    try:
        status = path.stat()
    except OSError:
        return
    if status.st_ino:
        yield status.st_dev, status.st_ino


def files_of(start: Start, config_path: str | None = None) -> list[Any]:
    """The files that a trained detector is read from: weights, their JSON, `--config`."""
    assert start.path is not None
    return [start.path, runs.metadata_path(start.path), config_path]


def check_no_other_content(option: str, path: Path, csv_header: str) -> None:
    """Checks that an older file at the results' path is one with results.

    Raises:
        OutputError: it has something else, such as annotations or another table.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{option}: {path} cannot be replaced ({error.strerror or error}); name "
                          "another file.") from error
    if path.suffix.lower() == ".csv":
        lines = start.decode("utf-8-sig", "replace").splitlines()
        is_other = bool(lines) and lines[0].strip() not in ("", csv_header)
    else:
        is_other = _RESULTS_JSON.fullmatch(start.removeprefix(b"\xef\xbb\xbf")) is None
    if is_other:
        raise OutputError(f"{option}: {path} is there already and has no detections in it, but "
                          "something else, such as annotations; name another file.")


def check_writable_as(option: str, folder: Path, name: str = "picture.png") -> None:
    """Makes the folder and tries to write a file of that name, before detection takes hours.

    Raises:
        FrcnnError: nothing can be written there; the message names the option.
    """
    try:
        check_writable(folder, name)
    except OSError as error:
        raise FrcnnError(f"{option}: nothing can be written as {Path(folder) / name} "
                         f"({error.strerror or error}); name another place.") from error


def check_plot(option: str, path: str, inputs: Iterable[Any]) -> None:
    """Checks the path of a plot.

    Raises:
        OutputError: its ending is not one of PLOT_KINDS, or it is an input.
        FrcnnError: it cannot be written.
    """
    place = expanded(path)
    if place.suffix.lower() not in PLOT_KINDS or place.is_dir():
        raise OutputError(f"{option} {path}: name a file that ends in {', '.join(PLOT_KINDS)}.")
    check_not_inputs(option, [place], inputs)
    check_writable_as(option, place.parent, place.name)


def is_own_picture(path: Path) -> bool:
    """Whether a file is a picture that `frcnn detect` has written."""
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == SOFTWARE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def concerns_one_file(error: Exception) -> bool:
    """Whether an error in writing a picture may be of this one alone, so that others can follow."""
    if isinstance(error, OSError):
        return error.errno not in _OF_THE_DISK
    return isinstance(error, (ValueError, RuntimeError, MemoryError))
