"""Data sets that lie in folders: which layout a folder has, and the class that reads it."""

from pathlib import Path

from frcnn.data.coco import CocoDataset, coco_subsets
from frcnn.data.voc import VocDataset, voc_subsets
from frcnn.errors import DatasetError


class FolderDataset(CocoDataset, VocDataset):
    """A data set out of folders in COCO's layout, in Pascal VOC's, or in both.

    Load what is to be merged with `load_coco` and `load_voc`, each set under a `source` of its
    own, then `prepare(class_map)`.
    """

    @classmethod
    def from_folder(cls, dataset_dir, subset, **options):
        """As `open_folder`, with the options of the layout's own `load_...`."""
        return find_layout(dataset_dir)[0].from_folder(dataset_dir, subset, **options)


def find_layout(dataset_dir):
    """The class that reads a folder, and the subsets that it has.

    Returns:
        `CocoDataset` or `VocDataset`, and a sorted list of names. A folder in both layouts is read
        as COCO's.

    Raises:
        FileNotFoundError: there is no such folder.
        DatasetError: it is in neither layout.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds annotations/ (COCO) or ImageSets/ (Pascal VOC).")
    subsets = coco_subsets(folder)
    if subsets:
        return CocoDataset, subsets
    subsets = voc_subsets(folder)
    if subsets:
        return VocDataset, subsets
    raise DatasetError(f"{folder} is in neither layout that is read: it has no "
                       "annotations/instances_<subset>.json (COCO), nor "
                       "ImageSets/Main/<subset>.txt (Pascal VOC). Name the folder that holds one "
                       "of them.")


def open_folder(dataset_dir, subset, *, skip_bad=False):
    """One subset of a folder in either layout, prepared; raises as `find_layout`, `load_coco`."""
    return find_layout(dataset_dir)[0].from_folder(dataset_dir, subset, skip_bad=skip_bad)
