"""The options of `frcnn train` on the training itself, its evaluation and its files."""

import argparse

from frcnn.cli import options as opts
from frcnn.cli.run_options import AUGMENTATIONS, SCHEDULES
from frcnn.cli.sample import HEAD_SHARE


def add(group: opts.OptionGroup, epochs_help: str) -> None:
    """Adds the options of the training itself.

    Args:
        group: of the parser.
        epochs_help: the default number of epochs, as text.
    """
    group.add_argument("--epochs", type=opts.positive_integer, metavar="N",
                       help="total number of epochs, those before a run continues included "
                            f"(default: {epochs_help}; for a checkpoint that is not in a run's "
                            "folder, as many more)")
    group.add_argument("--layers", metavar="WHICH",
                       help="layers to train: heads, 5+, 4+, 3+, all, or a regular expression over "
                            "layer names (default: all; from pretrained weights the new layers, "
                            f"'heads', for the first {HEAD_SHARE:.0%}% of the epochs, then all)")
    group.add_argument("--learning-rate", type=opts.positive_number, metavar="RATE",
                       help="the highest learning rate, between warm-up and decay (default: the "
                            "configuration's LEARNING_RATE)")
    group.add_argument("--schedule", choices=SCHEDULES,
                       help="how the learning rate decays after its warm-up: along a cosine, by a "
                            "step to a tenth in the last fifth, or not at all and without a "
                            "warm-up (default: warmup_cosine)")
    group.add_argument("--augmentation", choices=AUGMENTATIONS,
                       help="random changes of the training images: 'flip' mirrors them "
                            "horizontally, 'flips' also vertically, 'microscopy' also rotates, "
                            "scales and shifts them and changes brightness, color and sharpness "
                            "(default: flip)")
    group.add_argument("--steps", type=opts.positive_integer, metavar="N",
                       help="batches in an epoch (default: every image once)")
    group.add_argument("--seed", type=opts.whole_number, metavar="N",
                       help="seed of all random numbers (default: 0)")
    group.add_argument("--deterministic", action=argparse.BooleanOptionalAction, default=None,
                       help="compute with kernels that give equal results in each run on the same "
                            "kind of device, so that two runs of one seed have equal weights; "
                            "slower on a GPU (default: no)")
    group.add_argument("--logs", default="logs", metavar="LOGS",
                       help="folder of all runs (default: logs)")


def add_evaluation(group: opts.OptionGroup) -> None:
    """Adds the options of evaluation while training, of checkpoints and of states."""
    group.add_argument("--val-images", type=opts.positive_integer_or_all, metavar="N",
                       help="evaluate on the first N images of val only, or on 'all' (default)")
    group.add_argument("--evaluate-every", type=opts.positive_integer_or_off, metavar="N",
                       help="also evaluate while training, after every N epochs and before other "
                            "layers are trained: prints AP and AP50, and copies the checkpoint "
                            "with the highest AP to best_mask_rcnn_<name>.h5, which the report at "
                            "the end is then about; or 'off' (default), where no such file is made")
    group.add_argument("--patience", type=opts.positive_integer_or_off, metavar="N",
                       help="stop when N evaluations in a row brought no better AP, those before a "
                            "run continues included; needs --evaluate-every; or 'off' (default)")
    group.add_argument("--save-every", type=opts.steps_or_time_or_off, metavar="N",
                       help="save the state of the training after every N steps, or after a time "
                            "such as '30 s', '10 min' (default) or '2 h', besides each epoch's end "
                            "and when the program is asked to end: --model last then continues "
                            "exactly there; or 'off'")
    group.add_argument("--keep", type=opts.positive_integer_or_all, metavar="N",
                       help="keep only the newest N checkpoints, and the best one, and delete the "
                            "earlier ones of this run; or 'all' (default)")
