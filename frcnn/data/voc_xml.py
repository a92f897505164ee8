"""Parsing one annotation file of Pascal VOC, safe for untrusted files."""

import math
import re
from os import PathLike
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from frcnn.data.findings import shown
from frcnn.errors import DatasetError

# A thousand objects take about 300 kB.
MAX_BYTES = 8 * 2**20
MAX_DEPTH = 32

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class XmlError(DatasetError):
    """What is wrong with an XML file; the message continues after the file's name."""


def parse(path: str | PathLike[str]) -> Element:
    """The root element of an annotation file.

    A file with entities is an error, they are not expanded, and no file that it names is opened.

    Raises:
        XmlError: the file cannot be read, is too large, is not XML, or is not an annotation.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise XmlError(f"cannot be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise XmlError(f"is larger than {MAX_BYTES // 2**20} MiB, which no image's annotation is; "
                       "it is not read.")
    root = _build(content)
    if root.tag != "annotation":
        raise XmlError(f"has the root element <{shown(root.tag)[1:-1]}>, where Pascal VOC has "
                       "<annotation>.")
    return root


def _build(content: bytes) -> Element:
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise XmlError(f"is nested more than {MAX_DEPTH} elements deep; it is no annotation.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise XmlError("has a DOCTYPE, whose entities can hide any amount of text; it is not read. "
                       "Save it without one.")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise XmlError(f"is not XML: {expat.ErrorString(error.code)} in line {error.lineno}, "
                       f"column {error.offset + 1}.") from None
    except (LookupError, ValueError) as error:
        if isinstance(error, XmlError):
            raise
        raise XmlError(f"is in an encoding that cannot be read ({error}). Save it as "
                       "UTF-8.") from None
    return builder.close()


def text_of(parent: Element, tag: str) -> str | None:
    """The text of the one child of that name, without blanks around it.

    None where there is no such child, or more than one, since either could be meant.
    """
    children = parent.findall(tag)
    return (children[0].text or "").strip() if len(children) == 1 else None


def names_of_objects(root: Element) -> set[str]:
    """The class names of all objects of an annotation."""
    names = (text_of(entry, "name") for entry in root.findall("object"))
    return {name for name in names if name}


def number(text: str | None) -> float | None:
    """A finite number in ASCII digits, or None."""
    if text is None or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
