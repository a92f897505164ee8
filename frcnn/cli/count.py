"""`frcnn count`: objects by class in images and samples, with intervals, by area and volume."""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frcnn.cli import calibrating, grouping, outputs, tiles
from frcnn.cli import options as opts
from frcnn.cli.count_sources import Source, source_of
from frcnn.cli.program import Parser, program
from frcnn.errors import ArgumentError, OutputError
from frcnn.evaluate.calibration import ClassCalibration
from frcnn.evaluate.sample_counts import ALL, COLUMNS, IMAGE, RATES, CountedImage, Counter, Scale
from frcnn.evaluate.tables import align_columns
from frcnn.files import escaped, expanded, read_json, replacing, write_json

DESCRIPTION = """\
Counts objects by class in each image and each sample, and says how many there are to expect, with
an interval, by what the detector's scores meant in images with known objects.

INPUT is an image, a folder (with the folders in it) or a pattern, a file of results, or a folder of
results that 'frcnn detect' wrote.

First, once for a detector, on images that it was not trained on:
  frcnn count --calibrate DATA --model FILE      writes calibration_<name>.json beside FILE
Then:
  frcnn count IMAGES --model FILE --samples folder --mpp 0.25 --depth 100

Without a calibration, the detections above the least score are counted, without intervals.

exit code: 0 all done, 1 some images were left out, or a class has too few objects to calibrate, 2
an error ended it, 130 stopped by Ctrl-C.
"""
KINDS = (".csv", ".json")
MOST_LINES = 60  # of the table that is printed
_RATE_NAMES = dict(zip(RATES, ("per mm²", "per µl", "per field")))


def build_parser(prog: str = "frcnn count") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("inputs", nargs="*", metavar="INPUT",
                        help="image, folder, pattern, or results of frcnn detect")
    parser.add_argument("--output", default="counts.csv", metavar="FILE",
                        help="the numbers, as .csv or .json (default: counts.csv)")
    parser.add_argument("--samples", metavar="HOW",
                        help="which images are one sample: 'folder', those of a folder; a regular "
                             "expression whose first group is the sample's name, such as "
                             "'(patient[0-9]+)_'; or a table, FILE.csv, with the columns 'file' "
                             "and 'sample' (default: all images together)")
    parser.add_argument("--level", type=opts.fraction, default=0.9, metavar="SHARE", dest="share",
                        help="share of the intervals that contain the true number (default: 0.9)")
    parser.add_argument("--min-confidence", type=opts.fraction, metavar="SCORE",
                        help="least score of a detection that is counted (default: the "
                             "configuration's DETECTION_MIN_CONFIDENCE); of a file of results, the "
                             "value that it was made with; of --calibrate, the least score of "
                             "the detections (default: 0.05)")
    parser.add_argument("--images", nargs="+", metavar="IMAGE",
                        help="all images of a file of results, which names only those with "
                             "detections")
    opts.add_range(parser, "the checkpoint's")
    _add_scale(parser)
    calibrating.add_options(parser)
    opts.add_checkpoint_options(parser)
    parser.set_defaults(model=None)
    tiles.add_options(parser, "--read-level", "--read-mpp")
    return parser


def _add_scale(parser: Parser) -> None:
    group = parser.add_argument_group("area and volume")
    group.add_argument("--mpp", type=opts.positive_number, metavar="MICRONS", dest="pixel_size",
                       help="microns per pixel of the images, for numbers per mm² (default: what "
                            "slides state)")
    group.add_argument("--depth", type=opts.positive_number, metavar="MICRONS",
                       help="depth of the counting chamber, for numbers per µl")
    group.add_argument("--field-area", type=opts.positive_number, metavar="MM2",
                       help="area of a high-power field in mm², for numbers per field")


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn count") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv), prog)


def run(options: argparse.Namespace, prog: str = "frcnn count") -> int:
    """Counts or calibrates according to the options of `build_parser`; returns the exit code."""
    if options.calibrate is not None:
        return calibrating.run(options, prog)
    calibrating.check_unused(options)
    if not options.inputs:
        raise ArgumentError("Name the images to count in, or --calibrate DATA.")
    if not 0 < options.share < 1:
        raise ArgumentError(f"--level {options.share:g}: no interval has this share; give one "
                            "between 0 and 1, such as 0.9.")
    scale = Scale(options.pixel_size, options.depth, options.field_area)
    source = source_of(options, prog)
    samples = None if options.samples is None else grouping.group(source.names, options.samples)
    output = _checked_output(options, source)
    calibrations = _calibrations(source, prog)

    images = list(source.read(scale, output))
    if samples is not None:
        samples = _without_missing(samples, source.names, images)
    least = max(source.min_score, source.calibration[1].min_score) if source.calibration else 0.0
    counter = Counter(source.class_names, calibrations, scale, options.share, source.score_limit,
                      least)
    rows = list(counter.rows(images, samples))
    _write(output, rows, source, counter)
    _print(rows, len(images), output)
    return source.finish()


def _checked_output(options: argparse.Namespace, source: Source) -> Path:
    """The file to write; raises OutputError where it is something else."""
    output = expanded(options.output)
    if output.suffix.lower() not in KINDS or output.is_dir():
        raise OutputError(f"--output {options.output}: name a file that ends in "
                          f"{' or '.join(KINDS)}.")
    named = [source.calibration[0]] if source.calibration else []
    table = grouping.is_table(options.samples)
    outputs.check_not_inputs("--output", [output], [*source.files, *named, table])
    if output.exists() and not _is_ours(output):
        raise OutputError(f"--output: {output} is there already and has no counts in it; name "
                          "another file.")
    outputs.check_writable_as("--output", output.parent, output.name)
    return output


def _is_ours(path: Path) -> bool:
    """Whether a file has earlier counts, or nothing."""
    try:
        if path.suffix.lower() == ".csv":
            with open(path, encoding="utf-8") as file:
                return file.readline().strip() in ("", ",".join(COLUMNS))
        return isinstance(content := read_json(path), dict) and "counts" in content
    except (OSError, ValueError):
        return False


def _calibrations(source: Source, prog: str) -> Sequence[ClassCalibration | None]:
    """Those of the classes, from class 1; says what there is."""
    if source.calibration is None:
        print(f"{prog}: there is no calibration of this detector, so that detections from a score "
              f"of {source.score_limit:g} are counted, without intervals; {source.advice} makes "
              "one.")
        return []
    path, calibration = source.calibration
    calibration.check_classes(path, source.class_names)
    made, notes = calibration.calibrations(source.min_score)
    print(f"calibration   {path}", flush=True)
    for note in notes:
        print(f"{prog}: {note} Until then, it is counted without intervals.")
    return made


def _without_missing(samples: Mapping[str, Sequence[int]], names: Sequence[str],
                     images: Sequence[CountedImage]) -> dict[str, list[int]]:
    """Samples with places in the images that could be read; those without any are left out."""
    places = {image.name: place for place, image in enumerate(images)}
    kept = {sample: [places[names[place]] for place in members if names[place] in places]
            for sample, members in samples.items()}
    return {sample: members for sample, members in kept.items() if members}


# --- output -------------------------------------------------------------------------------------


def _write(output: Path, rows: Sequence[Mapping[str, Any]], source: Source, counter: Counter
           ) -> None:
    rows = [{**row, "name": escaped(row["name"]), "class": escaped(row["class"])} for row in rows]
    if output.suffix.lower() == ".json":
        scale = counter.scale
        write_json(output, {
            "level": counter.level, "score_limit": counter.score_limit,
            "calibration": str(source.calibration[0]) if source.calibration else None,
            "mpp": scale.mpp, "depth": scale.depth, "field_area": scale.field_area,
            "counts": rows})
        return
    with replacing(output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: round(value, 6) if isinstance(value, float) else value
                             for name, value in row.items()})


def _print(rows: Sequence[Mapping[str, Any]], images: int, output: Path) -> None:
    """The samples' rows as a table, and where all are."""
    shown = [row for row in rows if row["kind"] != IMAGE]
    rates = [rate for rate in RATES if any(row[rate] is not None for row in shown)]
    has_intervals = any(row["expected"] is not None for row in shown)
    table = [["sample", "images", "class", "counted", *["expected", "interval"] * has_intervals,
              *(_RATE_NAMES[rate] for rate in rates)]]
    for row in shown[:MOST_LINES]:
        cells = [escaped(row["name"]) or f"({ALL})", str(row["images"]), escaped(row["class"]),
                 str(row["counted"])]
        if has_intervals:
            known = row["expected"] is not None
            cells += [f"{row['expected']:.1f}", f"{row['low']} to {row['high']}"] if known \
                else ["-", "-"]
        table.append([*cells, *(_rate(row, rate) for rate in rates)])
    print("\n" + "\n".join(align_columns(table, left=1)))
    if len(shown) > MOST_LINES:
        print(f"… and {len(shown) - MOST_LINES} more lines")
    print(f"\n{images} images, written to {output}")


def _rate(row: Mapping[str, Any], rate: str) -> str:
    if row[rate] is None:
        return "-"
    low, high = row[f"{rate}_low"], row[f"{rate}_high"]
    interval = "" if low is None else f" ({low:.3g} to {high:.3g})"
    return f"{row[rate]:.3g}{interval}"
