"""Data sets in folders of any layout: which layout a folder has, and the class that reads it."""

from os import PathLike
from typing import Any

from frcnn.data.coco import CocoDataset
from frcnn.data.layouts import COCO, Layout, recognise
from frcnn.data.voc import VocDataset
from frcnn.errors import DatasetError
from frcnn.files import expanded


class FolderDataset(CocoDataset, VocDataset):
    """A data set from folders in COCO's layout, in Pascal VOC's, or in both.

    `from_folder` reads a folder in either layout. To merge several sets, load them with `load_coco`
    and `load_voc`, each under a `source` of its own, then `prepare(class_map)`.
    """

    def _load_subset(self, dataset_dir: str | PathLike[str], subset: str, **options: Any) -> None:
        layout, _ = find_layout(dataset_dir)
        layout._load_subset(self, dataset_dir, subset, **options)


def open_folder(dataset_dir: str | PathLike[str], subset: str, *,
                skip_bad: bool = False) -> CocoDataset | VocDataset:
    """One subset of a folder in either layout, prepared.

    Args:
        dataset_dir: the data set's folder.
        subset: such as "train" or "val".
        skip_bad: see `CocoDataset.load_coco`.

    Returns:
        A `CocoDataset` or a `VocDataset`, as `find_layout` says.

    Raises:
        FileNotFoundError, DatasetError: as `find_layout` and `load_coco` or `load_voc`.
    """
    layout, _ = find_layout(dataset_dir)
    return layout.from_folder(dataset_dir, subset, skip_bad=skip_bad)


def find_layout(dataset_dir: str | PathLike[str],
                ) -> tuple[type[CocoDataset] | type[VocDataset], list[str]]:
    """The class that reads a folder, and the subsets that it has.

    Returns:
        `CocoDataset` or `VocDataset`, and a sorted list of names. A folder in both layouts is read
        as COCO's.

    Raises:
        FileNotFoundError: there is no such folder.
        DatasetError: it is in neither layout.
    """
    layout = find_folder(dataset_dir)
    return (CocoDataset if layout.format == COCO else VocDataset), list(layout.subsets)


def find_folder(dataset_dir: str | PathLike[str]) -> Layout:
    """What a folder is recognised as.

    Raises:
        FileNotFoundError, DatasetError: as `find_layout`.
    """
    folder = expanded(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds annotations/ (COCO) or ImageSets/ (Pascal VOC).")
    layout = recognise(folder)
    if layout is None:
        raise DatasetError(
            f"{folder} is in neither layout that is read: it has no "
            "annotations/instances_<subset>.json (COCO), nor ImageSets/Main/<subset>.txt (Pascal "
            "VOC), nor other files in one of these formats in it or in a folder of it. Name the "
            "folder that holds them.")
    return layout
