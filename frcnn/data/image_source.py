"""What an image is read from: a file, or the bytes of one that was never stored."""

import io
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from frcnn.files import expanded


@dataclass(frozen=True)
class ImageBytes:
    """The content of an image file in memory.

    Attributes:
        name: of the file, for messages.
        content: the whole file.
        formats: names of the formats that it may have, as Pillow calls them; None for any. Some of
            Pillow's readers start other programs or write temporary files.
    """

    name: str
    content: bytes = field(repr=False)
    formats: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.name

    def opened(self) -> io.BytesIO:
        """A new file object of the content, at its start."""
        return io.BytesIO(self.content)


ImageFile: TypeAlias = str | PathLike[str] | ImageBytes


def readable(file: ImageFile) -> Path | io.BytesIO:
    """What libraries open: a path, see `expanded`, or a file object."""
    return file.opened() if isinstance(file, ImageBytes) else expanded(file)


def bytes_of(file: ImageFile) -> int:
    """The size of a file."""
    return len(file.content) if isinstance(file, ImageBytes) else expanded(file).stat().st_size
