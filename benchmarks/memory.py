"""Memory: the peak of single rows, and whether it stays constant over many images."""

import argparse

from benchmarks import children, report
from benchmarks.measure import median
from benchmarks.rows import PRECISIONS, SHORT, Row, measure_all, shrink_side
from benchmarks.table import GOALS

HELP = "peak memory, and memory and speed over many images"
ROWS = tuple(Row(task, side, batch, precision)
             for task, side, batch in (("detect", 512, 1), ("detect", 1024, 1),
                                       ("train", 512, 2), ("train", 1024, 1))
             for precision in PRECISIONS)


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("memory")
    group.add_argument("--images", type=int, default=1000,
                       help="images in one call; 0 leaves that part out (%(default)s)")
    group.add_argument("--sizes", type=int, default=20,
                       help="different sizes of these images (%(default)s)")
    group.add_argument("--many-side", type=int, default=256,
                       help="IMAGE_MAX_DIM for these images (%(default)s)")
    group.add_argument("--resize-mode", default="square",
                       help="IMAGE_RESIZE_MODE for these images (%(default)s)")
    group.add_argument("--no-rows", action="store_true", help="leave out the peaks of single rows")


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    sections, data, errors = [], {}, []
    if not options.no_rows:
        rows = [Row(row.task, shrink_side(row.side, options.shrink), row.batch, row.precision)
                for row in ROWS]
        once = argparse.Namespace(**{**vars(options), "runs": 1})
        results, errors = measure_all(rows, once)
        results = [result for result in results if result is not None]
        sections.append(peaks_section(results))
        data["rows"] = [result.to_dict() for result in results]
    if options.images:
        side = shrink_side(options.many_side, options.shrink)
        try:
            found = children.run("network:measure_many", images=options.images,
                                 sizes=options.sizes, side=side, precision="auto",
                                 resize_mode=options.resize_mode)
            sections.append(many_section(found, options.images, options.sizes, side,
                                         options.resize_mode))
            data["many"] = found
        except children.ChildError as error:
            errors.append(f"Failed: many images. {error}")
    return sections, data, errors


def peaks_section(results):
    """Memory of single rows, absolute and relative to the reference's."""
    goal = next(goal for goal in GOALS if goal.kind == "memory")
    lines = []
    for result in results:
        data, row = result.data, result.row
        peak, start = data["memory_peak"], data["memory_start"]
        is_goal = peak is not None and (row.task, row.side, row.batch) == ("train", 1024, 1)
        lines.append([
            str(row), SHORT[row.precision], report.gigabytes(start),
            report.gigabytes(data["memory_built"]), report.gigabytes(peak),
            report.gigabytes(None if peak is None else peak - start),
            report.percent(peak / report.GIGABYTE / goal.reference if is_goal else None)])
    return report.Section(
        "Resident memory, GB", ["work", "precision", "imported", "built", "peak", "above imported",
                                "of the reference's"], lines,
        [f"The peak of the training step at 1024² is {goal.reference} GB with the reference and "
         f"{goal.torchvision} GB with torchvision; the goal is {goal.goal} GB."])


def many_section(found, images, sizes, side, resize_mode):
    """Speed and memory of one call for many images."""
    readings = [reading for reading in found["resident"] if reading is not None]
    tenth = max(1, len(readings) // 10)
    early, late = median(readings[tenth:2 * tenth] or readings), median(readings[-tenth:])
    busy = found["processor_seconds"] / found["seconds"] / found["cores"]
    values = [
        ("images a second", report.figure(images / found["seconds"])),
        ("processor busy", report.percent(busy)),
        ("graphs compiled", str(len(found["shapes"]))),
        ("first image of each size, s", report.figure(found["first_seconds"])),
        ("memory in the second tenth, GB", report.gigabytes(early)),
        ("memory in the last tenth, GB", report.gigabytes(late)),
    ]
    return report.Section(
        f"detect_stream on {images} images of {sizes} sizes, {side}², {resize_mode!r}",
        ["what", "value"], [list(line) for line in values],
        ["Compiled for (batch, height, width): " + ", ".join(map(_shape, found["shapes"])) + "."])


def _shape(shape):
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
