"""Names by which other programs know the images: with folders, so that no two images share one."""

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence

from frcnn.errors import OutputError
from frcnn.files import MAX_NAME, common_folders, escaped, shortened

_NAMELESS = "image"  # a path of dots alone


def relative_names(paths: Iterable[str]) -> list[str]:
    """The paths of images, relative to the folder that all of them are in, with slashes.

    Where all are in one folder these are the names of the files. No name is absolute or leads out
    of a folder, on any system.

    Args:
        paths: local, or addresses such as "s3://bucket/a.png"; with slashes or backslashes.
    """
    texts = [path if "://" in path else posixpath.normpath(path.replace("\\", "/"))
             for path in paths]
    local = [text for text in texts if "://" not in text]
    if len({text.startswith("/") for text in local}) > 1 or \
            any(text.split("/", 1)[0] == ".." for text in local):
        texts = [text if "://" in text else os.path.abspath(text).replace("\\", "/")
                 for text in texts]
    parts = [[part.rstrip(":") or "_" for part in text.split("/") if part not in ("", ".", "..")]
             or [_NAMELESS] for text in texts]
    common = common_folders(parts)
    return [escaped("/".join(path[common:])) for path in parts]


def distinct_names(paths: Sequence[str]) -> list[str]:
    """As `relative_names`.

    Raises:
        OutputError: two images have one name, so that the objects of one would be those of both.
    """
    names = relative_names(paths)
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        first = places.setdefault(name, place)
        if first != place:
            which = f"as {paths[first]} and {paths[place]}" if paths[first] != paths[place] \
                else "in the same folder, or without one"
            raise OutputError(f"Two images have the name {name} ({which}), and in this format "
                              "the name says which image the objects are in; rename one, or write "
                              "them into two files.")
    return names


def file_names(paths: Iterable[str], ending: str) -> list[str]:
    """Names of files that belong to images, in folders as the images are.

    The ending of the image is replaced; it stays, followed by the new one, where images differ in
    it alone. Only what is still the same, in any case of its letters, gets a number, which is that
    of no other image.
    """
    names = [_fitting(name, ending) for name in relative_names(paths)]
    stems = [posixpath.splitext(name)[0] for name in names]
    counts = Counter(stem.casefold() for stem in stems)
    wanted = [_fitting(stem if counts[stem.casefold()] == 1 else name, ending)
              for name, stem in zip(names, stems)]
    reserved, taken, chosen = {name.casefold() for name in wanted}, set[str](), []
    for name in wanted:
        free, number = name, 1
        while free.casefold() in taken or (number > 1 and free.casefold() in reserved):
            number += 1
            free = _fitting(name, f"-{number}{ending}") + f"-{number}"
        taken.add(free.casefold())
        chosen.append(free + ending)
    return chosen


def _fitting(name: str, ending: str) -> str:
    """A name whose parts are short enough for files, the last one with an ending added."""
    *folders, last = name.split("/")
    return "/".join([*(shortened(folder, MAX_NAME) for folder in folders),
                     shortened(last, MAX_NAME - len(ending))])
