"""Detectors that are built, trained, used and deleted leave nothing in memory."""

import ctypes
import gc
import shutil

import keras
import numpy as np
import pytest

from benchmarks.measure import resident
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.model.mask_rcnn import MaskRCNN


class TwoImages(Dataset):
    """Two images of noise with two objects each."""

    @classmethod
    def prepared(cls):
        dataset = cls()
        for number, name in enumerate("abc", start=1):
            dataset.add_class("noise", number, name)
        for number in range(2):
            dataset.add_image("noise", number, f"{number}.png", width=128, height=128)
        dataset.prepare()
        return dataset

    def load_image(self, image_id):
        return np.random.default_rng(image_id).integers(0, 255, (128, 128, 3), np.uint8)

    def load_boxes(self, image_id):
        boxes = np.array([[10, 10, 60, 60], [70, 70, 100, 120]], np.float32)
        return boxes, np.array([1, 2], np.int32)


def config():
    return Config(NAME="memory", BACKBONE="resnet50", NUM_CLASSES=4, IMAGE_MIN_DIM=128,
                  IMAGE_MAX_DIM=128, PRE_NMS_LIMIT=200, POST_NMS_ROIS_INFERENCE=20,
                  POST_NMS_ROIS_TRAINING=50, TRAIN_ROIS_PER_IMAGE=20)


class _Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


def in_use():
    """Bytes that the C heap holds, without what it keeps for later; None with another C library."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _Heap
    library.malloc_trim(0)
    heap = library.mallinfo2()
    return heap.uordblks + heap.hblkhd


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:BatchNorm is frozen")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's registries")
@pytest.mark.skipif(in_use() is None, reason="another C library")
def test_twenty_detectors_leave_nothing(tmp_path):
    """The weights of one alone take 160 MB."""
    dataset = TwoImages.prepared()
    held, used = [], []
    for _ in range(20):
        trained = MaskRCNN("training", config(), tmp_path / "logs")
        trained.train(dataset, None, 0.001, 1, "all", verbose=0)
        detecting = MaskRCNN("inference", config(), tmp_path / "logs")
        detecting.detect([dataset.load_image(0)])
        del trained, detecting
        gc.collect()
        shutil.rmtree(tmp_path / "logs")
        held.append(in_use() / 2**20)
        used.append(resident() / 2**20)
    # Kernels, threads and their buffers are made in the first rounds.
    assert held[-1] - held[0] < 20, held
    assert used[-1] - used[2] < 50, used
