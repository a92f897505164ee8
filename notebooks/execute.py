"""Executes notebooks in place, without traces of the machine in what is stored.

    python notebooks/execute.py                  all of them
    python notebooks/execute.py inspect_data     one

Needs the extra "notebooks": pip install -e ".[notebooks]"
"""

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
NAMES = ("inspect_data", "inspect_model", "inspect_weights", "train_shapes")
CELL_TIMEOUT = 3600  # seconds; cells that train take minutes, more on a busy machine
MOST_BYTES = 1_500_000
# An absolute path, as "/home/me/x" or "C:\x", which is specific to one machine.
_ABSOLUTE_PATH = re.compile(r"(?:^|(?<=[\s\"'(\[=:,]))(?:(?:/[\w.+~-]+){2,}|[A-Z]:\\\w)")


def execute(notebook, folder=FOLDER):
    """Runs all cells of a notebook in a new kernel that starts in `folder`.

    Args:
        notebook: NotebookNode; its outputs are replaced.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message has its traceback.
    """
    NotebookClient(notebook, timeout=CELL_TIMEOUT, kernel_name="python3",
                   resources={"metadata": {"path": str(folder)}}).execute()
    clean(notebook)


def clean(notebook):
    """Removes times and versions, so that notebooks with equal outputs are equal files."""
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})


def shown_texts(notebook):
    """Yields (cell number, text) of every source and every textual output."""
    for number, cell in enumerate(notebook.cells):
        yield number, cell.source
        for output in cell.get("outputs", ()):
            yield number, output.get("text", "")
            for kind, content in output.get("data", {}).items():
                if not kind.startswith("image/"):
                    yield number, str(content)


def faults(notebook, size):
    """Reasons against storing an executed notebook of `size` bytes: list of str."""
    found = []
    for number, text in shown_texts(notebook):
        found += [f"cell {number} shows the path {match.group()}"
                  for match in _ABSOLUTE_PATH.finditer(text)]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not run once, from top to bottom")
    for output in (output for cell in code for output in cell.outputs):
        if output.output_type == "error":
            found.append(f"an error: {output.ename}: {output.evalue}")
        elif output.get("name") == "stderr":
            found.append(f"text on stderr: {output.text[:200]}")
    if size > MOST_BYTES:
        found.append(f"it has {size:,} bytes, more than {MOST_BYTES:,}")
    return found


def main(names):
    """Executes the named notebooks, or all if none is named; returns the exit code."""
    failed = False
    for name in names or NAMES:
        path = FOLDER / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        print(f"{path.name} ...", flush=True)
        execute(notebook)
        text = nbformat.writes(notebook) + "\n"
        path.write_text(text, encoding="utf-8")
        for fault in faults(notebook, len(text.encode())):
            print(f"{path.name}: {fault}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
