"""Findings: what is wrong with a data set, how it is reported, and what all readers share.

A finding is repairable (the box is clipped or dropped, and loading continues with a warning),
serious (loading stops with an error, or, with `skip_bad`, continues without the item), or doubtful:
it may be right, so loading says nothing, but `frcnn check` lists it.
"""

import collections
import reprlib
import warnings
from collections.abc import Iterable
from contextlib import closing
from os import PathLike
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from frcnn.data.image_io import read_image_size
from frcnn.data.slides import SLIDE_SUFFIXES, is_slide, open_large_image
from frcnn.errors import DatasetError, FrcnnError, ImageError

# Pixels; float32 boxes are exact to a part of a pixel up to here.
MAX_SIDE = 2**20
_LONGEST = 600  # characters of a finding in a message
_MAX_NAMED = 5  # how many bad items a message names before it only counts them
_ADVICE = ("Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad) continues "
           "without it.")
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxdict = 8
_SHORT.maxstring = _SHORT.maxother = 120


class Finding(NamedTuple):
    """One thing that is wrong in a data set.

    Attributes:
        kind: a few words that similar findings share, such as "bad box".
        message: one line that names the item and says what is wrong.
        repairable: whether the loader corrects it, or does not change it, and continues.
        image_id: the data set's own id of the image, or None.
        annotation_id: the data set's own id or number of the annotation, or None.
        doubtful: whether it may be right; it is then repairable, too.
    """

    kind: str
    message: str
    repairable: bool = False
    image_id: object = None
    annotation_id: object = None
    doubtful: bool = False

    @property
    def brief(self) -> str:
        """The message, its middle left out where a name or a value makes it very long."""
        return shortened(self.message, _LONGEST)


def report(findings: Iterable[Finding], where: str | PathLike[str], skip_bad: bool = False,
           stacklevel: int = 2, advice: str = _ADVICE) -> None:
    """Raises for what cannot be repaired, warns about what was, each kind counted.

    Args:
        findings: what was found; the doubtful ones are passed over.
        where: the file or data set, for messages.
        skip_bad: whether serious findings only warn, since the caller continues without the items.
        stacklevel: as in `warnings.warn`, seen from the caller.
        advice: what to do about serious findings, the last sentence of the error.

    Raises:
        DatasetError: there are serious findings; the first few are named.
    """
    findings = list(findings)
    serious = [finding for finding in findings if not finding.repairable]
    if serious and not skip_bad:
        named = [finding.brief for finding in serious[:_MAX_NAMED]]
        more = len(serious) - len(named)
        raise DatasetError(f"{where}: " + " ".join(named)
                           + (f" And {more} more such problems." if more else "")
                           + f" {advice}")
    if serious:
        kinds = collections.Counter(finding.kind for finding in serious)
        counted = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        items = "1 bad item is" if len(serious) == 1 else f"{len(serious)} bad items are"
        warnings.warn(f"{where}: {items} left out ({counted}). The first: {serious[0].brief}",
                      stacklevel=stacklevel + 1)
    repaired = collections.defaultdict(list)
    for finding in findings:
        if finding.repairable and not finding.doubtful:
            repaired[finding.kind].append(finding)
    for kind, group in repaired.items():
        warnings.warn(f"{where}: {kind}, {len(group)} in all. The first: {group[0].brief}",
                      stacklevel=stacklevel + 1)


def shortened(text: str, most: int = 120) -> str:
    """A text of at most so many characters and a mark, without its middle if it is longer."""
    return text if len(text) <= most else f"{text[:most // 2]} … {text[-most // 2:]}"


def shown(value: object) -> str:
    """A value from a file for a message: Python's notation, cut short when long."""
    return _SHORT.repr(value)


def leaves_folder(name: str) -> bool:
    """Whether a file name could lead out of the folder that it is relative to, on any system."""
    windows = PureWindowsPath(name)
    return bool("\0" in name or windows.drive or windows.root or ".." in windows.parts)


def size_from_header(path: str | PathLike[str], image_id: object,
                     findings: list[Finding]) -> tuple[int, int] | None:
    """`(width, height)` in pixels from the image's header; None, and a finding, when unreadable."""
    try:
        height, width = _size_of(path)
    except (FrcnnError, OSError) as error:
        findings.append(Finding("image unreadable", f"Image {image_id}: {error}",
                                image_id=image_id))
        return None
    return width, height


def _size_of(path: str | PathLike[str]) -> tuple[int, int]:
    """`(height, width)` in pixels, of level 0 of a slide."""
    try:
        return read_image_size(path)
    except ImageError as error:
        if error.reason != "size" and Path(path).suffix.lower() not in SLIDE_SUFFIXES:
            raise
        if not is_slide(path):
            raise
    with closing(open_large_image(path)) as image:
        return image.height, image.width
