"""Time of a detection and of a training step, stage by stage."""

from benchmarks import children, report
from benchmarks.matrix_product import SIDE, is_steady, unit_seconds
from benchmarks.measure import median
from benchmarks.rows import PRECISIONS, SHORT, WORKS, shrink_side

HELP = "times by stage"
MILLISECONDS = 1e-3


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("stages")
    group.add_argument("--side", type=int, default=1024, help="side of the image (%(default)s)")
    group.add_argument("--batch", type=int, default=1, help="images (%(default)s)")
    group.add_argument("--task", choices=tuple(WORKS), help="default both")


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    side = shrink_side(options.side, options.shrink)
    sections, data, errors = [], {}, []
    for task in [options.task] if options.task else WORKS:
        found = {}
        for precision in PRECISIONS:
            name = f"stages of {WORKS[task]}, {SHORT[precision]}"
            try:
                found[precision] = children.run(
                    "stage_parts:measure_stages", task=task, side=side, batch=options.batch,
                    precision=precision, runs=options.runs, warmup=options.warmup,
                    product=SIDE // options.shrink)
                children.progress(f"{name}: {median(found[precision]['whole']):.3f} s")
            except children.ChildError as error:
                errors.append(f"Failed: {name}. {error}")
        data[task] = found
        sections += [section(task, side, options.batch, precision, result, SIDE // options.shrink)
                     for precision, result in found.items()]
    return sections, data, errors


def section(task, side, batch, precision, result, product=SIDE):
    """The times of one task at one precision as a table."""
    unit = unit_seconds(result)
    products_per_second = product**3 / unit
    faster = unit / median(result["half_products"]) if precision == "mixed_bfloat16" else 1.0

    def line(name, times, work=None):
        seconds = median(times)
        limit = None if work is None else work / products_per_second / unit / faster
        share = None if limit is None else limit * unit / seconds
        return [name, report.figure(seconds / MILLISECONDS), report.span(times, MILLISECONDS),
                report.figure(seconds / unit), report.figure(limit), report.percent(share),
                "–" if work is None else f"{work / 1e9:.1f}"]

    work = result["multiply_adds"]
    lines = [line(name, times, work.get(name)) for name, times in result["parts"].items()]
    lines += [line(f"{name} (host)", times) for name, times in result["host"].items()]
    total = sum(median(times) for times in [*result["parts"].values(), *result["host"].values()])
    lines.append(line("sum of the parts", [total]))
    lines.append(line("whole", result["whole"], sum(work.values())))
    title = f"{WORKS[task].capitalize()} by stage, {batch} × {side}², {SHORT[precision]}"
    return report.Section(title, ["stage", "ms", "range, ms", "units", "limit", "share", "GMAC"],
                          lines, _notes(task, precision, result, unit, faster))


def _notes(task, precision, result, unit, faster):
    notes = ["Each stage is cut out of the model, compiled alone and timed on the outputs of the "
             "stage before it, so the sum of the parts differs from the whole."]
    if task == "train":
        notes.append("A stage's time is that of its forward pass and its gradient together; the "
                     "update is regularization, clipping and the optimizer's step.")
    rate = "float32" if precision == "float32" else "bfloat16"
    notes.append(f"Limit is the time in units that the stage's multiply-adds take at the {rate} "
                 "matrix product's rate, and share is the fraction of that rate it reaches.")
    notes.append(f"The unit was {unit:.3f} s" + (
        f"; the product in bfloat16 is {report.figure(faster)} times as fast."
        if faster != 1.0 else "."))
    if not is_steady(result):
        notes.append("The unit changed by more than a tenth meanwhile: other work disturbed the "
                     "measurement.")
    return notes
