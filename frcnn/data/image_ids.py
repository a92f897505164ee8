"""The ids that a COCO annotation file gives to image files, wherever these lie."""

import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from frcnn.data.coco_json import read_image_names
from frcnn.data.file_names import spelling
from frcnn.data.findings import report
from frcnn.errors import DatasetError


def ids_of_files(paths: Sequence[Path], annotation_path: str | PathLike[str]) -> dict[Path, int]:
    """The image ids of files, by the names that an annotation file lists them under.

    A listed name with folders, as `patient_a/001.png`, is that of the file in these folders. Where
    no listed name ends like a file's path, the one with its base name is taken, if there is only
    one, and only one such file.

    Args:
        paths: the files.
        annotation_path: a file in COCO's format; only its 'images' are needed.

    Raises:
        FileNotFoundError, DatasetError: the annotation file is unusable, as when it is loaded for
            training, does not list a file, or lists two files under one name.
    """
    names, findings = read_image_names(annotation_path)
    report(findings, annotation_path)
    listed: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for image_id, name in names.items():
        listed[posixpath.basename(spelling(name))].append((spelling(name), image_id))
    spelled = {path: spelling(os.path.abspath(path).replace(os.sep, "/")) for path in paths}
    counts = Counter(posixpath.basename(name) for name in spelled.values())
    ids: dict[Path, int] = {}
    for path, name in spelled.items():
        base = posixpath.basename(name)
        ids[path] = _fitting(path, name, listed[base], counts[base] == 1, annotation_path)
    by_id: dict[int, Path] = {}
    for path, image_id in ids.items():
        if by_id.setdefault(image_id, path) != path:
            raise DatasetError(
                f"{annotation_path}: {by_id[image_id]} and {path} are both image {image_id} "
                f"({names[image_id]}); list them with their folders, or detect in one of them.")
    return ids


def _fitting(path: Path, name: str, candidates: list[tuple[str, int]], is_only: bool,
             where: str | PathLike[str]) -> int:
    """The id of the listed name that fits best."""
    fitting = [found for found in candidates if f"/{name}".endswith(f"/{found[0].lstrip('/')}")]
    if not fitting and is_only and len(candidates) == 1:
        fitting = candidates
    if not fitting:
        similar = f" (but {candidates[0][0]})" if candidates else ""
        raise DatasetError(f"{where} does not list {path.name}{similar}; leave --annotations out "
                           "to number the images instead.")
    longest = max(len(found[0]) for found in fitting)
    best = [image_id for found, image_id in fitting if len(found) == longest]
    if len(best) > 1:
        raise DatasetError(f"{where} lists {path.name} as the images {best[0]} and {best[1]}; one "
                           "file has one id.")
    return best[0]
