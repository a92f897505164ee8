"""Imports of the reference become imports of frcnn; names that frcnn lacks are reported."""

import ast

from frcnn.compatibility import WITHOUT_MASKS
from frcnn.migrate.names import BY_HAND, known_names
from frcnn.migrate.scope import Scope, imported_module, imports_of, own_modules, reference_module
from frcnn.migrate.source import Source


def change_imports(source: Source, scope: Scope, own: set[str]) -> None:
    """Changes all imports of the reference, and the uses of the package's name."""
    for node in imports_of(source.tree):
        if isinstance(node, ast.Import):
            _change_import(source, node, scope, own)
        else:
            _change_import_from(source, node, scope, own)
    for inner in ast.walk(source.tree):
        if isinstance(inner, ast.Name) and inner.id == "mrcnn" and scope.modules.get("mrcnn") == "":
            source.replace(inner, "frcnn")
    _report_missing(source, scope)


def _change_import(source: Source, node: ast.Import, scope: Scope, own: set[str]) -> None:
    modules = [reference_module(alias.name, scope, own) for alias in node.names]
    early = [module for alias, module in zip(node.names, modules)
             if module and not alias.asname and "." not in alias.name]
    if early and len(node.names) > 1:  # import model as modellib, utils
        rest = [f"frcnn.{module} as {alias.asname}" if module else source.text(alias)
                for alias, module in zip(node.names, modules) if module not in early]
        source.replace(node, "; ".join([*(["import " + ", ".join(rest)] if rest else []),
                                        "from frcnn import " + ", ".join(early)]))
        source.note(node, f"imports {', '.join(f'frcnn.{module}' for module in early)}")
        return
    for alias, module in zip(node.names, modules):
        if module is None:
            continue
        if module == "":
            source.replace(alias, f"frcnn as {alias.asname}" if alias.asname else "frcnn")
        elif alias.asname or alias.name.startswith("mrcnn."):
            end = f" as {alias.asname}" if alias.asname else ""
            source.replace(alias, f"frcnn.{module}{end}")
        elif "." not in alias.name:  # 2017: import utils
            source.replace(node, f"from frcnn import {module}")
        else:
            source.note(node, f"write from frcnn import {module}, and use it by that name",
                        by_hand=True)
            continue
        source.note(node, f"imports frcnn.{module}" if module else "imports frcnn")


def _change_import_from(source: Source, node: ast.ImportFrom, scope: Scope, own: set[str]) -> None:
    module = imported_module(node, scope, own)
    if module is None:
        if [alias.name for alias in node.names] == ["mrcnn"]:
            source.replace(node, f"import frcnn as {node.names[0].asname or 'mrcnn'}")
            source.note(node, "imports frcnn")
        elif "mrcnn" in (node.module or "").split("."):
            source.note(node, f"there is no counterpart of {node.module}, which is of a fork of "
                        "the reference", by_hand=True)
        return
    name = "." * node.level + (node.module or "")
    start = source.data.index(name.encode(), source.start(node) + len("from"))
    source.replace_range(start, start + len(name.encode()),
                         f"frcnn.{module}" if module else "frcnn")
    source.note(node, f"imports frcnn.{module}" if module else "imports frcnn")
    for alias in node.names:
        if module == "" and alias.name == "*":
            source.note(node, "import the modules that are used, from frcnn import model as "
                        "modellib, utils, visualize", by_hand=True)
        elif module == "" and alias.name not in known_names(""):
            source.note(node, f"there is no frcnn.{alias.name}; it is of a fork of the reference",
                        by_hand=True)
        elif alias.name == "*":
            source.note(node, f"import the names that are used, instead of all of {module}: "
                        "those that the module itself imported are others", by_hand=True)
        elif module:
            _report(source, node, module, alias.name)


def _report_missing(source: Source, scope: Scope) -> None:
    """Reports the uses of names that frcnn does not have, or only to say so."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            found = scope.resolve(node)
            if found is not None:
                _report(source, node, *found)


def _report(source: Source, node: ast.AST, module: str, name: str) -> None:
    if name in WITHOUT_MASKS:
        # calls that are changed are reported by `masks`
        if not (name == "display_top_masks" or isinstance(node, ast.ImportFrom)):
            source.note(node, f"{name} is for masks. {WITHOUT_MASKS[name]}", by_hand=True)
    elif name in BY_HAND:
        source.note(node, BY_HAND[name], by_hand=True)
    elif name not in known_names(module):
        source.note(node, f"there is no frcnn.{module}.{name}; it is of a fork of the "
                    "reference, or an internal name", by_hand=True)


__all__ = ["change_imports", "own_modules"]
