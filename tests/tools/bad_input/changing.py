"""Data sets that change between two epochs, while a training reads them."""

import json
import shutil

import numpy as np
from loader_tools import config_for
from PIL import Image

from bad_input import case, harmless
from bad_input.images import BOMB
from frcnn.data.check import settle_images
from frcnn.data.coco import CocoDataset
from frcnn.data.loader import DetectionSequence

COUNT = 8


def data_set(folder):
    """Eight images with an object each, in COCO's format."""
    (folder / "train").mkdir()
    (folder / "annotations").mkdir()
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(rng.integers(0, 200, (48, 64, 3), np.uint8)).save(image(folder, number))
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 64,
                                  "height": 48})
        content["annotations"].append({"id": number, "image_id": number, "category_id": 1,
                                       "bbox": [4 + number, 5, 20, 20]})
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return CocoDataset.from_folder(folder, "train")


def image(folder, number):
    return folder / "train" / f"{number}.png"


def after(change, **options):
    """Reads an epoch, changes the data set, and reads the next one: the images of that."""
    def act(folder):
        dataset = data_set(folder)
        sequence = DetectionSequence(dataset, config_for(NUM_CLASSES=2, IMAGE_MAX_DIM=64), seed=0,
                                     **{"shuffle": False, **options})
        first = epoch(sequence)
        assert sorted(first) == list(range(COUNT))
        change(folder, dataset)
        return f"{epoch(sequence)}"
    return act


def epoch(sequence):
    sequence.on_epoch_begin()
    seen = [int(number) for index in range(len(sequence))
            for number in sequence[index][0]["input_image_meta"][:, 0]]
    sequence.on_epoch_end()
    return seen


def files(change, *numbers, **options):
    """Changes image files between the epochs."""
    def change_all(folder, dataset):
        for number in numbers:
            change(image(folder, number))
    return after(change_all, **options)


def settled(change):
    """Changes an image file after the data set was read, before it is checked for training."""
    def act(folder):
        dataset = data_set(folder)
        change(image(folder, 2))
        settle_images(dataset, skip_bad=False)
    return act


def deleted(path):
    path.unlink()


def truncated(path):
    path.write_bytes(path.read_bytes()[:300])


def emptied(path):
    path.write_bytes(b"")


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_text(path):
    path.write_text("moved to another disk")


def larger(path):
    Image.fromarray(np.random.default_rng(1).integers(0, 99, (96, 128, 3), np.uint8)).save(path)


def turned(path):
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)


def huge(path):
    path.write_bytes(BOMB)


def deep(path):
    Image.fromarray(np.full((48, 64), 500, np.uint16)).save(path, "PNG")


def floats(path):
    Image.fromarray(np.full((48, 64), 0.5, np.float32)).save(path, "TIFF")


def gray(path):
    Image.open(path).convert("L").save(path)


def folder_gone(folder, dataset):
    shutil.rmtree(folder / "train")


def folder_moved(folder, dataset):
    (folder / "train").rename(folder / "moved")


def annotations_gone(folder, dataset):
    shutil.rmtree(folder / "annotations")


def left_out(folder, dataset):
    dataset.leave_out([0, 1])


def another_image(folder, dataset):
    dataset.add_image("coco", 99, image(folder, 0))
    dataset.prepare()


def another_class(folder, dataset):
    dataset.add_class("coco", 2, "rod")
    dataset.prepare()


def box(*values):
    def change(folder, dataset):
        dataset.image_info[3]["boxes"] = np.array([values], np.float32)
    return after(change)


def class_lost(folder, dataset):
    dataset.image_info[3]["category_ids"] = np.array([7])


def size_lost(folder, dataset):
    dataset.image_info[3].update(width=65)


def other_range(folder, dataset):
    dataset.intensity_range = (0, 4095)


CASES = [
    case("an image is deleted", files(deleted, 2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: there is no such image file.",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    case("an image is cut off", files(truncated, 2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: the image cannot be read (…); replace the file or leave it out.",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    case("an image is emptied", files(emptied, 2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: the image cannot be read (…); replace the file or leave it out.",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    case("an image becomes a folder", files(a_folder, 2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: the image cannot be read ([Errno 21] Is a directory: "
         "'DIR/train/2.png'); replace the file or leave it out.",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    case("an image becomes a text", files(a_text, 2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: the image cannot be read (…); replace the file or leave it out.",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    case("an image becomes larger", files(larger, 2),
         "warning: DIR/train/2.png has 128x96 pixels, but 64x48 are declared: its boxes may be"
         " off. Correct the declared size.",
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("an image is turned", files(turned, 2),
         "warning: DIR/train/2.png has 48x64 pixels, but 64x48 are declared: its boxes may be "
         "off. Correct the declared size.",
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("an image becomes a bomb", files(huge, 2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: claims 60000 x 60000 pixels, more than the 400,000,000 that are "
         "decoded (a decompression bomb?); cut it into smaller images.",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    case("an image gets 16 bits", files(deep, 2),
         "warning: DIR/train/2.png: its 16-bit values end at 500, so the picture is nearly "
         "black; they fit into 10 bits. If the images of this data set have 10 bits, declare "
         "that: (0, 1023) as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of the "
         "Config (--range LOW HIGH). If they have 16, declare (0, 65535), "
         "which also ends this warning.",
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("an image becomes floats", files(floats, 2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: holds float32 values from 0.5 to 0.5, whose range is not known. "
         "Declare it as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of the Config"
         " (--range LOW HIGH): the lowest and the highest value that "
         "images of this data set can have, such as (0, 1).",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    harmless("an image becomes gray", files(gray, 2),
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("the last image is deleted", files(deleted, 7),
         "warning: DIR/train/7.png cannot be read and is replaced by another image: "
         "DIR/train/7.png: there is no such image file.",
         "= [0, 1, 2, 3, 4, 5, 6, 0]"),
    case("two images are deleted", files(deleted, 2, 3),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: there is no such image file.",
         "warning: DIR/train/3.png cannot be read and is replaced by another image: "
         "DIR/train/3.png: there is no such image file.",
         "warning: DIR/train/3.png cannot be read and is replaced by another image: "
         "DIR/train/3.png: there is no such image file.",
         "= [0, 1, 4, 4, 4, 5, 6, 7]"),
    case("seven images are deleted", files(deleted, *range(7)),
         "warning: DIR/train/0.png cannot be read and is replaced by another image: "
         "DIR/train/0.png: there is no such image file.",
         "warning: DIR/train/1.png cannot be read and is replaced by another image: "
         "DIR/train/1.png: there is no such image file.",
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: there is no such image file.",
         "warning: DIR/train/3.png cannot be read and is replaced by another image: "
         "DIR/train/3.png: there is no such image file.",
         "warning: DIR/train/4.png cannot be read and is replaced by another image: "
         "DIR/train/4.png: there is no such image file.",
         "warning: DIR/train/5.png cannot be read and is replaced by another image: "
         "DIR/train/5.png: there is no such image file.",
         "DatasetError: 6 images in a row cannot be read; the last one is DIR/train/5.png: "
         "DIR/train/5.png: there is no such image file. Is the disk still there?"),
    case("an image is deleted, read in threads", files(deleted, 2, workers=2),
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: there is no such image file.",
         "= [0, 1, 3, 3, 4, 5, 6, 7]"),
    case("the folder of the images is deleted", after(folder_gone),
         "warning: DIR/train/0.png cannot be read and is replaced by another image: "
         "DIR/train/0.png: there is no such image file.",
         "warning: DIR/train/1.png cannot be read and is replaced by another image: "
         "DIR/train/1.png: there is no such image file.",
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: there is no such image file.",
         "warning: DIR/train/3.png cannot be read and is replaced by another image: "
         "DIR/train/3.png: there is no such image file.",
         "warning: DIR/train/4.png cannot be read and is replaced by another image: "
         "DIR/train/4.png: there is no such image file.",
         "warning: DIR/train/5.png cannot be read and is replaced by another image: "
         "DIR/train/5.png: there is no such image file.",
         "DatasetError: 6 images in a row cannot be read; the last one is DIR/train/5.png: "
         "DIR/train/5.png: there is no such image file. Is the disk still there?"),
    case("the folder of the images is moved", after(folder_moved),
         "warning: DIR/train/0.png cannot be read and is replaced by another image: "
         "DIR/train/0.png: there is no such image file.",
         "warning: DIR/train/1.png cannot be read and is replaced by another image: "
         "DIR/train/1.png: there is no such image file.",
         "warning: DIR/train/2.png cannot be read and is replaced by another image: "
         "DIR/train/2.png: there is no such image file.",
         "warning: DIR/train/3.png cannot be read and is replaced by another image: "
         "DIR/train/3.png: there is no such image file.",
         "warning: DIR/train/4.png cannot be read and is replaced by another image: "
         "DIR/train/4.png: there is no such image file.",
         "warning: DIR/train/5.png cannot be read and is replaced by another image: "
         "DIR/train/5.png: there is no such image file.",
         "DatasetError: 6 images in a row cannot be read; the last one is DIR/train/5.png: "
         "DIR/train/5.png: there is no such image file. Is the disk still there?"),
    harmless("the annotations are deleted", after(annotations_gone),
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("images are left out", after(left_out),
         "DatasetError: The data set had 8 images when training began, and has 6 now; do not "
         "change it while it is in use."),
    case("images are left out of a random order", after(left_out, shuffle=True),
         "DatasetError: The data set had 8 images when training began, and has 6 now; do not "
         "change it while it is in use."),
    case("an image is added", after(another_image),
         "DatasetError: The data set had 8 images when training began, and has 9 now; do not "
         "change it while it is in use."),
    case("a class is added", after(another_class),
         "DatasetError: The data set has 3 classes, background included, but NUM_CLASSES is 2;"
         " set it to 3."),
    case("a box becomes NaN", box(np.nan, 1, 2, 3),
         "DatasetError: DIR/train/3.png has a box that is not finite: [[nan, 1.0, 2.0, 3.0]]."),
    case("a box becomes empty", box(9, 9, 9, 9),
         "warning: DIR/train/3.png: 1 boxes are empty or outside the image; dropped.",
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("a box leaves the image", box(90, 90, 95, 95),
         "warning: DIR/train/3.png: 1 boxes are empty or outside the image; dropped.",
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("a class is lost", after(class_lost),
         "DatasetError: There is no class 'coco.7'; after prepare() there are ['.0', "
         "'coco.1']."),
    case("a declared size changes", after(size_lost),
         "warning: DIR/train/3.png has 64x48 pixels, but 65x48 are declared: its boxes may be "
         "off. Correct the declared size.",
         "= [0, 1, 2, 3, 4, 5, 6, 7]"),
    case("the range of the values changes", after(other_range),
         "DatasetError: The data set has the intensity_range (0.0, 4095.0), but "
         "IMAGE_INTENSITY_RANGE of the configuration is None: images would be read otherwise "
         "in training than in detection. Set both to the same."),
    case("an image is deleted before the check", settled(deleted),
         "DatasetError: Data set: Image 2: DIR/train/2.png: there is no such image file. "
         "Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad) continues "
         "without it."),
    case("an image is cut off before the check", settled(truncated),
         "DatasetError: Data set: Image 2: DIR/train/2.png: the image cannot be read (…); "
         "replace the file or leave it out. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an image becomes larger before the check", settled(larger),
         "DatasetError: Data set: Image 2 (DIR/train/2.png) has 128x96 pixels (width x height,"
         " EXIF orientation applied), but 64x48 are declared: its boxes may be off. Correct "
         "the declared size and the boxes, or put the right image there. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
]
