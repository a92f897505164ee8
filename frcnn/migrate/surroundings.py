"""What scripts of 2017 to 2020 use beside the reference, and is no longer there.

TensorFlow 1's sessions fail with Keras 3, and NumPy has dropped its names for Python's own types.
"""

import ast

from frcnn.migrate.source import Source, last_of, root_of

_NUMPY_TYPES = {"bool": "bool", "int": "int", "float": "float", "object": "object", "str": "str",
                "complex": "complex", "long": "int", "unicode": "str"}
# TensorFlow 1: what makes settings of a session, or a session; and calls without a counterpart.
_SESSIONS = {"ConfigProto", "GPUOptions", "Session", "InteractiveSession"}
_OUTDATED_CALLS = {"set_session", "disable_eager_execution", "enable_eager_execution",
                   "disable_v2_behavior", "set_learning_phase", "reset_default_graph"}
_BY_HAND = {"get_default_graph": "Keras 3 needs no graph: detect may be called from several "
                                 "threads; leave out the lines with it",
            "get_session": "Keras 3 has no session; leave the lines with it out",
            "get_variable": "TensorFlow 1's variables are not of Keras 3"}


def change_surroundings(source: Source) -> None:
    """Makes all these changes."""
    _change_numpy(source)
    _change_sessions(source)


# --- NumPy ----------------------------------------------------------------------------------


def _change_numpy(source: Source) -> None:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) \
                and node.value.id in ("np", "numpy") and node.attr in _NUMPY_TYPES:
            source.replace(node, _NUMPY_TYPES[node.attr])
            source.note(node, f"NumPy has no {node.attr} of its own")


# --- sessions -------------------------------------------------------------------------------


def _change_sessions(source: Source) -> None:
    """Removes the statements that configure a session of TensorFlow 1."""
    names: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and _calls(node.value, _SESSIONS):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            _change_session_import(source, node)
        elif isinstance(node, ast.Assign):
            is_setting = any(isinstance(target, ast.Attribute) and root_of(target) in names
                             for target in node.targets)
            if is_setting or (_calls(node.value, _SESSIONS)
                              and all(isinstance(target, ast.Name) for target in node.targets)):
                source.remove_statement(node)
                source.note(node, "removed: Keras 3 has no session; TensorFlow takes memory as it "
                            "needs it with tf.config.experimental.set_memory_growth")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = last_of(node.value.func)
            is_logging = name == "set_verbosity" and "logging" in ast.unparse(node.value.func) \
                and "compat" not in ast.unparse(node.value.func)
            if name in _OUTDATED_CALLS or is_logging:
                source.remove_statement(node)
                source.note(node, f"removed: TensorFlow 2 and Keras 3 have no {name}")
        elif isinstance(node, ast.Attribute) and node.attr in _BY_HAND:
            source.note(node, _BY_HAND[node.attr], by_hand=True)
            _note_graph(source, node)
        elif isinstance(node, ast.With) and any(_calls(item.context_expr, _SESSIONS)
                                                for item in node.items):
            source.note(node, "Keras 3 has no session: write its body without it", by_hand=True)


def _note_graph(source: Source, node: ast.Attribute) -> None:
    """Names the lines `with graph.as_default():` of `graph = tf.get_default_graph()`."""
    statement = source.statement(node)
    if node.attr != "get_default_graph" or not isinstance(statement, ast.Assign):
        return
    names = {target.id for target in statement.targets if isinstance(target, ast.Name)}
    for other in ast.walk(source.tree):
        if isinstance(other, ast.With) and any(
                isinstance(item.context_expr, ast.Call) and root_of(item.context_expr.func) in names
                for item in other.items):
            source.note(other, "Keras 3 needs no graph: write its body without it", by_hand=True)


def _change_session_import(source: Source, node: ast.Import | ast.ImportFrom) -> None:
    module = "tensorflow_backend"
    if isinstance(node, ast.ImportFrom):
        if module in (node.module or "") or (
                (node.module or "").endswith("keras.backend")
                and all(alias.name in ("set_session", "get_session") for alias in node.names)):
            source.remove_statement(node)
            source.note(node, "removed: Keras 3 has no sessions")
        return
    for alias in node.names:
        if alias.name.endswith(module):
            source.replace(node, f"from keras import backend as {alias.asname or 'K'}")
            source.note(node, "imports keras.backend")


def _calls(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and last_of(node.func) in names
