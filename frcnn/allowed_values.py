"""Kinds of values that settings may have: counts, shares, lists of numbers, names."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# The longest axis of an array that a setting may ask for; more is a mistake, and no memory has it.
LONGEST = 1_000_000


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 1 that fits into 32 bits."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) \
        and bool(1 <= value < 2**31)


def is_length(value: Any) -> bool:
    """Whether it can be the length of an array's axis that is allocated as the setting says."""
    return is_count(value) and bool(value <= LONGEST)


def is_number(value: Any) -> bool:
    """Whether it is a finite number that fits into 64 bits, and not a truth value."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, (float, np.integer, np.floating)) and bool(np.isfinite(value))


def is_share(value: Any) -> bool:
    """Whether it is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1


def is_positive(value: Any) -> bool:
    """Whether it is a number above 0."""
    return is_number(value) and value > 0


def is_numbers(values: Any, length: int | None = None, *, positive: bool = False) -> bool:
    """Whether it is a flat list of finite numbers, of that length if one is given."""
    try:
        values = np.asarray(values)
    except ValueError:  # nested lists of different lengths
        return False
    return values.ndim == 1 and values.dtype.kind in "iuf" and bool(np.isfinite(values).all()) \
        and len(values) > 0 and length in (None, len(values)) \
        and not (positive and values.min() <= 0)


def is_range(value: Any) -> bool:
    """Whether it is two numbers, the lower one first, with or without a third item "clip"."""
    if isinstance(value, (tuple, list)) and len(value) == 3 and value[2] == "clip":
        value = value[:2]
    return is_numbers(value, 2) and bool(value[0] < value[1])


def is_name(value: Any) -> bool:
    """Whether it is None or a text that can be part of a file's name."""
    return value is None or (isinstance(value, str) and value.strip() != ""
                             and value.isprintable() and not set(value) & set("/\\"))


def one_of(names: Sequence[str]) -> tuple[Callable[[Any], bool], str]:
    """The check for one of some names, and what a message says is allowed."""
    return lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(names)
