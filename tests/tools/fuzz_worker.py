"""A child process that reads fuzzed files, so that a crash, a hang or its memory hits nobody else.

It is started by `fuzz_tools.Worker`. Each line of stdin is a JSON object with `target` and `path`,
each line of stdout the outcome: `read`, `refused` with the message, or `failed` with the trace.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from frcnn.cli import plan, run_options
from frcnn.config import Config
from frcnn.data import image_io
from frcnn.data.coco import CocoDataset
from frcnn.data.coco_json import read_image_names
from frcnn.data.convert import convert_file
from frcnn.data.image_io import read_image, read_image_size
from frcnn.data.layouts import recognise
from frcnn.data.voc import VocDataset
from frcnn.errors import FrcnnError
from frcnn.runs import load_best, load_metadata, metadata_path
from frcnn.weights.architecture import count_anchor_ratios, read_architecture
from frcnn.weights.hdf5 import open_weight_file

MEMORY = 3 * 2**30  # bytes of address space, libraries included
IMAGES = {"a.png": (20, 12), "b.jpg": (12, 20), "sub/c.png": (16, 16)}
LONGEST_MESSAGE = 5000


def draw_images(folder):
    for name, size in IMAGES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(size, 90).convert("RGB").save(path)


class Targets:
    """One method for each kind of file; it returns nothing, or raises."""

    def __init__(self, folder):
        self.coco_folder, self.voc_folder = folder / "coco", folder / "voc"
        draw_images(self.coco_folder / "train")
        (self.coco_folder / "annotations").mkdir()
        draw_images(self.voc_folder / "JPEGImages")
        (self.voc_folder / "Annotations").mkdir()
        (self.voc_folder / "ImageSets/Main").mkdir(parents=True)
        self.weights = folder / "mask_rcnn_fuzz_best.h5"
        self.weights.write_bytes(b"")
        # A file that claims more is refused before it is decoded, so that memory is bounded.
        image_io.MAX_PIXELS = 2_000_000

    def coco(self, data):
        path = self.coco_folder / "annotations" / "instances_train.json"
        path.write_bytes(data)
        for act in (lambda: recognise(self.coco_folder), lambda: read_image_names(path),
                    lambda: usable(CocoDataset.from_folder(self.coco_folder, "train")),
                    lambda: usable(CocoDataset.from_folder(self.coco_folder, "train",
                                                           skip_bad=True))):
            own_errors_only(act)
        usable(CocoDataset.from_folder(self.coco_folder, "train", skip_bad=True))

    def voc(self, data):
        (self.voc_folder / "Annotations" / "a.xml").write_bytes(data)
        self._read_voc(b"a\n")

    def voc_list(self, data):
        (self.voc_folder / "Annotations" / "a.xml").write_text(
            "<annotation><object><name>rod</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
            "<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>")
        self._read_voc(data)

    def _read_voc(self, names):
        (self.voc_folder / "ImageSets/Main" / "train.txt").write_bytes(names)
        own_errors_only(lambda: usable(VocDataset.from_folder(self.voc_folder, "train")))
        usable(VocDataset.from_folder(self.voc_folder, "train", skip_bad=True))

    def tasks(self, data):
        """Label Studio's; what is converted is read without a finding."""
        folder = self.voc_folder.parent
        (folder / "tasks.json").write_bytes(data)
        for skip_bad in (False, True):
            shutil.rmtree(folder / "made", ignore_errors=True)
            done = own_errors_only(lambda skip_bad=skip_bad: convert_file(
                folder / "tasks.json", self.coco_folder / "train", folder / "made", "train",
                skip_bad=skip_bad))
            if done is not None:
                usable(CocoDataset.from_folder(folder / "made", "train"))
        if done is None:
            convert_file(folder / "tasks.json", self.coco_folder / "train", folder / "made",
                         skip_bad=True)

    def image(self, data):
        path = self.voc_folder.parent / "fuzzed.img"
        path.write_bytes(data)
        size = own_errors_only(lambda: read_image_size(path))
        for channels in (1, 4):
            own_errors_only(lambda channels=channels: read_image(path, channels))
        own_errors_only(lambda: read_image(path, intensity=(0, 4095)))
        pixels = read_image(path)
        assert pixels.dtype == np.uint8 and pixels.shape == (*size, 3)

    def hdf5(self, data):
        path = self.voc_folder.parent / "fuzzed.h5"
        path.write_bytes(data)
        own_errors_only(lambda: count_anchor_ratios(path))
        json.dumps(own_errors_only(lambda: read_architecture(path)))
        with open_weight_file(path) as weights:
            for weight in weights:
                assert weight.label and isinstance(weight.parts, tuple)
                array = weight.read()
                assert array.dtype == np.float32 and array.shape == weight.shape

    def config(self, data):
        config = Config.from_json(data.decode("utf-8", "surrogateescape"))
        text = config.to_json()
        assert Config.from_json(text).to_json() == text
        config.to_dict()

    def metadata(self, data):
        path = metadata_path(self.weights)
        path.write_bytes(data)
        load_best(self.weights)
        read = load_metadata(path)
        assert len(read.class_names) == read.config().NUM_CLASSES

    def hang(self, data):
        time.sleep(600)

    def crash(self, data):
        os.abort()

    def memory(self, data):
        np.ones(MEMORY, np.uint8)

    def run(self, data):
        folder = self.voc_folder.parent
        for name, load in (("options.json", run_options.load), ("plan.json", plan.load)):
            (folder / name).write_bytes(data)
            own_errors_only(lambda load=load: load(folder))
        run_options.load(folder)


def own_errors_only(act):
    """The result of an act, or None where it refuses its input."""
    try:
        return act()
    except (FrcnnError, FileNotFoundError) as error:
        check_message(error)
        return None


def check_message(error):
    text = str(error)
    assert text.strip(), "an error without a message"
    assert len(text) < LONGEST_MESSAGE, f"a message of {len(text)} characters: {text[:200]}"


def usable(dataset):
    """Asserts what everything that uses a data set relies on."""
    for info in dataset.image_info:
        boxes, width, height = info["boxes"], info["width"], info["height"]
        assert width >= 1 and height >= 1
        assert boxes.dtype == np.float32 and boxes.shape == (len(info["category_ids"]), 4)
        assert np.isfinite(boxes).all() and (boxes >= 0).all()
        assert (boxes <= np.float32([height, width, height, width])).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert os.path.isfile(info["path"])
    assert all(name.strip() for name in dataset.class_names)
    assert len(set(dataset.class_names)) == dataset.num_classes
    for image_id in dataset.image_ids:
        boxes, class_ids = dataset.load_boxes(image_id)
        assert ((class_ids != 0) & (abs(class_ids) < dataset.num_classes)).all()
    for finding in dataset.findings:
        assert finding.message and len(finding.brief) < LONGEST_MESSAGE
    dataset.check(decode=False)


def outcome(targets, request):
    data = Path(request["path"]).read_bytes()
    try:
        getattr(targets, request["target"])(data)
    except (FrcnnError, FileNotFoundError) as error:
        try:
            check_message(error)
        except AssertionError:
            return {"outcome": "failed", "place": "message", "trace": traceback.format_exc()}
        return {"outcome": "refused", "message": str(error)}
    except BaseException as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__)
                  if "/frcnn/" in frame.filename] or traceback.extract_tb(error.__traceback__)
        return {"outcome": "failed", "trace": traceback.format_exc(),
                "place": f"{type(error).__name__} {frames[-1].name}:{frames[-1].lineno}"}
    return {"outcome": "read"}


def main():
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", UserWarning)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    with tempfile.TemporaryDirectory() as folder:
        targets = Targets(Path(folder))
        print("ready", file=answers)
        for line in sys.stdin:
            print(json.dumps(outcome(targets, json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
