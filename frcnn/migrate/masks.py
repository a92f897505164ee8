"""Masks are dropped where they are only passed on; other uses of them are reported."""

import ast
import re
from collections.abc import Iterator

from frcnn.compatibility import MASK_NAMES, WITHOUT_MASKS
from frcnn.migrate.bindings import function_of
from frcnn.migrate.scope import Scope
from frcnn.migrate.source import Source
from frcnn.migrate.unpacking import FOUR, Unpacking

# By function: the places of masks among the positional arguments, and how many of these there are
# at least in a call with masks.
_PLACES = {
    "display_instances": ((2,), 5), "draw_rois": ((3,), 6), "display_differences": ((3, 7), 9),
    "draw_boxes": ((3,), 99), "compute_ap": ((2, 6), 7), "compute_ap_range": ((2, 6), 7),
    "compute_matches": ((2, 6), 7),
}
_MASK_LAYER = re.compile(r"mrcnn_mask(_(conv|bn)\d|_deconv)?")
_NO_RESULT = ('a result has no masks: "rois" are its boxes, (y2 - y1) * (x2 - x1) the area of one, '
              "and image[y1:y2, x1:x2] what is in it")


class MaskChanges:
    """Removes masks from calls and assignments.

    Args:
        source: the script.
        scope: of its names.
    """

    def __init__(self, source: Source, scope: Scope) -> None:
        self.source, self.scope = source, scope
        self._unpacking = Unpacking(source, scope)
        self._lost = self._unpacking.lost  # names that are no longer bound somewhere
        self._dropped = self._unpacking.dropped  # expressions that are removed

    def change(self) -> None:
        """Makes all changes."""
        nodes = list(ast.walk(self.source.tree))
        self._unpacking.change()
        assigned = self._assigned_masks(nodes)
        for node in nodes:
            if isinstance(node, ast.Call):
                self._change_call(node)
            elif isinstance(node, ast.List):
                self._change_outputs(node)
        self._remove_prints(nodes)
        self._change_sizes(nodes)
        self._report_rest(nodes, assigned)

    # --- assignments ------------------------------------------------------------------------

    def _assigned_masks(self, nodes: list[ast.AST]) -> dict[str, ast.Assign]:
        """The names that only `name = r["masks"]` binds."""
        found: dict[str, ast.Assign] = {}
        bound: dict[str, int] = {}
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound[node.id] = bound.get(node.id, 0) + 1
            if isinstance(node, ast.Assign) and len(node.targets) == 1 \
                    and isinstance(node.targets[0], ast.Name) and _is_masks_of_result(node.value):
                found[node.targets[0].id] = node
        return {name: node for name, node in found.items() if bound[name] == 1}

    # --- calls ------------------------------------------------------------------------------

    def _change_call(self, node: ast.Call) -> None:
        found = self.scope.resolve(node.func)
        if found is None:
            return
        _, name = found
        if name == "display_top_masks":
            self._change_top_masks(node)
            return
        if name == "load_image_gt":
            self._drop_arguments(node, [keyword for keyword in node.keywords
                                        if keyword.arg == "use_mini_mask"],
                                 "load_image_gt has no use_mini_mask")
        if name not in _PLACES:
            return
        places, least = _PLACES[name]
        unwanted: list[ast.AST] = [keyword for keyword in node.keywords
                                   if keyword.arg in MASK_NAMES | {"show_mask"}]
        named = {keyword.arg for keyword in node.keywords}
        if name == "display_instances" and len(node.args) == 4 and "class_names" in named:
            least = 4  # image, boxes, masks, class_ids
        if len(node.args) >= least or any(_is_masks_of_result(value) or self._is_lost(value)
                                          for value in node.args):
            unwanted += [node.args[place] for place in places if place < len(node.args)]
        unwanted += [node.args[place] for place in places if place < len(node.args)
                     and ast.unparse(node.args[place]) == "None"
                     and node.args[place] not in unwanted]
        self._drop_arguments(node, unwanted, f"{name} without masks")

    def _drop_arguments(self, node: ast.Call, unwanted: list[ast.AST], message: str) -> None:
        if not unwanted:
            return
        arguments: list[ast.AST] = sorted([*node.args, *node.keywords], key=self.source.start)
        self.source.remove_from(arguments, unwanted)
        if message:
            self.source.note(node, message)
        for argument in unwanted:
            self._dropped |= set(ast.walk(argument))

    def _change_outputs(self, node: ast.List) -> None:
        """The outputs that run_graph takes, without ("masks", …get_layer("mrcnn_mask").output)."""
        unwanted = [element for element in node.elts if isinstance(element, ast.Tuple)
                    and any(_is_mask_layer(inner) for inner in ast.walk(element))]
        if unwanted:
            self.source.remove_from(list(node.elts), list(unwanted))
            self.source.note(unwanted[0], "removed, since there is no mask head")
            for element in unwanted:
                self._dropped |= set(ast.walk(element))

    def _change_top_masks(self, node: ast.Call) -> None:
        """display_top_masks(image, mask, class_ids, names) → display_instances, with its boxes."""
        if len(node.args) < 4 or self._is_lost(node.args[1]):
            self.source.note(node, WITHOUT_MASKS["display_top_masks"], by_hand=True)
            return
        utils = self.scope.alias("utils")
        extract = f"{utils}.extract_bboxes" if utils else "extract_bboxes"
        if utils is None and self.scope.names.get("extract_bboxes") is None:
            first = self.source.tree.body[0]
            place = self.source.start(next(
                (statement for statement in self.source.tree.body
                 if isinstance(statement, (ast.Import, ast.ImportFrom))
                 and getattr(statement, "module", "") != "__future__"), first))
            self.source.replace_range(place, place, "from frcnn.utils import extract_bboxes\n")
        mask = self.source.text(node.args[1])
        self.source.replace(node.args[1], f"{extract}({mask})")
        name = node.func
        start = self.source.end(name) - len("display_top_masks")
        self.source.replace_range(start, self.source.end(name), "display_instances")
        extra: list[ast.AST] = [*node.args[4:], *(keyword for keyword in node.keywords
                                                  if keyword.arg == "limit")]
        self._drop_arguments(node, extra, "")
        self.source.note(node, "display_instances of the masks' boxes, for display_top_masks")

    # --- what is left -----------------------------------------------------------------------

    def _is_lost(self, node: ast.AST) -> bool:
        """Whether a name was bound last, in its function, to masks that are no longer there."""
        if not isinstance(node, ast.Name) or node.id not in self._lost \
                or not isinstance(node.ctx, ast.Load):
            return False
        bound = self.source.stores.get(node.id, [])
        function = function_of(self.source, node)
        before = [other for other in bound if function_of(self.source, other) is function
                  and self.source.start(other) < self.source.start(node)]
        if before:
            return max(before, key=self.source.start) in self._dropped
        return function is not None and node.id not in _parameters(function) \
            and all(other in self._dropped for other in bound)

    def _remove_prints(self, nodes: list[ast.AST]) -> None:
        """Removes print(…) and log(…) of masks, and what only takes them out of a result."""
        for node in nodes:
            if (isinstance(node, ast.Expr) and _is_masks_of_result(node.value)) or (
                    isinstance(node, ast.Delete) and len(node.targets) == 1
                    and isinstance(node.targets[0], ast.Subscript)
                    and _is_masks_key(node.targets[0].slice)):
                self.source.remove_statement(node)
                self.source.note(node, "removed: a result has no masks")
                self._dropped |= set(ast.walk(node))
                continue
            if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
                continue
            function = node.value.func
            is_log = self.scope.resolve(function) == ("model", "log")
            if not is_log and not (isinstance(function, ast.Name) and function.id == "print"):
                continue
            if any(_is_masks_of_result(inner) or self._is_lost(inner)
                   for inner in ast.walk(node.value)):
                self.source.remove_statement(node)
                self.source.note(node, "removed, since it prints masks")
                self._dropped |= set(ast.walk(node))

    def _change_sizes(self, nodes: list[ast.AST]) -> None:
        """r["masks"].shape[-1], the number of objects, becomes len(r["rois"])."""
        for node in nodes:
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) \
                    and node.value.attr == "shape" and _is_masks_of_result(node.value.value) \
                    and ast.unparse(node.slice) in ("-1", "2"):
                result = _result_of_masks(node.value.value)
                assert result is not None
                self.source.replace(node, f'len({self.source.text(result)}["rois"])')
                self.source.note(node, "the number of objects by their boxes")
                self._dropped |= set(ast.walk(node))

    def _report_rest(self, nodes: list[ast.AST], assigned: dict[str, ast.Assign]) -> None:
        for name, statement in assigned.items():
            left = [node for node in self._uses(nodes, name) if node not in self._dropped]
            if not left:
                self.source.remove_statement(statement)
                self.source.note(statement, "removed, since its masks were only passed on")
                self._dropped |= set(ast.walk(statement))
        for node in nodes:
            if node in self._dropped:
                continue
            if _is_masks_of_result(node):
                self.source.note(node, _NO_RESULT, by_hand=True)
            elif self._is_lost(node) and isinstance(node, ast.Name):
                self.source.note(node, f"{node.id} were masks: {FOUR}; "
                                 "dataset.load_mask(image_id) returns those of a data set that "
                                 "has them", by_hand=True)
            elif _is_mask_layer(node) and isinstance(self.source.parent(node),
                                                     (ast.Call, ast.keyword)):
                assert isinstance(node, ast.Constant) and isinstance(node.value, str)
                self.source.note(node, f"there is no layer {node.value}, since there is no mask "
                                 "head", by_hand=True)

    def _uses(self, nodes: list[ast.AST], name: str) -> Iterator[ast.Name]:
        for node in nodes:
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                yield node


def _is_masks_of_result(node: ast.AST) -> bool:
    """Whether an expression is `r["masks"]`, `r.get("masks")` or `r.pop("masks")`."""
    return _result_of_masks(node) is not None


def _result_of_masks(node: ast.AST) -> ast.expr | None:
    """The `r` of such an expression."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) \
            and _is_masks_key(node.slice):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) \
            and node.func.attr in ("get", "pop") and node.args and _is_masks_key(node.args[0]):
        return node.func.value
    return None


def _is_masks_key(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == "masks"


def _is_mask_layer(node: ast.AST) -> bool:
    """Whether it is the name of a layer of the mask head: mrcnn_mask, mrcnn_mask_conv1, ..."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) \
        and _MASK_LAYER.fullmatch(node.value) is not None


def _parameters(function: ast.AST | None) -> set[str]:
    if not isinstance(function, (ast.FunctionDef, ast.Lambda)):
        return set()
    return {inner.arg for inner in ast.walk(function.args) if isinstance(inner, ast.arg)}

