"""Trains the detector on shapes that are drawn on the fly, then evaluates it.

    python samples/shapes/train.py
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from samples.shapes.shapes import EPOCHS, ShapesConfig, ShapesDataset
from samples.urinary import common, train

DESCRIPTION = """\
Trains Faster R-CNN with a feature pyramid on squares, circles and triangles that are drawn as they
are needed, then evaluates it. No data are needed.

Everything that a run makes lies in one folder, LOGS/shapes<date>T<time>.
"""


@common.program
def main(argv=None):
    """Runs the program; returns its exit code."""
    parser = train.build_parser(DESCRIPTION, None, dataset_help=None, epochs_help=EPOCHS)
    sample = train.Sample(ShapesConfig(), EPOCHS, ShapesDataset.from_folder,
                          folder=lambda _: "drawn on the fly")
    return train.run(parser.parse_args(argv), sample)


if __name__ == "__main__":
    sys.exit(main())
