"""Arguments as scripts written for the reference pass them: other names, and masks.

The decorators here leave a function's signature as it is; what they accept beyond it is converted
before the function is called.
"""

import dis
import functools
import sys
import warnings
from collections.abc import Callable, Iterator, ValuesView
from types import CodeType
from typing import Any, NoReturn, ParamSpec, TypeVar

from frcnn.errors import NoMasksError

P = ParamSpec("P")
R = TypeVar("R")

# The reference's names of some functions' arguments, and those here.
SINGULAR_NAMES = {"gt_box": "gt_boxes", "gt_class_id": "gt_class_ids", "pred_box": "pred_boxes",
                  "pred_class_id": "pred_class_ids", "pred_score": "pred_scores"}
_NO_RESULT = (
    "A result has no masks, since frcnn detects boxes: it has rois, boxes, class_ids and scores. "
    'Draw it with visualize.display_instances(image, r["rois"], r["class_ids"], class_names, '
    'r["scores"]); len(r["rois"]) is the number of objects.')
# The reference's functions for masks, and what to write instead.
WITHOUT_MASKS = {
    "apply_mask": "Write draw_box(image, box, color) for each box of the result.",
    "build_fpn_mask_graph": "Leave it out; the head of boxes and classes is "
                            "fpn_classifier_graph.",
    "compute_overlaps_masks": "Write compute_overlaps(boxes1, boxes2).",
    "display_top_masks": "Write display_instances(image, boxes, class_ids, class_names), where "
                         "boxes, class_ids = dataset.load_boxes(image_id).",
    "expand_mask": "Boxes are in pixels of the image already; leave it out.",
    "minimize_mask": "Boxes need no smaller copy; leave it out, with use_mini_mask.",
    "mrcnn_mask_loss_graph": "The losses of the head are mrcnn_class_loss_graph and "
                             "mrcnn_bbox_loss_graph; leave the third out of the sum.",
    "resize_mask": "Write resize_bbox(boxes, scale, padding), with what resize_image returned.",
    "unmold_mask": "Leave it out; the boxes of model.detect are in pixels of the original image.",
}
MASK_NAMES = frozenset(("mask", "masks", "gt_mask", "gt_masks", "pred_mask", "pred_masks"))
MASK_LOSSES = frozenset(("mrcnn_mask_loss", "val_mrcnn_mask_loss"))
_HEAD_MASKS = frozenset(("mrcnn_mask", "mrcnn_masks"))


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function takes arguments by the reference's names, too.

    Args:
        **names: the reference's name = the parameter's.
    """
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in names.items():
                if old in kwargs and new not in kwargs:  # both: Python says what is wrong
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)
        return call
    return decorate


def without_masks(first: int, *places: int,
                  none_is_masks: Callable[..., bool] | None = None,
                  ) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: masks among the arguments are left out, with one warning.

    Masks are arrays of three dimensions, such as `[H, W, N]`, where the function takes none; at the
    places of the reference's masks also None and lists of arrays `[H, W]`; and the arguments that
    the reference calls so. `show_mask=False` asks for what happens anyway.

    Args:
        first: the first positional argument that may be masks; those before it may have three
            dimensions, as an image.
        *places: of the reference's masks among the positional arguments. The function must not
            take None at the first of them, unless `none_is_masks` is given; at a further place
            None is masks only where masks are at the first one.
        none_is_masks: whether None at the first place is masks, as a function of the arguments; for
            a function that takes None there.
    """
    def found(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
        masks = [number for number, value in enumerate(args)
                 if number >= first and getattr(value, "ndim", 0) == 3]
        for place in places:
            if place < len(args) and place not in masks and (
                    _is_list_of_masks(args[place]) or (args[place] is None and (
                        places[0] in masks if place != places[0]
                        else none_is_masks is None or none_is_masks(*args, **kwargs)))):
                masks.append(place)
        return sorted(masks)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            ignored = found(args, kwargs)
            kept = [value for number, value in enumerate(args) if number not in ignored]
            named = {name: kwargs.pop(name) for name in sorted(MASK_NAMES & kwargs.keys())}
            named["show_mask"] = kwargs.pop("show_mask", False) or None
            told = [f"argument {number + 1}" for number in ignored] \
                + [name for name, value in named.items() if value is not None]
            if told:
                function_name = getattr(function, "__name__", "this function")
                warnings.warn(f"{function_name} takes boxes only, so the masks are ignored: leave "
                              f"{' and '.join(told)} out of the call.", stacklevel=2)
            return function(*kept, **kwargs)  # type: ignore[arg-type]  # fewer of them
        return call
    return decorate


def _is_list_of_masks(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) \
        and all(getattr(mask, "ndim", 0) == 2 for mask in value)


def refused_masks(place: int, instead: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: masks among the arguments, or None in their place, raise an error that helps.

    The error says what to write. It is for functions that return masks in the reference, so that
    leaving them out of the call is not enough.

    Args:
        place: of the reference's masks among the positional arguments.
        instead: the call to write.
    """
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if (len(args) > place and (args[place] is None or _is_list_of_masks(args[place])
                                       or len(getattr(args[place], "shape", ())) >= 3)) \
                    or (MASK_NAMES | _HEAD_MASKS) & kwargs.keys():
                raise NoMasksError(f"{getattr(function, '__name__', 'This function')} takes and "
                                   f"returns no masks, since frcnn detects boxes: write {instead}.")
            return function(*args, **kwargs)
        return call
    return decorate


# --- what there is not ----------------------------------------------------------------------


def left_out(name: str) -> Callable[..., NoReturn]:
    """A function of the reference for masks, which says what to write instead when it is called.

    Args:
        name: one of WITHOUT_MASKS.
    """
    instead = WITHOUT_MASKS[name]

    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise NoMasksError(f"There is no {name} here, since frcnn detects boxes, not masks. "
                           f"{instead}")
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Not here, since it is for masks. {instead}"
    return function


# --- unpacking ------------------------------------------------------------------------------


def explained(values: Iterator[Any], count: int, instead: str) -> Iterator[Any]:
    """The values; if names are bound to them that do not fit, an error that explains.

    `a, b, c, d, masks = load_image_gt(…)` asks an iterator for its values. After the last one it
    is still asked whether there are more, whatever the number of names, so that only the
    instruction of the caller tells the two cases apart. As many names as there are values, with one
    for masks among them, as `image, meta, bbox, mask = load_image_gt(…)` of the first release,
    would be bound to others without an error.

    Args:
        values: iterator of `count` values.
        count: their number.
        instead: what to write.

    Raises:
        NoMasksError: more than `count` names are to be bound, or one that is for masks.
    """
    yield from values
    frame = sys._getframe(1)  # the one that asks
    number, names = _names_to_bind(frame.f_code, frame.f_lasti)
    if number > count or (MASK_NAMES | _HEAD_MASKS) & set(names):
        raise NoMasksError(instead)


@functools.lru_cache(maxsize=256)
def _names_to_bind(code: CodeType, place: int) -> tuple[int, tuple[str, ...]]:
    """How many names an instruction binds by unpacking, and those that are variables.

    Both are empty for another instruction. `place` is that of the instruction in bytes.
    """
    following = iter(dis.get_instructions(code))
    found = next((step for step in following if step.offset == place), None)
    if found is None or found.opname not in ("UNPACK_SEQUENCE", "UNPACK_EX"):
        return 0, ()
    number = limit = found.arg or 0
    if found.opname == "UNPACK_EX":  # names before that with the star; in the next byte, after it
        number = (number & 0xFF) + (number >> 8)
        limit = number + 1
    names: list[str] = []
    for step in following:
        if step.opname in ("EXTENDED_ARG", "NOP", "CACHE"):
            continue
        if not step.opname.startswith("STORE_") or step.opname in ("STORE_ATTR", "STORE_SUBSCR"):
            break
        value = step.argval
        names += [value] if isinstance(value, str) else value[:1 if "LOAD" in step.opname else 2]
        if len(names) >= limit or "LOAD" in step.opname:
            break
    return number, tuple(names[:limit])


class Detections(dict[str, Any]):
    """The result of one image, see `frcnn.arrays.DetectionResult`; "masks" says what there is."""

    def __missing__(self, key: str) -> NoReturn:
        if key == "masks":
            raise NoMasksError(_NO_RESULT)
        raise KeyError(key)

    def pop(self, key: str, *default: Any) -> Any:
        """As of a dict."""
        if key == "masks" and not default and key not in self:
            raise NoMasksError(_NO_RESULT)
        return super().pop(key, *default)

    def values(self) -> Any:
        """As of a dict; unpacking them into a name for masks raises an error that explains."""
        return _ResultValues(self)


class _ResultValues(ValuesView[Any]):
    """The values of a result: as many as in the reference, but others, in another order."""

    def __iter__(self) -> Iterator[Any]:
        found = self._mapping  # type: ignore[attr-defined]  # of collections.abc.MappingView
        return explained(iter([found[key] for key in found]), len(found), _NO_RESULT)


class LossHistory(dict[str, Any]):
    """The metrics of a training by name; the loss of masks says that there is none."""

    def __missing__(self, key: str) -> NoReturn:
        if key in MASK_LOSSES:
            raise NoMasksError(
                f"There is no {key}, since frcnn detects boxes, not masks: the losses of the "
                f"training are {', '.join(name for name in self if 'loss' in name)}.")
        raise KeyError(key)


class ExplainedList(list[Any]):
    """A list of arrays; unpacking it into more names than it has raises an error that explains.

    Args:
        values: of the list.
        instead: what to write instead.
    """

    def __init__(self, values: Any, instead: str) -> None:
        super().__init__(values)
        self.instead = instead

    def __iter__(self) -> Iterator[Any]:
        return explained(super().__iter__(), len(self), self.instead)

    def __getitem__(self, index: Any) -> Any:
        if index == len(self):  # what would be masks
            raise NoMasksError(self.instead)
        return super().__getitem__(index)
