"""Data sets: images on disk, their boxes in pixels, and the classes of one or several sources."""

from frcnn.dataset.base import Dataset
from frcnn.dataset.folders import CocoDataset, FolderDataset, VocDataset, find_layout, open_folder

__all__ = ["CocoDataset", "Dataset", "FolderDataset", "VocDataset", "find_layout", "open_folder"]
