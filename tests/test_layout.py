"""The layout holds: sizes of files and functions, docstrings, layers, what an import loads."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

from places import PROJECT

PACKAGE = PROJECT / "frcnn"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 360, 50
# Methods that a base class, of Keras or argparse, documents.
OVERRIDES = re.compile(r"call|build|compute_output_(shape|spec)|compute_mask|get_config|from_config"
                       r"|(load|save)_own_variables"
                       r"|on_\w+|error")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    return str(path.relative_to(PROJECT))


def public_definitions(node, owner=""):
    """Yields (name, node) of the public classes, functions and methods below a node.

    A Protocol stands for itself: its members say no more than their names and types.
    """
    for child in node.body:
        if not isinstance(child, (ast.ClassDef, *FUNCTIONS)) or child.name.startswith("_"):
            continue
        yield f"{owner}{child.name}", child
        if isinstance(child, ast.ClassDef) and "Protocol" not in map(ast.unparse, child.bases):
            yield from public_definitions(child, f"{child.name}.")


def lines_of(function):
    """A function's lines, from `def` to its end, without its docstring."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    return (function.end_lineno - function.lineno + 1
            - (docstring.end_lineno - docstring.lineno + 1 if docstring else 0))


# --- sizes --------------------------------------------------------------------------------------


def test_no_file_is_too_long():
    long = {name_of(path): count for path in FILES
            if (count := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES}
    assert len(FILES) > 80 and not long


def test_no_function_is_too_long():
    long = {f"{name_of(path)}: {node.name}": lines_of(node) for path in FILES
            for node in ast.walk(tree(path))
            if isinstance(node, FUNCTIONS) and lines_of(node) > MOST_LINES_OF_A_FUNCTION}
    assert not long


# --- docstrings ---------------------------------------------------------------------------------


def test_every_public_name_has_a_docstring():
    missing = [name_of(path) for path in FILES if not ast.get_docstring(tree(path))]
    for path in FILES:
        missing += [f"{name_of(path)}: {name}" for name, node in public_definitions(tree(path))
                    if not ast.get_docstring(node) and not OVERRIDES.fullmatch(node.name)
                    and not is_setter_or_overload(node)]
    assert not missing


def is_setter_or_overload(node):
    """Whether a definition is the second of its name: a property's setter, or a typing overload."""
    return any((isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter"))
               or (isinstance(decorator, ast.Name) and decorator.id == "overload")
               for decorator in node.decorator_list)


# --- layers -------------------------------------------------------------------------------------


def test_each_package_imports_only_from_those_below():
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert program, 'import-linter is missing: pip install -e ".[test]"'
    done = subprocess.run([program, "--no-cache"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def imported_modules(path, known):
    """Modules of the package that a file imports, also for types only."""
    modules = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


def test_no_modules_import_each_other_in_a_circle():
    names = {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"):
             path for path in FILES}
    left = {name: imported_modules(path, names) & names.keys() - {name}
            for name, path in names.items()}
    while free := [name for name, imported in left.items() if not imported & left.keys()]:
        for name in free:
            del left[name]
    assert not left


LIGHT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    loaded = {"keras", "tensorflow", "jax", "torch"} & sys.modules.keys()
    assert not loaded, f"{name} loads {sorted(loaded)}"
"""


def test_what_needs_no_keras_does_not_load_it():
    names = ["frcnn", "frcnn.config", "frcnn.geometry", "frcnn.data", "frcnn.evaluate",
             "frcnn.visualize", "frcnn.utils", "frcnn.cli.train"]
    done = subprocess.run([sys.executable, "-c", LIGHT, *names], cwd=PROJECT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


# --- errors -------------------------------------------------------------------------------------


def test_what_a_user_can_put_right_has_a_class_of_its_own():
    """A plain ValueError or TypeError would end a program in a stack trace."""
    plain = [f"{name_of(path)}:{node.lineno}" for path in FILES for node in ast.walk(tree(path))
             if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
             and ast.unparse(node.exc.func) in ("ValueError", "TypeError", "RuntimeError")]
    # JSON's helpers raise as `json` does, and their callers say what to do.
    assert [place for place in plain if not place.startswith("frcnn/files.py")] == []
