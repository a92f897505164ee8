"""What the names of a script are bound to, as far as its text says it."""

import ast

from frcnn.migrate.source import Source


def function_of(source: Source, node: ast.AST) -> ast.AST | None:
    """The function that a node is in; None for the module."""
    parent = source.parent(node)
    while parent is not None and not isinstance(parent, (ast.FunctionDef, ast.Lambda)):
        parent = source.parent(parent)
    return parent


def last_binding(source: Source, name: ast.Name) -> ast.Name | None:
    """Where a name was bound last before it is used, in the order of the text of its function."""
    function = function_of(source, name)
    before = [node for node in source.stores.get(name.id, [])
              if source.start(node) < source.start(source.statement(name))
              and function_of(source, node) is function]
    return max(before, key=source.start, default=None)


def bound_value(source: Source, node: ast.expr) -> ast.expr:
    """The expression that a name was bound to last, through other names; else the node itself."""
    seen: set[ast.AST] = set()
    while isinstance(node, ast.Name) and node not in seen:
        seen.add(node)
        binding = last_binding(source, node)
        statement = source.parent(binding) if binding is not None else None
        if not isinstance(statement, ast.Assign) or binding not in statement.targets:
            break
        node = statement.value
    return node


def is_rebound(source: Source, name: str, start: ast.AST, end: ast.AST) -> bool:
    """Whether a name is bound again between two nodes of the text."""
    return any(source.start(start) <= source.start(node) < source.start(source.statement(end))
               for node in source.stores.get(name, []))

