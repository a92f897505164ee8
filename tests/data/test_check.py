"""The pass over a data set's images and boxes, and going on without the bad ones."""

import json
import re
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frcnn.data.check import check_images, settle_images
from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.errors import DatasetError, ImageError

NAN, INFINITE = float("nan"), float("inf")
SIZE = (20, 30)


class Drawn(Dataset):
    """One image of 20 x 30 pixels without a file, with the boxes and class ids given."""

    def __init__(self, boxes, class_ids, image=None, **info):
        super().__init__()
        self.boxes, self.labels = boxes, class_ids
        self.image = np.zeros((*SIZE, 3), np.uint8) if image is None else image
        self.add_class("drawn", 1, "a")
        self.add_class("drawn", 2, "b")
        self.add_image("drawn", "x7", None, **info)
        self.prepare()

    def load_image(self, image_id):
        if isinstance(self.image, Exception):
            raise self.image
        return self.image

    def load_boxes(self, image_id):
        return self.boxes, self.labels


@pytest.fixture
def dataset(coco_folder):
    return CocoDataset.from_folder(coco_folder, "train")


def kinds(findings):
    return [(finding.kind, finding.repairable) for finding in findings]


# --- images ---------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("decode", [True, False, 2])
def test_a_good_data_set_has_no_findings(dataset, decode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset.check(decode=decode) == []


def spoil_missing(path):
    path.unlink()


def spoil_truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def spoil_text(path):
    path.write_text("<html>404 Not Found</html>")


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_folder(path):
    path.unlink()
    path.mkdir()


def spoil_size(path):
    Image.new("RGB", (64, 48)).save(path)


def spoil_rotation(path):
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees for display
    image.save(path, exif=exif)


def spoil_bomb(path):
    header = bytearray(path.read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(header)


def spoil_header(path):
    path.write_bytes(path.read_bytes()[:20])


SPOILED = {
    "missing": (spoil_missing, "image missing", "there is no such image file"),
    "truncated": (spoil_truncated, "image unreadable", "cannot be read"),
    "text": (spoil_text, "image unreadable", "not an image of a known format"),
    "empty": (spoil_empty, "image unreadable", "not an image of a known format"),
    "header alone": (spoil_header, "image unreadable", "cannot be read"),
    "folder": (spoil_folder, "image unreadable", "cannot be read"),
    "bomb": (spoil_bomb, "image unreadable", "claims 60000 x 60000 pixels|cannot be read"),
    "another size": (spoil_size, "image of another size",
                     "has 64x48 pixels .* but 128x96 are declared"),
    "rotated": (spoil_rotation, "image of another size",
                "has 96x128 pixels .* but 128x96 are declared"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_bad_image_is_found(dataset, case):
    spoil, kind, message = SPOILED[case]
    path = dataset.image_info[2]["path"]
    spoil(Path(path))
    (finding,) = dataset.check()
    assert (finding.kind, finding.repairable, finding.image_id) == (kind, False, 3)
    assert finding.message.startswith("Image 3") and "train_2.png" in finding.message
    assert finding.message.count("\n") == 0
    assert re.search(message, finding.message), finding.message
    with pytest.raises(DatasetError, match=r"Image 3.*train_2\.png"):
        settle_images(dataset)


def test_headers_do_not_tell_of_what_breaks_off(dataset, coco_folder):
    spoil_truncated(coco_folder / "train/train_2.png")
    spoil_size(coco_folder / "train/train_3.png")
    assert kinds(dataset.check(decode=False)) == [("image of another size", False)]
    assert kinds(dataset.check(decode=2)) == [("image of another size", False)]
    assert len(dataset.check(decode=3)) == 2


def test_findings_come_in_the_order_of_the_images(dataset, coco_folder):
    for number in (4, 0, 2):
        (coco_folder / "train" / f"train_{number}.png").unlink()
    found = check_images(dataset)
    assert [image_id for image_id, _ in found] == [0, 2, 4]
    assert [finding.image_id for _, finding in found] == [1, 3, 5]


# --- boxes of any data set ------------------------------------------------------------------

GOOD = [[2, 3, 9, 8], [0, 0, 20, 30]]
BOXES = {
    "good": (GOOD, [1, -2], []),
    "none": ([], [], []),
    "none, as arrays": (np.zeros((0, 4), np.float32), np.zeros(0, np.int32), []),
    "empty": ([[2, 3, 2, 8]], [1], [("empty or inverted box", True)]),
    "inverted": ([[9, 3, 2, 8]], [1], [("empty or inverted box", True)]),
    "outside": ([[2, 30, 9, 40]], [1], [("box outside the image", True)]),
    "partly outside": ([[-2, 3, 9, 31]], [1], [("box beyond the image's edge", True)]),
    "NaN": ([[2, 3, NAN, 8]], [1], [("bad box", False)]),
    "infinite": ([[2, 3, INFINITE, 8]], [1], [("bad box", False)]),
    "texts": ([["2", "3", "9", "8"]], [1], [("bad boxes", False)]),
    "three numbers": ([[2, 3, 9]], [1], [("bad boxes", False)]),
    "ragged": ([[2, 3, 9, 8], [1]], [1, 1], [("bad boxes", False)]),
    "missing numbers": ([[2, 3, None, 8]], [1], [("bad boxes", False)]),
    "too few class ids": (GOOD, [1], [("bad boxes", False)]),
    "class ids of another shape": (GOOD, [[1], [2]], [("bad boxes", False)]),
    "class unknown": (GOOD, [1, 3], [("unknown class", False)]),
    "crowd of an unknown class": (GOOD, [1, -3], [("unknown class", False)]),
    "background": (GOOD, [0, 1], [("unknown class", False)]),
    "one bad of two": ([[2, 3, 9, 8], [2, 3, NAN, 8]], [1, 1], [("bad box", False)]),
}


@pytest.mark.parametrize("case", BOXES)
def test_boxes_of_a_subclass(case):
    boxes, class_ids, expected = BOXES[case]
    dataset = Drawn(boxes, class_ids, height=20, width=30)
    findings = dataset.check()
    assert kinds(findings) == expected
    assert kinds(dataset.check(decode=False)) == expected  # the size is the one declared
    for finding in findings:
        assert finding.image_id == "x7" and "Image x7 (drawn.x7)" in finding.message
    if case == "one bad of two":
        assert findings[0].annotation_id == 1 and "object 1" in findings[0].message


def test_boxes_of_an_image_of_unknown_size():
    dataset = Drawn([[2, 3, 900, 800]], [1])
    assert kinds(dataset.check(decode=False)) == []
    assert kinds(dataset.check()) == [("box beyond the image's edge", True)]


@pytest.mark.parametrize("image", [np.zeros(7), np.zeros((0, 5, 3)), np.zeros((2, 3, 4, 5)),
                                   ImageError("x7.dcm: no pixels"), OSError("the tape is torn")])
def test_images_that_a_subclass_cannot_give(image):
    (finding,) = Drawn(GOOD, [1, 1], image).check()
    assert kinds([finding]) == [("image unreadable", False)]
    assert finding.message.startswith("Image x7: ")


def test_masks_that_do_not_fit_their_class_ids():
    class Masks(Drawn):
        load_boxes = Dataset.load_boxes

        def load_mask(self, image_id):
            return np.ones((*SIZE, 2), bool), np.array([1])

    assert kinds(Masks(None, None).check()) == [("bad boxes", False)]


def test_a_bug_in_a_subclass_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        Drawn(GOOD, [1, 1], ZeroDivisionError()).check()


def test_being_stopped_does_not_go_through_the_rest_first():
    class Slow(Drawn):
        seen = 0

        def load_image(self, image_id):
            Slow.seen += 1
            if image_id == 0:
                raise KeyboardInterrupt
            time.sleep(0.002)
            return self.image

    dataset = Slow(GOOD, [1, 1])
    for number in range(3000):
        dataset.add_image("drawn", number, None)
    dataset.prepare()
    with pytest.raises(KeyboardInterrupt):
        dataset.check()
    assert Slow.seen < 2000


# --- going on without -----------------------------------------------------------------------


def test_bad_images_are_left_out_and_counted(dataset, coco_folder):
    spoil_text(coco_folder / "train/train_1.png")
    spoil_size(coco_folder / "train/train_3.png")
    before = {info["id"]: dataset.load_boxes(image_id)[0].tolist()
              for image_id, info in enumerate(dataset.image_info)}
    with pytest.warns(UserWarning, match=r"2 bad items are left out \(image unreadable 1, image "
                                         r"of another size 1\)\. The first: Image 2: .*train_1"):
        settle_images(dataset, skip_bad=True)
    assert [info["id"] for info in dataset.image_info] == [1, 3, 5]
    assert dataset.num_images == 3 and dataset.image_ids.tolist() == [0, 1, 2]
    for image_id, info in enumerate(dataset.image_info):
        assert dataset.load_boxes(image_id)[0].tolist() == before[info["id"]]


def test_nothing_left_is_an_error(dataset, coco_folder):
    for path in (coco_folder / "train").iterdir():
        spoil_empty(path)
    with pytest.warns(UserWarning, match="5 bad items"), \
            pytest.raises(DatasetError, match="No image is left"):
        settle_images(dataset, skip_bad=True)


def test_a_good_data_set_is_left_alone(dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settle_images(dataset, skip_bad=True)
    assert dataset.num_images == 5


def test_harmless_findings_only_warn():
    dataset = Drawn([[-2, 3, 9, 31]], [1])
    with pytest.warns(UserWarning, match="beyond the image's edge, 1 in all"):
        settle_images(dataset)
    assert dataset.num_images == 1


def test_findings_of_loading_come_first(coco_folder):
    path = coco_folder / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [-5, 0, 30, 30]
    content["annotations"][4]["category_id"] = 99
    path.write_text(json.dumps(content))
    spoil_empty(coco_folder / "train/train_4.png")
    with pytest.raises(DatasetError, match=r"Annotation 5 .* is of category 99"):
        CocoDataset.from_folder(coco_folder, "train")
    with pytest.warns(UserWarning) as caught:
        dataset = CocoDataset.from_folder(coco_folder, "train", skip_bad=True)
    assert "1 bad item is left out (unknown category 1)" in str(caught[0].message)
    assert dataset.num_images == 5 and len(dataset.load_boxes(1)[0]) == 2
    assert kinds(dataset.check()) == [("box beyond the image's edge", True),
                                      ("unknown category", False), ("image unreadable", False)]
