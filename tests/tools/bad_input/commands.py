"""Command lines, and the files that they name."""

import json

import numpy as np
from cli_tools import NAMES, checkpoint
from PIL import Image

from bad_input import case, command
from frcnn.cli import anchors, check, convert, detect, evaluate, main, train

IMAGE = np.random.default_rng(0).integers(0, 200, (30, 40, 3), np.uint8)


def data_set(folder, change=None):
    """A data set in COCO's format, "d", of the subsets train and val."""
    for number, subset in enumerate(("train", "val"), start=1):
        (folder / "d" / subset).mkdir(parents=True)
        Image.fromarray(IMAGE + number).save(folder / "d" / subset / f"{subset}.png")
        content = {"images": [{"id": number, "file_name": f"{subset}.png", "width": 40,
                               "height": 30}],
                   "annotations": [{"id": number, "image_id": number, "category_id": 1,
                                    "bbox": [2 + number, 3, 20, 20]}],
                   "categories": [{"id": 1, "name": "cell"}]}
        if change is not None:
            change(subset, content)
        (folder / "d" / "annotations").mkdir(exist_ok=True)
        (folder / "d" / "annotations" / f"instances_{subset}.json").write_text(json.dumps(content))


def runs(module, *arguments, make=None):
    """Runs a program's command line, after something is made in the folder."""
    def act(folder):
        if make is not None:
            make(folder)
        return command(module.main, *arguments)
    return act


def image(folder):
    Image.fromarray(IMAGE).save(folder / "a.png")


def trains(*arguments, change=None):
    return runs(train, "--dataset", "d", *arguments, make=lambda folder: data_set(folder, change))


def checks(change, *arguments):
    """Runs `frcnn check` on a data set after a change of an annotation file's content."""
    return runs(check, "d", *arguments, make=lambda folder: data_set(folder, change))


def other_classes(subset, content):
    if subset == "val":
        content["categories"][0]["name"] = "rod"


def no_val_image(subset, content):
    if subset == "val":
        content["images"][0]["file_name"] = "gone.png"


def bad_box(subset, content):
    if subset == "train":
        content["annotations"][0]["bbox"] = [50, 3, 20, 20]


def other_size(subset, content):
    if subset == "val":
        content["images"][0]["width"] = 41


def detects(*arguments, make=None):
    """Runs `frcnn detect` on an image with a checkpoint, w/mask_rcnn_ury_0003.h5."""
    def make_all(folder):
        image(folder)
        if make is not None:
            make(folder)
    return runs(detect, "a.png", *arguments, make=make_all)


def with_checkpoint(**settings):
    def make(folder):
        checkpoint(folder / "w", 4, names=NAMES, category_ids=[None, 2, 7, 11], **settings)
    return make


def without_json(folder):
    checkpoint(folder / "w", 4)


def json_of_other_weights(folder):
    with_checkpoint()(folder)
    path = folder / "w" / "config_mask_rcnn_ury_0003.json"
    content = json.loads(path.read_text())
    content["config"]["NUM_CLASSES"] = 3
    content.update(class_names=NAMES[:3], source_class_ids=[None, 2, 7])
    path.write_text(json.dumps(content))


def damaged(folder):
    with_checkpoint()(folder)
    (folder / "w" / "mask_rcnn_ury_0003.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))


def damaged_json(folder):
    with_checkpoint()(folder)
    (folder / "w" / "config_mask_rcnn_ury_0003.json").write_text('{"config": ')


def annotations_of_others(folder):
    with_checkpoint()(folder)
    data_set(folder)


WEIGHTS = "w/mask_rcnn_ury_0003.h5"

CASES = [
    case("no command", runs(main),
         "exit 2",
         "frcnn: error: the following arguments are required: COMMAND (frcnn --help lists the "
         "options)"),
    case("an unknown command", runs(main, "predict"),
         "exit 2",
         "frcnn: error: argument COMMAND: invalid choice: (…) (frcnn --help lists the options)"),
    case("an unknown option", runs(check, "d", "--fast"),
         "exit 2",
         "frcnn check: error: unrecognized arguments: --fast (frcnn check --help lists the "
         "options)"),
    case("an option cut short", runs(check, "d", "--head"),
         "exit 2",
         "frcnn check: error: unrecognized arguments: --head (frcnn check --help lists the "
         "options)"),
    case("a folder too many", runs(check, "d", "e"),
         "exit 2",
         "frcnn check: error: unrecognized arguments: e (frcnn check --help lists the options)"),
    case("no folder", runs(check),
         "exit 2",
         "frcnn check: error: the following arguments are required: DIR (frcnn check --help "
         "lists the options)"),
    case("a folder that is not there", runs(check, "d"),
         "exit 2",
         "frcnn check: error: There is no data set folder d. Give the folder that holds "
         "annotations/ (COCO) or ImageSets/ (Pascal VOC)."),
    case("a folder of nothing", runs(check, "."),
         "exit 2",
         "frcnn check: error: . is in neither layout that is read: it has no "
         "annotations/instances_<subset>.json (COCO), nor ImageSets/Main/<subset>.txt (Pascal "
         "VOC), nor other files in one of these formats in it or in a folder of it. Name the "
         "folder that holds them."),
    case("a subset that is not there", runs(check, "d", "--subset", "test", make=data_set),
         "exit 2",
         "frcnn: errors: 1, repaired: 0, in the subsets test",
         "error: test: There is no annotation file d/annotations/instances_test.json; the "
         "subsets there are train, val."),
    case("classes of another name in val", checks(other_classes),
         "exit 2",
         "frcnn: errors: 1, repaired: 0, in the subsets train, val",
         "error: val: The classes are {1: 'rod'}, but those of the subset train are {1: "
         "'cell'}; both must be the same."),
    case("an image that is missing", checks(no_val_image, "--headers"),
         "exit 2",
         "frcnn: errors: 1, repaired: 0, doubtful: 1, in the subsets train, val",
         "error: val: Image 2: there is no file d/val/gone.png.",
         "doubtful: val: Of the images in the data set's folders 1 are in no annotation file and "
         "are left out: val/val.png. Where they have no objects, list them among its images, "
         "too."),
    case("a box that is repaired", checks(bad_box),
         "exit 1",
         "frcnn: errors: 0, repaired: 1, in the subsets train, val",
         "repaired: train: Annotation 1 (image 1): the box [50, 3, 20, 20] lies outside the "
         "image of 40x30 pixels; dropped."),
    case("an image of another size", checks(other_size),
         "exit 2",
         "frcnn: errors: 1, repaired: 0, in the subsets train, val",
         "error: val: Image 2 (d/val/val.png) has 40x30 pixels (width x height, EXIF "
         "orientation applied), but 41x30 are declared: its boxes may be off. Correct the "
         "declared size and the boxes, or put the right image there."),
    case("no data set to train on", runs(train),
         "exit 2",
         "frcnn train: error: --dataset DIR is required: the folder of the images and their "
         "boxes."),
    case("a data set that is not there", runs(train, "--dataset", "gone"),
         "exit 2",
         "frcnn train: error: There is no data set folder DIR/gone. Give the folder that holds"
         " annotations/ (COCO) or ImageSets/ (Pascal VOC)."),
    case("training with other classes in val", trains(change=other_classes),
         "exit 2",
         "frcnn train: error: The subset 'train' has the classes cell, but the data set has "
         "rod. Both annotation files must list the same categories."),
    case("training with a missing image", trains(change=no_val_image),
         "exit 2",
         "frcnn train: error: DIR/d/annotations/instances_val.json: Image 2: there is no file "
         "DIR/d/val/gone.png. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("training with an image of another size", trains(change=other_size),
         "exit 2",
         "frcnn train: error: Data set: Image 2 (DIR/d/val/val.png) has 40x30 pixels (width x "
         "height, EXIF orientation applied), but 41x30 are declared: its boxes may be off. "
         "Correct the declared size and the boxes, or put the right image there. Correct that;"
         " `frcnn check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("0 epochs", trains("--epochs", "0"),
         "exit 2",
         "frcnn train: error: argument --epochs: '0' is not a whole number of 1 or more (frcnn"
         " train --help lists the options)"),
    case("epochs in words", trains("--epochs", "ten"),
         "exit 2",
         "frcnn train: error: argument --epochs: 'ten' is not a whole number of 1 or more "
         "(frcnn train --help lists the options)"),
    case("epochs in Arabic digits", trains("--epochs", "\u0661"),
         "exit 2",
         "frcnn train: error: argument --epochs: '١' is not a whole number of 1 or more (frcnn"
         " train --help lists the options)"),
    case("epochs of 5,000 digits", trains("--epochs", "9" * 5000),
         "exit 2",
         "frcnn train: error: argument --epochs: '9…9…' is not a whole number of 1 or more "
         "(frcnn train --help lists the options)"),
    case("a learning rate of 0", trains("--learning-rate", "0"),
         "exit 2",
         "frcnn train: error: argument --learning-rate: '0' is not a number above 0 (frcnn "
         "train --help lists the options)"),
    case("a learning rate of NaN", trains("--learning-rate", "nan"),
         "exit 2",
         "frcnn train: error: argument --learning-rate: 'nan' is not a number above 0 (frcnn "
         "train --help lists the options)"),
    case("a learning rate of infinity", trains("--learning-rate", "inf"),
         "exit 2",
         "frcnn train: error: argument --learning-rate: 'inf' is not a number above 0 (frcnn "
         "train --help lists the options)"),
    case("a negative seed", trains("--seed", "-1"),
         "exit 2",
         "frcnn train: error: argument --seed: '-1' is not a whole number from 0 to 4294967295"
         " (frcnn train --help lists the options)"),
    case("a seed beyond 32 bits", trains("--seed", str(2**32)),
         "exit 2",
         "frcnn train: error: argument --seed: '4294967296' is not a whole number from 0 to "
         "4294967295 (frcnn train --help lists the options)"),
    case("an unknown network", trains("--backbone", "vgg16"),
         "exit 2",
         "frcnn train: error: argument --backbone: invalid choice: (…) (frcnn train --help "
         "lists the options)"),
    case("images of 0 pixels", trains("--image-size", "0"),
         "exit 2",
         "frcnn train: error: argument --image-size: '0' is not a whole number of 1 or more "
         "(frcnn train --help lists the options)"),
    case("a setting without value", trains("--set", "NUM_CLASSES"),
         "exit 2",
         "frcnn train: error: argument --set: 'NUM_CLASSES' is not NAME=VALUE with NAME in "
         "capitals (frcnn train --help lists the options)"),
    case("a setting in small letters", trains("--set", "pool_size=7"),
         "exit 2",
         "frcnn train: error: argument --set: 'pool_size=7' is not NAME=VALUE with NAME in "
         "capitals (frcnn train --help lists the options)"),
    case("a setting that is misspelled", trains("--set", "POOLSIZE=7"),
         "exit 2",
         "frcnn train: error: SmallObjectsConfig has no setting 'POOLSIZE'; did you mean "
         "POOL_SIZE?"),
    case("a setting of another type", trains("--set", "POOL_SIZE=seven"),
         "exit 2",
         "frcnn train: error: POOL_SIZE is 'seven'; allowed is a whole number from 1 to "
         "1,000,000."),
    case("a setting nested deeply", trains("--set", "POOL_SIZE=" + "[" * 300),
         "exit 2",
         "frcnn train: error: POOL_SIZE is '[…[…[…['; allowed is a whole number from 1 to "
         "1,000,000."),
    case("a setting of 10,000 signs", trains("--set", "POOL_SIZE=" + "-" * 10000 + "1"),
         "exit 2",
         "frcnn train: error: POOL_SIZE is '-…-…-…-1'; allowed is a whole number from 1 to "
         "1,000,000."),
    case("a setting with a list as key", trains("--set", "POOL_SIZE={[]: 1}"),
         "exit 2",
         "frcnn train: error: POOL_SIZE is '{[]: 1}'; allowed is a whole number from 1 to "
         "1,000,000."),
    case("a setting of 5,000 digits", trains("--set", "POOL_SIZE=" + "9" * 5000),
         "exit 2",
         "frcnn train: error: POOL_SIZE is '9…9…9…9'; allowed is a whole number from 1 to "
         "1,000,000."),
    case("a setting with a NUL", trains("--set", "NAME='a\0b'"),
         "exit 2",
         "frcnn train: error: NAME is \"'a\\x00b'\"; allowed is None or a text that is not empty,"
         " can be printed and has no / or \\ in it."),
    case("a setting that calls", trains("--set", "POOL_SIZE=exit(1)"),
         "exit 2",
         "frcnn train: error: POOL_SIZE is 'exit(1)'; allowed is a whole number from 1 to "
         "1,000,000."),
    case("patience without evaluation", trains("--patience", "3"),
         "exit 2",
         "frcnn train: error: --patience 3 needs --evaluate-every N, since it counts "
         "evaluations; give both, or --patience off."),
    case("BatchNorm frozen over random weights", trains("--batch-norm", "freeze"),
         "exit 2",
         "frcnn train: error: BatchNorm cannot be frozen over random weights: its stored "
         "statistics describe no data, so nothing would be learned. Leave --batch-norm at "
         "'train', or start from --model imagenet."),
    case("weights that are not there", trains("--model", "gone.h5"),
         "exit 2",
         "frcnn train: error: --model gone.h5: there is no such file; give the path of an .h5,"
         " or one of last, best, imagenet, coco, synthetic, none."),
    case("weights that are a folder", trains("--model", "d"),
         "exit 2",
         "frcnn train: error: --model d is a folder; name one of the .h5 files in it."),
    case("weights that are an image", trains("--model", "d/train/train.png"),
         "exit 2",
         "frcnn train: error: d/train/train.png is not an HDF5 file (3698 bytes): it is of "
         "another kind, or its beginning is missing. Take a checkpoint, whose name ends in .h5."),
    case("no run to continue", trains("--model", "last"),
         "exit 2",
         "frcnn train: error: There is no folder logs, so no checkpoint; name a weight file "
         "instead."),
    case("weights of other classes", runs(
        train, "--dataset", "d", "--model", WEIGHTS,
        make=lambda folder: (data_set(folder), with_checkpoint()(folder))),
         "exit 2",
         "frcnn train: error: w/mask_rcnn_ury_0003.h5 was trained on 3 classes (bar, square, "
         "slab); the data set has 1 (cell). Add --new-head to keep all other layers."),
    case("no image to detect on", runs(detect),
         "exit 2",
         "frcnn detect: error: the following arguments are required: INPUT (frcnn detect "
         "--help lists the options)"),
    case("an image that is not there", runs(detect, "gone.png", make=with_checkpoint()),
         "exit 2",
         "frcnn detect: error: gone.png: no such file, and no image matches it."),
    case("a pattern that fits nothing", runs(detect, "*.png", make=with_checkpoint()),
         "exit 2",
         "frcnn detect: error: *.png: no such file, and no image matches it."),
    case("an empty folder", runs(detect, "e", make=lambda folder: (folder / "e").mkdir()),
         "exit 2",
         "frcnn detect: error: e: the folder has no images."),
    case("results as .txt", detects("--output", "results.txt"),
         "exit 2",
         "frcnn detect: error: results.txt: the ending means no format; name a file that ends in "
         ".json, .csv, .jsonl, .parquet, .geojson, .zip, .xml."),
    case("results into a folder with other files", detects("--output", "w/",
                                                           make=with_checkpoint()),
         "exit 2",
         "frcnn detect: error: w has other files in it; name a new folder."),
    case("a confidence above 1", detects("--min-confidence", "70"),
         "exit 2",
         "frcnn detect: error: argument --min-confidence: '70' is not a number from 0 to 1 "
         "(frcnn detect --help lists the options)"),
    case("a confidence of NaN", detects("--min-confidence", "nan"),
         "exit 2",
         "frcnn detect: error: argument --min-confidence: 'nan' is not a number from 0 to 1 "
         "(frcnn detect --help lists the options)"),
    case("a batch of 0", detects("--batch-size", "0"),
         "exit 2",
         "frcnn detect: error: argument --batch-size: '0' is not a whole number of 1 or more "
         "(frcnn detect --help lists the options)"),
    case("no checkpoint", detects(),
         "exit 2",
         "frcnn detect: error: There is no folder logs, so no checkpoint; name a weight file "
         "instead."),
    case("a checkpoint without JSON", detects("--model", WEIGHTS, make=without_json),
         "exit 2",
         "frcnn detect: error: There is no configuration beside w/mask_rcnn_ury_0003.h5. The "
         "file itself determines NUM_CLASSES=4, but not IMAGE_MIN_DIM, IMAGE_MAX_DIM, "
         "RPN_ANCHOR_SCALES, RPN_ANCHOR_STRIDE. Write a configuration with: python -c \"from "
         "frcnn.config import Config; Config(NUM_CLASSES=4, IMAGE_MIN_DIM=800, "
         "IMAGE_MAX_DIM=1024, RPN_ANCHOR_SCALES=(32, 64, 128, 256, 512), "
         "RPN_ANCHOR_STRIDE=1).save('mask_rcnn_ury_0003.config.json')\" and add --config "
         "mask_rcnn_ury_0003.config.json. The values from IMAGE_MIN_DIM on are the reference's"
         " defaults; put in those of its training, and any other setting that it changed."),
    case("a checkpoint with the JSON of another", detects(
        "--model", WEIGHTS, make=json_of_other_weights),
         "exit 2",
         "frcnn detect: error: w/mask_rcnn_ury_0003.h5 has NUM_CLASSES 4, but its "
         "configuration has 3."),
    case("a damaged checkpoint", detects("--model", WEIGHTS, make=damaged),
         "exit 2",
         "frcnn detect: error: w/mask_rcnn_ury_0003.h5 cannot be read, it is truncated or "
         "damaged (…). Take another checkpoint, or fetch the file again."),
    case("a damaged JSON", detects("--model", WEIGHTS, make=damaged_json),
         "exit 2",
         "frcnn detect: error: w/config_mask_rcnn_ury_0003.json is not JSON: (…)."),
    case("a configuration that is not there", detects(
        "--model", WEIGHTS, "--config", "gone.json", make=with_checkpoint()),
         "exit 2",
         "frcnn detect: error: --config gone.json: there is no such file."),
    case("a configuration that is the weights", detects(
        "--model", WEIGHTS, "--config", WEIGHTS, make=with_checkpoint()),
         "exit 2",
         "frcnn detect: error: w/mask_rcnn_ury_0003.h5 is not JSON: (…)."),
    case("annotations that are not there", detects(
        "--model", WEIGHTS, "--annotations", "gone.json", make=with_checkpoint()),
         "exit 2",
         "frcnn detect: error: There is no annotation file gone.json."),
    case("annotations of other images", detects(
        "--model", WEIGHTS, "--annotations", "d/annotations/instances_val.json",
        make=annotations_of_others),
         "exit 2",
         "frcnn detect: error: d/annotations/instances_val.json does not list a.png; leave "
         "--annotations out to number the images instead."),
    case("pictures into a file", detects(
        "--model", WEIGHTS, "--pictures", "a.png", make=with_checkpoint()),
         "exit 2",
         "frcnn detect: error: --pictures a.png is a file; name a folder."),
    case("an evaluation without data", runs(
        evaluate, "--model", WEIGHTS, make=with_checkpoint()),
         "exit 2",
         "frcnn evaluate: error: the following arguments are required: --dataset (frcnn "
         "evaluate --help lists the options)"),
    case("an evaluation of other classes", runs(
        evaluate, "--model", WEIGHTS, "--dataset", "d",
        make=lambda folder: (data_set(folder), with_checkpoint()(folder))),
         "exit 2",
         "frcnn evaluate: error: w/mask_rcnn_ury_0003.h5 was trained on 3 classes (bar, "
         "square, slab); the data set has 1 (cell). Evaluate it on the data that it was "
         "trained for."),
    case("a conversion of COCO", runs(convert, "d", "e", make=data_set),
         "exit 2",
         "frcnn convert: error: d is not in Pascal VOC's layout: it has no "
         "ImageSets/Main/<subset>.txt."),
    case("a conversion of nothing", runs(convert, "gone", "e"),
         "exit 2",
         "frcnn convert: error: There is no file or folder gone."),
    case("a first pixel of 2", runs(convert, "d", "e", "--first-pixel", "2"),
         "exit 2",
         "frcnn convert: error: argument --first-pixel: invalid choice: (…) (frcnn convert "
         "--help lists the options)"),
    case("anchors of no data", runs(anchors, "gone"),
         "exit 2",
         "frcnn anchors: error: There is no data set folder gone. Give the folder that holds "
         "annotations/ (COCO) or ImageSets/ (Pascal VOC)."),
    case("anchors of nothing annotated", runs(anchors, "d", make=lambda folder: data_set(
        folder, lambda subset, content: content.update(annotations=[]))),
         "exit 2",
         "frcnn anchors: error: The subset 'train' of d has no objects to compare anchors "
         "with."),
]
