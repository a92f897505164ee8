"""Reading Label Studio's own export, "JSON": tasks with rectangles in percent of the image's sides.

Only rectangles with one label are boxes. What else a task may have, such as polygons or rotated
rectangles, is a finding that names the task: an object that is left out would count as background.
"""

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, NamedTuple

from frcnn.data.clipping import clip_box
from frcnn.data.coco_values import as_id, is_number, json_type
from frcnn.data.file_names import Found
from frcnn.data.findings import MAX_SIDE, Finding, shown, size_from_header
from frcnn.data.label_studio_paths import resolve
from frcnn.errors import DatasetError
from frcnn.files import expanded, parse_json

RECTANGLE = "rectanglelabels"
# Results that are no shapes: they say something of the image or of a region.
NO_SHAPES = ("choices", "datetime", "number", "pairwise", "rating", "relation", "taxonomy",
             "textarea")
SIDES = ("x", "y", "width", "height")


class TaskImage(NamedTuple):
    """The image of a task, and its objects.

    Attributes:
        id: of the task.
        path: of the image file.
        width: pixels.
        height: pixels.
        objects: name of the class, and box `[y1, x1, y2, x2]` in pixels, clipped to the image.
    """

    id: int
    path: str
    width: int
    height: int
    objects: list[tuple[str, list[float]]]


class Tasks(NamedTuple):
    """What a file has.

    Attributes:
        images: those that can be used, in the file's order.
        findings: what is wrong.
        notes: sentences on tasks that were left out or are as the detector left them.
    """

    images: list[TaskImage]
    findings: list[Finding]
    notes: list[str]


class _UnusableError(Exception):
    """Why a task cannot be used: kind and text of a serious finding."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


def read_tasks(path: str | PathLike[str], image_dir: str | PathLike[str],
               class_names: Sequence[str] | None = None) -> Tasks:
    """Reads tasks: of each its annotation, or its prediction where nobody annotated it.

    A task that was skipped (cancelled) is left out, and so is one with a draft or with nothing at
    all; one whose annotation is empty is an image without objects. Of several annotations the one
    that is marked as the ground truth is taken.

    Args:
        path: the JSON file; see `content_of`.
        image_dir: the folder of the images; see `resolve` for how their names are understood.
        class_names: those that objects may have; None: any.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not JSON, or no list of tasks.
    """
    tasks = _tasks_of(content_of(path), path)
    findings: list[Finding] = []
    left_out: Counter[str] = Counter()
    chosen: list[tuple[int, Any, str]] = []  # id, results, name of the image
    ids = _ids(tasks)
    for task_id, task in zip(ids, tasks):
        try:
            results = _results(task, left_out)
            if results is not None:
                chosen.append((task_id, results, _image_name(task)))
        except _UnusableError as error:
            findings.append(_finding(error, task_id))
    found, prefix = resolve([name for _, _, name in chosen], image_dir)
    findings.extend(prefix)
    doubles = _doubles(ids=[task_id for task_id, _, _ in chosen], found=found, findings=findings)
    images = []
    for (task_id, results, name), place in zip(chosen, found):
        if task_id in doubles:
            continue
        try:
            if place.path is None:
                several = f", and {place.candidates} files that it may be" * (place.candidates > 1)
                raise _UnusableError("image missing", f"its image {shown(name)} is not in "
                                                      f"{image_dir}{several}")
            spelled = place.finding(name, task_id)
            findings.extend([spelled] if spelled is not None else [])
            images.append(_image(task_id, place.path, results, class_names, findings))
        except _UnusableError as error:
            findings.append(_finding(error, task_id))
    return Tasks(images, findings, _notes(left_out))


def content_of(path: str | PathLike[str]) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is none.
        DatasetError: it is not JSON.
    """
    try:
        return parse_json(expanded(path).read_text("utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}.") from None
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as JSON ({error}); export it again.") from error


def _tasks_of(content: Any, path: str | PathLike[str]) -> list[Any]:
    if not isinstance(content, list):
        raise DatasetError(f"{path} holds a JSON {json_type(content)}, where Label Studio has a "
                           "list of tasks.")
    if not any(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in content):
        raise DatasetError(f"{path} has no tasks with 'data', as Label Studio's export 'JSON' has; "
                           "'JSON-MIN' and detections are other lists.")
    return content


def _ids(tasks: Sequence[Any]) -> list[int]:
    """Those of the tasks, or their numbers from 1 where they have none or share one."""
    found = [as_id(task.get("id")) if isinstance(task, dict) else None for task in tasks]
    ids = [number for number in found if number is not None]
    return ids if len(set(ids)) == len(tasks) else list(range(1, len(tasks) + 1))


def _finding(error: _UnusableError, task_id: int) -> Finding:
    return Finding(error.kind, f"Task {task_id}: {error.text}.", image_id=task_id)


def _notes(left_out: "Counter[str]") -> list[str]:
    texts = {"cancelled": "that were skipped are left out",
             "drafts": "with drafts that were not submitted are left out",
             "unlabelled": "that nobody annotated are left out",
             "predicted": "that nobody annotated have the detector's predictions"}
    return [f"{left_out[kind]} tasks {text}." for kind, text in texts.items() if left_out[kind]]


# --- tasks --------------------------------------------------------------------------------------


def _results(task: Any, left_out: "Counter[str]") -> list[Any] | None:
    """The results that count; None, counted in `left_out`, for a task that has none."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise _UnusableError("bad task", f"it has no 'data' ({shown(task)})")
    annotations, drafts, predictions = (_dicts(task, name)
                                        for name in ("annotations", "drafts", "predictions"))
    if annotations:
        made = [one for one in annotations if not one.get("was_cancelled")]
        if not made:
            left_out["cancelled"] += 1
            return None
        truths = [one for one in made if one.get("ground_truth") is True]
        return _only(truths if len(truths) == 1 else made, "annotations",
                     "delete all but one, or mark one as the ground truth")
    if drafts:
        left_out["drafts"] += 1
        return None
    if not predictions:
        left_out["unlabelled"] += 1
        return None
    results = _only(predictions, "predictions", "annotate it, or delete all but one")
    left_out["predicted"] += 1
    return results


def _dicts(task: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The entries of a list; an export may have their ids alone, which say nothing."""
    values = task.get(name) or []
    if not isinstance(values, list):
        raise _UnusableError("bad task", f"its '{name}' is {shown(values)}, where there should be "
                                         "a list")
    return [value for value in values if isinstance(value, dict)]


def _only(made: Sequence[dict[str, Any]], name: str, advice: str) -> list[Any]:
    if len(made) > 1:
        raise _UnusableError(f"several {name}", f"it has {len(made)} {name}, and one image has one "
                                                f"set of boxes; {advice}")
    results = made[0].get("result")
    if not isinstance(results, list):
        raise _UnusableError("bad task", f"its 'result' is {shown(results)}, where there should be "
                                         "a list")
    return results


def _image_name(task: dict[str, Any]) -> str:
    """What a task says of its image: its datum `image`, or the only one that is a text."""
    data = task["data"]
    texts = [value for value in data.values() if isinstance(value, str) and value]
    name = data.get("image", texts[0] if len(texts) == 1 else None)
    if not isinstance(name, str) or not name:
        raise _UnusableError("bad task", f"its data {shown(data)} do not name one image; call it "
                                         "'image'")
    return name


def _doubles(ids: Sequence[int], found: Sequence[Found], findings: list[Finding]) -> set[int]:
    """The tasks whose file is that of another task, too; adds a finding for each such file."""
    by_path: dict[str, list[int]] = {}
    for task_id, place in zip(ids, found):
        if place.path is not None:
            by_path.setdefault(os.path.realpath(place.path), []).append(task_id)
    shared = {path: tasks for path, tasks in by_path.items() if len(tasks) > 1}
    findings.extend(Finding(
        "one file in several tasks", f"Tasks {', '.join(map(str, tasks[:5]))} are of the same file "
        f"{path}, so that the objects of one would count as background in the other; delete all "
        "but one.", image_id=tasks[1]) for path, tasks in shared.items())
    return {task_id for tasks in shared.values() for task_id in tasks}


# --- regions ------------------------------------------------------------------------------------


def _image(task_id: int, path: str, results: Sequence[Any], class_names: Sequence[str] | None,
           findings: list[Finding]) -> TaskImage:
    unreadable: list[Finding] = []
    size = size_from_header(path, task_id, unreadable)
    if size is None:
        raise _UnusableError("image unreadable", unreadable[0].message.rstrip("."))
    image = TaskImage(task_id, path, *size, [])
    for number, region, value in _rectangles(results):
        what = f"region {shown(region.get('id', number))}"
        name, full = _label(region, value, what, class_names), _pixels(region, value, what, image)
        box = clip_box(full, image.width, image.height, f"Task {task_id}: {what}", findings,
                       image_id=task_id, annotation_id=number)
        if box is not None:
            image.objects.append((name, box))
    return image


def _rectangles(results: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Yields (number, region, its value) of the rectangles; raises for any other shape."""
    for number, region in enumerate(results, start=1):
        kind = region.get("type") if isinstance(region, dict) else None
        if kind in NO_SHAPES:
            continue
        if kind != RECTANGLE:
            raise _UnusableError("other shape", f"region {number} is of the type {shown(kind)}, "
                                                f"and only {RECTANGLE} are boxes; draw a rectangle")
        if not isinstance(region.get("value"), dict):
            raise _UnusableError("bad region", f"region {number} has no value ({shown(region)})")
        yield number, region, region["value"]


def _label(region: dict[str, Any], value: dict[str, Any], what: str,
           class_names: Sequence[str] | None) -> str:
    labels = value.get(RECTANGLE)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str) \
            or not labels[0].strip():
        raise _UnusableError("bad label", f"{what} has the labels {shown(labels)}; give it one")
    name = labels[0].strip()
    if class_names is not None and name not in class_names:
        raise _UnusableError("unknown class", f"{what} has the label {shown(name)}, which is none "
                                              f"of the classes {', '.join(class_names)}")
    return name


def _pixels(region: dict[str, Any], value: dict[str, Any], what: str, image: TaskImage
            ) -> tuple[float, float, float, float]:
    """The box (y1, x1, y2, x2) of a region."""
    turned = value.get("rotation") or 0, region.get("image_rotation") or 0
    if turned != (0, 0):
        which = "is rotated" if turned[0] else "is on a rotated image"
        raise _UnusableError("rotated region", f"{what} {which} by {shown(turned[0] or turned[1])} "
                                               "degrees, and boxes are upright; draw it anew")
    size = region.get("original_width"), region.get("original_height")
    if size != (image.width, image.height):
        raise _UnusableError("image of another size", f"{what} is on an image of {shown(size)} "
                             f"pixels, and {image.path} has {(image.width, image.height)}: it is "
                             "another image")
    sides = [value.get(side) for side in SIDES]
    if not all(is_number(side) and math.isfinite(side) and abs(side) <= MAX_SIDE
               for side in sides):
        raise _UnusableError("bad region", f"{what} has {', '.join(SIDES)} {shown(sides)}; they "
                                           "are percentages")
    x, y, width, height = (float(side) / 100 for side in sides)  # type: ignore[arg-type]
    # Exact to a millionth of a pixel, so that pixels that were written come back.
    y1, x1, y2, x2 = (round(part, 6) for part in (
        y * image.height, x * image.width, (y + height) * image.height, (x + width) * image.width))
    return y1, x1, y2, x2
