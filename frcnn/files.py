"""Atomic file writes, plain JSON, the cache folder, and paths as people write them."""

import contextlib
import hashlib
import itertools
import json
import math
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs

from frcnn.errors import FrcnnError, OutputError

CACHE_VARIABLE = "FRCNN_CACHE"
MAX_NAME = 255  # bytes of a file's name, on all common file systems


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there replaces `path` at the end.

    If the block raises, the temporary file is removed and an older file at `path` is unchanged. A
    symbolic link stays one: the file that it points to is replaced.

    Args:
        path: the file, see `expanded`; its folder is made if missing.

    Raises:
        OutputError: `path` is a device, a pipe or a socket.
    """
    path = expanded(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise OutputError(f"{path} is a device, a pipe or a socket; name a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the whole name, which may be as long as names can be.
    temporary = path.with_name(f".{shortened(path.name, 100)}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Has a file's new name survive a power failure, where the file system can do that."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def remove_drafts(folder: str | os.PathLike[str], prefix: str) -> None:
    """Removes what killed processes left of files that `replacing` was to replace.

    Args:
        folder: where only one process writes such files at a time.
        prefix: of the files' names.
    """
    own = f".{os.getpid()}."
    for path in Path(folder).glob(f".{prefix}*.tmp"):
        if own not in path.name:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def filling(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder; what is written there is in `folder` at the end.

    A folder that exists is filled, not replaced, since it may be a link, a mounted volume or the
    current folder. If the block raises, nothing is left in it.

    Args:
        folder: see `expanded`; it must not exist, or be empty.

    Raises:
        OutputError: it is a file, or not empty.
        OSError: it cannot be written to.
    """
    target = expanded(folder)
    exists = target.is_dir()
    if os.path.lexists(target) and not (exists and _is_empty(target)):
        raise OutputError(f"{target} is there already and not an empty folder; name a new one.")
    place = target if exists else target.parent
    place.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".frcnn-", dir=place))
    try:
        yield draft
        draft.chmod(0o755)  # mkdtemp makes it readable for its owner alone
        if exists:
            _move_up(draft)
        else:
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_empty(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def _move_up(draft: Path) -> None:
    """Moves all files and folders in a folder to its parent, which has nothing else."""
    others = [entry for entry in draft.parent.iterdir() if entry != draft]
    if others:  # from another process, in the meantime
        raise OutputError(f"{draft.parent} is no longer empty: {others[0].name} has been added; "
                          "name a new folder.")
    moved: list[Path] = []
    try:
        for entry in sorted(draft.iterdir()):
            moved.append(entry.rename(draft.parent / entry.name))
    except BaseException:
        for path in moved:
            path.rename(draft / path.name)
        raise


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits; of a folder, that of its files' sums."""
    if os.path.isdir(path):
        files = sorted(file for file in Path(path).rglob("*") if file.is_file())
        sums = "".join(f"{sha256_of(file)} {file.relative_to(path)}\n" for file in files)
        return hashlib.sha256(sums.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


class DuplicateKeyError(ValueError):
    """An object of a JSON text has two entries of one name, of which Python would drop one."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.load(…, object_pairs_hook=unique_keys)`: an object as a dict.

    Raises:
        DuplicateKeyError: two entries have one name.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DuplicateKeyError(f"it has {twice[:100]!r} twice in one object, and only one could "
                                "count")
    return content


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


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file in UTF-8.

    Raises:
        ValueError: it is not JSON, is nested too deeply to be read, or has two entries of one name.
        OSError: the file cannot be read.
    """
    return parse_json(expanded(path).read_text("utf-8"))


def parse_json(text: str) -> Any:
    """The content of a JSON text; raises ValueError as `read_json` does."""
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (json.JSONDecodeError, DuplicateKeyError):
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:  # Python's limit
        raise ValueError("it holds a number of thousands of digits") from None


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
    if not path.parts or not path.parts[0].startswith("~") or os.path.lexists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or no home
        return path


def escaped(path: str | os.PathLike[str]) -> str:
    r"""A path or name as text that every program can read, for results and pages.

    File names are bytes. Those that are UTF-8 give their text, whatever the locale's encoding;
    other bytes are written as `\xe4`, so that the text can be encoded as UTF-8.
    """
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # characters that the locale's encoding lacks, or lone surrogates
        return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def shortened(name: str, size: int = MAX_NAME) -> str:
    """A file name, cut to at most `size` bytes."""
    data = name.encode("utf-8", "surrogatepass")
    return name if len(data) <= size else data[:size].decode("utf-8", "ignore")


def check_writable(folder: str | os.PathLike[str], name: str = "frcnn") -> None:
    """Makes a folder if it is missing, and checks that a file of that name can be written there.

    Raises:
        OSError: it cannot; nothing is left behind but the folder.
    """
    folder = expanded(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=f".{name}.", suffix=".tmp", dir=folder) as file:
        file.write(b"?")  # a full disk is only noticed when something is written
        file.flush()


def common_folders(paths: Sequence[Sequence[str]]) -> int:
    """How many of the first parts all paths have in common, the files' own names not counted.

    Args:
        paths: each as its parts, the last one the file's name.
    """
    levels = zip(*(path[:-1] for path in paths))
    return sum(1 for _ in itertools.takewhile(lambda names: len(set(names)) == 1, levels))
