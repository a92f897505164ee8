"""Detects objects in images: files, folders or patterns in, a JSON or CSV file of boxes out.

    python samples/urinary/detect.py --model last --output results.json --pictures shown/ *.jpg
"""

import sys
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from frcnn.cli import detect
from frcnn.startup import detection_only

main = partial(detect.main, prog="detect.py")

if __name__ == "__main__":
    detection_only()
    sys.exit(main())
