"""Atomic file writes, plain JSON, the cache folder, and paths as people write them."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs

from frcnn.errors import FrcnnError

CACHE_VARIABLE = "FRCNN_CACHE"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there replaces `path` at the end.

    If the block raises, the temporary file is removed and an older file at `path` is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_plain_json(value: Any, *,
                  non_finite: Literal["error", "null", "text"] = "error") -> Any:
    """Converts a value to the types that JSON has, recursively.

    NumPy scalars and arrays become numbers and lists, tuples become lists, paths become text.

    Args:
        value: None, a bool, number, text, path, array, or a dict, list or tuple of these.
        non_finite: what to do with NaN and infinity, which JSON does not have: "error" raises,
            "null" gives None, "text" gives "nan", "inf" or "-inf".

    Returns:
        The value as None, bool, int, float, str, list and dict.

    Raises:
        ValueError: a number is NaN or infinite and `non_finite` is "error".
        TypeError: a value is of another type.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if non_finite == "error":
            raise ValueError(f"JSON cannot represent {value!r}.")
        return None if non_finite == "null" else repr(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [to_plain_json(item, non_finite=non_finite) for item in value]
    if isinstance(value, dict):
        return {to_plain_json(name, non_finite=non_finite):
                to_plain_json(item, non_finite=non_finite) for name, item in value.items()}
    raise TypeError(f"JSON cannot represent {value!r} of type {type(value).__name__}.")


def write_json(path: str | os.PathLike[str], data: Any, *, indent: int = 2,
               non_finite: Literal["error", "null", "text"] = "error") -> None:
    """Writes data as a JSON file in UTF-8, atomically: a reader never sees half of it.

    Args:
        path: the file; its folder is made if missing.
        data, non_finite: see `to_plain_json`.
        indent: spaces a level.

    Raises:
        ValueError, TypeError: see `to_plain_json`; nothing is written.
        OSError: the file cannot be written.
    """
    plain = to_plain_json(data, non_finite=non_finite)
    text = json.dumps(plain, indent=indent, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """The folder for files that can be downloaded or made again; it need not exist.

    The environment variable FRCNN_CACHE names it; otherwise it is the system's usual folder, on
    Linux `$XDG_CACHE_HOME/frcnn` or `~/.cache/frcnn`.

    Raises:
        FrcnnError: FRCNN_CACHE is not set and there is no home folder.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return expanded(chosen)
    try:
        folder = platformdirs.user_cache_path("frcnn", appauthor=False)
    except RuntimeError:  # from newer versions; older ones return "~" unexpanded
        folder = Path("~")
    if not folder.is_absolute():
        raise FrcnnError("There is no home folder for the cache; name a folder with the "
                         f"environment variable {CACHE_VARIABLE}.")
    return folder


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a leading `~` replaced by the home folder, unless a file has that very name.

    A name that only looks like a user's, as `~backup.png`, is returned unchanged.
    """
    path = Path(path)
    if os.path.lexists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or no home
        return path


def check_writable(folder: str | os.PathLike[str], name: str = "frcnn") -> None:
    """Makes a folder if it is missing, and checks that a file of that name can be written there.

    Raises:
        OSError: it cannot; nothing is left behind but the folder.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=f".{name}.", suffix=".tmp", dir=folder) as file:
        file.write(b"?")  # a full disk is only noticed when something is written
        file.flush()
