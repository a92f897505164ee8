"""What was loaded from a weight file, and what was not."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

# A weight, its shape in the file, its shape in the model.
Mismatch: TypeAlias = tuple[str, tuple[int, ...], tuple[int, ...]]


@dataclass
class LoadReport:
    """What was loaded from a weight file, and what was not.

    Attributes:
        path: the file.
        loaded: names of the model's layers that were set from the file.
        ignored: layers and single weights of the file that the model does not have.
        missing: layers of the model, or single weights of them, that the file does not have.
        mismatched: `(weight, shape in the file, shape in the model)`; only in the report of an
            error, since a mismatch is one.
        excluded: layers of the model left out because `exclude` names them.
        adapted: what was changed for images of another number of channels; empty if nothing was.
    """

    path: str
    loaded: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    adapted: str = ""

    def __str__(self) -> str:
        parts = [f"{self.path}: loaded {len(self.loaded)} layers"]
        for name in ("ignored", "missing", "excluded"):
            names = getattr(self, name)
            if names:
                parts.append(f"{name} {len(names)} ({some(names)})")
        if self.adapted:
            parts.append(self.adapted)
        if self.mismatched:
            parts.append("mismatched " + some(map(mismatch_text, self.mismatched)))
        return "; ".join(parts)


def mismatch_text(mismatch: Mismatch) -> str:
    """A weight whose shapes differ, as text."""
    name, in_file, in_model = mismatch
    return f"{name} is {list(in_file)} in the file, {list(in_model)} in the model"


def some(values: Iterable[object], limit: int = 6) -> str:
    """The first few values as text, and how many more there are."""
    names = [str(value) for value in values]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
