"""`frcnn migrate`: changes scripts and notebooks that were written for the reference."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from frcnn.cli.program import Parser, program
from frcnn.errors import MigrationError
from frcnn.files import escaped, expanded
from frcnn.migrate.files import migrate_file, scripts_in, target_of, write_copy
from frcnn.migrate.source import Finding

DESCRIPTION = """\
Changes scripts and notebooks that were written for Matterport's Mask R-CNN so that they run with
frcnn: imports, calls, and masks where they are only passed on. They are read, not run, and what is
written are copies. A line that cannot be changed mechanically is named, with the reason and what to
write; docs/migration.md has the whole guide.

exit code: 0 nothing is left to do, 1 lines have to be changed by hand (with --check, in any way),
2 a file cannot be read or written.
"""


def build_parser(prog: str = "frcnn migrate") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("path", metavar="PATH", help="a script, a notebook, or a folder of them")
    parser.add_argument("--check", action="store_true",
                        help="only list what is to be changed, by line; write nothing")
    parser.add_argument("--output", metavar="PATH",
                        help="the copy; default: SCRIPT_frcnn.py, or the folder DIR_frcnn")
    return parser


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn migrate") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Changes the scripts according to the options of `build_parser`; returns the exit code."""
    base = expanded(options.path)
    scripts = scripts_in(base)
    found, failed, targets = list[Finding](), 0, []
    for path in scripts:
        target = None if options.check else target_of(path, base, options.output)
        try:
            migrated, encoding = migrate_file(path, alone=base.is_file())
        except MigrationError as error:
            if len(scripts) == 1:
                raise
            failed += 1
            print(f"error: {escaped(str(error))}")
            continue
        found += migrated.findings
        _print(path, migrated.findings)
        if target is not None:
            targets.append((target, migrated.text, encoding))
    for target, text, encoding in targets:
        write_copy(target, text, encoding)
    _summarize(scripts, found, [target for target, _, _ in targets])
    by_hand = any(finding.by_hand for finding in found)
    return 2 if failed else int(by_hand or bool(options.check and found))


def _print(path: Path, findings: Sequence[Finding]) -> None:
    for finding in findings:
        kind = "by hand" if finding.by_hand else "changed"
        print(f"{escaped(path)}:{finding.place}: {kind}: {finding.message}")


def _summarize(scripts: Sequence[Path], found: Sequence[Finding], targets: Sequence[Path]) -> None:
    by_hand = sum(finding.by_hand for finding in found)
    number = f"{len(scripts)} file{'s' * (len(scripts) != 1)}"
    print(f"{number}: {len(found) - by_hand} changes, {by_hand} to make by hand")
    if targets:
        shown = targets[0] if len(targets) == 1 else f"{targets[0].parent} and below"
        print(f"written to {escaped(shown)}")

