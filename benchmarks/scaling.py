"""Growth of time and memory with the image size, the batch and the number of proposals."""

import datetime
import json
import math
from pathlib import Path

from benchmarks import machine, report
from benchmarks.rows import PRECISIONS, SHORT, WORKS, Row, measure_all, shrink_side

HELP = "growth with image size, batch and proposals, with a plot"
SIDE = 512
AXES = {
    "side": ("side of the image, pixels", (256, 512, 768, 1024, 1280, 1536)),
    "batch": (f"images a batch, {SIDE}²", (1, 2, 4, 8)),
    "proposals": (f"proposals, {SIDE}²", (100, 300, 1000, 2000, 4000)),
}
PROPOSALS = {"detect": "POST_NMS_ROIS_INFERENCE", "train": "POST_NMS_ROIS_TRAINING"}


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("scaling")
    group.add_argument("--axis", choices=tuple(AXES), action="append", help="default all")
    group.add_argument("--precision", choices=PRECISIONS, action="append", help="default all")
    group.add_argument("--task", choices=tuple(WORKS), action="append", help="default all")
    group.add_argument("--most", type=int, metavar="N", help="leave out values above N")
    group.add_argument("--folder", type=Path, default=Path(__file__).parent,
                       help="folder of scaling.json and scaling.png (%(default)s)")
    group.add_argument("--redraw", action="store_true",
                       help="measure nothing; draw scaling.png from scaling.json")


def run(options):
    """Measures and draws; returns sections, data for JSON, and errors."""
    from benchmarks.scaling_plot import draw  # Matplotlib takes a second to import

    file, errors = options.folder / "scaling.json", []
    if options.redraw:
        points = json.loads(file.read_text(encoding="utf-8"))["points"]
    else:
        points, errors = _measure(options)
        options.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(as_json(points), encoding="utf-8")
    draw(points, {axis: label for axis, (label, _) in AXES.items()},
         options.folder / "scaling.png")
    return [section(points)] if points else [], points, errors


def _measure(options):
    plan = [(axis, value, row)
            for axis in options.axis or AXES
            for task in options.task or WORKS
            for precision in options.precision or PRECISIONS
            for value, row in axis_rows(axis, task, precision, options.shrink, options.most)]
    rows = list({_key(row): row for _, _, row in plan}.values())  # an equal row is measured once
    results, errors = measure_all(rows, options)
    by_key = {_key(row): result for row, result in zip(rows, results)}
    points = [point(axis, value, by_key[_key(row)]) for axis, value, row in plan
              if by_key[_key(row)] is not None]
    return points, errors


def axis_rows(axis, task, precision, shrink=1, most=None):
    """`[(value, Row), …]` along one axis."""
    found = {}
    for value in AXES[axis][1]:
        if most is not None and value > most:
            continue
        side = shrink_side(value if axis == "side" else SIDE, shrink)
        # With the default given too, equal rows of different axes compare equal.
        count = value if axis == "proposals" else {"detect": 1000, "train": 2000}[task]
        row = Row(task, side, value if axis == "batch" else 1, precision,
                  settings={PROPOSALS[task]: count})
        found[side if axis == "side" else value] = row
    return list(found.items())


def _key(row):
    return f"{row} {row.precision}"


def point(axis, value, result):
    """The values of a result that go into the plot and scaling.json."""
    seconds, peak = result.data["seconds"], result.data["memory_peak"]
    return {
        "axis": axis, "value": value, "task": result.row.task,
        "precision": result.row.precision, "seconds": round(result.seconds, 4),
        "low": round(min(seconds), 4), "high": round(max(seconds), 4),
        "units": round(result.units, 3),
        "gigabytes": None if peak is None else round(peak / report.GIGABYTE, 3),
    }


def as_json(points):
    """The content of scaling.json: date, machine, and a line for each point."""
    today = datetime.date.today().isoformat()
    where = json.dumps(machine.describe(), indent=1)
    lines = ",\n".join(json.dumps(point) for point in points)
    return f'{{"date": "{today}",\n"machine": {where},\n"points": [\n{lines}\n]}}\n'


def series(points):
    """Points by (axis, task, precision), each list in order of its values."""
    found = {}
    for item in sorted(points, key=lambda point: point["value"]):
        found.setdefault((item["axis"], item["task"], item["precision"]), []).append(item)
    order = list(AXES)
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1:])))


def exponent(points, name):
    """k of the best fit c · value^k (least squares of the logarithms); None below two points."""
    pairs = [(math.log(point["value"]), math.log(point[name])) for point in points
             if point[name]]
    if len(pairs) < 2:
        return None
    mean_x, mean_y = (sum(pair[i] for pair in pairs) / len(pairs) for i in (0, 1))
    above = sum((x - mean_x) * (y - mean_y) for x, y in pairs)
    return above / sum((x - mean_x) ** 2 for x, _ in pairs)


def section(points):
    """First and last point of every series, and the exponent of its growth."""
    lines = []
    for (axis, task, precision), found in series(points).items():
        first, last = found[0], found[-1]
        lines.append([
            axis, WORKS[task], SHORT[precision], f"{first['value']}–{last['value']}",
            f"{report.figure(first['seconds'])}–{report.figure(last['seconds'])}",
            report.figure(exponent(found, "seconds"), 2),
            f"{report.figure(first['gigabytes'])}–{report.figure(last['gigabytes'])}",
            report.figure(exponent(found, "gigabytes"), 2)])
    return report.Section(
        "Growth", ["axis", "work", "precision", "from–to", "s", "s ~ axis^", "peak, GB",
                   "GB ~ axis^"], lines,
        ["The exponents are the slopes of the best straight lines on logarithmic axes."])
