"""How often the intervals of numbers of objects contain the true number.

    python -m benchmarks counts --model FILE --dataset DIR --held-out DIR
    python -m benchmarks counts --model FILE --dataset DIR             random halves of one subset

With --held-out, the detector is calibrated on one data set and tested on another; else on one half
of the images and tested on the other, many times. Figures are shares of single images, and of
groups of images together, whose interval contains the true number.
"""

import argparse

import numpy as np

from benchmarks import report
from benchmarks.detected import detected

GROUPS = (1, 5, 10)
LEVEL = 0.9


def main(arguments=None):
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks counts", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="weights, or an exported detector")
    parser.add_argument("--dataset", required=True, help="data set to calibrate on")
    parser.add_argument("--held-out", help="data set to test on")
    parser.add_argument("--subset", default="val", help="of both (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=40,
                        help="halves without --held-out, groupings with it (default %(default)s)")
    parser.add_argument("--level", type=float, default=LEVEL, help="default %(default)s")
    options = parser.parse_args(arguments)
    names, known = counted(options.model, options.dataset, options.subset)
    new = counted(options.model, options.held_out, options.subset)[1] if options.held_out \
        else None
    for section in sections(names, known, new, options.repeats, options.level):
        print("\n" + report.as_text(section), flush=True)
    return 0


def counted(model, data, subset):
    """Names of the classes, and of each a list of ImageCounts."""
    from frcnn.evaluate.counts import dataset_counts

    dataset, _, found = detected(model, data, subset)
    return dataset.class_names[1:], dataset_counts(dataset, found)


def sections(names, known, new, repeats, level):
    """The table: a row a class."""
    random = np.random.default_rng(0)
    rows, inside = [], {size: [] for size in GROUPS}
    for place, name in enumerate(names):
        cells, counts = [], (known if new is None else new)[place]
        for size in GROUPS:
            found = coverage(known[place], new and new[place], size, repeats, level, random)
            inside[size] += found
            cells += [f"{np.mean(found):.3f}" if found else "–"]
        rows.append([name, str(sum(image.objects for image in counts)), *cells])
    rows.append(["all", "", *(f"{np.mean(found):.3f}" if found else "–"
                              for found in inside.values())])
    kind = "random halves of" if new is None else f"calibrated on {len(known[0])},"
    count = len(known[0]) if new is None else len(new[0])
    yield report.Section(
        f"Share of {level:.0%} intervals with the true number, {kind} {count} images",
        ["class", "objects", *("an image" if size == 1 else f"{size} images together"
                               for size in GROUPS)], rows)


def coverage(known, new, size, repeats, level, random):
    """Whether the intervals of groups of images contain the true numbers, a list of bool."""
    from frcnn.errors import DatasetError
    from frcnn.evaluate.calibration import calibrate

    inside, made = [], None
    for _ in range(repeats if size > 1 or new is None else 1):
        order = random.permutation(len(known if new is None else new))
        if new is None:
            half = len(order) // 2
            part, rest = ([known[place] for place in places]
                          for places in (order[:half], order[half:]))
        else:
            part, rest = known, [new[place] for place in order]
        try:
            made = calibrate(part) if made is None or new is None else made
        except DatasetError:
            continue
        for start in range(0, len(rest) - size + 1, size):
            group = rest[start:start + size]
            low, high = made.interval([image.scores for image in group], level)
            inside.append(low <= sum(image.objects for image in group) <= high)
    return inside
