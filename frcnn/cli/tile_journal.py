"""What `frcnn detect --tile` has found so far, in a file beside the output."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from frcnn.errors import OutputError
from frcnn.files import escaped, parse_json, shortened
from frcnn.geometry.tiles import Found

FORMAT = 1
ENDING = ".tiles"


class TileJournal:
    """A line of JSON for each finished tile, after a first line with what they depend on.

    A killed process loses at most the line that it was writing. The file is removed by `finish`.

    Attributes:
        path: of the file.
        count: number of tiles in it.

    Args:
        output: the file of the results, beside which it lies.
        about: what the tiles depend on: weights, configuration, tiles. JSON's types.

    Raises:
        OutputError: the file is of a call with other ones, or of something else.
    """

    def __init__(self, output: Path, about: Mapping[str, Any]) -> None:
        self.path = output.with_name(shortened(output.name, 200) + ENDING)
        self._about = {"format": FORMAT, **about}
        self._done: dict[str, dict[int, Found]] = {}
        self.count = 0
        complete = self._read()
        self._file: IO[str] | None = open(  # noqa: SIM115 - close does it
            self.path, "r+" if complete else "w", encoding="utf-8")
        if complete:
            self._file.seek(complete)
            self._file.truncate()
        else:
            self._write(self._about)

    def done(self, image: Path) -> dict[int, Found]:
        """What earlier calls found in an image that has not changed since, by tile."""
        return self._done.get(_key(image), {})

    def add(self, image: Path, tile: int, found: Found) -> None:
        """Stores a tile; the line is with the operating system at once."""
        self.count += 1
        self._write({"image": _key(image), "tile": tile, "boxes": found.boxes.tolist(),
                     "class_ids": found.class_ids.tolist(), "scores": found.scores.tolist()})

    def close(self) -> None:
        """Closes the file, and keeps it for the next call."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self) -> None:
        """Removes the file, after everything is in the output."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _write(self, entry: Mapping[str, Any]) -> None:
        assert self._file is not None, "closed"
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def _read(self) -> int:
        """Reads an older file; returns how many bytes of it are complete lines, 0 without one."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        end = content.rfind(b"\n") + 1
        lines = content[:end].splitlines()
        if not content.strip():
            return 0
        try:
            about, *entries = [parse_json(line.decode()) for line in lines]
        except ValueError as error:
            raise self._other_content() from error
        if not isinstance(about, dict) or "format" not in about:
            raise self._other_content()
        self._check(about)
        for entry in entries:
            self._take(entry)
        return end

    def _other_content(self) -> OutputError:
        return OutputError(f"{self.path} is no list of finished tiles; move it away.")

    def _check(self, about: Mapping[str, Any]) -> None:
        ours = json.loads(json.dumps(self._about))
        other = [name for name in sorted({*ours, *about}) if ours.get(name) != about.get(name)]
        if other:
            name = other[0]
            raise OutputError(
                f"{self.path} has tiles of an earlier call with another {name} "
                f"({about.get(name)}, now {ours.get(name)}); delete it to begin anew, or repeat "
                "that call.")

    def _take(self, entry: Any) -> None:
        try:
            found = Found(np.array(entry["boxes"], np.float32).reshape(-1, 4),
                          np.array(entry["class_ids"], np.int32),
                          np.array(entry["scores"], np.float32))
            self._done.setdefault(entry["image"], {})[int(entry["tile"])] = found
        except (ValueError, KeyError, TypeError) as error:
            raise self._other_content() from error
        if len({len(values) for values in found}) != 1:
            raise self._other_content()
        self.count += 1


def _key(image: Path) -> str:
    """What identifies an image file and its content: name, size and time of the last change."""
    status = image.stat()
    return f"{escaped(os.path.abspath(image))}|{status.st_size}|{status.st_mtime_ns}"
