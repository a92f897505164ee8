"""The `frcnn` command: one subcommand a task.

    frcnn check DIR                  what is wrong with a data set
    frcnn convert VOC_DIR COCO_DIR   from Pascal VOC's layout to COCO's
"""

import collections
import functools
import json
import math
import os
import sys
import warnings

from frcnn import __version__
from frcnn.convert import convert_voc
from frcnn.dataset.folders import find_layout
from frcnn.errors import FrcnnError
from frcnn.findings import Finding
from frcnn.programs import Parser, one_line, program

CHECK = """\
Lists what is wrong with a data set, one finding a line, with the ids of image and annotation:
boxes that are empty, inverted, outside the image or no numbers, ids that occur twice or are
unknown, images that are missing, unreadable, of another size than declared or outside the folder.

DIR is in COCO's layout (annotations/instances_<subset>.json, images in <subset>/) or in Pascal
VOC's (ImageSets/Main/<subset>.txt, Annotations/, JPEGImages/).

Findings begin with 'repaired' where loading goes on with a warning (the box is clipped to its
image, or dropped), with 'error' where it stops, unless --skip-bad leaves the item out.

exit code: 0 nothing found, 1 everything found is repaired when loading, 2 something is not.
"""

CONVERT = """\
Writes a data set in Pascal VOC's layout anew in COCO's, without loss: annotations, and copies of
the images. Objects marked difficult become crowd regions. Nothing is written unless everything is.

exit code: 0 done, 2 nothing was written.
"""


def build_parser():
    """The command line's parser."""
    parser = Parser(prog="frcnn", description="Faster R-CNN with a feature pyramid: its tools.")
    parser.add_argument("--version", action="version", version=f"frcnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    check = commands.add_parser("check", help="list what is wrong with a data set",
                                description=CHECK)
    check.add_argument("folder", metavar="DIR", help="the data set")
    _add_subset(check)
    check.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    check.add_argument("--headers", action="store_true",
                       help="read only the headers of the images: faster, but one that breaks off "
                            "is not found")
    check.set_defaults(run=_check)

    convert = commands.add_parser("convert", help="from Pascal VOC's layout to COCO's",
                                  description=CONVERT)
    convert.add_argument("voc_dir", metavar="VOC_DIR", help="the data set")
    convert.add_argument("coco_dir", metavar="COCO_DIR", help="the folder to write, a new one")
    _add_subset(convert)
    convert.add_argument("--skip-bad", action="store_true",
                         help="leave out what cannot be used, and say how much it is")
    convert.add_argument("--first-pixel", type=int, choices=(0, 1), default=1,
                         help="what xmin is at the image's left edge: 1 as the format has it "
                              "(default), 0 as some tools write it")
    convert.set_defaults(run=_convert)
    return parser


def _add_subset(parser):
    parser.add_argument("--subset", action="append", metavar="NAME",
                        help="only this subset, such as train; may be repeated (default: all)")


@functools.partial(program, name="frcnn")
def main(argv=None):
    """Runs the command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may not know every letter
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(argv)
    return options.run(options)


# --- check ----------------------------------------------------------------------------------


def _check(options):
    reader, subsets = find_layout(options.folder)
    found = check_folder(reader, options.folder, options.subset or subsets,
                         decode=not options.headers, progress=sys.stderr.isatty())
    findings = [finding for _, finding in found]
    code = max((1 if finding.repairable else 2 for finding in findings), default=0)
    if options.json:
        print(json.dumps({"folder": options.folder, "exit_code": code,
                          "findings": [_to_plain(*each) for each in found]}, indent=1))
        return code
    for subset, finding in found:
        word = "repaired" if finding.repairable else "error"
        print(f"{word}: {one_line(subset)}: {one_line(finding.message)}")
    counts = collections.Counter(finding.repairable for finding in findings)
    print(f"frcnn: errors: {counts[False]}, repaired: {counts[True]}, in the subsets "
          f"{', '.join(options.subset or subsets)}", file=sys.stderr)
    return code


def check_folder(reader, folder, subsets, *, decode=True, progress=False):
    """Everything that is wrong with some subsets of a folder.

    Args:
        reader: `CocoDataset` or `VocDataset`.
        folder, subsets: what to check.
        decode, progress: see `Dataset.check`.

    Returns:
        list of (subset, `Finding`).
    """
    found, classes = [], {}
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


def _classes(dataset):
    return {info["id"]: info["name"] for info in dataset.class_info[1:]}


def _to_plain(subset, finding):
    """A finding as JSON has it; ids that JSON does not know become texts."""
    return {"subset": subset, "kind": finding.kind, "repairable": finding.repairable,
            "image_id": _plain_id(finding.image_id),
            "annotation_id": _plain_id(finding.annotation_id), "message": finding.message}


def _plain_id(value):
    if value is None or isinstance(value, (int, str)):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else repr(value)


# --- convert --------------------------------------------------------------------------------


def _convert(options):
    counts = convert_voc(options.voc_dir, options.coco_dir, options.subset,
                         skip_bad=options.skip_bad, first_pixel=options.first_pixel,
                         progress=sys.stderr.isatty())
    for subset, (images, objects) in counts.items():
        print(f"{subset}: {images} images with {objects} objects")
    print(f"COCO's layout lies in {os.path.abspath(options.coco_dir)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
