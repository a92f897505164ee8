"""Trains the detector that `train.py --model synthetic` begins with, and keeps it in the cache.

    python samples/urinary/pretrain.py
"""

import sys
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from frcnn.cli import pretraining
from samples.urinary.urinary import SAMPLE

main = partial(pretraining.main, prog="pretrain.py", sample=SAMPLE)

if __name__ == "__main__":
    sys.exit(main())
