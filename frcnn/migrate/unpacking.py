"""Names and indices for the values of `load_image_gt` and `data_generator`.

The reference returns masks after the boxes, its first release also boxes with the class ids in a
fifth column where the final one returns class ids and boxes. As many names as there are values here
would be bound to others without an error.
"""

import ast
from typing import TypeAlias

from frcnn.migrate.bindings import bound_value, last_binding
from frcnn.migrate.scope import Scope
from frcnn.migrate.source import Source

_Names: TypeAlias = ast.Tuple | ast.List

FOUR = "load_image_gt returns image, image_meta, class_ids, boxes"
_SIX = "data_generator yields images, image_meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes"
# Of the inputs that the reference's generator yields: where the masks are.
_MASKS, _EARLY_MASKS = 6, 5


class Unpacking:
    """Leaves masks out of what is bound.

    Args:
        source: the script.
        scope: of its names.

    Attributes:
        lost: names that are no longer bound somewhere.
        dropped: expressions that are removed.
    """

    def __init__(self, source: Source, scope: Scope) -> None:
        self.source, self.scope = source, scope
        self.lost: set[str] = set()
        self.dropped: set[ast.AST] = set()

    def change(self) -> None:
        """Makes all changes."""
        for node in list(ast.walk(self.source.tree)):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._change_names(node.targets[0], node.value)
            elif isinstance(node, (ast.For, ast.comprehension)):
                self._change_loop(node.target, node.iter)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                self._report_index(node)

    def _change_names(self, target: ast.expr, value: ast.expr) -> None:
        if not isinstance(target, (ast.Tuple, ast.List)):
            return
        bound = bound_value(self.source, value)
        if self._is(bound, "load_image_gt"):
            self._change_image_gt(target)
        elif _is_next(bound):
            self._change_batch(target, self._is_without_rois(bound))
        elif self._is_inputs(value):
            self._change_inputs(target, False)
        elif isinstance(bound, ast.Call) and isinstance(bound.func, ast.Attribute) \
                and bound.func.attr == "values" and _masks_in(target):
            self.source.note(target, "a result has rois, boxes, class_ids and scores, in another "
                             'order than the reference\'s, and no masks: write r["rois"], '
                             'r["class_ids"], r["scores"]', by_hand=True)

    def _change_loop(self, target: ast.expr, values: ast.expr) -> None:
        if isinstance(target, (ast.Tuple, ast.List)) \
                and self._is(bound_value(self.source, values), "data_generator"):
            self._change_batch(target, self._is_without_rois(values))

    # --- load_image_gt ----------------------------------------------------------------------

    def _is(self, node: ast.expr, name: str) -> bool:
        return isinstance(node, ast.Call) and self.scope.resolve(node.func) == ("model", name)

    def _change_image_gt(self, target: _Names) -> None:
        star = next((place for place, element in enumerate(target.elts)
                     if isinstance(element, ast.Starred)), None)
        if star is not None:
            if _masks_in(target) or target.elts[star + 1:]:
                self.source.note(target, f"{FOUR}, and no masks after them: bind these four",
                                 by_hand=True)
        elif len(target.elts) == 5:
            self._drop(target, target.elts[4:], FOUR)
        elif len(target.elts) == 4 and "mask" in name_of(target.elts[3]):
            self.source.note(target, f"{FOUR}, where the first release had boxes with the class "
                             "ids in a fifth column, and masks", by_hand=True)

    def _report_index(self, node: ast.Subscript) -> None:
        """Reports the masks of an example or a batch by their place, and the last of an example."""
        early = self.scope.is_early
        if self._is(bound_value(self.source, node.value), "load_image_gt") \
                and _reaches(node.slice, 3 if early else 4):
            self.source.note(node, f"{FOUR}: the last of them are boxes, and there are no masks",
                             by_hand=True)
        elif self._is_inputs(node.value) and _reaches(node.slice, 4 if early else _MASKS):
            self.source.note(node, f"{_SIX}, and no masks: what comes after rpn_bbox is at other "
                             "places", by_hand=True)

    # --- data_generator ---------------------------------------------------------------------

    def _change_batch(self, target: _Names, without_rois: bool) -> None:
        for place, part in enumerate(target.elts):
            if not isinstance(part, (ast.Tuple, ast.List)):
                continue
            starred = any(isinstance(element, ast.Starred) for element in part.elts)
            if place == 0 and (starred or len(part.elts) > 3):
                self._change_inputs(part, without_rois)
            else:
                self._drop(part, _masks_in(part), "data_generator yields no masks")

    def _change_inputs(self, part: _Names, without_rois: bool) -> None:
        names = [name_of(element) for element in part.elts]
        place = next((place for place, name in enumerate(names) if "mask" in name), None)
        if place is None and len(names) > _EARLY_MASKS and "box" in names[4]:
            place = _EARLY_MASKS
        elif place is None and len(names) == _MASKS + 1 and without_rois:
            place = _MASKS
        if place is None:
            return
        if any(isinstance(element, ast.Starred) for element in part.elts) \
                or (place not in (_MASKS, _EARLY_MASKS) and len(names) > _EARLY_MASKS):
            self.source.note(part, f"{_SIX}, and no masks", by_hand=True)
            return
        self._drop(part, [part.elts[place]], "data_generator yields no masks")
        if place == _EARLY_MASKS:
            self._insert_class_ids(part, part.elts[place - 1])

    def _insert_class_ids(self, part: _Names, boxes: ast.expr) -> None:
        """gt_boxes of the first release, with class ids in a column, become gt_class_ids, gt_boxes.

        The columns of them that are used are reported.
        """
        taken = {node.id for node in ast.walk(self.source.tree) if isinstance(node, ast.Name)}
        start = self.source.start(boxes)
        self.source.replace_range(start, start,
                                  ("_" if "gt_class_ids" in taken else "gt_class_ids") + ", ")
        self.source.note(part, "data_generator yields gt_class_ids before gt_boxes, where the "
                         "first release had them in a fifth column of gt_boxes")
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.Subscript) and _is_fifth_column(node.slice) \
                    and any(isinstance(inner, ast.Name) and inner.id == name_of(boxes)
                            for inner in ast.walk(node.value)):
                self.source.note(node, "gt_boxes have four columns: the class ids are gt_class_ids",
                                 by_hand=True)

    def _is_without_rois(self, node: ast.expr) -> bool:
        """Whether a generator, or the next batch of it, is known to be one without random RoIs."""
        if _is_next(node):
            assert isinstance(node, ast.Call)
            node = node.args[0]
        call = bound_value(self.source, node)
        return self._is(call, "data_generator") and isinstance(call, ast.Call) \
            and len(call.args) < 5 and "random_rois" not in {word.arg for word in call.keywords}

    def _is_inputs(self, node: ast.expr) -> bool:
        """Whether an expression is the first part of what a generator of batches yields."""
        node = bound_value(self.source, node)
        if isinstance(node, ast.Subscript):  # next(generator)[0]
            return ast.unparse(node.slice) == "0" and self._is_batch(node.value)
        if not isinstance(node, ast.Name):
            return False
        binding = last_binding(self.source, node)  # inputs, _ = next(generator)
        pair = self.source.parent(binding) if binding is not None else None
        if not isinstance(pair, (ast.Tuple, ast.List)) or pair.elts[0] is not binding:
            return False
        around = self.source.parent(pair)
        if isinstance(around, ast.Assign):
            return self._is_batch(around.value)
        return isinstance(around, ast.For) \
            and self._is(bound_value(self.source, around.iter), "data_generator")

    def _is_batch(self, node: ast.expr) -> bool:
        node = bound_value(self.source, node)
        return _is_next(node) and isinstance(node, ast.Call) \
            and self._is(bound_value(self.source, node.args[0]), "data_generator")

    def _drop(self, target: _Names, unwanted: list[ast.expr], message: str) -> None:
        if not unwanted:
            return
        self.source.remove_from(list(target.elts), list(unwanted))
        self.source.note(target, message)
        self.lost |= {name_of(element) for element in unwanted} - {"_"}
        self.dropped |= set(unwanted)


def name_of(node: ast.expr) -> str:
    """A variable's name, also with a star; empty for another expression."""
    node = node.value if isinstance(node, ast.Starred) else node
    return node.id if isinstance(node, ast.Name) else ""


def _masks_in(target: _Names) -> list[ast.expr]:
    return [element for element in target.elts if "mask" in name_of(element)]


def _is_next(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) \
        and node.func.id == "next" and bool(node.args)


def _reaches(index: ast.expr, first: int) -> bool:
    """Whether an index or a slice takes the value at `first` or after it, or the last one."""
    if isinstance(index, ast.Slice):
        if index.upper is None:
            return index.lower is not None
        return _reaches(index.upper, first + 1)
    try:
        number = ast.literal_eval(index)
    except ValueError:
        return False
    return isinstance(number, int) and (number >= first or number < 0)


def _is_fifth_column(index: ast.expr) -> bool:
    last = index.elts[-1] if isinstance(index, ast.Tuple) and index.elts else None
    return last is not None and ast.unparse(last) in ("4", "4:", "-1")

