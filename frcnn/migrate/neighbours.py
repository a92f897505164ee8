"""Modules beside a script, and the reference's samples, that have to be changed with it."""

import ast
import re
from pathlib import Path

from frcnn.errors import MigrationError
from frcnn.migrate.scope import imports_of, is_reference_file, read_scope
from frcnn.migrate.source import Source

# Samples of the reference that other scripts import for a class of settings or a data set.
_SAMPLES = ("balloon", "nucleus", "shapes")


def report_neighbours(source: Source, folder: Path | None, alone: bool) -> None:
    """Reports imports of scripts that use the reference, too, and so need a changed copy.

    Args:
        source: the script.
        folder: where it is; None if that is unknown.
        alone: whether it is changed without the scripts beside it.
    """
    for node in imports_of(source.tree):
        for name in _imported(node):
            path = _module(folder, name) if folder is not None else None
            if path is not None and alone and _uses_reference(path):
                source.note(node, f"{path.name if path.stem != '__init__' else name} uses the "
                            "reference, too: change it with this script by frcnn migrate FOLDER, "
                            "so that the copy imports a copy", by_hand=True)
            elif path is None and name in _SAMPLES and _takes_classes(source.tree, name):
                source.note(node, f"{name}.py is a sample of the reference: put it beside this "
                            "script and change both by frcnn migrate FOLDER", by_hand=True)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Top-level modules that an import names; of a relative one, the modules beside the script."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if node.level == 1 and not node.module:
        return [alias.name for alias in node.names]
    return [(node.module or "").split(".")[0]] if node.level <= 1 else []


def _module(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.py", folder / name / "__init__.py"):
        if name and path.is_file() and not is_reference_file(path):
            return path
    return None


def _uses_reference(path: Path) -> bool:
    try:
        scope = read_scope(Source(path.read_text("utf-8", "replace")), path.parent)
    except (OSError, MigrationError, RecursionError, MemoryError):
        return False
    return not scope.is_empty


def _takes_classes(tree: ast.AST, name: str) -> bool:
    """Whether a class of the sample is used, such as NucleusInferenceConfig of nucleus."""
    class_name = re.compile(rf"{name.capitalize()}\w*(Config|Dataset)")
    return any(class_name.fullmatch(getattr(node, "attr", None) or getattr(node, "name", None)
                                    or "") for node in ast.walk(tree)
               if isinstance(node, (ast.Attribute, ast.alias)))
