"""Images a second on a GPU, in training and inference, with torchvision's on the same GPU."""

import importlib.util

from benchmarks import children, report
from benchmarks.measure import median
from benchmarks.rows import SHORT, shrink_side

HELP = "images a second on a GPU"
SIDE = 1024
BATCHES = (1, 2, 4, 8)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
WORKS = {"detect": "detection", "train": "training"}
NO_GPU = ("{backend} finds no GPU here, so there is nothing to measure. With --any-device the same "
          "rows are measured on the device that there is.")


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("gpu")
    group.add_argument("--batches", type=int, nargs="+", default=BATCHES,
                       help="images a batch (default " + " ".join(map(str, BATCHES)) + ")")
    group.add_argument("--precision", choices=PRECISIONS, action="append",
                       help="default " + " and ".join(PRECISIONS[:2]))
    group.add_argument("--any-device", action="store_true", help="measure also without a GPU")


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    devices = children.run("gpu_rows:devices")
    if not devices["gpus"] and not options.any_device:
        message = NO_GPU.format(backend=devices["backend"])
        return [report.Section("GPU", ["device", "found"], [["GPU", "none"]], [message])], \
            devices, []
    lines, rows, errors = [], [], []
    for task in WORKS:
        for precision in options.precision or PRECISIONS[:2]:
            for batch in options.batches:
                row = {"task": task, "batch": batch, "precision": precision,
                       "side": shrink_side(SIDE, options.shrink)}
                rows.append(_measure(row, options, errors))
                lines.append(_line(rows[-1]))
    notes = [f"On {', '.join(devices['gpus']) or 'the processor'}, Keras on {devices['backend']}; "
             "detection is detect() of uint8 images of the molded size, training is "
             "train_on_batch; medians."]
    if importlib.util.find_spec("torchvision") is None:
        notes.append("torchvision is not installed, so its figures are missing.")
    title = f"Images a second, {shrink_side(SIDE, options.shrink)}²"
    return [report.Section(title, ["work", "batch", "precision", "images/s", "range",
                                   "torchvision's"], lines, notes)], \
        {"devices": devices, "rows": rows}, errors


def _measure(row, options, errors):
    """One row by this library and by torchvision: seconds of each run, absent after a failure."""
    found, works = {**row}, {"frcnn": "gpu_rows:measure"}
    if importlib.util.find_spec("torchvision") is not None:
        works["torchvision"] = "torchvision_rows:measure"
    for name, work in works.items():
        try:
            found[name] = children.run(work, **row, runs=options.runs, warmup=options.warmup)
        except children.ChildError as error:
            errors.append(f"Failed: {name}, {WORKS[row['task']]}, batch {row['batch']}, "
                          f"{row['precision']}. {error}")
            continue
        children.progress(f"{name}, {WORKS[row['task']]}, batch {row['batch']}, "
                          f"{SHORT[row['precision']]}: "
                          f"{row['batch'] / median(found[name]):.2f} images/s")
    return found


def _line(row):
    def rate(name):
        return row["batch"] / median(row[name]) if row.get(name) else None

    spread = "–"
    if row.get("frcnn"):
        spread = report.span([row["batch"] / seconds for seconds in row["frcnn"]])
    return [WORKS[row["task"]], str(row["batch"]), SHORT[row["precision"]],
            report.figure(rate("frcnn")), spread, report.figure(rate("torchvision"))]
