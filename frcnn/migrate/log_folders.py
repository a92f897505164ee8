"""Listings of a run's folder whose last file is loaded as weights.

The reference's folders have checkpoints last in the order of names. Those of frcnn have also the
state of the training and a report, which come after them, and others are newer.
"""

import ast
from collections.abc import Iterator

from frcnn.migrate.source import Source, last_of

_LISTINGS = {"listdir", "glob", "iglob", "scandir", "iterdir"}
_MESSAGE = ("a run's folder has other files after its checkpoints: take only names that end in "
            ".h5, or call model.find_last()")


def report_log_folders(source: Source) -> None:
    """Reports where the last or newest of all files of a folder is passed to load_weights."""
    bound: dict[str, list[ast.expr]] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 \
                and isinstance(node.targets[0], ast.Name):
            bound.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) \
                and node.func.attr == "load_weights":
            path = node.args[0] if node.args else next(
                (keyword.value for keyword in node.keywords if keyword.arg == "filepath"), None)
            for last in _last_files(path, bound, set()) if path is not None else ():
                source.note(last, _MESSAGE, by_hand=True)


def _last_files(node: ast.expr, bound: dict[str, list[ast.expr]],
                seen: set[str]) -> Iterator[ast.expr]:
    """The expressions for the last file of a listing that a path ends with."""
    if isinstance(node, ast.Name) and node.id not in seen:
        for value in bound.get(node.id, []):
            yield from _last_files(value, bound, seen | {node.id})
    elif isinstance(node, ast.BinOp):  # folder + "/" + name
        yield from _last_files(node.right, bound, seen)
    elif isinstance(node, ast.Subscript):
        if ast.unparse(node.slice) == "-1" and _lists_all(node.value, bound, set()):
            yield node
    elif isinstance(node, ast.Call):
        name = last_of(node.func)
        if name == "max" and node.args and _lists_all(node.args[0], bound, set()):
            yield node
        elif name in ("join", "str", "abspath") and node.args:
            yield from _last_files(node.args[-1], bound, seen)


def _lists_all(node: ast.expr, bound: dict[str, list[ast.expr]], seen: set[str]) -> bool:
    """Whether an expression is a folder's content, sorted or not, without a filter."""
    if isinstance(node, ast.Name):
        values = [value for value in bound.get(node.id, []) if not isinstance(value, ast.Name)]
        return node.id in seen or (bool(values) and all(  # seen: files = sorted(files)
            _lists_all(value, bound, seen | {node.id}) for value in values))
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        return not any(part.ifs for part in node.generators) \
            and _lists_all(node.generators[0].iter, bound, seen)
    if not isinstance(node, ast.Call):
        return False
    name = last_of(node.func)
    if name in _LISTINGS:
        return ".h" not in ast.unparse(node)  # a pattern such as *.h5
    return name in ("sorted", "natsorted", "list") and bool(node.args) \
        and _lists_all(node.args[0], bound, seen)
