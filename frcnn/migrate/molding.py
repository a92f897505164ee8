"""Images that a script molds before it gives them to `detect`.

`mold_image` subtracts the mean pixel, and `detect` does it, too. The reference subtracts it twice
then, without an error; here `detect` takes images as they were read.
"""

import ast

from frcnn.migrate.bindings import bound_value, is_rebound
from frcnn.migrate.scope import Scope
from frcnn.migrate.source import Source, last_of

_BY_HAND = ("detect molds images itself: give it those that mold_image was given, as uint8 "
            "arrays, in a list")
# Functions that add the axis of the batch: to the first argument, or around a list of images.
_BATCHES = {"expand_dims", "array", "asarray", "stack"}


def change_molding(source: Source, scope: Scope) -> None:
    """`detect(expand_dims(mold_image(image, config), 0))` becomes `detect([image])`."""
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                and node.func.attr == "detect"):
            continue
        images = node.args[0] if node.args else next(
            (keyword.value for keyword in node.keywords if keyword.arg == "images"), None)
        if images is None or not _reaches_molding(source, scope, images):
            continue
        originals = [_original(source, scope, image, node) for image in _listed(source, images)]
        if originals and all(originals):
            source.replace(images, f"[{', '.join(filter(None, originals))}]")
            source.note(node, "detect molds images itself, so it takes them as they are")
        else:
            source.note(node, _BY_HAND, by_hand=True)


def _is_molding(scope: Scope, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and scope.resolve(node.func) == ("model", "mold_image")


def _reaches_molding(source: Source, scope: Scope, node: ast.expr) -> bool:
    """Whether a call of mold_image is in an expression, or in what its names are bound to."""
    seen: set[ast.AST] = set()
    left: list[ast.expr] = [node]
    while left:
        expression = left.pop()
        for inner in ast.walk(expression):
            if _is_molding(scope, inner):
                return True
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                value = bound_value(source, inner)
                if value is not inner and value not in seen:
                    seen.add(value)
                    left.append(value)
    return False


def _listed(source: Source, node: ast.expr) -> list[ast.expr]:
    """The images of a batch, as far as the script says it; empty where it does not."""
    node = bound_value(source, node)
    if isinstance(node, (ast.List, ast.Tuple)):
        return list(node.elts)
    if isinstance(node, ast.Subscript):  # image[None], image[np.newaxis, ...]
        index = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
        return [node.value] if last_of(index) == "newaxis" or _is_none(index) else []
    if isinstance(node, ast.Call) and last_of(node.func) in _BATCHES and node.args:
        if last_of(node.func) != "expand_dims":
            return _listed(source, node.args[0])
        axis = node.args[1] if len(node.args) > 1 else next(
            (keyword.value for keyword in node.keywords if keyword.arg == "axis"), None)
        return [node.args[0]] if axis is not None and ast.unparse(axis) == "0" else []
    return []


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _original(source: Source, scope: Scope, node: ast.expr, call: ast.Call) -> str | None:
    """The image that mold_image was given, if it is still the same at a call."""
    molded = bound_value(source, node)
    if not _is_molding(scope, molded):
        return None
    assert isinstance(molded, ast.Call)
    image = molded.args[0] if molded.args else next(
        (keyword.value for keyword in molded.keywords if keyword.arg in ("image", "images")), None)
    if image is None:
        return None
    if isinstance(image, ast.Name):
        start = source.statement(molded)
        # image = mold_image(image, config): bound by the statement itself
        return None if is_rebound(source, image.id, start, call) else image.id
    is_inside = any(inner is molded for inner in ast.walk(call))
    return source.text(image) if is_inside else None  # an expression may have another value there
