"""From files to training batches: data sets, their readers and checks, and the loader."""

from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.data.folders import FolderDataset, find_layout, open_folder
from frcnn.data.voc import VocDataset

__all__ = ["CocoDataset", "Dataset", "FolderDataset", "VocDataset", "find_layout", "open_folder"]
