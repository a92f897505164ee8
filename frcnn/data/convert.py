"""From Pascal VOC's layout to COCO's, without loss."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from frcnn.data.findings import report
from frcnn.data.voc_folder import VocObject, read_voc_images, voc_subsets
from frcnn.errors import DatasetError

# By subset: the content of its annotation file, and the paths of its images in the same order.
_Contents: TypeAlias = dict[str, tuple[dict[str, list[dict[str, Any]]], list[str]]]


def convert_voc(voc_dir: str | PathLike[str], coco_dir: str | PathLike[str],
                subsets: Iterable[str] | None = None, *, skip_bad: bool = False,
                first_pixel: int = 1, progress: bool = False) -> dict[str, tuple[int, int]]:
    """Writes a copy of a data set in Pascal VOC's layout in COCO's: annotations and images.

    Boxes become [x, y, width, height] with the left upper corner at 0, as `load_voc` reads them;
    `difficult` objects become crowd regions, as in `load_voc`. Class and image names stay, and so
    do `difficult`, `pose`, `truncated` and `occluded`, as fields that other readers of COCO's
    format ignore. One image has one id in all subsets. The folder is complete or is not written.

    Args:
        voc_dir: the data set's folder.
        coco_dir: the folder to write; it must not exist, or be empty.
        subsets: names, None for all.
        skip_bad: as for `VocDataset.load_voc`.
        first_pixel: as for `VocDataset.load_voc`.
        progress: whether to show a progress bar.

    Returns:
        dict, subset → (number of images, number of objects).

    Raises:
        FileNotFoundError, DatasetError: as `load_voc`; or the folder to write to is not empty.
    """
    target = Path(coco_dir)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{target} is there already and not empty; name a new folder.")
    subsets = list(dict.fromkeys(subsets)) if subsets else voc_subsets(voc_dir)
    if not subsets:
        raise DatasetError(f"{voc_dir} is not in Pascal VOC's layout: it has no "
                           "ImageSets/Main/<subset>.txt.")
    contents = _read(voc_dir, subsets, skip_bad, first_pixel)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _write(draft, contents, progress)
        draft.chmod(0o755)  # mkdtemp makes it readable for its owner alone
        if target.is_dir():
            target.rmdir()
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {subset: (len(content["images"]), len(content["annotations"]))
            for subset, (content, _) in contents.items()}


def _read(voc_dir: str | PathLike[str], subsets: list[str], skip_bad: bool,
          first_pixel: int) -> _Contents:
    """What is to be written."""
    contents: _Contents = {}
    image_ids: dict[str, int] = {}
    annotation_id = 1
    for subset in subsets:
        names, images, findings = read_voc_images(voc_dir, subset, first_pixel=first_pixel)
        report(findings, f"{subset}.txt", skip_bad, stacklevel=3)
        if not images:
            raise DatasetError(f"No image of {subset}.txt can be used; nothing is written.")
        numbers = {name: place for place, name in enumerate(names, start=1)}
        content: dict[str, list[dict[str, Any]]] = {
            "images": [], "annotations": [],
            "categories": [{"id": number, "name": name} for name, number in numbers.items()]}
        for image in images:
            image_id = image_ids.setdefault(image.name, len(image_ids) + 1)
            file_name = image.name + os.path.splitext(image.path)[1]
            content["images"].append({"id": image_id, "file_name": file_name,
                                      "width": image.width, "height": image.height})
            for found in image.objects:
                content["annotations"].append(
                    {"id": annotation_id, "image_id": image_id,
                     "category_id": numbers[found.name], **_to_coco(found)})
                annotation_id += 1
        contents[subset] = content, [image.path for image in images]
    return contents


def _to_coco(found: VocObject) -> dict[str, Any]:
    """The fields of an object in COCO's notation."""
    y1, x1, y2, x2 = found.box
    width, height = x2 - x1, y2 - y1
    return {"bbox": [x1, y1, width, height], "area": width * height,
            "iscrowd": int(found.difficult), "difficult": int(found.difficult), **found.extras}


def _write(folder: Path, contents: _Contents, progress: bool) -> None:
    (folder / "annotations").mkdir()
    total = sum(len(paths) for _, paths in contents.values())
    with tqdm(total=total, desc="convert", unit="image", leave=False, delay=2,
              disable=not progress) as bar:
        for subset, (content, paths) in contents.items():
            path = folder / "annotations" / f"instances_{subset}.json"
            path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            for entry, source in zip(content["images"], paths):
                copy = folder / subset / entry["file_name"]
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
                bar.update()
            (folder / subset).mkdir(exist_ok=True)
