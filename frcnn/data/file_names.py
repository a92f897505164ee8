"""Files by the names that annotations give them, which other systems may spell otherwise."""

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from frcnn.data.findings import Finding, leaves_folder, shown

# Endings of image files, as far as they matter for finding one without its ending.
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


class Found(NamedTuple):
    """A file, and how it was found.

    Attributes:
        path: None where no file fits, or several do.
        how: why it is not simply the file of that name; empty for the file of that name.
        candidates: how many files fit, if none has the very name.
    """

    path: str | None
    how: str = ""
    candidates: int = 0

    def finding(self, name: str, image_id: object) -> Finding | None:
        """The finding that a file was taken that does not have the very name; or None."""
        if self.path is None or not self.how:
            return None
        return Finding("image found under another name", f"Image {image_id}: {shown(name)} is "
                       f"{self.path} ({self.how}).", repairable=True, image_id=image_id)


class FileFinder:
    """Finds files by name in some folders, never outside of them.

    A file of the very name comes first. Else exactly one file must fit: one whose name differs in
    separators, `%20` and the like, letter case or Unicode's normal form; or one in a sub-folder.
    Symbolic links to folders are not followed.

    Args:
        folders: the first one first.
        also: folders in which only names with a folder in front are looked up, as they are.
    """

    def __init__(self, folders: Iterable[str | PathLike[str]],
                 also: Iterable[str | PathLike[str]] = ()) -> None:
        self.folders = [os.fspath(folder) for folder in folders]
        self.also = [os.fspath(folder) for folder in also]
        self._index: dict[str, list[str]] | None = None  # by base name as `spelling` gives it

    def find(self, name: str) -> Found:
        """The file of a name, which is relative to the folders."""
        if leaves_folder(name):
            return Found(None)
        plain = name.replace("\\", "/")
        for folder in self.folders + (self.also if "/" in plain else []):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return Found(path)
        wanted = spelling(name)
        if self._index is None:
            self._index = self._walk()
        alike = self._index.get(posixpath.basename(wanted), [])
        for fits, how in ((_is_same, "another spelling"), (_is_below, "in a sub-folder")):
            paths = {path for path in alike for folder in self.folders
                     if _is_inside(path, folder) and fits(_relative(path, folder), wanted)}
            if paths:
                return Found(min(paths) if len(paths) == 1 else None, how, len(paths))
        return Found(None)

    def _walk(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = defaultdict(list)
        roots = [folder for folder in self.folders
                 if not any(folder != other and _is_inside(folder, other)
                            for other in self.folders)]
        for root in dict.fromkeys(roots):
            for parent, folders, names in os.walk(root):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                for name in sorted(names):
                    index[posixpath.basename(spelling(name))].append(os.path.join(parent, name))
        return index


def spelling(name: str) -> str:
    """What spellings of one file name have in common."""
    name = unquote(name.replace("\\", "/"))
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return posixpath.normpath(name)


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _relative(path: str, folder: str) -> str:
    return spelling(os.path.relpath(path, folder).replace(os.sep, "/"))


def _is_same(path: str, wanted: str) -> bool:
    return path == wanted


def _is_below(path: str, wanted: str) -> bool:
    """Whether one of the names is the other with folders in front; not for a bare base name alone.

    `a.png` may be `sub/a.png`, and `data/sub/a.png` may be `sub/a.png`, but `x/a.png` is neither
    `a.png` nor `y/a.png`: another picture may have the same name.
    """
    return path.endswith(f"/{wanted}") or ("/" in path and wanted.endswith(f"/{path}"))


def is_image_name(name: str) -> bool:
    """Whether a file name has the ending of an image."""
    return name.lower().endswith(IMAGE_ENDINGS) and not name.startswith(".")


def has_images(folder: Path) -> bool:
    """Whether image files lie directly in a folder."""
    try:
        with os.scandir(folder) as entries:
            return any(is_image_name(entry.name) for entry in entries)
    except OSError:
        return False
