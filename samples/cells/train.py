"""Trains the detector on blood cells, then evaluates it.

    python samples/cells/train.py --dataset DIR
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from samples.cells.cells import EPOCHS, CellsConfig, CellsDataset
from samples.urinary import common, train

DESCRIPTION = """\
Trains Faster R-CNN with a feature pyramid on blood smears in COCO's layout, then evaluates it:

  DIR/annotations/instances_train.json, instances_val.json     boxes and classes
  DIR/train/, DIR/val/                                         the images

Everything that a run makes lies in one folder, LOGS/cells<date>T<time>.
"""


@common.program
def main(argv=None):
    """Runs the program; returns its exit code."""
    parser = train.build_parser(DESCRIPTION, None, "folder of the blood smears",
                                dataset_required=True, epochs_help=EPOCHS)
    sample = train.Sample(CellsConfig(), EPOCHS, CellsDataset.from_folder)
    return train.run(parser.parse_args(argv), sample)


if __name__ == "__main__":
    sys.exit(main())
