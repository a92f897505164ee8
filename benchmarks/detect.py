"""Detection from files, one to many, beside the time of the network alone."""

import importlib.util
import tempfile

from benchmarks import children, report
from benchmarks.rows import shrink_side

HELP = "images a second from files, beside the network's own time"
SIDE, IMAGES, WORKERS = 512, 32, (1, 2)


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("detect")
    group.add_argument("--detect-side", type=int, default=SIDE,
                       help="IMAGE_MAX_DIM of the detector (%(default)s)")
    group.add_argument("--files", type=int, default=IMAGES, help="files in a folder (%(default)s)")
    group.add_argument("--no-ray", action="store_true", help="leave out Ray's workers")


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    side, errors = shrink_side(options.detect_side, options.shrink), []
    with tempfile.TemporaryDirectory() as folder:
        given = {"folder": folder, "images": options.files}
        config = children.run("detect_rows:prepare", side=side, **given)
        rows = children.run("detect_rows:measure", side=side, **given)
        has_ray = importlib.util.find_spec("ray") is not None and not options.no_ray
        for workers in WORKERS if has_ray else ():
            try:
                rows[f"a folder, Ray, {workers} worker{'s' * (workers > 1)}"] = children.run(
                    "detect_rows:measure_ray", workers=workers, config_json=config, **given)
            except children.ChildError as error:
                errors.append(f"Failed: Ray with {workers} workers. {error}")
    return [section(rows, side, options.files)], {"side": side, "rows": rows}, errors


def section(rows, side, files):
    """The table: a line for each row."""
    lines = []
    for name, row in rows.items():
        network = row.get("network")
        lines.append([name, str(row["images"]), report.figure(row["images"] / row["seconds"]),
                      report.figure(row["pixels"] / row["seconds"] / 1e6),
                      "–" if network is None else report.percent(1 - network / row["seconds"]),
                      report.figure(row.get("start"))])
    return report.Section(
        f"Detection from files, images molded to {side}²",
        ["what", "images", "images/s", "megapixels/s", "not the network", "start, s"], lines,
        [f"JPEGs of 1280×720, {files} in the folder; a slide of 24 tiles; the results of a folder "
         "are written as Parquet.",
         "Not the network: the share of the time beyond that of the network alone, on molded "
         "batches of the same size.",
         "Ray: the rate after the first shard of each worker, which its start is counted to."])
