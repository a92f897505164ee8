"""Detects once with an exported file, in a process of its own, which `frcnn export` starts.

    python -m frcnn.runtime.once FILE IMAGES.npz RESULTS.npz
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from frcnn.errors import FrcnnError
from frcnn.runtime.detector import Detector


def main(argv: Sequence[str]) -> int:
    """Detects in the arrays of an .npz and writes the results to another; returns the exit code."""
    path, images, results = argv
    try:
        detector = Detector(path)
        with np.load(images) as file:
            arrays = [file[name] for name in sorted(file.files, key=int)]
        found: dict[str, Any] = {f"{number}/{name}": value
                 for number, result in enumerate(detector.detect(arrays))
                 for name, value in result.items()}
    except FrcnnError as error:
        print(error, file=sys.stderr)
        return 2
    save: Any = np.savez  # its types do not allow for arrays by name
    save(results, **found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
