"""Speed and memory of the library on this machine.

    python -m benchmarks                  the table of goals and the times by stage, 15 minutes
    python -m benchmarks SUBJECT          one subject
    python -m benchmarks SUBJECT --help   its options

Each row is measured in a new process with the libraries' default settings. Figures are valid only
on an otherwise idle machine.
"""

import argparse
import datetime
import importlib
import json
import sys
from pathlib import Path

from benchmarks import machine, report

SUBJECTS = ("table", "stages", "memory", "start", "scaling", "variants", "detect", "gpu",
            "collectives", "devices", "saving")
PROGRAMS = ("loader", "accuracy", "export", "counts", "errors")  # with options of their own
DEFAULT = ("table", "stages")


def main(arguments=None):
    """The program; returns 1 if something could not be measured."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in PROGRAMS:
        return importlib.import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
    named = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    if named not in (None, *SUBJECTS):
        make_parser(()).error(f"there is no subject {named!r}; choose one of "
                              + ", ".join([*SUBJECTS, *PROGRAMS]))
    subjects = {name: importlib.import_module(f"benchmarks.{name}")
                for name in ([named] if named else DEFAULT)}
    options = make_parser(subjects.values(), named).parse_args(arguments)

    here = machine.describe()
    collected = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
                 "machine": here, "options": {key: value if not isinstance(value, Path)
                                              else str(value)
                                              for key, value in vars(options).items()}}
    as_text = report.as_markdown if options.markdown else report.as_text
    print(*machine.sentences(here), sep="\n", flush=True)
    failures = []
    for name, subject in subjects.items():
        sections, collected[name], errors = subject.run(options)
        for section in sections:
            print("\n" + as_text(section), flush=True)
        failures += errors
        if options.json:  # after each subject: a later one may be interrupted
            options.json.write_text(json.dumps(collected, indent=1) + "\n", encoding="utf-8")
    for failure in failures:
        print("\n" + failure, file=sys.stderr)
    return 1 if failures else 0


def make_parser(subjects, named=None):
    """The parser of the options that all subjects share, and of the given subjects' own."""
    program = "python -m benchmarks" + (f" {named}" if named else "")
    parser = argparse.ArgumentParser(prog=program, description=__doc__.split("\n", 1)[0],
                                     epilog="Subjects: " + ", ".join([*SUBJECTS, *PROGRAMS]) + ".")
    parser.add_argument("--runs", type=_at_least_one, default=5,
                        help="runs of each row after the warm-up (%(default)s)")
    parser.add_argument("--warmup", type=_at_least_one, default=2,
                        help="runs before those that are timed (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="also write all figures to this file")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--shrink", type=_at_least_one, default=1, metavar="N",
                        help="divide sides of images and matrices by N, to test the program")
    for subject in subjects:
        subject.add_options(parser)
    return parser


def _at_least_one(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
