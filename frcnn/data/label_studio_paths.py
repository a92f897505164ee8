"""Which files Label Studio's tasks are of: it has addresses of its own for images.

    /data/local-files/?d=scans/p1/a.png     a local storage; the path below its root
    /data/upload/3/1a2b3c4d-a.png           uploaded, without its folder, under a random prefix
    s3://bucket/scans/p1/a.png, https://…   a store
    p1/a.png                                as `frcnn detect --format labelstudio` writes it
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from urllib.parse import unquote

from frcnn.data.file_names import FileFinder, Found, spelling
from frcnn.data.findings import Finding, leaves_folder
from frcnn.files import common_folders, expanded

_LOCAL, _UPLOAD = re.compile(r"/data/local-files/\?d=(.*)", re.DOTALL), "/data/upload/"
_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")


def resolve(names: Sequence[str], image_dir: str | PathLike[str]
            ) -> tuple[list[Found], list[Finding]]:
    """The files of the names that tasks give their images, in a folder and the folders in it.

    Names keep their folders, so that images of one name in two folders are told apart. What all
    have in front, such as the root of a storage, is left away as far as it takes to find one.
    Uploads have lost their folders: such an image is found if there is one file of its name.

    Args:
        names: `data.image` of each task.
        image_dir: the folder.

    Returns:
        found: for each name.
        findings: that the folder has another name than the one in the tasks, if that is so.
    """
    folder = expanded(image_dir)
    plain = [stored_name(name) for name in names]
    kept = [text.split("/") for text, is_upload in plain if not is_upload]
    start = _start(kept, folder)
    findings = []
    if start and kept and kept[0][start - 1] != Path(os.path.abspath(folder)).name:
        prefix = "/".join(kept[0][:start])
        findings.append(Finding("folder of another name", f"The tasks have images in {prefix}/, "
                                f"which are looked for in {folder}.", repairable=True))
    finder, uploads = FileFinder([folder]), _Uploads(folder)
    found = [uploads.find(text) if is_upload else finder.find("/".join(text.split("/")[start:]))
             for text, is_upload in plain]
    return found, findings


def stored_name(name: str) -> tuple[str, bool]:
    """The path in a name, with slashes and none in front, and whether it is an upload."""
    text = name.replace("\\", "/")
    local = _LOCAL.search(text)
    if local:
        text = unquote(local[1]).replace("\\", "/")
    elif _UPLOAD in text:
        return unquote(text.split("?")[0]).rsplit("/", 1)[-1], True
    elif re.match("https?://", text):
        text = unquote(re.split("[?#]", text, maxsplit=1)[0].split("://", 1)[1].partition("/")[2])
    elif "://" in text:
        text = text.split("://", 1)[1]
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if len(parts) > 1 and re.fullmatch("[A-Za-z]:", parts[0]):
        del parts[0]
    return "/".join(parts), False


def _start(names: Sequence[Sequence[str]], folder: Path) -> int:
    """How many of the first folders, which all names have, are not below the folder."""
    common = common_folders(names)
    for start in range(common + 1):
        below = ["/".join(name[start:]) for name in names]
        if any(not leaves_folder(name) and os.path.isfile(folder / name) for name in below):
            return start
    return common


class _Uploads:
    """Finds files by their names alone, with or without the prefix of an upload."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: dict[str, list[str]] | None = None

    def find(self, name: str) -> Found:
        """The only file of a name."""
        if self._index is None:
            self._index = defaultdict(list)
            for parent, folders, files in os.walk(self.folder):
                folders[:] = sorted(inner for inner in folders if not inner.startswith("."))
                for file in sorted(files):
                    self._index[spelling(file)].append(os.path.join(parent, file))
        for wanted in (name, _PREFIX.sub("", name, count=1)):
            # Spaces of a file's name are underscores in that of its upload.
            paths = self._index.get(spelling(wanted)) or [
                path for key, files in self._index.items()
                if key.replace(" ", "_") == spelling(wanted) for path in files]
            if paths:
                return Found(paths[0] if len(paths) == 1 else None, candidates=len(paths))
        return Found(None)
