"""How often the state of a training is saved; loads no Keras, since the command line reads it."""

import re
from dataclasses import dataclass

from frcnn.errors import ArgumentError

SaveEvery = int | str | None  # steps, a time such as "10 min", or None for the epochs' ends only
DEFAULT_SAVE_EVERY = "10 min"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h)")


@dataclass(frozen=True)
class Interval:
    """How often the state is saved within an epoch.

    Attributes:
        steps: every so many steps, or None.
        seconds: every so many seconds, or None.
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, value: SaveEvery) -> "Interval":
        """The interval for a number of steps or a text such as "30 s", "10 min" or "2h".

        Raises:
            ValueError: it is neither.
        """
        if value is None:
            return cls()
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return cls(steps=value)
        match = _TIME.fullmatch(str(value).strip())
        if match and float(match[1]) > 0:
            return cls(seconds=float(match[1]) * _SECONDS[match[2]])
        raise ArgumentError(f"save_every is {value!r}; allowed are a number of steps of 1 or more, "
                            'a time such as "30 s", "10 min" or "2 h", and None.')
