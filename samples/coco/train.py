"""Trains the detector on COCO 2017, then evaluates it.

    python samples/coco/train.py --dataset DIR
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a script: find the packages from the project's folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from samples.coco.coco import EPOCHS, Coco2017Dataset, CocoConfig
from samples.urinary import common, train

DESCRIPTION = """\
Trains Faster R-CNN with a feature pyramid on COCO 2017, as its archives unpack, then evaluates it:

  DIR/annotations/instances_train2017.json, instances_val2017.json
  DIR/train2017/, DIR/val2017/

Everything that a run makes lies in one folder, LOGS/coco<date>T<time>. It is work for a GPU;
--steps and --val-images make a short try of it.
"""


@common.program
def main(argv=None):
    """Runs the program; returns its exit code."""
    parser = train.build_parser(DESCRIPTION, None, "folder of COCO 2017",
                                dataset_required=True, epochs_help=EPOCHS)
    sample = train.Sample(CocoConfig(), EPOCHS, Coco2017Dataset.from_folder)
    return train.run(parser.parse_args(argv), sample)


if __name__ == "__main__":
    sys.exit(main())
