"""What frcnn check finds although every image and box can be used alone."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from frcnn.cli import main as cli
from frcnn.config import Config
from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.data.reading import load_objects
from frcnn.errors import DatasetError


class Drawn(Dataset):
    """One image of 20 x 30 pixels without a file, with the boxes and class ids given."""

    def __init__(self, boxes, class_ids, image=None, **info):
        super().__init__()
        self.boxes, self.labels = np.reshape(boxes, (-1, 4)), class_ids
        self.image = np.zeros((20, 30, 3), np.uint8) if image is None else image
        self.add_class("drawn", 1, "a")
        self.add_class("drawn", 2, "b")
        self.add_image("drawn", "x7", None, **info)
        self.prepare()

    def load_image(self, image_id):
        return self.image

    def load_boxes(self, image_id):
        return self.boxes, self.labels


def check(capsys, folder, *options):
    """The exit code, and {kind: messages} of the findings."""
    code = cli.main(["check", str(folder), "--json", *options])
    kinds = {}
    for finding in json.loads(capsys.readouterr().out)["findings"]:
        kinds.setdefault(finding["kind"], []).append(finding["message"])
    return code, kinds


def edit(folder, subset, change):
    path = folder / f"annotations/instances_{subset}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_black_image_with_objects_is_an_error(capsys, coco_folder):
    Image.new("RGB", (128, 96), (9, 9, 40)).save(coco_folder / "train/train_1.png")
    code, kinds = check(capsys, coco_folder)
    assert code == 2
    (message,) = kinds["image of one value"]
    assert "train_1.png" in message and "all one value, [9, 9, 40], but has 3 objects" in message
    assert check(capsys, coco_folder, "--headers")[0] == 0


def test_a_black_image_without_objects_is_doubtful(capsys, coco_folder):
    Image.new("L", (128, 96), 0).save(coco_folder / "train/train_4.png")
    code, kinds = check(capsys, coco_folder)
    assert code == 1 and list(kinds) == ["image of one value"]
    cli.main(["check", str(coco_folder)])
    out, err = capsys.readouterr()
    assert out.startswith("doubtful: train: Image 5 (")
    assert err.startswith("frcnn: errors: 0, repaired: 0, doubtful: 1, in the subsets")


def test_one_other_pixel_is_enough(capsys, coco_folder):
    image = np.full((96, 128, 3), 200, np.uint8)
    image[37, 91, 2] = 201
    Image.fromarray(image).save(coco_folder / "train/train_1.png")
    assert check(capsys, coco_folder)[0] == 0


def test_images_of_12_bits_are_counted(capsys, coco_folder):
    for path in (coco_folder / "train").iterdir():
        gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(gray * 16).save(path)
    code, kinds = check(capsys, coco_folder)
    assert code == 1 and list(kinds) == ["intensity range measured"]
    assert "12 bits (measured over 5 images)" in kinds["intensity range measured"][0]
    with warnings.catch_warnings(action="ignore"):
        (finding,) = CocoDataset.from_folder(coco_folder, "train").check()  # not measured
    assert finding.kind == "image nearly black" and finding.doubtful
    assert "fit into 12 bits" in finding.message and "So are 4 other images" in finding.message


def test_wholly_black_images_of_16_bits_are_errors(capsys, coco_folder):
    for path in (coco_folder / "train").iterdir():
        gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(gray).save(path)
    code, kinds = check(capsys, coco_folder, "--range", "0", "65535")
    assert code == 2 and len(kinds["image of one value"]) == 5
    with warnings.catch_warnings(action="ignore"):
        found = CocoDataset.from_folder(coco_folder, "train").check()
    assert [finding.kind for finding in found].count("image of one value") == 5
    assert "fit into 8 bits" in found[-1].message
    code, kinds = check(capsys, coco_folder)  # measured, as a training does: no longer black
    assert code == 1 and list(kinds) == ["intensity range measured"]


def test_floats_are_errors(capsys, coco_folder):
    path = coco_folder / "train/train_0.png"
    Image.fromarray(np.ones((96, 128), np.float32)).save(path, "TIFF")
    code, kinds = check(capsys, coco_folder)
    assert code == 2 and "whose range is not known" in kinds["image unreadable"][0]


@pytest.mark.parametrize("image", [np.zeros((20, 30, 3)), np.ones((20, 30, 3), bool)])
def test_a_subclass_that_does_not_return_8_bits(image):
    (finding,) = Drawn([], [], image).check()
    assert not finding.repairable and "give uint8" in finding.message


# --- boxes ----------------------------------------------------------------------------------


def test_objects_annotated_twice():
    boxes = [[2, 3, 12, 13], [2, 3, 12, 13.5], [2, 3, 12, 19], [2.1, 3, 12, 13]]
    (finding,) = Drawn(boxes, [1, 1, 1, 2], height=20, width=30).check()[:1]
    assert finding.doubtful and finding.kind == "object annotated twice"
    assert "objects 0 and 1 are nearly the same box, of the same class" in finding.message
    kinds = [finding.kind for finding in Drawn(boxes, [1, 1, 1, 2], height=20, width=30).check()]
    assert kinds == ["object annotated twice", "object of two classes"]


@pytest.mark.parametrize("boxes", [[[0.1, 0.2, 0.5, 0.9]], [[0, 0, 1, 1], [0, 0.5, 0.25, 1]]])
def test_boxes_as_fractions_of_a_subclass(boxes):
    dataset = Drawn(boxes, [1] * len(boxes), height=20, width=30)
    (finding,) = dataset.check()
    assert (finding.kind, finding.repairable) == ("boxes as fractions", False)
    with pytest.raises(DatasetError, match=r"drawn\.x7 has boxes that lie between 0 and 1"):
        load_objects(dataset, Config(NUM_CLASSES=3), 0, (20, 30))
    # In pixels, and in an image of a few pixels, these may be meant.
    assert Drawn([[0, 0, 1, 1]], [1], height=20, width=30).check() == []


def test_boxes_of_one_size(capsys, coco_folder):
    def same(content):
        for entry in content["annotations"]:
            entry["bbox"][2:] = [16, 16]

    edit(coco_folder, "train", same)
    code, kinds = check(capsys, coco_folder)
    assert code == 1
    assert kinds == {"boxes of one size": ["11 of 11 boxes have the same size, 16x16 pixels; are "
                                           "they made of points? A detector learns the size, too."]}


# --- subsets --------------------------------------------------------------------------------


def test_a_class_in_one_subset_only(capsys, coco_folder):
    def without(content):
        content["annotations"] = [entry for entry in content["annotations"]
                                  if entry["category_id"] != 2]

    edit(coco_folder, "val", without)
    code, kinds = check(capsys, coco_folder)
    assert code == 1
    (message,) = kinds["class in one subset only"]
    assert "has 4 objects here and none in val" in message
    assert check(capsys, coco_folder, "--subset", "train")[0] == 0


def test_a_subset_without_any_object_says_nothing_of_classes(capsys, coco_folder):
    edit(coco_folder, "val", lambda content: content["annotations"].clear())
    assert check(capsys, coco_folder)[0] == 0


def test_one_picture_in_two_subsets(capsys, coco_folder):
    (coco_folder / "val/val_1.png").write_bytes((coco_folder / "train/train_2.png").read_bytes())
    code, kinds = check(capsys, coco_folder)
    assert code == 1
    (message,) = kinds["image twice"]
    assert "Image 7" in message and "val_1.png" in message
    assert "the same picture as image 3 of train" in message


# --- loading says nothing of what may be right -----------------------------------------------


def test_doubts_do_not_disturb_loading(coco_folder, recwarn):
    def same(content):
        for entry in content["annotations"]:
            entry["bbox"][2:] = [16, 16]

    edit(coco_folder, "train", same)
    dataset = CocoDataset.from_folder(coco_folder, "train")
    assert not recwarn.list and len(dataset.load_boxes(0)[0]) == 3
