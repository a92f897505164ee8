"""Prints a pip constraints file that pins each line of requirements.txt to its lowest version.

    python .ci/lowest.py > lowest.txt
    pip install -c lowest.txt .
"""

import re
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"


def constraints(text):
    """`["name==version", ...]` of the lines `name>=version` of a requirements file.

    Raises:
        ValueError: a line is of another form, so that it names no lowest version.
    """
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    pinned = []
    for line in filter(None, lines):
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9][0-9.]*)", line)
        if not match:
            raise ValueError(f"requirements.txt: {line!r} is not of the form name>=version.")
        pinned.append(f"{match[1]}=={match[2]}")
    return pinned


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints(REQUIREMENTS.read_text(encoding="utf-8"))) + "\n")
