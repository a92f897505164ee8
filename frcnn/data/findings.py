"""Findings: what is wrong with a data set, how it is reported, and what all readers share.

A finding is either repairable (the box is clipped or dropped, and loading continues with a warning)
or serious (loading stops with an error, or, with `skip_bad`, continues without the item).
"""

import collections
import reprlib
import warnings
from collections.abc import Iterable
from os import PathLike
from pathlib import PureWindowsPath
from typing import NamedTuple

from frcnn.data.image_io import read_image_size
from frcnn.errors import DatasetError, FrcnnError

_MAX_NAMED = 5  # how many bad items a message names before it only counts them
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxdict = 8
_SHORT.maxstring = _SHORT.maxother = 120


class Finding(NamedTuple):
    """One thing that is wrong in a data set.

    Attributes:
        kind: a few words that similar findings share, such as "bad box".
        message: one line that names the item and says what is wrong.
        repairable: whether the loader corrects it and continues.
        image_id: the data set's own id of the image, or None.
        annotation_id: the data set's own id or number of the annotation, or None.
    """

    kind: str
    message: str
    repairable: bool = False
    image_id: object = None
    annotation_id: object = None


def report(findings: Iterable[Finding], where: str | PathLike[str], skip_bad: bool = False,
           stacklevel: int = 2) -> None:
    """Raises for what cannot be repaired, warns about what was, each kind counted.

    Args:
        findings: what was found.
        where: the file or data set, for messages.
        skip_bad: whether serious findings only warn, since the caller continues without the items.
        stacklevel: as in `warnings.warn`, seen from the caller.

    Raises:
        DatasetError: there are serious findings; the first few are named.
    """
    findings = list(findings)
    serious = [finding for finding in findings if not finding.repairable]
    if serious and not skip_bad:
        named = [finding.message for finding in serious[:_MAX_NAMED]]
        more = len(serious) - len(named)
        raise DatasetError(f"{where}: " + " ".join(named)
                           + (f" And {more} more such problems." if more else "")
                           + " Correct that; `frcnn check` lists everything, and skip_bad "
                           "(--skip-bad) continues without it.")
    if serious:
        kinds = collections.Counter(finding.kind for finding in serious)
        counted = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        items = "1 bad item is" if len(serious) == 1 else f"{len(serious)} bad items are"
        warnings.warn(f"{where}: {items} left out ({counted}). The first: {serious[0].message}",
                      stacklevel=stacklevel + 1)
    repaired = collections.defaultdict(list)
    for finding in findings:
        if finding.repairable:
            repaired[finding.kind].append(finding)
    for kind, group in repaired.items():
        warnings.warn(f"{where}: {kind}, {len(group)} in all. The first: {group[0].message}",
                      stacklevel=stacklevel + 1)


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
        height, width = read_image_size(path)
    except (FrcnnError, OSError) as error:
        findings.append(Finding("image unreadable", f"Image {image_id}: {error}",
                                image_id=image_id))
        return None
    return width, height
