"""The values of a COCO annotation file: ids, numbers, and the names of JSON's types."""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias, TypeGuard

from frcnn.data.findings import Finding

Entry: TypeAlias = dict[str, Any]  # one JSON object of a list


def entries(section: list[Any], name: str,
            findings: list[Finding]) -> Iterator[tuple[int, Entry]]:
    """The entries of a list that are objects, with their place in it."""
    for place, entry in enumerate(section):
        if isinstance(entry, dict):
            yield place, entry
        else:
            findings.append(Finding(
                f"not an object in '{name}'",
                f"Entry {place} of '{name}' is a JSON {json_type(entry)}, not an object."))


def as_id(value: object) -> int | None:
    """A COCO id as an int, or None when it is not a whole number."""
    return int(value) if is_number(value) and value == int(value) and abs(value) < 2**63 else None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a finite number; truth values are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def json_type(value: object) -> str:
    """What JSON calls the type of a value."""
    names: dict[type, str] = {dict: "object", list: "list", str: "text", bool: "truth value",
                              type(None): "null"}
    return names.get(type(value), "number")


class BadIds:
    """Ids of one list that are not whole numbers: one finding for all, and none for what uses them.

    Args:
        section: the list's name.
        kind: of the finding.
    """

    def __init__(self, section: str, kind: str) -> None:
        self.section, self.kind = section, kind
        self.count, self.first = 0, ""
        self.values: set[Any] = set()

    def add(self, value: Any, message: str) -> None:
        """Adds an id; the message of the first one is reported."""
        self.count += 1
        self.first = self.first or message
        if isinstance(value, (str, float, int)):
            self.values.add(value)

    def report(self, findings: list[Finding]) -> None:
        """Adds the finding, if there was such an id."""
        if self.count:
            more = f" {self.count - 1} more entries of '{self.section}' have such ids."
            findings.append(Finding(self.kind, self.first + more * (self.count > 1)))
