"""Notebooks: their code cells are changed together, since names go from one to the next."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from frcnn.errors import MigrationError
from frcnn.migrate.script import Migrated, migrate_script
from frcnn.migrate.source import Finding

_BORDER, _MAGIC = "#@frcnn cell", "#@frcnn magic "
_MAGIC_LINE = re.compile(r"^(\s*)([%!?].*|.*\?\s*)$")
# Installations of what the reference needs, with which frcnn does not run.
_OUTDATED = re.compile(r"^\s*[%!].*(tensorflow_version 1|tensorflow(-gpu)?\s*==\s*[01]"
                       r"|keras\s*==\s*2|h5py\s*[=<]=?\s*2|numpy\s*==\s*1\.1|Mask_RCNN"
                       r"|setup\.py)", re.IGNORECASE)
_ASSIGNED_MAGIC = re.compile(r"^(\s*)(\w+\s*=\s*[%!].*)$")


def migrate_notebook(text: str, folder: Path | None = None, alone: bool = True) -> Migrated:
    """Changes the code cells of a notebook; outputs, magics and other cells stay as they are.

    Args:
        text: JSON of a notebook of version 4.
        folder: where it is, see `migrate_script`.
        alone: see `migrate_script`.

    Returns:
        The JSON, and findings by code cell.

    Raises:
        MigrationError: it is no notebook.
    """
    try:
        notebook = json.loads(text)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MigrationError("it is not a notebook of version 4 in JSON") from None
    masked = [_masked(source) for source in sources]
    joined = "".join(f"{_BORDER}\n{source}\n" for source in masked) + _BORDER
    migrated = migrate_script(joined, folder, alone)
    changed = [part.removeprefix("\n").removesuffix("\n")
               for part in migrated.text.split(_BORDER)[1:-1]]
    for cell, before, part in zip(cells, masked, changed, strict=True):
        if part != before:
            _write(cell, _unmasked(part))
    findings = [_in_cell(finding, masked) for finding in migrated.findings]
    if findings:
        findings = sorted([*findings, *_outdated_lines(sources)])
    return Migrated(_as_json(notebook, text), findings)


def _outdated_lines(sources: list[str]) -> Iterator[Finding]:
    """Magics that install the reference, or the old versions that it needs."""
    for number, source in enumerate(sources, start=1):
        for line, text in enumerate(source.split("\n"), start=1):
            if _OUTDATED.match(text):
                yield Finding(number, line, "leave this line out: frcnn needs current versions of "
                              "TensorFlow and Keras, and nothing of the reference", True)


def _masked(source: str) -> str:
    """A cell as Python: magics become comments; a cell of another language, all comments."""
    lines = source.split("\n")
    is_other = source.lstrip().startswith("%%") and not source.lstrip().startswith(
        ("%%time", "%%capture", "%%prun"))
    if is_other or not _is_python(masked := "\n".join(map(_masked_line, lines))):
        return "\n".join(f"{_MAGIC}{line}" for line in lines)
    return masked


def _masked_line(line: str) -> str:
    match = _MAGIC_LINE.match(line) or _ASSIGNED_MAGIC.match(line)
    if match is None or line.lstrip().startswith("#"):
        return line
    # a statement, since a block may consist of it alone
    return f"{match[1]}pass  {_MAGIC}{match[2]}"


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _unmasked(text: str) -> str:
    return re.sub(rf"(?:pass  )?{_MAGIC}", "", text)


def _write(cell: dict[str, Any], text: str) -> None:
    is_list = isinstance(cell["source"], list)
    cell["source"] = text.splitlines(keepends=True) if is_list else text


def _in_cell(finding: Finding, cells: list[str]) -> Finding:
    """A finding by its cell and the line in it; each cell has a border before it."""
    line = finding.line
    for number, cell in enumerate(cells, start=1):
        count = len(cell.split("\n"))
        if line <= 1 + count:
            return replace(finding, cell=number, line=max(1, line - 1))
        line -= 1 + count
    return finding


def _as_json(notebook: Any, text: str) -> str:
    """The notebook with the indentation and the end that it had."""
    found = re.search(r"\n( +)\"", text)
    indent = len(found[1]) if found else None
    separators = (",", ": ") if indent else None
    result = json.dumps(notebook, indent=indent, ensure_ascii=False, separators=separators)
    return result + "\n" * text.endswith("\n")
