"""Which files to detect in, and under which ids: patterns, lists, tables, also of remote stores."""

import contextlib
import glob
import importlib
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from frcnn.data.image_io import read_image
from frcnn.data.intensity import Intensity
from frcnn.errors import FrcnnError, ImageError, MissingExtraError
from frcnn.files import expanded
from frcnn.formats.registry import ENDINGS

TABLE_SUFFIXES = (".parquet",)
LIST_SUFFIXES = (".txt",)


@dataclass(frozen=True)
class Item:
    """One file to detect in.

    Attributes:
        path: local and absolute, so that it is the same file wherever a worker or a later call
            runs, or an address that fsspec reads, such as "s3://bucket/a.png".
        image_id: of the input table; None: the path identifies the image.
    """

    path: str
    image_id: str | int | None = None


def find_items(inputs: Iterable[str]) -> list[Item]:
    """The files that inputs name, each once, in order.

    Args:
        inputs: image files, folders (with the folders in them), patterns, `.txt` files with a path
            on each line, `.parquet` tables with the column `path` and, if wanted, `image_id`;
            local, or with a protocol of fsspec. Relative paths, also those in lists and tables,
            start at the current folder.

    Raises:
        FileNotFoundError: an input names no file.
        FrcnnError: a list or table has no paths, one path twice with different ids, or values that
            are no paths or ids; a list is not in UTF-8.
        MissingExtraError: a table or a remote input needs the extra `shards`.
    """
    found: dict[str, Item] = {}
    for text in inputs:
        items = list(_items_of(text))
        if not items:
            raise FileNotFoundError(f"{text}: no such file, and no image matches it.")
        for item in map(absolute, items):
            known = found.setdefault(item.path, item)
            if known.image_id != item.image_id:
                raise FrcnnError(f"{text}: {item.path} has the ids {known.image_id} and "
                                 f"{item.image_id}; list each file once.")
    return list(found.values())


def absolute(item: Item) -> Item:
    """The item with an absolute path if it is local."""
    if is_remote(item.path):
        return item
    return replace(item, path=os.path.abspath(expanded(item.path)))


def _items_of(text: str) -> Iterator[Item]:
    suffix = Path(text).suffix.lower()
    if suffix in TABLE_SUFFIXES:
        yield from _rows_of(text)
    elif suffix in LIST_SUFFIXES:
        yield from (Item(line.strip()) for line in _lines_of(text) if line.strip())
    elif is_remote(text):
        yield from map(Item, _remote_files(text))
    else:
        yield from (Item(str(path)) for path in files_named(text))


def files_named(text: str) -> list[Path]:
    """The files that an image, a folder (with the folders in it) or a pattern names, in order.

    Hidden files and folders in a folder are left out, and so are earlier results (ENDINGS), also
    where a pattern fits them.

    Args:
        text: see `expanded`.

    Raises:
        FrcnnError: it is a device or the like, from which reading may never end.
    """
    path = expanded(text)
    if path.is_dir():
        found = (file for file in path.glob("**/*") if file.is_file() and not any(
            part.startswith(".") for part in file.relative_to(path).parts))
    elif path.exists():
        if not path.is_file():
            raise FrcnnError(f"{text} is a device, a pipe or a socket, not an image file.")
        return [path]
    else:
        found = (Path(name) for name in glob.glob(str(path), recursive=True)
                 if os.path.isfile(name))
    return sorted(file for file in found if file.suffix.lower() not in ENDINGS)


def _lines_of(text: str) -> list[str]:
    with local_copy(text) as path:
        data = path.read_bytes()
    try:
        content = data.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise FrcnnError(f"{text} is no list in UTF-8: line {data[:error.start].count(10) + 1} has "
                         f"the byte 0x{data[error.start]:02x}; save the list in UTF-8.") from error
    if "\0" in content:
        raise FrcnnError(f"{text} is no list of paths: it has zero bytes; save the list in UTF-8.")
    return content.splitlines()


def _rows_of(text: str) -> Iterator[Item]:
    parquet = parquet_library()
    with local_copy(text) as path:
        try:
            table = parquet.read_table(path)
        except Exception as error:  # of a damaged file, of any kind
            raise FrcnnError(f"{text} cannot be read as a Parquet table ({error}).") from error
    if "path" not in table.column_names:
        raise FrcnnError(f"{text} has the columns {', '.join(table.column_names)}; it needs "
                         "'path', and may have 'image_id'.")
    ids: Sequence[Any] = [None] * table.num_rows
    if "image_id" in table.column_names:
        ids = table.column("image_id").to_pylist()
    for number, (path_text, image_id) in enumerate(zip(table.column("path").to_pylist(), ids)):
        if not isinstance(path_text, str) or not path_text:
            raise FrcnnError(f"{text}: row {number} has the path {path_text!r}.")
        if not _is_id(image_id):
            raise FrcnnError(f"{text}: row {number} has the image_id {image_id!r}; write ids as "
                             "texts or numbers.")
        yield Item(path_text, image_id)


def _is_id(value: Any) -> bool:
    """Whether JSON, in which results are written, has such a value."""
    return value is None or isinstance(value, (str, int)) \
        or (isinstance(value, float) and math.isfinite(value))


def parquet_library() -> Any:
    """pyarrow.parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError("Parquet files", "shards") from None


# --- remote files -------------------------------------------------------------------------------


def is_remote(path: str) -> bool:
    """Whether a path is an address with a protocol."""
    return "://" in path


def _remote_files(text: str) -> list[str]:
    with _remote_errors(text):
        system, place = _fsspec().core.url_to_fs(text)
        if system.isdir(place):
            names = system.find(place)
        else:
            names = sorted(system.glob(place)) if glob.has_magic(place) else [place]
        return [system.unstrip_protocol(name) for name in names
                if not Path(name).name.startswith(".")]


@contextlib.contextmanager
def local_copy(text: str) -> Iterator[Path]:
    """The path of a file, copied from its store for the time of the block if it is remote."""
    if not is_remote(text):
        path = expanded(text)
        if not path.is_file():
            raise FileNotFoundError(f"{text}: there is no such file.")
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, Path(text).name or "file")
        with _remote_errors(text):
            system, place = _fsspec().core.url_to_fs(text)
            system.get_file(place, str(path))
        yield path


def read_item(item: Item, channels: int, intensity: Intensity) -> Any:
    """The pixels of an item; see `read_image`, whose errors name the item's path."""
    with local_copy(item.path) as path:
        try:
            return read_image(path, channels, intensity)
        except ImageError as error:
            if not is_remote(item.path):
                raise
            raise ImageError(str(error).replace(str(path), item.path)) from error


@contextlib.contextmanager
def _remote_errors(text: str) -> Iterator[None]:
    """What a store raises, as an OSError that names the address."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{text}: there is no such file.") from error
    except (FrcnnError, OSError):
        raise
    except Exception as error:  # of any store
        raise OSError(f"{text} cannot be read ({type(error).__name__}: {error})") from error


def _fsspec() -> Any:
    try:
        return importlib.import_module("fsspec")
    except ImportError:
        raise MissingExtraError("Files in remote stores", "shards") from None
