"""The loss of the masks in the record of a training, which has none here."""

import ast

from frcnn.compatibility import MASK_LOSSES
from frcnn.migrate.source import Source, last_of

_BY_HAND = ("there is no loss of masks: a training has loss, rpn_class_loss, rpn_bbox_loss, "
            "mrcnn_class_loss, mrcnn_bbox_loss, and these with val_; leave it out")
_SHOWING = {"plot", "semilogy", "print"}


def change_losses(source: Source) -> None:
    """Removes plots and prints of the masks' loss; other uses are reported.

    In a dict, as of LOSS_WEIGHTS, and as a text that is only shown, it stays.
    """
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Constant) and node.value in MASK_LOSSES):
            continue
        parent = source.parent(node)
        if isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Load):
            statement = source.statement(parent)
            if _shows_it_alone(statement):
                source.remove_statement(statement)
                source.note(statement, "removed, since it shows the loss of masks")
            else:
                source.note(node, _BY_HAND, by_hand=True)
        elif isinstance(parent, (ast.List, ast.Tuple, ast.Set)):
            loop = source.parent(parent)
            if isinstance(loop, (ast.For, ast.comprehension)) and loop.iter is parent \
                    and isinstance(parent, ast.List):
                source.remove_from(list(parent.elts), [element for element in parent.elts
                                                       if getattr(element, "value", None)
                                                       in MASK_LOSSES])
                source.note(node, "there is no loss of masks")
            else:
                source.note(node, _BY_HAND, by_hand=True)
        elif (isinstance(parent, ast.keyword) and parent.arg == "monitor") \
                or (isinstance(parent, ast.Call) and last_of(parent.func) in ("get", "pop")):
            source.note(node, _BY_HAND, by_hand=True)


def _shows_it_alone(statement: ast.stmt) -> bool:
    """Whether a statement is a plot or print of the masks' loss, and of no other."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call) \
            or last_of(statement.value.func) not in _SHOWING:
        return False
    keys = {inner.slice.value for inner in ast.walk(statement)
            if isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant)
            and isinstance(inner.slice.value, str)}
    return keys <= MASK_LOSSES
