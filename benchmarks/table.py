"""The table of goals: this library on this machine, with the reference and torchvision."""

import re
from dataclasses import dataclass, replace

from benchmarks import report, start
from benchmarks.matrix_product import SIDE
from benchmarks.measure import median
from benchmarks.rows import SHORT, Row, measure_all, shrink_side

HELP = "the table of goals: forward pass, training step, memory, first detection"


@dataclass(frozen=True)
class Goal:
    """A line of the table: a goal, and the figures that it was set against.

    The reference is Matterport's Mask R-CNN without its mask head on TensorFlow 2.15, and
    torchvision is 0.27; both were measured once on a 2-core AVX-512 machine, in units.

    Attributes:
        work: what is measured.
        rows: keys of the rows that may reach it (precisions for a first detection); the best
            counts.
        reference, torchvision: their figures; None if unknown.
        goal: the highest figure that meets it.
        kind: "units", "memory" (gigabytes of the row that is fastest) or "seconds".
    """

    work: str
    rows: tuple
    reference: float
    torchvision: float | None
    goal: float
    kind: str = "units"


ROWS = {
    "forward-512-float32": Row("detect", 512),
    "forward-512-bfloat16": Row("detect", 512, precision="mixed_bfloat16"),
    "forward-1024-float32": Row("detect", 1024),
    "forward-1024-bfloat16": Row("detect", 1024, precision="mixed_bfloat16"),
    "forward-1024-float32-open": Row("detect", 1024, weights_change=True),
    "forward-1024-bfloat16-open": Row("detect", 1024, precision="mixed_bfloat16",
                                      weights_change=True),
    "train-512-float32": Row("train", 512, 2),
    "train-512-bfloat16": Row("train", 512, 2, "mixed_bfloat16"),
    "train-512-bfloat16-bn": Row("train", 512, 2, "mixed_bfloat16", True),
    "train-1024-float32": Row("train", 1024),
    "train-1024-bfloat16": Row("train", 1024, 1, "mixed_bfloat16"),
    "train-1024-bfloat16-bn": Row("train", 1024, 1, "mixed_bfloat16", True),
}
_FORWARD_1024 = ("forward-1024-float32", "forward-1024-bfloat16")
_TRAIN_512 = ("train-512-float32", "train-512-bfloat16")
_TRAIN_1024 = ("train-1024-float32", "train-1024-bfloat16")
GOALS = (
    Goal("forward pass, 512², float32", ("forward-512-float32",), 1.48, 2.2, 1.35),
    Goal("forward pass, 1024², float32", ("forward-1024-float32",), 4.75, 8.3, 4.4),
    Goal("forward pass, 1024², fastest mode with equal AP", _FORWARD_1024, 4.75, 8.3, 2.7),
    Goal("training step, 2 images, 512², best mode", _TRAIN_512, 8.65, 12.3, 4.6),
    Goal("training step, 1 image, 1024², best mode", _TRAIN_1024, 17.1, 25.9, 8.8),
    Goal("peak memory of that step, GB", _TRAIN_1024, 4.3, 4.4, 2.8, "memory"),
    # In the default precision.
    Goal("first detection from process start, 1280×720, s", ("float32",), 11.6, None, 7,
         "seconds"),
)
CONDITIONS = (
    "ResNet-50 FPN, 8 classes, random weights, anchor stride 1, 1,000 proposals in inference, "
    "2,000 → 200 RoIs in training, all layers trained. BatchNorm runs on its stored statistics "
    "(TRAIN_BN=False, the default) unless the row says otherwise.",
    "Forward passes are made in a process that only detects (`frcnn.startup.detection_only`, as in "
    "`frcnn detect`) unless the row says that weights may change.",
    "A unit is the time of one float32 4096×4096×4096 matrix product in the same process. Times "
    "are medians, and the lowest and highest; each row has a process of its own.",
)
TRIAL = "Shrunk by {}: a test of the program, whose figures are not comparable."


def add_options(parser):
    """Options of this subject alone."""
    parser.add_argument("--only", metavar="PATTERN",
                        help="measure only rows whose name matches this regular expression; the "
                             "names are " + ", ".join([*ROWS, "first"]))
    parser.add_argument("--jit-compile", action="store_true",
                        help="compile the network of each row with XLA")


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    keys = [key for key in ROWS if re.search(options.only or "", key)]
    rows = [_adapt(ROWS[key], options) for key in keys]
    measured, errors = measure_all(rows, options)
    results = {key: result for key, result in zip(keys, measured) if result is not None}
    starts = {}
    if re.search(options.only or "", "first"):
        starts, start_errors = start.measure(options)
        errors += start_errors
    sections = [goals_section(results, starts, options.shrink)]
    if results:
        sections.append(rows_section(results, SIDE // options.shrink))
    if starts:
        sections.append(start.section(starts))
    data = {"rows": {key: result.to_dict() for key, result in results.items()}, "first": starts}
    return sections, data, errors


def _adapt(row, options):
    """The row with the options applied."""
    return replace(row, side=shrink_side(row.side, options.shrink),
                   jit_compile=options.jit_compile or None)


def goals_section(results, starts, shrink=1):
    """The goals, with the figures measured here.

    Args:
        results: Result by key of ROWS.
        starts: seconds by part and precision, from `start.measure`.
    """
    lines = [_goal_line(goal, results, starts, shrink) for goal in GOALS]
    notes = [*CONDITIONS, "The reference is Matterport's on TensorFlow 2.15 without its mask head; "
             "its figures and those of torchvision 0.27 are from a 2-core AVX-512 machine."]
    if shrink > 1:
        notes.append(TRIAL.format(shrink))
    return report.Section(
        "Goals: times in units, unless stated otherwise",
        ["work", "reference", "torchvision", "goal", "here", "mode", "met"], lines, notes)


def _goal_line(goal, results, starts, shrink):
    found = _best(goal, results, starts)
    torchvision = "–" if goal.torchvision is None else f"{goal.torchvision:g}"
    fixed = [goal.work, f"{goal.reference:g}", torchvision, f"≤ {goal.goal:g}"]
    if found is None:
        return [*fixed, "–", "–", "–"]
    value, precision = found
    met = "–" if shrink > 1 else "yes" if value <= goal.goal else "no"
    return [*fixed, report.figure(value), SHORT[precision], met]


def _best(goal, results, starts):
    """The best figure for a goal and its precision, or None."""
    if goal.kind == "seconds":
        return min(((median(starts[key]["total"]), key) for key in goal.rows if key in starts),
                   default=None)
    found = [results[key] for key in goal.rows if key in results]
    if not found:
        return None
    best = min(found, key=lambda result: result.units)
    if goal.kind == "units":
        return best.units, best.row.precision
    peak = best.data["memory_peak"]
    return None if peak is None else (peak / report.GIGABYTE, best.row.precision)


def rows_section(results, product=SIDE):
    """All figures of all rows."""
    lines = []
    for result in results.values():
        data = result.data
        lines.append([
            str(result.row), SHORT[result.row.precision], report.figure(result.seconds),
            report.span(data["seconds"]), report.figure(result.units) + _mark(result),
            report.span(data["seconds"], result.unit), f"{data['multiply_adds'] / 1e9:.0f}",
            report.percent(result.share(product)), report.gigabytes(data["memory_peak"]),
            report.gigabytes(_above_start(data)), report.figure(data["first_seconds"])])
    return report.Section(
        "Every row", ["work", "precision", "s", "range, s", "units", "range, units", "GMAC",
                      "share", "peak, GB", "above start", "first call, s"],
        lines, _row_notes(results))


def _row_notes(results):
    found = list(results.values())
    notes = [f"The unit was {report.span([result.unit for result in found])} s.",
             "GMAC are 10⁹ multiply-adds; share is their rate as a share of the float32 matrix "
             "product's. Above start is the peak less the memory after the imports."]
    halves = [result.unit / median(result.data["half_products"]) for result in found
              if result.data["half_products"]]
    if halves:
        notes.append(f"In bfloat16 the same product is {report.figure(median(halves))} times as "
                     "fast, so shares there may exceed 100 %.")
    if not all(result.steady for result in found):
        notes.append("~ The unit changed by more than a tenth meanwhile: other work disturbed the "
                     "row.")
    return notes


def _mark(result):
    return "" if result.steady else " ~"


def _above_start(data):
    if data["memory_peak"] is None:
        return None
    return data["memory_peak"] - data["memory_start"]


