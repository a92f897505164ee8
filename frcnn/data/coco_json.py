"""Reading a COCO annotation file with plain `json`, and finding everything that is wrong in it.

No pixels are decoded here. What a file holds is returned together with a list of `Finding`s, so
that a loader can stop at the first serious one and a check can list them all.
"""

import collections
import json
import math
import os
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, TypeAlias, TypeGuard

from frcnn.data.annotated import AnnotatedImage, AnnotatedObject, annotated_image
from frcnn.data.clipping import clip_box
from frcnn.data.findings import Finding, leaves_folder, shown, size_from_header
from frcnn.errors import DatasetError

_Entry: TypeAlias = dict[str, Any]  # one JSON object of a list
_ImageEntry: TypeAlias = tuple[int, str, int, int]  # id, path, width, height


def read_coco(annotation_path: str | PathLike[str], image_dir: str | PathLike[str],
              ) -> tuple[dict[int, str], list[AnnotatedImage], list[Finding]]:
    """Reads one COCO annotation file.

    Args:
        annotation_path: the JSON file.
        image_dir: the folder that its file names are relative to.

    Returns:
        categories: `{category id: name}`, by ascending id.
        images: list of `AnnotatedImage` in the file's order; only those that are usable.
        findings: list of `Finding`.

    Raises:
        FileNotFoundError: there is no such annotation file.
        DatasetError: the file is not JSON, or lacks one of the three lists.
    """
    content = _read_json(annotation_path)
    sections = {name: _section(content, name, annotation_path)
                for name in ("images", "annotations", "categories")}
    findings: list[Finding] = []
    categories = _read_categories(sections["categories"], findings)
    images = _read_images(sections["images"], image_dir, findings)
    objects = _read_annotations(sections["annotations"], images, categories, findings)
    return categories, [annotated_image(*entry, objects.get(image_id, ()))
                        for image_id, entry in images.items()], findings


# --- the file -------------------------------------------------------------------------------


def _read_json(path: str | PathLike[str]) -> _Entry:
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no annotation file {path}.") from None
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path} is not JSON: {error.msg} in line {error.lineno}, column "
                           f"{error.colno}. Export it again, or repair that place.") from None
    except (UnicodeDecodeError, RecursionError):
        raise DatasetError(f"{path} is not JSON text in UTF-8. Export it again.") from None
    except ValueError as error:  # such as a number of thousands of digits
        raise DatasetError(f"{path} is not JSON that can be read: {error}.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a JSON {_json_type(content)}, where COCO has an object "
                           "with the lists images, annotations and categories.")
    return content


def _section(content: _Entry, name: str, path: str | PathLike[str]) -> list[Any]:
    if name not in content:
        raise DatasetError(f"{path} has no '{name}'. A COCO annotation file has the lists images, "
                           "annotations and categories; is this one of another format?")
    if not isinstance(content[name], list):
        raise DatasetError(f"'{name}' in {path} is a JSON {_json_type(content[name])}; COCO has a "
                           "list there.")
    if not content[name] and name != "annotations":
        raise DatasetError(f"'{name}' in {path} is empty: there is nothing to load.")
    return content[name]


def _entries(section: list[Any], name: str,
             findings: list[Finding]) -> Iterator[tuple[int, _Entry]]:
    """The entries of a list that are objects, with their place in it."""
    for place, entry in enumerate(section):
        if isinstance(entry, dict):
            yield place, entry
        else:
            findings.append(Finding(
                f"not an object in '{name}'",
                f"Entry {place} of '{name}' is a JSON {_json_type(entry)}, not an object."))


# --- categories -----------------------------------------------------------------------------


def _read_categories(section: list[Any], findings: list[Finding]) -> dict[int, str]:
    """`{category id: name}` of the usable categories, by ascending id."""
    categories: dict[int, str] = {}
    for place, entry in _entries(section, "categories", findings):
        category_id, name = as_id(entry.get("id")), entry.get("name")
        problem = None
        if category_id is None:
            problem = f"Entry {place} of 'categories' has the id {shown(entry.get('id'))}; give " \
                      "a whole number."
        elif category_id in categories:
            problem = f"Category id {category_id} occurs twice in 'categories' " \
                      f"({categories[category_id]!r} and {shown(name)}); ids must differ."
        elif not isinstance(name, str) or not name.strip():
            problem = f"Category {category_id} has the name {shown(name)}; give it a text."
        if problem:
            findings.append(Finding("bad category", problem))
        elif category_id is not None and isinstance(name, str):
            categories[category_id] = name.strip()
    return _with_distinct_names(dict(sorted(categories.items())), findings)


def _with_distinct_names(categories: dict[int, str], findings: list[Finding]) -> dict[int, str]:
    """Adds the id to names that several categories share, so that results are unambiguous."""
    counts = collections.Counter(categories.values())
    shared = sorted(name for name, count in counts.items() if count > 1)
    if shared:
        findings.append(Finding(
            "category name shared", "Several categories share a name, so their ids are added to "
            f"it: {', '.join(shared)}.", repairable=True))
    return {category_id: f"{name} ({category_id})" if name in shared else name
            for category_id, name in categories.items()}


# --- images ---------------------------------------------------------------------------------


def _read_images(section: list[Any], image_dir: str | PathLike[str],
                 findings: list[Finding]) -> dict[int, _ImageEntry]:
    """`{image id: (id, path, width, height)}` of the usable images."""
    images: dict[int, _ImageEntry] = {}
    missing: list[tuple[int, str]] = []
    names: dict[int | None, Any] = {}
    for place, entry in _entries(section, "images", findings):
        image_id, name = as_id(entry.get("id")), entry.get("file_name")
        if image_id is not None and image_id in names:
            findings.append(_second_image(image_id, names[image_id], name))
            if names[image_id] != name:
                images.pop(image_id, None)  # its annotations may belong to either
            continue
        names[image_id] = name
        problem = _image_problem(place, entry, image_id)
        if problem or image_id is None:
            findings.append(Finding("bad image entry", problem, image_id=image_id))
            continue
        path = os.path.join(image_dir, str(name))
        if not os.path.isfile(path):
            missing.append((image_id, path))
            continue
        size = _image_size(entry, path, image_id, findings)
        if size:
            images[image_id] = (image_id, path, *size)
    for image_id, path in missing:
        findings.append(Finding("image missing", f"Image {image_id}: there is no file {path}.",
                                image_id=image_id))
    return images


def _second_image(image_id: int, first_name: object, name: object) -> Finding:
    """The finding on an image id that occurs again."""
    if name == first_name:
        return Finding("image listed twice", f"Image {image_id} ({shown(name)}) is listed twice in "
                       "'images'; used once.", repairable=True, image_id=image_id)
    return Finding("duplicate image id", f"Image id {image_id} occurs twice in 'images' "
                   f"({shown(first_name)} and {shown(name)}); ids must differ.", image_id=image_id)


def _image_problem(place: int, entry: _Entry, image_id: int | None) -> str:
    """What makes an entry of 'images' unusable; empty when it is usable."""
    name = entry.get("file_name")
    if image_id is None:
        return f"Entry {place} of 'images' ({shown(name)}) has the id {shown(entry.get('id'))}; " \
               "give a whole number."
    if not isinstance(name, str) or not name:
        return f"Image {image_id} has the file_name {shown(name)}; give the name of a file."
    if leaves_folder(name):
        return f"Image {image_id} has the file_name {shown(name)}, which leaves the data set's " \
               "folder; it is not opened. Give a name relative to the images' folder."
    for key in ("width", "height"):
        value = entry.get(key)
        if value is not None and not (_is_number(value) and value >= 1 and value == int(value)):
            return f"Image {image_id} ({name}) has the {key} {shown(value)}; give a whole number " \
                   "of pixels, or leave it out."
    return ""


def _image_size(entry: _Entry, path: str, image_id: int,
                findings: list[Finding]) -> tuple[int, int] | None:
    """(width, height) as declared, or else from the image's header; None when unreadable."""
    if entry.get("width") is not None and entry.get("height") is not None:
        return int(entry["width"]), int(entry["height"])
    return size_from_header(path, image_id, findings)


# --- annotations ----------------------------------------------------------------------------


def _read_annotations(section: list[Any], images: dict[int, _ImageEntry],
                      categories: dict[int, str],
                      findings: list[Finding]) -> Mapping[int, list[AnnotatedObject]]:
    """`{image id: [(box, category id, crowd), ...]}`; boxes clipped to their images."""
    objects: dict[int, list[AnnotatedObject]] = collections.defaultdict(list)
    unusable = {finding.image_id for finding in findings} - images.keys() - {None}
    seen: set[int | float | str] = set()
    for place, entry in _entries(section, "annotations", findings):
        annotation_id, image_id = entry.get("id"), as_id(entry.get("image_id"))
        label = shown(annotation_id) if "id" in entry else f"number {place}"
        problem = _annotation_problem(entry, image_id, images, categories, seen)
        if isinstance(annotation_id, (int, float, str)):
            seen.add(annotation_id)
        if problem:
            kind, text = problem
            if image_id not in unusable:  # the finding on its image is enough
                findings.append(Finding(kind, f"Annotation {label} {text}",
                                        image_id=image_id, annotation_id=annotation_id))
            continue
        assert image_id is not None  # or there had been a problem
        _, _, width, height = images[image_id]
        x, y, w, h = entry["bbox"]
        box = clip_box((y, x, y + h, x + w), width, height,
                       f"Annotation {label} (image {image_id}): the box {entry['bbox']}",
                       findings, image_id=image_id, annotation_id=annotation_id)
        if box:
            objects[image_id].append(
                (box, int(entry["category_id"]), bool(entry.get("iscrowd"))))
    return objects


def _annotation_problem(entry: _Entry, image_id: int | None, images: dict[int, _ImageEntry],
                        categories: dict[int, str],
                        seen: set[int | float | str]) -> tuple[str, str] | None:
    """(kind, rest of the message) of what makes an annotation unusable, or None."""
    annotation_id = entry.get("id")
    if isinstance(annotation_id, (int, float, str)) and annotation_id in seen:
        return "duplicate annotation id", f"(image {shown(entry.get('image_id'))}) occurs twice " \
                                          "in 'annotations'; ids must differ."
    if image_id is None or image_id not in images:
        return "unknown image", f"is of image {shown(entry.get('image_id'))}, which is not in " \
                                "'images'."
    where = f"(image {image_id}, {os.path.basename(images[image_id][1])})"
    category_id = as_id(entry.get("category_id"))
    if category_id not in categories:
        return "unknown category", f"{where} is of category {shown(entry.get('category_id'))}, " \
                                   "which is not in 'categories'."
    if entry.get("iscrowd") not in (None, 0, 1):
        return "bad iscrowd", f"{where} has iscrowd {shown(entry['iscrowd'])}; allowed are 0 and 1."
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return "bad box", f"{where} has the bbox {shown(box)}; give [x, y, width, height]."
    if not all(_is_number(value) for value in box):
        return "bad box", f"{where} has the bbox {shown(box)}; give four finite numbers, " \
                          "[x, y, width, height]."
    return None


# --- values ---------------------------------------------------------------------------------


def as_id(value: object) -> int | None:
    """A COCO id as an int, or None when it is not a whole number."""
    return int(value) if _is_number(value) and value == int(value) and abs(value) < 2**63 else None


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a finite number; truth values are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def _json_type(value: object) -> str:
    names: dict[type, str] = {dict: "object", list: "list", str: "text", bool: "truth value",
                              type(None): "null"}
    return names.get(type(value), "number")
