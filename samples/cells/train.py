"""Trains the detector on blood cells, then evaluates it.

    python samples/cells/train.py --dataset DIR
"""

import sys
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from frcnn.cli import train
from samples.cells.cells import SAMPLE

main = partial(train.main, prog="train.py", sample=SAMPLE)

if __name__ == "__main__":
    sys.exit(main())
