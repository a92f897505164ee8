"""What a saved training state costs: its time and size, and its share of the training."""

from benchmarks import children, report
from benchmarks.measure import median
from benchmarks.rows import shrink_side

HELP = "time and size of a saved training state"
SIDE = 320
INTERVAL = 600  # seconds, the default of --save-every


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("saving")
    group.add_argument("--optimizer", choices=("sgd", "adamw"), default="sgd",
                       help="adamw keeps two values for each weight (default %(default)s)")


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    side = shrink_side(SIDE, options.shrink)
    try:
        found = children.run("saving_rows:measure", side=side, runs=options.runs,
                             optimizer=options.optimizer)
    except children.ChildError as error:
        return [], {}, [f"Failed: saving. {error}"]
    return [section(found, side, options.optimizer)], found, []


def section(found, side, optimizer):
    """The table of one network and optimizer."""
    state, checkpoint = median(found["state_seconds"]), median(found["checkpoint_seconds"])
    step = median(found["step_seconds"])
    rows = [
        ["state of the training", report.figure(state), report.figure(found["state_bytes"] / 1e6),
         report.figure(state / step), f"{100 * state / INTERVAL:.2f} %"],
        ["checkpoint", report.figure(checkpoint), report.figure(found["checkpoint_bytes"] / 1e6),
         report.figure(checkpoint / step), "–"],
    ]
    return report.Section(
        f"Saving, ResNet-50, {optimizer}", ["what", "s", "MB", "steps of training",
                                            "of the time, one in 10 minutes"], rows,
        [f"A step of 2 images of {side}² takes {report.figure(step)} s. Within an epoch, a state "
         "that takes more than 1 % of the time since the last one is written less often."])
