"""Evaluates a checkpoint on a subset of a data set.

    python samples/urinary/evaluate.py --model last --dataset DIR --subset val
"""

import sys
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from frcnn.cli import evaluate
from frcnn.startup import detection_only
from samples.urinary.urinary import SAMPLE

main = partial(evaluate.main, prog="evaluate.py", sample=SAMPLE)

if __name__ == "__main__":
    detection_only()
    sys.exit(main())
