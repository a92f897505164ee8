"""`frcnn check`: what is wrong with a data set."""

import argparse
import collections
import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from frcnn.cli.options import add_subset
from frcnn.cli.program import Parser, one_line, program, shows_progress
from frcnn.data.dataset import Dataset
from frcnn.data.findings import Finding
from frcnn.data.folders import find_layout
from frcnn.errors import FrcnnError
from frcnn.files import to_plain_json

DESCRIPTION = """\
Lists what is wrong with a data set, one finding a line, with the ids of image and annotation:
boxes that are empty, inverted, outside the image, NaN or infinite, ids that occur twice or are
unknown, images that are missing, unreadable, of another size than declared or outside the folder.

DIR is in COCO's layout (annotations/instances_<subset>.json, images in <subset>/) or in Pascal
VOC's (ImageSets/Main/<subset>.txt, Annotations/, JPEGImages/).

A finding begins with 'repaired' where loading continues with a warning (the box is clipped to its
image, or dropped), and with 'error' where loading stops, unless --skip-bad leaves the item out.

exit code: 0 nothing found, 1 everything found is repaired when loading, 2 something is not.
"""


def build_parser(prog: str = "frcnn check") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("folder", metavar="DIR", help="the data set")
    add_subset(parser)
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
    reader, subsets = find_layout(options.folder)
    found = check_folder(reader, options.folder, options.subset or subsets,
                         decode=not options.headers, progress=shows_progress())
    findings = [finding for _, finding in found]
    code = max((1 if finding.repairable else 2 for finding in findings), default=0)
    if options.json:
        print(json.dumps({"folder": options.folder, "exit_code": code,
                          "findings": [_to_plain(*pair) for pair in found]}, indent=1))
        return code
    for subset, finding in found:
        word = "repaired" if finding.repairable else "error"
        print(f"{word}: {one_line(subset)}: {one_line(finding.message)}")
    counts = collections.Counter(finding.repairable for finding in findings)
    print(f"frcnn: errors: {counts[False]}, repaired: {counts[True]}, in the subsets "
          f"{', '.join(options.subset or subsets)}", file=sys.stderr)
    return code


def check_folder(reader: Any, folder: str | Path, subsets: Iterable[str], *, decode: bool = True,
                 progress: bool = False) -> list[tuple[str, Finding]]:
    """Everything that is wrong with some subsets of a folder.

    Args:
        reader: `CocoDataset` or `VocDataset`.
        folder, subsets: what to check.
        decode, progress: see `Dataset.check`.

    Returns:
        (subset, `Finding`) of each, in the order of the subsets.
    """
    found: list[tuple[str, Finding]] = []
    classes: dict[str, dict[Any, Any]] = {}
    for subset in dict.fromkeys(subsets):
        dataset = None
        try:
            with warnings.catch_warnings():  # each repair is among the findings
                warnings.simplefilter("ignore")
                dataset = reader.from_folder(folder, subset, skip_bad=True)
                findings = dataset.check(decode=decode, progress=progress)
        except (FrcnnError, OSError) as error:
            findings = [Finding("unusable subset", str(error))]
        found.extend((subset, finding) for finding in findings)
        if dataset is not None:
            classes[subset] = _classes(dataset)
    for subset, names in list(classes.items())[1:]:
        first = next(iter(classes))
        if names != classes[first]:
            found.append((subset, Finding("other classes", f"The classes are {names}, but those "
                                          f"of the subset {first} are {classes[first]}; both must "
                                          "be the same.")))
    return found


def _classes(dataset: Dataset) -> dict[Any, Any]:
    return {info["id"]: info["name"] for info in dataset.class_info[1:]}


def _to_plain(subset: str, finding: Finding) -> dict[str, Any]:
    """A finding as JSON can store it."""
    return {"subset": subset, "kind": finding.kind, "repairable": finding.repairable,
            "image_id": _plain_id(finding.image_id),
            "annotation_id": _plain_id(finding.annotation_id), "message": finding.message}


def _plain_id(value: Any) -> Any:
    """An id as JSON can store it; what cannot be an id, such as a list or NaN, becomes text."""
    return repr(value) if isinstance(value, (list, dict)) \
        else to_plain_json(value, non_finite="text")
