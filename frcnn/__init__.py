"""frcnn: Faster R-CNN with a feature pyramid, on Keras 3.

Importing the package loads neither Keras nor a backend; `MaskRCNN` does when it is first used.
"""

import importlib
import os
from typing import Any

__version__ = "0.1.0"
__all__ = ["CocoDataset", "Config", "Dataset", "MaskRCNN", "VocDataset", "__version__"]

_MODULES = {
    "CocoDataset": "frcnn.data",
    "Config": "frcnn.config",
    "Dataset": "frcnn.data",
    "MaskRCNN": "frcnn.model",
    "VocDataset": "frcnn.data",
}

if os.environ.get("TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"):  # of detection_only, in another process
    importlib.import_module("frcnn.startup")  # which then guards Keras here, too


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
