"""`frcnn check`: what is wrong with a data set."""

import argparse
import collections
import json
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frcnn.cli import ranges
from frcnn.cli.options import add_range, add_subset, positive_integer
from frcnn.cli.program import Parser, one_line, program, shows_progress
from frcnn.cli.sample import ANY_FOLDER
from frcnn.data.anchor_fit import COVERED_IOU, AnchorShapes, molded_objects, poorly_covered
from frcnn.data.dataset import Dataset
from frcnn.data.doubts import doubt_class_names, doubt_classes, doubt_copies
from frcnn.data.findings import Finding
from frcnn.data.folders import find_folder, find_layout
from frcnn.data.intensity import IntensityRange
from frcnn.data.unlisted import doubt_unlisted
from frcnn.errors import FrcnnError
from frcnn.files import to_plain_json

_MAX_NAMED = 3  # classes in a warning

DESCRIPTION = """\
Lists what is wrong with a data set, one finding a line, with the ids of image and annotation:
boxes that are empty, inverted, outside the image, NaN or infinite, ids that occur twice or are
unknown, images that are missing, unreadable, of another size than declared or outside the folder.

DIR is in COCO's layout (annotations/instances_<subset>.json, images in <subset>/), in Pascal VOC's
(ImageSets/Main/<subset>.txt, Annotations/, JPEGImages/), or as Roboflow, CVAT, Label Studio and
LabelImg export or write it; then the first line says what it was recognised as.

A finding begins with 'repaired' where loading continues with a warning (the box is clipped to its
image, or dropped), with 'error' where loading stops, unless --skip-bad leaves the item out, and
with 'doubtful' where loading changes nothing, since it may be meant: boxes that are all of one
size, objects annotated twice, one picture in two subsets, a class that occurs in one subset only,
class names that differ only in letter case or spaces, images in the folders that are not listed.

A line that begins with 'warning' is about the default settings, not about the data: the objects of
some class have no anchor that fits. It does not change the exit code.

exit code: 0 nothing found, 1 everything found is doubtful or repaired when loading, 2 something is
an error.
"""


def build_parser(prog: str = "frcnn check") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("folder", metavar="DIR", help="the data set")
    add_subset(parser)
    parser.add_argument("--channels", type=positive_integer, metavar="N",
                        default=Dataset.image_channels,
                        help="channels of the images, the IMAGE_CHANNEL_COUNT of a training "
                             f"(default: {Dataset.image_channels})")
    add_range(parser, "as 'frcnn train' would measure it, which is then a finding")
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.add_argument("--headers", action="store_true",
                        help="read only the headers of the images: faster, but truncated images "
                             "are not found")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn check") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Checks according to the options of `build_parser`; returns the exit code."""
    layout = find_folder(options.folder)
    reader, subsets = find_layout(options.folder)
    chosen = list(dict.fromkeys(options.subset or subsets))
    found, advice = check_folder(reader, options.folder, chosen, decode=not options.headers,
                                 progress=shows_progress(),
                                 intensity_range=options.intensity_range,
                                 channels=options.channels)
    findings = [finding for _, finding in found]
    code = max((1 if finding.repairable else 2 for finding in findings), default=0)
    if options.json:
        print(json.dumps({"folder": options.folder, "layout": layout.title, "exit_code": code,
                          "findings": [_to_plain(*pair) for pair in found],
                          "warnings": [{"subset": subset, "message": message}
                                       for subset, message in advice]}, indent=1))
        return code
    if not layout.is_standard:
        print(f"frcnn: recognised as {layout.title}, with the subsets {', '.join(subsets)}",
              file=sys.stderr)
    for subset, finding in found:
        word = "doubtful" if finding.doubtful else "repaired" if finding.repairable else "error"
        print(f"{word}: {one_line(subset)}: {one_line(finding.brief)}")
    for subset, message in advice:
        print(f"warning: {one_line(subset)}: {one_line(message)}")
    counts = collections.Counter(finding.repairable + finding.doubtful for finding in findings)
    doubtful = f"doubtful: {counts[2]}, " * (counts[2] > 0)
    print(f"frcnn: errors: {counts[0]}, repaired: {counts[1]}, {doubtful}in the subsets "
          f"{', '.join(options.subset or subsets)}", file=sys.stderr)
    return code


def check_folder(reader: Any, folder: str | Path, subsets: Sequence[str], *, decode: bool = True,
                 progress: bool = False, intensity_range: IntensityRange | str | None = None,
                 channels: int = Dataset.image_channels,
                 ) -> tuple[list[tuple[str, Finding]], list[tuple[str, str]]]:
    """Everything that is wrong with some subsets of a folder.

    Args:
        reader: `CocoDataset` or `VocDataset`.
        folder, subsets: what to check.
        decode, progress: see `Dataset.check`.
        intensity_range: value of `--range`; None: as a training without it.
        channels: that the images are read with.

    Returns:
        (subset, `Finding`) of each, in the order of the subsets, and (subset, message) of each
        warning; anchors are compared with the subset "train", or else with the first.
    """
    for_training = "train" if "train" in subsets else subsets[0]
    datasets, errors = _load(reader, folder, subsets)
    for dataset in datasets.values():
        dataset.image_channels = channels
    found, advice = _of_intensity(datasets, for_training, intensity_range), []
    classes: dict[str, dict[Any, Any]] = {}
    for subset in subsets:
        if subset not in datasets:
            found.append((subset, errors[subset]))
            continue
        dataset = datasets[subset]
        with warnings.catch_warnings():  # each repair is among the findings
            warnings.simplefilter("ignore")
            findings = dataset.check(decode=decode, progress=progress)
        found.extend((subset, finding) for finding in findings)
        classes[subset] = _classes(dataset)
        message = anchor_advice(dataset, folder, subset) if subset == for_training else None
        advice.extend([(subset, message)] if message else [])
    for subset, names in list(classes.items())[1:]:
        first = next(iter(classes))
        if names != classes[first]:
            found.append((subset, Finding("other classes", f"The classes are {names}, but those "
                                          f"of the subset {first} are {classes[first]}; both must "
                                          "be the same.")))
    if len(set(map(str, classes.values()))) == 1:
        found += doubt_classes(datasets)
    found += doubt_class_names(datasets) + doubt_copies(datasets)
    found += doubt_unlisted(find_folder(folder), datasets)
    return found, advice


def _load(reader: Any, folder: str | Path, subsets: Sequence[str]
          ) -> tuple[dict[str, Dataset], dict[str, Finding]]:
    """The subsets that can be read, and the findings on the others."""
    datasets: dict[str, Dataset] = {}
    errors: dict[str, Finding] = {}
    for subset in subsets:
        try:
            with warnings.catch_warnings():  # each repair is among the findings
                warnings.simplefilter("ignore")
                datasets[subset] = reader.from_folder(folder, subset, skip_bad=True)
        except (FrcnnError, OSError) as error:
            errors[subset] = Finding("unusable subset", str(error))
    return datasets, errors


def _of_intensity(datasets: dict[str, Dataset], for_training: str,
                  wanted: IntensityRange | str | None) -> list[tuple[str, Finding]]:
    """Has all subsets read by one range, and says which, where the training data suggest it."""
    if for_training not in datasets:
        return []
    dataset = datasets[for_training]
    measured = ranges.of_data(wanted, dataset)
    for other in datasets.values():
        other.intensity_range = dataset.intensity_range
    if measured is None:
        return []
    low, high = (f"{side:g}" for side in (measured.limits or (0, 0))[:2])
    return [(for_training, Finding(
        "intensity range measured", f"T{str(measured)[1:]}. A training takes that range; --range "
        f"{low} {high} declares it, or another.", True, doubtful=True))]


def anchor_advice(dataset: Dataset, folder: str | Path, subset: str) -> str | None:
    """What to do where the default anchors do not fit the objects of some classes; else None.

    Args:
        dataset: a subset, prepared; images that cannot be read end the comparison.
        folder, subset: what it was read from, for the message.
    """
    config = ANY_FOLDER.config
    try:
        objects = molded_objects(dataset, config)
    except (FrcnnError, OSError):  # among the findings
        return None
    shares = poorly_covered(objects, AnchorShapes.from_config(config))
    if not shares:
        return None
    named = [f"{share:.0%} of the objects of the class {dataset.class_names[class_id]!r}"
             for class_id, share in list(shares.items())[:_MAX_NAMED]]
    others = len(shares) - _MAX_NAMED
    more = f" and many of {others} more class{'es' * (others > 1)}" * (others > 0)
    command = shlex.join(["frcnn", "anchors", str(folder),
                          *([] if subset == "train" else ["--subset", subset])])
    return (f"{', '.join(named)}{more} have no anchor with an IoU of {COVERED_IOU} or more at the "
            f"default settings, so they are learned late or never; {command} recommends scales and "
            "ratios that fit.")


def _classes(dataset: Dataset) -> dict[Any, Any]:
    return {info["id"]: info["name"] for info in dataset.class_info[1:]}


def _to_plain(subset: str, finding: Finding) -> dict[str, Any]:
    """A finding as JSON can store it."""
    return {"subset": subset, "kind": finding.kind, "repairable": finding.repairable,
            "image_id": _plain_id(finding.image_id),
            "annotation_id": _plain_id(finding.annotation_id), "message": finding.message,
            **({"doubtful": True} if finding.doubtful else {})}


def _plain_id(value: Any) -> Any:
    """An id as JSON can store it; what cannot be an id, such as a list or NaN, becomes text."""
    return repr(value) if isinstance(value, (list, dict)) \
        else to_plain_json(value, non_finite="text")
