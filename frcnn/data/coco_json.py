"""Reading a COCO annotation file with plain `json`, and finding everything that is wrong in it.

No pixels are decoded here. What a file holds is returned together with a list of `Finding`s, so
that a loader can stop at the first serious one and a check can list them all.
"""

import collections
import json
import os
from os import PathLike
from typing import Any

from frcnn.data.annotated import AnnotatedImage, annotated_image
from frcnn.data.coco_objects import ImageEntry, read_objects
from frcnn.data.coco_values import BadIds, Entry, as_id, entries, is_number, json_type
from frcnn.data.file_names import FileFinder
from frcnn.data.findings import (
    MAX_SIDE,
    Finding,
    leaves_folder,
    shortened,
    shown,
    size_from_header,
)
from frcnn.errors import DatasetError
from frcnn.files import DuplicateKeyError, unique_keys


def read_coco(annotation_path: str | PathLike[str],
              image_dir: str | PathLike[str] | FileFinder,
              ) -> tuple[dict[int, str], list[AnnotatedImage], list[Finding]]:
    """Reads one COCO annotation file.

    Args:
        annotation_path: the JSON file.
        image_dir: the folder that its file names are relative to, or what finds its files.

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
    finder = image_dir if isinstance(image_dir, FileFinder) else FileFinder([image_dir])
    bad_categories = BadIds("categories", "bad category")
    bad_images = BadIds("images", "bad image entry")
    categories = _read_categories(sections["categories"], bad_categories, findings)
    images = _read_images(sections["images"], finder, bad_images, findings)
    objects = read_objects(sections["annotations"], images, categories,
                           (bad_images.values, bad_categories.values), findings)
    return categories, [annotated_image(*entry, objects.get(image_id, ()))
                        for image_id, entry in images.items()], findings


# --- the file -------------------------------------------------------------------------------


def _read_json(path: str | PathLike[str]) -> Entry:
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file, object_pairs_hook=unique_keys)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no annotation file {path}.") from None
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path} is not JSON: {error.msg} in line {error.lineno}, column "
                           f"{error.colno}. Export it again, or repair that place.") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{path} is not JSON text in UTF-8. Export it again.") from None
    except RecursionError:
        raise DatasetError(f"{path} is not JSON that can be read: it is nested too deeply. Export "
                           "it again.") from None
    except DuplicateKeyError as error:
        raise DatasetError(f"{path} cannot be used: {error}. Join them.") from None
    except ValueError:  # Python's limit
        raise DatasetError(f"{path} is not JSON that can be read: it holds a number of thousands "
                           "of digits. Export it again.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a JSON {json_type(content)}, where COCO has an object "
                           "with the lists images, annotations and categories.")
    return content


def _section(content: Entry, name: str, path: str | PathLike[str]) -> list[Any]:
    if name not in content:
        raise DatasetError(f"{path} has no '{name}'. A COCO annotation file has the lists images, "
                           "annotations and categories; is this one of another format?")
    if not isinstance(content[name], list):
        raise DatasetError(f"'{name}' in {path} is a JSON {json_type(content[name])}; COCO has a "
                           "list there.")
    if not content[name] and name != "annotations":
        raise DatasetError(f"'{name}' in {path} is empty: there is nothing to load.")
    return content[name]


# --- categories -----------------------------------------------------------------------------


def read_image_names(annotation_path: str | PathLike[str]) -> tuple[dict[int, str], list[Finding]]:
    """The images that a COCO annotation file lists, whether or not they exist.

    Returns:
        names: `{image id: file_name}`, and the findings.

    Raises:
        FileNotFoundError, DatasetError: as `read_coco`; only 'images' is needed.
    """
    section = _section(_read_json(annotation_path), "images", annotation_path)
    findings: list[Finding] = []
    bad_ids, names = BadIds("images", "bad image entry"), dict[int, str]()
    for place, entry in entries(section, "images", findings):
        image_id, name = as_id(entry.get("id")), entry.get("file_name")
        if image_id is None:
            bad_ids.add(entry.get("id"), _image_problem(place, entry, None))
        elif image_id in names:
            findings.append(_second_image(image_id, names[image_id], name))
        elif not isinstance(name, str) or not name:
            findings.append(Finding("bad image entry", _image_problem(place, entry, image_id),
                                    image_id=image_id))
        else:
            names[image_id] = name
    bad_ids.report(findings)
    return names, findings


def _read_categories(section: list[Any], bad_ids: BadIds,
                     findings: list[Finding]) -> dict[int, str]:
    """`{category id: name}` of the usable categories, by ascending id."""
    categories: dict[int, str] = {}
    for place, entry in entries(section, "categories", findings):
        category_id, name = as_id(entry.get("id")), entry.get("name")
        problem = None
        if category_id is None:
            bad_ids.add(entry.get("id"), f"Entry {place} of 'categories' has the id "
                                         f"{shown(entry.get('id'))}; give a whole number.")
        elif category_id in categories:
            problem = f"Category id {category_id} occurs twice in 'categories' " \
                      f"({categories[category_id]!r} and {shown(name)}); ids must differ."
        elif not isinstance(name, str) or not name.strip():
            problem = f"Category {category_id} has the name {shown(name)}; give it a text."
        if problem:
            findings.append(Finding("bad category", problem))
        elif category_id is not None and isinstance(name, str):
            categories[category_id] = name.strip()
    bad_ids.report(findings)
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


def _read_images(section: list[Any], finder: FileFinder, bad_ids: BadIds,
                 findings: list[Finding]) -> dict[int, ImageEntry]:
    """`{image id: (id, path, width, height)}` of the usable images.

    `bad_ids` also gets the ids of those whose annotations are not to be reported again.
    """
    images: dict[int, ImageEntry] = {}
    missing: list[Finding] = []
    names: dict[int, Any] = {}
    by_path: dict[str, int] = {}
    for place, entry in entries(section, "images", findings):
        image_id, name = as_id(entry.get("id")), entry.get("file_name")
        if image_id is None:
            bad_ids.add(entry.get("id"), _image_problem(place, entry, None))
            continue
        if image_id in names:
            findings.append(_second_image(image_id, names[image_id], name))
            if names[image_id] != name:
                images.pop(image_id, None)  # its annotations may belong to either
            continue
        names[image_id] = name
        problem = _image_problem(place, entry, image_id)
        if problem:
            findings.append(Finding("bad image entry", problem, image_id=image_id))
            continue
        image = _find_image(entry, image_id, finder, missing, findings)
        if image is None:
            continue
        first = by_path.setdefault(os.path.normpath(image[1]), image_id)
        if first != image_id:
            findings.append(_second_id(first, image_id, image[1]))
            images.pop(first, None)  # which objects are in the picture cannot be known
            bad_ids.values.update((first, image_id))
            continue
        images[image_id] = image
    bad_ids.report(findings)
    findings.extend(missing)
    return images


def _find_image(entry: Entry, image_id: int, finder: FileFinder, missing: list[Finding],
                findings: list[Finding]) -> ImageEntry | None:
    """The image of an entry; None, and a finding, when it is missing or unreadable."""
    name = str(entry["file_name"])
    found = finder.find(name)
    if found.path is None:
        path = os.path.join(finder.folders[0], shortened(name))
        several = f", and {found.candidates} files of similar names" * (found.candidates > 1)
        missing.append(Finding("image missing", f"Image {image_id}: there is no file {path}"
                               f"{several}.", image_id=image_id))
        return None
    spelled = found.finding(name, image_id)
    if spelled is not None:
        findings.append(spelled)
    size = _image_size(entry, found.path, image_id, findings)
    return (image_id, found.path, *size) if size else None


def _second_id(first: int, second: int, path: str) -> Finding:
    """The finding on a file that is listed under two ids."""
    return Finding("one file under two ids", f"Images {first} and {second} are the same file "
                   f"{path}, so that the objects of one would count as background in the other; "
                   "join them under one id.", image_id=second)


def _second_image(image_id: int, first_name: object, name: object) -> Finding:
    """The finding on an image id that occurs again."""
    if name == first_name:
        return Finding("image listed twice", f"Image {image_id} ({shown(name)}) is listed twice in "
                       "'images'; used once.", repairable=True, image_id=image_id)
    return Finding("duplicate image id", f"Image id {image_id} occurs twice in 'images' "
                   f"({shown(first_name)} and {shown(name)}); ids must differ.", image_id=image_id)


def _image_problem(place: int, entry: Entry, image_id: int | None) -> str:
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
        if value is not None and not (is_number(value) and value >= 1 and value == int(value)):
            return f"Image {image_id} ({name}) has the {key} {shown(value)}; give a whole number " \
                   "of pixels, or leave it out."
    sides = [entry[key] for key in ("width", "height") if entry.get(key) is not None]
    if any(side > MAX_SIDE for side in sides):
        return f"Image {image_id} ({name}) has the width and height {shown(sides)}, more than " \
               f"the {MAX_SIDE:,} pixels a side that an image can have; correct them."
    return ""


def _image_size(entry: Entry, path: str, image_id: int,
                findings: list[Finding]) -> tuple[int, int] | None:
    """(width, height) as declared, or else from the image's header; None when unreadable."""
    if entry.get("width") is not None and entry.get("height") is not None:
        return int(entry["width"]), int(entry["height"])
    return size_from_header(path, image_id, findings)
