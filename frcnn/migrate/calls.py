"""Calls and settings that are written otherwise here, apart from masks."""

import ast

from frcnn.migrate.source import Source, last_of

# Settings that an early release misspelled.
_SETTINGS = {"VALIDATION_STPES": "VALIDATION_STEPS"}
_DERIVED = {"BATCH_SIZE": "IMAGES_PER_GPU", "IMAGE_META_SIZE": "NUM_CLASSES",
            "IMAGE_SHAPE": "IMAGE_MIN_DIM and IMAGE_MAX_DIM"}
_REMOVED_METHODS = {"_make_predict_function", "make_predict_function"}


def change_calls(source: Source) -> None:
    """Changes find_last()[1], settings, and methods of Keras 2's models."""
    _report_epochs(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Subscript) and _is_method(node.value, "find_last"):
            _change_find_last(source, node)
        elif isinstance(node, ast.Assign) and _is_method(node.value, "find_last"):
            _change_pair(source, node)
        elif isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Store) \
                and last_of(node) in _DERIVED:
            source.note(node, f"{last_of(node)} follows from {_DERIVED[last_of(node)]}: set that "
                        "instead", by_hand=True)
        elif isinstance(node, ast.Attribute) and node.attr == "IMAGE_PADDING" \
                and isinstance(node.ctx, ast.Load):
            source.replace(node, "True")
            source.note(node, "IMAGE_PADDING is always on, in the mode \"square\"")
        elif isinstance(node, ast.Name) and node.id in _SETTINGS:
            source.replace(node, _SETTINGS[node.id])
            source.note(node, f"the setting is called {_SETTINGS[node.id]}")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) \
                and isinstance(node.value.func, ast.Attribute) \
                and node.value.func.attr in _REMOVED_METHODS:
            source.remove_statement(node)
            source.note(node, f"removed: Keras 3 has no {node.value.func.attr}")
        elif _is_method(node, "ancestor"):
            source.note(node, "Keras 3 has no graph to search: write the output of a layer, "
                        'model.keras_model.get_layer("rpn_class").output, or call '
                        "frcnn.model.proposal_steps or detection_steps", by_hand=True)
        elif _is_method(node, "fit_generator"):
            source.note(node, "Keras 3 has no fit_generator: call model.train, or keras_model.fit",
                        by_hand=True)
        elif isinstance(node, ast.Call) and _is_keras_checkpoint(node):
            source.note(node, "Keras 3 writes only NAME.weights.h5 there; model.train writes "
                        "mask_rcnn_NAME_EPOCH.h5 after each epoch itself", by_hand=True)


def _is_method(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) \
        and node.func.attr == name


def _report_epochs(source: Source) -> None:
    """Reports calls of train in a row whose `epochs` do not grow: the number is the total."""
    for node in ast.walk(source.tree):
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            done: dict[str, int] = {}  # by model
            for statement in block if isinstance(block, list) else ():
                for call in ast.walk(statement):
                    if isinstance(call, ast.Name) and isinstance(call.ctx, ast.Store):
                        done.pop(call.id, None)  # perhaps another model
                if not isinstance(statement, (ast.Expr, ast.Assign)) \
                        or not _is_method(statement.value, "train"):
                    continue
                assert isinstance(statement.value, ast.Call)
                epochs = _epochs(statement.value)
                if epochs is None:
                    continue
                assert isinstance(statement.value.func, ast.Attribute)
                model = ast.unparse(statement.value.func.value)
                before = done.get(model, 0)
                if epochs <= before:
                    source.note(statement, f"epochs is the total over all calls of train: {before} "
                                f"are done before this one, which would train none; write {before}"
                                f" + {epochs} for {epochs} more", by_hand=True)
                done[model] = max(before, epochs)


def _epochs(call: ast.Call) -> int | None:
    """The number of epochs in a call of train, if it is written there."""
    value = next((keyword.value for keyword in call.keywords if keyword.arg == "epochs"),
                 call.args[3] if len(call.args) > 3 else None)
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, int) else None


def _change_find_last(source: Source, node: ast.Subscript) -> None:
    if ast.unparse(node.slice) in ("1", "-1"):
        source.replace_range(source.end(node.value), source.end(node))
        source.note(node, "find_last returns the path")
    else:
        source.note(node, "find_last returns the path; os.path.dirname of it is the run's folder",
                    by_hand=True)


def _change_pair(source: Source, node: ast.Assign) -> None:
    """`_, path = model.find_last()` becomes `path = model.find_last()`."""
    target = node.targets[0]
    if isinstance(target, ast.Name):
        _change_parts(source, target.id)
    if not isinstance(target, (ast.Tuple, ast.List)) or len(target.elts) != 2:
        return
    folder, path = target.elts
    used = isinstance(folder, ast.Name) and any(
        isinstance(inner, ast.Name) and inner.id == folder.id and isinstance(inner.ctx, ast.Load)
        for inner in ast.walk(source.tree))
    if used:
        source.note(node, "find_last returns the path; os.path.dirname of it is the run's folder",
                    by_hand=True)
    else:
        source.replace(target, source.text(path))
        source.note(node, "find_last returns the path")


def _change_parts(source: Source, name: str) -> None:
    """`name[1]` of a name that only find_last's result has becomes the name."""
    nodes = [node for node in ast.walk(source.tree) if isinstance(node, ast.Name)
             and node.id == name]
    if sum(isinstance(node.ctx, ast.Store) for node in nodes) > 1:
        return
    for node in nodes:
        parent = source.parent(node)
        if isinstance(parent, ast.Subscript) and parent.value is node:
            _change_find_last(source, parent)


def _is_keras_checkpoint(node: ast.Call) -> bool:
    name = last_of(node.func)
    return name == "ModelCheckpoint" and any(
        isinstance(inner, ast.Constant) and isinstance(inner.value, str)
        and inner.value.endswith(".h5") and not inner.value.endswith(".weights.h5")
        for inner in ast.walk(node))
