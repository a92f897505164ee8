"""Images in a data set's folders that no annotation file, or no list, names."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from frcnn.data.coco_json import read_image_names
from frcnn.data.file_names import FileFinder, is_image_name, spelling
from frcnn.data.findings import Finding
from frcnn.data.layouts import COCO, Layout, Subset
from frcnn.data.voc_lists import names_in
from frcnn.errors import FrcnnError

_MAX_NAMED = 3


class ListedDataset(Protocol):
    """What is needed of a `Dataset`."""

    image_info: list[dict[str, Any]]
    findings: list[Finding]


def doubt_unlisted(layout: Layout, datasets: Mapping[str, ListedDataset]
                   ) -> list[tuple[str, Finding]]:
    """(subset, `Finding`) on the images beside those of some subsets that no subset has.

    Only names of files are looked at: in folders of listed images, all that are not listed; in
    folders in which none is, those without a listed image of the same name but for the ending, as
    masks have one. XML files without lists have a finding of their own when they are read.

    Args:
        layout: of the folder.
        datasets: subsets of it that could be read, by name.
    """
    subsets = {name: subset for name in datasets
               if (subset := layout.find(name)) is not None
               and (layout.format == COCO or subset.names is not None)}
    try:
        listed = _listed(layout, {subsets[name].annotations: datasets[name] for name in subsets
                                  if layout.format == COCO and not subsets[name].share})
    except (FrcnnError, OSError):  # among the findings
        return []
    for dataset in datasets.values():
        listed |= {spelling(info["path"]) for info in dataset.image_info}
    parents = {os.path.dirname(path) for path in listed}
    stems = {_stem(path) for path in listed}
    found, seen = [], set[str]()
    for name, subset in subsets.items():
        others = []
        for folder, files in _folders(layout, subset, datasets[name]):
            if folder in seen:
                continue
            seen.add(folder)
            is_used = spelling(folder) in parents
            others += [path for file in files if is_image_name(file)
                       if spelling(path := os.path.join(folder, file)) not in listed
                       and (is_used or _stem(spelling(path)) not in stems)]
        if others:
            found.append((name, _finding(layout, others)))
    return found


def _finding(layout: Layout, paths: list[str]) -> Finding:
    first = ", ".join(os.path.relpath(path, layout.folder) for path in paths[:_MAX_NAMED])
    more = len(paths) - _MAX_NAMED
    named = f"{first} and {more} more" if more > 0 else first
    where, advice = ("annotation file", "list them among its images, too") \
        if layout.format == COCO else ("list", "list them, too, and give them files without "
                                               "<object>")
    return Finding(
        "image not listed", f"Of the images in the data set's folders {len(paths)} are in no "
        f"{where} and are left out: {named}. Where they have no objects, {advice}.", True,
        doubtful=True)


def _listed(layout: Layout, loaded: Mapping[Path, ListedDataset]) -> set[str]:
    """The `spelling` of the paths that the subsets list, whether or not they can be used.

    Args:
        layout: of the folder.
        loaded: data sets of whole annotation files.

    Raises:
        FrcnnError, OSError: a file or list cannot be read.
    """
    listed: set[str] = set()
    for subset in layout.subsets.values():
        finder = FileFinder(subset.images, also=(layout.folder, layout.folder / "images"))
        if layout.format != COCO:
            listed |= _of_list(subset)
            continue
        for path in (subset.annotations, *subset.others):
            dataset = loaded.get(path)
            if dataset is not None and all(finding.repairable for finding in dataset.findings):
                continue  # it has them all
            listed |= {spelling(image) for name in read_image_names(path)[0].values()
                       if (image := finder.find(name).path) is not None}
    return listed


def _of_list(subset: Subset) -> set[str]:
    """The images in a subset's folders whose name, with or without its ending, is in its list."""
    if subset.names is None:
        return set()
    names = {spelling(name) for name in names_in(subset.names)}
    return {spelling(os.path.join(folder, file)) for images in subset.images
            for folder, files in _walk(images) for file in files
            if names & {name := spelling(os.path.relpath(os.path.join(folder, file), images)),
                        _stem(name, whole=True)}}


def _stem(path: str, whole: bool = False) -> str:
    """A file's name without its ending; the whole path of it if asked."""
    return os.path.splitext(path if whole else os.path.basename(path))[0]


def _folders(layout: Layout, subset: Subset, dataset: ListedDataset
             ) -> Iterator[tuple[str, list[str]]]:
    """The folders with a subset's images, and the files in them.

    Below the data set's own folder anything may lie, so that there only those of listed images are
    looked at.
    """
    for images in subset.images:
        if images != layout.folder:
            yield from _walk(images)
    for folder in sorted({os.path.dirname(info["path"]) for info in dataset.image_info}):
        yield os.path.normpath(folder), sorted(os.listdir(folder))


def _walk(folder: Path) -> Iterable[tuple[str, list[str]]]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield os.path.normpath(parent), sorted(files)
