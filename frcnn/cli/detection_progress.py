"""How far `frcnn detect` is, what it has found, and what it says of that."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frcnn.formats.detections import ImageDetections


@dataclass
class Progress:
    """How far a detection is, and what went wrong.

    Attributes:
        total: number of files.
        prog: what messages begin with.
        found: what was found in the images so far.
        sizes: (height, width) of images that are being detected in.
        skipped: number of files that are no readable images.
        undrawn: number of images whose picture could not be written.
        stopped: whether Ctrl-C stopped it.
        bar: the progress bar.
    """

    total: int
    prog: str
    found: list[ImageDetections] = field(default_factory=list)
    sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)
    skipped: int = 0
    undrawn: int = 0
    stopped: bool = False
    bar: Any = None

    def say(self, text: str) -> None:
        """Prints a line on stderr, above the progress bar."""
        if self.bar is None:
            print(f"{self.prog}: {text}", file=sys.stderr)
        else:
            self.bar.write(f"{self.prog}: {text}", file=sys.stderr)

    def tell(self, output: Path, pictures: str | None) -> None:
        """Prints what was found, and where it is."""
        objects = sum(len(image.scores) for image in self.found)
        print(f"{objects} objects in {len(self.found)} of {self.total} images, written to {output}")
        if pictures:
            print(f"pictures are in {pictures}")

    def finish(self) -> int:
        """Prints what went wrong in all; returns the exit code."""
        if self.stopped:
            return 130
        if self.skipped:
            self.say(f"{self.skipped} of {self.total} files are no readable images and were "
                     "skipped.")
        if self.undrawn:
            self.say(f"{self.undrawn} of {len(self.found)} pictures could not be written.")
        return int(bool(self.skipped or self.undrawn))
