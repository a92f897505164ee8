"""From Pascal VOC's layout to COCO's, without loss."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from tqdm import tqdm

from frcnn.data.findings import report
from frcnn.data.voc import read_voc_images, voc_subsets
from frcnn.errors import DatasetError


def convert_voc(voc_dir, coco_dir, subsets=None, *, skip_bad=False, first_pixel=1, progress=False):
    """Writes a data set in Pascal VOC's layout anew in COCO's: annotations, and copies of images.

    Boxes become [x, y, width, height] with the left upper corner at 0, as `load_voc` reads them;
    `difficult` objects become crowd regions, which the reader makes of them anyway. Class and
    image names stay, and so do `difficult`, `pose`, `truncated` and `occluded`, as fields that
    other readers of COCO's format pass over. One image has one id in all subsets. Nothing is
    written unless everything is.

    Args:
        voc_dir: the data set's folder.
        coco_dir: the folder to write; not there yet, or empty.
        subsets: list of names, None for all.
        skip_bad, first_pixel: as for `load_voc`.
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
    contents = _contents(voc_dir, subsets, skip_bad, first_pixel)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _write(draft, contents, progress)
        draft.chmod(0o755)  # mkdtemp's folder is for one user alone
        if target.is_dir():
            target.rmdir()
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {subset: (len(content["images"]), len(content["annotations"]))
            for subset, (content, _) in contents.items()}


def _contents(voc_dir, subsets, skip_bad, first_pixel):
    """dict, subset → (content of its annotation file, paths of its images in the same order)."""
    contents, image_ids, annotation_id = {}, {}, 1
    for subset in subsets:
        names, images, findings = read_voc_images(voc_dir, subset, first_pixel=first_pixel)
        report(findings, f"{subset}.txt", skip_bad, stacklevel=3)
        if not images:
            raise DatasetError(f"No image of {subset}.txt can be used; nothing is written.")
        numbers = {name: place for place, name in enumerate(names, start=1)}
        content = {"images": [], "annotations": [],
                   "categories": [{"id": number, "name": name}
                                  for name, number in numbers.items()]}
        for image in images:
            image_id = image_ids.setdefault(image.name, len(image_ids) + 1)
            file_name = image.name + os.path.splitext(image.path)[1]
            content["images"].append({"id": image_id, "file_name": file_name,
                                      "width": image.width, "height": image.height})
            for each in image.objects:
                content["annotations"].append(
                    {"id": annotation_id, "image_id": image_id,
                     "category_id": numbers[each.name], **_to_coco(each)})
                annotation_id += 1
        contents[subset] = content, [image.path for image in images]
    return contents


def _to_coco(each):
    """The fields of a `VocObject` in COCO's notation."""
    y1, x1, y2, x2 = each.box
    width, height = x2 - x1, y2 - y1
    return {"bbox": [x1, y1, width, height], "area": width * height,
            "iscrowd": int(each.difficult), "difficult": int(each.difficult), **each.extras}


def _write(folder, contents, progress):
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
