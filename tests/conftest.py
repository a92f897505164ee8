"""Fixtures that several test files share."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Category ids with a gap, not in order; the classes are rectangles of these colours.
COCO_CATEGORIES = {7: "square", 2: "bar", 11: "slab"}
COCO_COLOURS = {7: (220, 40, 40), 2: (40, 200, 60), 11: (50, 80, 230)}


def pytest_ignore_collect(collection_path, config):
    """Of a smoke run, leaves out files without a smoke test: importing them takes its time, too."""
    if config.option.markexpr == "smoke" and collection_path.match("test_*.py"):
        return "mark.smoke" not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Processes of `-n auto`: one takes up to 4 GB."""
    return min(len(os.sched_getaffinity(0)), 4)


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs():
    """Has JAX forget after each file what it has compiled, which otherwise adds up to many GB."""
    yield
    if os.environ.get("KERAS_BACKEND") == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def golden_dir():
    """The folder of the reference's outputs; its README says what is in it."""
    return Path(__file__).with_name("golden")


@pytest.fixture(scope="session")
def functions(golden_dir):
    """Inputs and outputs of the reference's functions, by key."""
    with np.load(golden_dir / "functions.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def golden_model(golden_dir):
    """Outputs of the reference's whole detector with the formula's weights, by key."""
    with np.load(golden_dir / "model_resnet50.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def reference_weights(golden_dir):
    """The module with `formula_weight` and `write_checkpoint`."""
    path = golden_dir / "reference_weights.py"
    spec = importlib.util.spec_from_file_location("reference_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def resnet():
    """ResNet-50 as a model: image → C1 to C5."""
    return _backbone("resnet50")


@pytest.fixture(scope="session")
def densenet():
    """DenseNet-121 as a model: image → C1 to C5."""
    return _backbone("densenet121")


def _backbone(name):
    import keras  # not at the top: most tests need no Keras

    from frcnn.model import densenet_graph, resnet_graph

    image = keras.Input((64, 96, 3))
    graph = resnet_graph if name.startswith("resnet") else densenet_graph
    return keras.Model(image, graph(image, name, stage5=True))


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """An `export_tools.Exports`: a small detector, and its exported files."""
    for module in ("ai_edge_litert", "onnx", "onnxruntime", "openvino", "tf2onnx"):
        pytest.importorskip(module)
    from export_tools import Exports

    return Exports(tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="session")
def detecting(tmp_path_factory):
    """A small MaskRCNN for detection, with random weights that find something anywhere."""
    from model_tools import prefer_objects, small_config

    from frcnn.model.mask_rcnn import MaskRCNN

    model = MaskRCNN("inference", small_config(), tmp_path_factory.mktemp("logs"), seed=1)
    prefer_objects(model)
    return model


@pytest.fixture
def coco_folder(coco_original, tmp_path):
    """A copy of `coco_original` for one test, which may change it."""
    return shutil.copytree(coco_original, tmp_path / "coco")


@pytest.fixture(scope="session")
def coco_original(tmp_path_factory):
    """A data set in COCO's format, drawn into a folder: `train` (5 images) and `val` (3).

    The images are 128 wide and 96 high, in a few colours on gray. The last image of each subset
    has no objects; the first of `train` also has a crowd region.
    """
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("original") / "coco"
    image_id = annotation_id = 1
    for subset, count in (("train", 5), ("val", 3)):
        content = {"images": [], "annotations": [],
                   "categories": [{"id": key, "name": name}
                                  for key, name in COCO_CATEGORIES.items()]}
        (folder / subset).mkdir(parents=True)
        for number in range(count):
            name = f"{subset}_{number}.png"
            boxes = [] if number == count - 1 else _random_boxes(rng, 3)
            _draw(folder / subset / name, boxes)
            content["images"].append(
                {"id": image_id, "file_name": name, "width": 128, "height": 96})
            for category_id, (x, y, w, h) in boxes:
                crowd = int(subset == "train" and number == 0 and category_id == 11)
                content["annotations"].append(
                    {"id": annotation_id, "image_id": image_id, "category_id": category_id,
                     "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd})
                annotation_id += 1
            image_id += 1
        (folder / "annotations").mkdir(exist_ok=True)
        path = folder / "annotations" / f"instances_{subset}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def _random_boxes(rng, count):
    """`[(category id, (x, y, width, height)), ...]`, side by side, one of each class."""
    boxes = []
    for place, category_id in zip(range(count), COCO_CATEGORIES):
        x, y = 42 * place + int(rng.integers(0, 10)), int(rng.integers(0, 40))
        boxes.append((category_id, (x, y, int(rng.integers(16, 30)), int(rng.integers(16, 50)))))
    return boxes


def _draw(path, boxes):
    pixels = np.full((96, 128, 3), 170, np.uint8)
    for category_id, (x, y, w, h) in boxes:
        pixels[y:y + h, x:x + w] = COCO_COLOURS[category_id]
    Image.fromarray(pixels).save(path)
