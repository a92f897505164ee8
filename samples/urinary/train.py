"""Trains the detector on urine sediment, then evaluates it.

    python samples/urinary/train.py                      synthetic micrographs, from nothing
    python samples/urinary/train.py --dataset DIR        your own, COCO's layout or Pascal VOC's
    python samples/urinary/train.py --help               everything else
"""

import sys
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from frcnn.cli import train
from samples.urinary.urinary import SAMPLE

main = partial(train.main, prog="train.py", sample=SAMPLE)

if __name__ == "__main__":
    sys.exit(main())
