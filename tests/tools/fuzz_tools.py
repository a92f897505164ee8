"""Fuzzing of what reads files: strategies that damage valid ones, and the process that reads them.

`python tests/tools/fuzz_tools.py --minutes 10` fuzzes for a while and prints what failed; the
tests of `tests/corpus` do so for seconds.
"""

import argparse
import io
import json
import os
import random
import re
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

import h5py
import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

TOOLS = Path(__file__).resolve().parent
PATIENCE = 30  # seconds for one file; every one takes milliseconds, but the machine may be busy


class Worker:
    """The process of `fuzz_worker`; a new one is started after one that crashed or hung."""

    def __init__(self):
        self.process = None
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "input"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def start(self):
        environment = {**os.environ, "PYTHONPATH": str(TOOLS.parents[1]), "OMP_NUM_THREADS": "1",
                       "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(TOOLS / "fuzz_worker.py")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        assert self._answer(120) == b"ready\n"

    def _answer(self, patience):
        ready, _, _ = select.select([self.process.stdout], [], [], patience)
        return self.process.stdout.readline() if ready else None

    def read(self, target, data):
        """What became of reading some bytes: a dict with `outcome`."""
        if self.process is None:
            self.start()
        self.path.write_bytes(data)
        request = json.dumps({"target": target, "path": str(self.path)})
        self.process.stdin.write(request.encode() + b"\n")
        self.process.stdin.flush()
        answer = self._answer(PATIENCE)
        if answer:
            return json.loads(answer)
        place = "hang" if answer is None else f"crash {self.process.wait()}"
        self.stop()
        return {"outcome": "failed", "place": f"{target}: {place}", "trace": place}


# --- damage ---------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-2, 40), st.sampled_from([2**31, 2**63, -2**63, 10**30, 10**400, 0.5, -0.0, 1e-300,
                                          1e18, 1e308, float("nan"), float("inf"), -float("inf")]),
    st.floats())
TEXTS = st.one_of(st.sampled_from([
    "", " ", "a.png", "A.PNG", "sub\\c.png", "sub/c.png", "%61.png", "..", "../a.png",
    "/etc/passwd", "C:\\a.png", "~", "a\0.png", "\ud800", "x" * 300, "a/" * 600 + "b", "NaN",
    "1e999", "５", "١", "0x10", "1_000", "module:function", "json:loads", "é",
    "e\u0301", "\u202e", "\n"]),
    st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6)


def places(value, path=()):
    """The path of every value inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else \
        enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, change):
    """A copy of a JSON value with a change at a place."""
    if not path:
        return change(value)
    copy = list(value) if isinstance(value, list) else dict(value)
    if path[0] in (range(len(copy)) if isinstance(copy, list) else copy):
        copy[path[0]] = replaced(copy[path[0]], path[1:], change)
    return copy


@st.composite
def damaged_json(draw, valid):
    """A valid JSON value with a few values exchanged, removed or doubled."""
    value = valid
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "double", "other"]))
        new = draw(VALUES)
        if how == "replace" or not path:
            value = replaced(value, path, lambda _, new=new: new)
        elif how == "other":  # with the value from another place
            other = value
            for key in draw(st.sampled_from(list(places(value)))):
                other = other[key]
            value = replaced(value, path, lambda _, other=other: other)
        else:
            value = replaced(value, path[:-1], lambda parent, key=path[-1], how=how:
                             without(parent, key) if how == "drop" else doubled(parent, key))
    return json.dumps(value).encode()


def without(parent, key):
    if isinstance(parent, dict):
        return {name: value for name, value in parent.items() if name != key}
    return parent[:key] + parent[key + 1:] if isinstance(parent, list) else parent


def doubled(parent, key):
    return [*parent, parent[key]] if isinstance(parent, list) and isinstance(key, int) \
        and key < len(parent) else parent


CHUNKS = st.one_of(st.binary(max_size=12), st.sampled_from([
    b"\0" * 8, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\x01\0\0\0",
    b"[" * 50,
    b"{", b"}", b'"', b",", b"<", b"<!DOCTYPE a>", b"<a>" * 40, b"</", b"&amp;", b"&#0;", b"1e999",
    b"\xef\xbb\xbf", b"\xfe\xff", b"NaN", b"Infinity", b"-", b"9" * 5000]))


@st.composite
def damaged_bytes(draw, valid, dense=False):
    """Valid bytes with some of them exchanged, inserted, removed, doubled or cut off."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 8 if dense else 3))):
        size = len(data)
        start = draw(st.integers(0, size))
        # headers are where the numbers are
        start = min(start, draw(st.sampled_from([size, size, 64, 512])))
        how = draw(st.sampled_from(["flip", "over", "over", "insert", "drop", "double", "cut"]))
        if how == "flip" and start < size:
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "over":
            chunk = draw(CHUNKS)
            data[start:start + len(chunk)] = chunk
        elif how == "insert":
            data[start:start] = draw(CHUNKS)
        elif how == "drop":
            del data[start:start + draw(st.integers(1, 64))]
        elif how == "double":
            data[start:start] = data[start:start + draw(st.integers(1, 200))]
        elif how == "cut" and draw(st.booleans()):
            del data[start:]
    return bytes(data)


@st.composite
def damaged_xml(draw, valid):
    """A valid XML file with a few texts or tags exchanged for others."""
    text = valid.decode()
    for _ in range(draw(st.integers(1, 4))):
        parts = re.findall(r">([^<>]*)<|<(/?\w+)>", text)
        old = draw(st.sampled_from([f">{inner}<" if inner or not tag else f"<{tag}>"
                                    for inner, tag in parts]))
        new = str(draw(st.one_of(TEXTS, NUMBERS))).replace("\0", "")
        if old.startswith("<"):
            new = draw(st.sampled_from(["<object>", "</object>", "<xmin>", "<name/>", "<size>",
                                        "</size>", "<bndbox/>", "<difficult/>", ""]))
        else:
            new = f">{escape(new)}<"
        text = text.replace(old, new, 1 if draw(st.booleans()) else -1)
    return text.encode("utf-8", "surrogatepass")


# --- valid files ----------------------------------------------------------------------------------

COCO = {
    "info": {"year": 2020}, "licenses": [],
    "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 12},
               {"id": 2, "file_name": "b.jpg", "width": 12, "height": 20},
               {"id": 3, "file_name": "sub/c.png"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8.5, 7], "area": 59.5,
         "iscrowd": 0, "segmentation": [[1, 2, 9, 2, 9, 9, 1, 9]]},
        {"id": 2, "image_id": 1, "category_id": 5, "bbox": [10, 1, 9, 10], "iscrowd": 1},
        {"id": 3, "image_id": 2, "category_id": 5, "segmentation": {
            "size": [20, 12], "counts": [21, 5, 15, 5, 194]}},
        {"id": 4, "image_id": 2, "category_id": 1, "segmentation": {
            "size": [20, 12], "counts": "e0:b0"}},
        {"id": 5, "image_id": 3, "category_id": 1, "bbox": [0, 0, 16, 16]}],
    "categories": [{"id": 1, "name": "rod"}, {"id": 5, "name": "cell", "supercategory": "x"}]}

VOC = (b'<?xml version="1.0" encoding="utf-8"?>\n<annotation><folder>JPEGImages</folder>'
       b"<filename>a.png</filename><size><width>20</width><height>12</height><depth>3</depth>"
       b"</size><segmented>0</segmented><object><name>rod</name><pose>Left</pose>"
       b"<truncated>0</truncated><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin>"
       b"<xmax>9.5</xmax><ymax>10</ymax></bndbox></object><object><name>cell</name><bndbox>"
       b"<xmin>11</xmin><ymin>1</ymin><xmax>20</xmax><ymax>12</ymax></bndbox><difficult>1"
       b"</difficult></object></annotation>")

CONFIG = {
    "NAME": "ury", "NUM_CLASSES": 3, "BACKBONE": "resnet50", "COMPUTE_BACKBONE_SHAPE": None,
    "IMAGES_PER_GPU": 2, "STEPS_PER_EPOCH": None, "BACKBONE_STRIDES": [4, 8, 16, 32, 64],
    "RPN_ANCHOR_SCALES": [8, 16, 32, 64, 128], "RPN_ANCHOR_RATIOS": [0.5, 1, 2],
    "RPN_NMS_THRESHOLD": 0.7, "RPN_BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2], "IMAGE_MIN_DIM": 512,
    "IMAGE_MAX_DIM": 512, "IMAGE_MIN_SCALE": 0, "IMAGE_RESIZE_MODE": "square",
    "IMAGE_CHANNEL_COUNT": 3, "IMAGE_INTENSITY_RANGE": [0, 4095], "MEAN_PIXEL": [1, 2, 3.5],
    "LOSS_WEIGHTS": {"rpn_class_loss": 1.0, "mrcnn_bbox_loss": 2}, "GRADIENT_CLIP_NORM": 5.0,
    "TRAIN_BN": False, "PRECISION": "float32", "CASCADE_IOUS": [0.5, 0.6, 0.7],
    "MULTI_SCALE": [0.7, 1], "LEARNING_RATE": 0.001, "DETECTION_MIN_CONFIDENCE": 0.7}
METADATA = {"config": CONFIG, "class_names": ["BG", "rod", "cell"], "source_class_ids":
            [None, 1, 5], "epoch": 3, "val_AP": 0.5}
OPTIONS = {"dataset": "/data", "skip_bad": False, "schedule": "constant", "augmentation": "flip",
           "val_images": None, "evaluate_every": 2, "patience": 3, "keep": None, "seed": 0}
PLAN = [{"layers": "heads", "since": 0, "until": 2}, {"layers": "all", "since": 2, "until": 9}]


def image_files():
    """Small image files of many kinds, by a name."""
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (9, 13, 3), np.uint8)
    deep = rng.integers(0, 4096, (9, 13), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    images = {
        "png": (color, {}), "png 16": (deep, {"format": "PNG"}), "jpeg": (color, {"exif": exif}),
        "bmp": (color, {}), "gif": (color[..., 0], {}), "webp": (color, {"exif": exif}),
        "tiff": (color, {}), "tiff 16": (deep, {"format": "TIFF"}),
        "tiff lzw": (color, {"format": "TIFF", "compression": "tiff_lzw"}),
        "tiff float": (deep.astype(np.float32) / 4095, {"format": "TIFF"}),
        "ppm": (color, {}), "ico": (color, {}), "tga": (color, {}), "jpeg2000": (color, {})}
    files = {}
    for name, (pixels, options) in images.items():
        out = io.BytesIO()
        try:
            Image.fromarray(pixels).save(out, **{"format": name.split()[0], **options})
        except (OSError, KeyError):  # this Pillow is built without it
            continue
        files[name] = out.getvalue()
    planes = b"".join(rng.integers(0, 4096, (2, 2), np.uint16).tobytes() for _ in range(3))
    files["tiff planes"] = tiff({256: 2, 257: 2, 258: (16, 16, 16), 259: 1, 262: 2, 277: 3,
                                 273: (0, 8, 16), 278: 2, 279: (8, 8, 8), 284: 2}, planes)
    return files


def tiff(tags, pixels):
    """A little-endian TIFF with short tags; offsets in tag 273 count from the pixels."""
    body, entries, place = b"", b"", 8 + len(pixels)
    directory = place + sum(2 * len(value) for value in tags.values()
                            if isinstance(value, tuple) and len(value) > 2)
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        values = tuple(8 + each for each in values) if tag == 273 else values
        data = np.array(values, "<u2").tobytes()
        if len(data) > 4:
            at, body = place + len(body), body + data
            data = np.uint32(at).tobytes()
        entries += np.array([tag, 3], "<u2").tobytes() + np.uint32(len(values)).tobytes() \
            + data.ljust(4, b"\0")
    return (b"II*\0" + np.uint32(directory).tobytes() + pixels + body
            + np.uint16(len(tags)).tobytes() + entries + bytes(4))


def hdf5_bytes(fill):
    """The bytes of an HDF5 file that a function fills."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.h5"
        with h5py.File(path, "w") as file:
            fill(file)
        return path.read_bytes()


def keras2(root):
    root.attrs["layer_names"] = [b"conv1", b"mrcnn_class_logits", b"rpn_model"]
    root.attrs["backend"] = b"tensorflow"
    for layer, variables in {"conv1": {"kernel": (2, 2, 3, 4), "bias": (4,)},
                             "mrcnn_class_logits": {"kernel": (5, 3), "bias": (3,)},
                             "rpn_model": {"rpn_class_raw/kernel": (1, 1, 4, 6)}}.items():
        group = root.create_group(layer)
        names = [f"{layer}/{name}:0" if "/" not in name else f"{name}:0" for name in variables]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, shape in zip(names, variables.values()):
            group.create_dataset(name, data=np.ones(shape, np.float32))


def keras3(root):
    layers = {"conv1": (2, 2, 3, 4), "fpn_c5p5": (1, 1, 8, 8)}
    for number, (name, shape) in enumerate(layers.items()):
        group = root.create_group(f"layers/layer_{number}/vars")
        group.attrs["name"] = name
        group["0"], group["1"] = np.ones(shape, np.float32), np.zeros(shape[-1], np.float32)


def whole_model(root):
    keras2(root.create_group("model_weights"))


HDF5_FILES = [hdf5_bytes(keras2), hdf5_bytes(whole_model), hdf5_bytes(keras3)]
ATTRIBUTES = ("layer_names", "weight_names", "backend", "name", "layer_names0", "layer_names1",
              "weight_names7", "layer_names999999999999999999999")


ATTRIBUTE_VALUES = st.one_of(
    st.integers(-5, 5), st.floats(),
    st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=6),
    st.lists(st.sampled_from([b"conv1", b"", b"/", b"..", b".", b"\xff", b"no such"]), max_size=3))


@st.composite
def odd_hdf5(draw):
    """A valid HDF5 file in a layout of Keras, with objects, links and attributes exchanged."""
    layout = draw(st.sampled_from([keras2, keras3]))
    changes = draw(st.lists(st.tuples(
        st.integers(0, 40), st.integers(0, 40), st.sampled_from(ATTRIBUTES),
        st.sampled_from(["attribute", "delete", "group", "link", "soft", "texts", "huge", "empty",
                         "scalar", "integers", "half", "compound", "names"]),
        ATTRIBUTE_VALUES), min_size=1, max_size=4))

    def fill(file):
        layout(file)
        for number, other, attribute, kind, value in changes:
            found = ["/"]
            file.visit(found.append)
            path, target = found[number % len(found)], found[other % len(found)]
            try:
                _change(file, path, target, attribute, kind, value)
            except (ValueError, TypeError, KeyError, OSError, RuntimeError, OverflowError):
                continue

    return hdf5_bytes(fill)


def _change(file, path, target, attribute, kind, value):
    if kind in ("attribute", "names"):
        file[path].attrs[attribute] = value if kind == "attribute" else [b"conv1"] * 3
        return
    if kind == "link":
        group = file[path]
        group[f"layers{len(group)}" if "layers" in group else "layers"] = file[target]
        return
    name = path if path != "/" else "added"
    if name in file:
        del file[name]
    if kind == "group":
        file.create_group(name)
    elif kind == "soft":
        file[name] = h5py.SoftLink(f"/{target}")
    elif kind == "huge":
        file.create_dataset(name, (2**20, 2**20), np.float32, chunks=(64, 64))
    elif kind == "empty":
        file[name] = h5py.Empty("f")
    elif kind == "scalar":
        file[name] = 1.5
    elif kind == "texts":
        file[name] = [b"text"]
    elif kind == "integers":
        file[name] = np.arange(6, dtype=">i8").reshape(2, 3)
    elif kind == "half":
        file[name] = np.full((2, 2), np.nan, np.float16)
    elif kind == "compound":
        file[name] = np.zeros(2, [("a", "f4"), ("b", "S3")])


def _region(name, x, width, height):
    return {"id": f"r{x}", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
            "original_width": width, "original_height": height, "image_rotation": 0,
            "value": {"x": x, "y": 12.5, "width": 40, "height": 50.0, "rotation": 0,
                      "rectanglelabels": [name]}}


TASKS = [
    {"id": 7, "data": {"image": "/data/local-files/?d=x/a.png"}, "drafts": [], "predictions": [1],
     "annotations": [{"id": 1, "was_cancelled": False, "ground_truth": False,
                      "result": [_region("rod", 0, 20, 12), _region("cell", 33.3, 20, 12)]}]},
    {"id": 8, "data": {"image": "x/b.jpg"}, "annotations": [], "predictions": [
        {"score": 0.5, "result": [_region("cell", 5, 12, 20)]}]},
    {"id": 9, "data": {"image": "/data/upload/1/0a1b2c3d-c.png"}, "annotations": [
        {"id": 3, "was_cancelled": False, "result": []}]},
    {"id": 10, "data": {"image": "x/b.jpg"}, "annotations": [{"id": 4, "was_cancelled": True}]}]


def as_bytes(value):
    """A valid file as bytes: of JSON, a value."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


STRATEGIES = {
    "coco": st.one_of(damaged_json(COCO), damaged_json(COCO), damaged_bytes(as_bytes(COCO))),
    "voc": st.one_of(damaged_xml(VOC), damaged_xml(VOC), damaged_bytes(VOC, dense=True)),
    "voc_list": st.one_of(damaged_bytes(b"a\nb\nsub/c\n"), TEXTS.map(
        lambda text: text.encode("utf-8", "surrogatepass"))),
    "tasks": st.one_of(damaged_json(TASKS), damaged_json(TASKS), damaged_bytes(as_bytes(TASKS))),
    "image": st.sampled_from(sorted(image_files().values())).flatmap(
        lambda data: damaged_bytes(data, dense=True)),
    "hdf5": st.one_of(odd_hdf5(), st.sampled_from(HDF5_FILES).flatmap(
        lambda data: damaged_bytes(data, dense=True))),
    "config": st.one_of(damaged_json(CONFIG), damaged_bytes(json.dumps(CONFIG).encode())),
    "metadata": st.one_of(damaged_json(METADATA), damaged_bytes(json.dumps(METADATA).encode())),
    "run": st.one_of(damaged_json(OPTIONS), damaged_json(PLAN),
                     damaged_bytes(json.dumps(PLAN).encode())),
}


def run_examples(target, look, count, number):
    """Calls `look(target, data)` for as many examples."""

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None,
              suppress_health_check=list(HealthCheck))
    @given(STRATEGIES[target])
    def examples(data):
        look(target, data)

    examples()


# --- a long run -----------------------------------------------------------------------------------


def fuzz(seconds, targets, keep):
    """Fuzzes for a while; prints examples by outcome, and keeps an input of each failure."""
    counts = {target: Counter() for target in targets}
    failures = {}
    began = time.monotonic()

    def look(target, data):
        found = worker.read(target, data)
        counts[target][found["outcome"]] += 1
        if found["outcome"] == "failed" and found["place"] not in failures:
            failures[found["place"]] = found["trace"]
            name = f"{target}-{len(failures)}"
            (keep / name).write_bytes(data)
            (keep / f"{name}.txt").write_text(found["trace"])
            print(f"{name}: {found['place']}", flush=True)

    with Worker() as worker:
        while time.monotonic() - began < seconds:
            for target in targets:
                run_examples(target, look, 300, random.randrange(2**32))
    print(f"{time.monotonic() - began:.0f} seconds")
    for target, outcomes in counts.items():
        print(target, sum(outcomes.values()), dict(outcomes))
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", type=Path, default=Path("fuzzed"))
    parser.add_argument("targets", nargs="*", default=list(STRATEGIES))
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    sys.exit(bool(fuzz(60 * options.minutes, options.targets or list(STRATEGIES), options.keep)))


if __name__ == "__main__":
    main()
