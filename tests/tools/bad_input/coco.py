"""Annotations in COCO's format."""

import copy
import json
import shutil

from PIL import Image

from bad_input import boxes_of, case, harmless
from frcnn.data.coco import CocoDataset
from frcnn.data.image_ids import ids_of_files

VALID = {
    "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30},
               {"id": 2, "file_name": "b.png", "width": 40, "height": 30}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 4, 10, 12], "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 5, "bbox": [1, 1, 20, 20], "iscrowd": 0}],
    "categories": [{"id": 3, "name": "rod"}, {"id": 5, "name": "cell"}]}


def write(folder, content, images=("a.png", "b.png")):
    """A data set with one subset, "train"; its annotation file is JSON of a value, or bytes."""
    (folder / "annotations").mkdir()
    (folder / "train").mkdir()
    for name in images:
        Image.new("RGB", (40, 30), (200, 90, 30)).save(folder / "train" / name)
    path = folder / "annotations" / "instances_train.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def reads(content, **options):
    """Reads an annotation file with a content."""
    def act(folder):
        write(folder, content)
        return boxes_of(CocoDataset.from_folder(folder, "train", **options))
    return act


def with_(change, skip_bad=False):
    """Reads the valid file after a change of its content."""
    content = copy.deepcopy(VALID)
    change(content)
    return reads(content, skip_bad=skip_bad)


def bbox(*box, skip_bad=False, **fields):
    """Reads the valid file with another first box."""
    return with_(lambda content: content["annotations"][0].update(bbox=list(box), **fields),
                 skip_bad)


def annotation(skip_bad=False, **fields):
    return with_(lambda content: content["annotations"][0].update(fields), skip_bad)


def image(skip_bad=False, **fields):
    return with_(lambda content: content["images"][0].update(fields), skip_bad)


def category(skip_bad=False, **fields):
    return with_(lambda content: content["categories"][0].update(fields), skip_bad)


def outline(segmentation):
    def change(content):
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = segmentation
    return with_(change)


def without(section, key):
    return with_(lambda content: content[section][0].pop(key))


def spelled(name, *there):
    """Reads the valid file where the first image is listed under a name, and others are there."""
    def act(folder):
        content = copy.deepcopy(VALID)
        content["images"][0]["file_name"] = name
        write(folder, content, ["b.png"])
        for path in there:
            (folder / "train" / path).parent.mkdir(exist_ok=True)
            Image.new("RGB", (40, 30)).save(folder / "train" / path)
        return boxes_of(CocoDataset.from_folder(folder, "train"))
    return act


def no_images_folder(folder):
    write(folder, VALID)
    shutil.rmtree(folder / "train")
    CocoDataset.from_folder(folder, "train")


def file_of_annotations(folder):
    write(folder, VALID)
    CocoDataset.from_folder(folder / "annotations" / "instances_train.json", "train")


def folder_of_annotations(folder):
    write(folder, VALID).unlink()
    (folder / "annotations" / "instances_train.json").mkdir()
    CocoDataset.from_folder(folder, "train")


def other_subset(folder):
    write(folder, VALID)
    CocoDataset.from_folder(folder, "val")


def unknown_class_ids(folder):
    write(folder, VALID)
    CocoDataset.from_folder(folder, "train", class_ids=[3, 4])


def twice(folder):
    write(folder, VALID)
    dataset = CocoDataset.from_folder(folder, "train")
    dataset.load_coco(folder, "train")


def ids_of(*names):
    def act(folder):
        path = write(folder, VALID)
        ids_of_files([folder / name for name in names], path)
    return act


def corners(content):
    for number in range(4):
        content["annotations"].append({"id": 10 + number, "image_id": 1, "category_id": 3,
                                       "bbox": [20 + number, 20, 38, 29]})


def double_second_image(content):
    content["images"][1]["id"] = 1


def one_file(content):
    content["images"][1]["file_name"] = "./a.png"


VALID_TEXT = json.dumps(VALID)
DEEP = b'{"images": ' + b"[" * 5000 + b"]" * 5000 + b"}"

CASES = [
    case("no file", other_subset,
         "FileNotFoundError: There is no annotation file "
         "DIR/annotations/instances_val.json; the subsets there are train."),
    case("a file instead of the folder", file_of_annotations,
         "FileNotFoundError: There is no data set folder "
         "DIR/annotations/instances_train.json. Give the folder that holds annotations/ "
         "and one folder of images a subset."),
    case("a folder instead of the file", folder_of_annotations,
         "DatasetError: DIR/annotations/instances_train.json cannot be read: Is a "
         "directory."),
    case("no folder of images", no_images_folder,
         "FileNotFoundError: There is no folder DIR/train; the images of the subset "
         "'train' belong there."),
    case("an empty file", reads(b""),
         "DatasetError: DIR/annotations/instances_train.json is not JSON: (…) in line 1, "
         "column 1. Export it again, or repair that place."),
    case("cut off", reads(VALID_TEXT[:200].encode()),
         "DatasetError: DIR/annotations/instances_train.json is not JSON: (…) in line 1, "
         "column 201. Export it again, or repair that place."),
    case("a comma missing", reads(VALID_TEXT.replace("}, {", "} {", 1).encode()),
         "DatasetError: DIR/annotations/instances_train.json is not JSON: (…) in line 1, "
         "column 72. Export it again, or repair that place."),
    case("single quotes", reads(VALID_TEXT.replace('"', "'").encode()),
         "DatasetError: DIR/annotations/instances_train.json is not JSON: (…) in line 1, "
         "column 2. Export it again, or repair that place."),
    case("UTF-16", reads(VALID_TEXT.encode("utf-16")),
         "DatasetError: DIR/annotations/instances_train.json is not JSON text in UTF-8. "
         "Export it again."),
    case("Latin-1", reads(VALID_TEXT.replace("rod", "Stäbchen").encode("latin-1")),
         "DatasetError: DIR/annotations/instances_train.json is not JSON text in UTF-8. "
         "Export it again."),
    harmless("a byte order mark", reads(b"\xef\xbb\xbf" + VALID_TEXT.encode()),
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("nested 5,000 deep", reads(DEEP),
         "DatasetError: DIR/annotations/instances_train.json is not JSON that can be read: it "
         "is nested too deeply. Export it again."),
    case("a number of 5,000 digits", reads(VALID_TEXT.replace("12]", "9" * 5000 + "]").encode()),
         "DatasetError: DIR/annotations/instances_train.json is not JSON that can be read: it "
         "holds a number of thousands of digits. Export it again."),
    case("annotations twice", reads(VALID_TEXT.replace(
        '"categories"', '"annotations": [], "categories"').encode()),
         "DatasetError: DIR/annotations/instances_train.json cannot be used: it has "
         "'annotations' twice in one object, and only one could count. Join them."),
    case("a bbox twice", reads(VALID_TEXT.replace(
        '"iscrowd": 0', '"bbox": [1, 1, 5, 5]').encode()),
         "DatasetError: DIR/annotations/instances_train.json cannot be used: it has 'bbox' "
         "twice in one object, and only one could count. Join them."),
    case("two JSON values", reads((VALID_TEXT * 2).encode()),
         "DatasetError: DIR/annotations/instances_train.json is not JSON: (…) in line 1, "
         "column 383. Export it again, or repair that place."),
    case("a list at the top", reads([VALID]),
         "DatasetError: DIR/annotations/instances_train.json holds a JSON list, where COCO"
         " has an object with the lists images, annotations and categories."),
    case("null", reads(None),
         "DatasetError: DIR/annotations/instances_train.json holds a JSON null, where COCO"
         " has an object with the lists images, annotations and categories."),
    case("no images", with_(lambda content: content.pop("images")),
         "DatasetError: DIR/annotations/instances_train.json has no 'images'. A COCO "
         "annotation file has the lists images, annotations and categories; is this one of"
         " another format?"),
    case("no annotations", with_(lambda content: content.pop("annotations")),
         "DatasetError: DIR/annotations/instances_train.json has no 'annotations'. A COCO "
         "annotation file has the lists images, annotations and categories; is this one of"
         " another format?"),
    case("categories as an object", with_(lambda content: content.update(categories={})),
         "DatasetError: 'categories' in DIR/annotations/instances_train.json is a JSON "
         "object; COCO has a list there."),
    case("empty images", with_(lambda content: content.update(images=[])),
         "DatasetError: 'images' in DIR/annotations/instances_train.json is empty: there "
         "is nothing to load."),
    case("empty categories", with_(lambda content: content.update(categories=[])),
         "DatasetError: 'categories' in DIR/annotations/instances_train.json is empty: "
         "there is nothing to load."),
    harmless("empty annotations", with_(lambda content: content.update(annotations=[])),
         "= a.png: ; b.png: "),
    case("an image that is no object", with_(lambda content: content["images"].append(7)),
         "DatasetError: DIR/annotations/instances_train.json: Entry 2 of 'images' is a "
         "JSON number, not an object. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an annotation that is null",
         with_(lambda content: content["annotations"].append(None)),
         "DatasetError: DIR/annotations/instances_train.json: Entry 2 of 'annotations' is "
         "a JSON null, not an object. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an image without id", without("images", "id"),
         "DatasetError: DIR/annotations/instances_train.json: Entry 0 of 'images' "
         "('a.png') has the id None; give a whole number. Annotation 1 is of image 1, "
         "which is not in 'images'. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an image id in words", image(id="one"),
         "DatasetError: DIR/annotations/instances_train.json: Entry 0 of 'images' "
         "('a.png') has the id 'one'; give a whole number. Annotation 1 is of image 1, "
         "which is not in 'images'. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an image id that is true", image(id=True),
         "DatasetError: DIR/annotations/instances_train.json: Entry 0 of 'images' "
         "('a.png') has the id True; give a whole number. Correct that; `frcnn check` "
         "lists everything, and skip_bad (--skip-bad) continues without it."),
    case("an image id of half", image(id=1.5),
         "DatasetError: DIR/annotations/instances_train.json: Entry 0 of 'images' "
         "('a.png') has the id 1.5; give a whole number. Annotation 1 is of image 1, which"
         " is not in 'images'. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    harmless("an image id as float", image(id=1.0),
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("an image id beyond 64 bits", image(id=2**70),
         "DatasetError: DIR/annotations/instances_train.json: Entry 0 of 'images' "
         "('a.png') has the id 1180591620717411303424; give a whole number. Annotation 1 "
         "is of image 1, which is not in 'images'. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    case("one image id twice", with_(double_second_image),
         "DatasetError: DIR/annotations/instances_train.json: Image id 1 occurs twice in "
         "'images' ('a.png' and 'b.png'); ids must differ. Annotation 2 is of image 2, "
         "which is not in 'images'. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("one image twice", with_(lambda content: content["images"].append(content["images"][0])),
         "warning: DIR/annotations/instances_train.json: image listed twice, 1 in all. The"
         " first: Image 1 ('a.png') is listed twice in 'images'; used once.",
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("one file under two ids", with_(one_file),
         "DatasetError: DIR/annotations/instances_train.json: Images 1 and 2 are the same "
         "file DIR/train/./a.png, so that the objects of one would count as background in "
         "the other; join them under one id. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("an image without a name", without("images", "file_name"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 has the file_name "
         "None; give the name of a file. Correct that; `frcnn check` lists everything, and"
         " skip_bad (--skip-bad) continues without it."),
    case("an image's name as number", image(file_name=7),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 has the file_name 7;"
         " give the name of a file. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an empty name", image(file_name=""),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 has the file_name "
         "''; give the name of a file. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("a name that leaves the folder", image(file_name="../../etc/passwd"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 has the file_name "
         "'../../etc/passwd', which leaves the data set's folder; it is not opened. Give a"
         " name relative to the images' folder. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    case("an absolute name", image(file_name="/etc/hostname"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 has the file_name "
         "'/etc/hostname', which leaves the data set's folder; it is not opened. Give a "
         "name relative to the images' folder. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    case("a drive of Windows", image(file_name="C:\\data\\a.png"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 has the file_name "
         "'C:\\\\data\\\\a.png', which leaves the data set's folder; it is not opened. Give a "
         "name relative to the images' folder. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    case("a name with a NUL", image(file_name="a.png\0"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 has the file_name "
         "'a.png\\x00', which leaves the data set's folder; it is not opened. Give a name "
         "relative to the images' folder. Correct that; `frcnn check` lists everything, "
         "and skip_bad (--skip-bad) continues without it."),
    case("a name with half a character", image(file_name="a\ud800.png"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1: there is no file "
         "DIR/train/a\\ud800.png. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("a name of 5,000 characters", image(file_name="x" * 5000 + ".png"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1: there is no file "
         "DIR/train/x…x … x…x.png. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("a missing image", image(file_name="c.png"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1: there is no file "
         "DIR/train/c.png. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("a folder as image", image(file_name="."),
         "DatasetError: DIR/annotations/instances_train.json: Image 1: there is no file "
         "DIR/train/.. Correct that; `frcnn check` lists everything, and skip_bad (--skip-"
         "bad) continues without it."),
    case("another letter case", spelled("A.PNG", "a.png"),
         "warning: DIR/annotations/instances_train.json: image found under another name, 1"
         " in all. The first: Image 1: 'A.PNG' is DIR/train/a.png (another spelling).",
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("two letter cases", spelled("A.PNG", "a.png", "a.PNG"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1: there is no file "
         "DIR/train/A.PNG, and 2 files of similar names. Correct that; `frcnn check` lists"
         " everything, and skip_bad (--skip-bad) continues without it."),
    case("backslashes", spelled("sub\\a.png", "sub/a.png"),
         "warning: DIR/annotations/instances_train.json: image found under another name, 1"
         " in all. The first: Image 1: 'sub\\\\a.png' is DIR/train/sub/a.png (another "
         "spelling).",
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("percent signs", spelled("a%20b.png", "a b.png"),
         "warning: DIR/annotations/instances_train.json: image found under another name, 1"
         " in all. The first: Image 1: 'a%20b.png' is DIR/train/a b.png (another "
         "spelling).",
         "= a b.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("another normal form", spelled("\u00e4.png", "a\u0308.png"),
         "warning: DIR/annotations/instances_train.json: image found under another name, 1"
         " in all. The first: Image 1: 'ä.png' is DIR/train/ä.png (another spelling).",
         "= ä.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("in a sub-folder", spelled("a.png", "sub/a.png"),
         "warning: DIR/annotations/instances_train.json: image found under another name, 1"
         " in all. The first: Image 1: 'a.png' is DIR/train/sub/a.png (in a sub-folder).",
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("a width of 0", image(width=0),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 (a.png) has the "
         "width 0; give a whole number of pixels, or leave it out. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a width in words", image(width="40"),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 (a.png) has the "
         "width '40'; give a whole number of pixels, or leave it out. Correct that; `frcnn"
         " check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a negative height", image(height=-30),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 (a.png) has the "
         "height -30; give a whole number of pixels, or leave it out. Correct that; `frcnn"
         " check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a height of half a pixel", image(height=30.5),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 (a.png) has the "
         "height 30.5; give a whole number of pixels, or leave it out. Correct that; "
         "`frcnn check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a width that is not finite", image(width=float("inf")),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 (a.png) has the "
         "width inf; give a whole number of pixels, or leave it out. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a width beyond any image", image(width=10**12),
         "DatasetError: DIR/annotations/instances_train.json: Image 1 (a.png) has the "
         "width and height [1000000000000, 30], more than the 1,048,576 pixels a side that"
         " an image can have; correct them. Correct that; `frcnn check` lists everything, "
         "and skip_bad (--skip-bad) continues without it."),
    case("a category without id", without("categories", "id"),
         "DatasetError: DIR/annotations/instances_train.json: Entry 0 of 'categories' has "
         "the id None; give a whole number. Annotation 1 (image 1, a.png) is of category "
         "3, which is not in 'categories'. Correct that; `frcnn check` lists everything, "
         "and skip_bad (--skip-bad) continues without it."),
    case("a category id in words", category(id="rod"),
         "DatasetError: DIR/annotations/instances_train.json: Entry 0 of 'categories' has "
         "the id 'rod'; give a whole number. Annotation 1 (image 1, a.png) is of category "
         "3, which is not in 'categories'. Correct that; `frcnn check` lists everything, "
         "and skip_bad (--skip-bad) continues without it."),
    case("one category id twice", category(id=5),
         "DatasetError: DIR/annotations/instances_train.json: Category id 5 occurs twice "
         "in 'categories' ('rod' and 'cell'); ids must differ. Annotation 1 (image 1, "
         "a.png) is of category 3, which is not in 'categories'. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a category without name", without("categories", "name"),
         "DatasetError: DIR/annotations/instances_train.json: Category 3 has the name "
         "None; give it a text. Annotation 1 (image 1, a.png) is of category 3, which is "
         "not in 'categories'. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("a blank category name", category(name="  "),
         "DatasetError: DIR/annotations/instances_train.json: Category 3 has the name ' ';"
         " give it a text. Annotation 1 (image 1, a.png) is of category 3, which is not in"
         " 'categories'. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("two categories of one name", category(name="cell"),
         "warning: DIR/annotations/instances_train.json: category name shared, 1 in all. "
         "The first: Several categories share a name, so their ids are added to it: cell.",
         "= a.png: cell (3) 4 2 16 12; b.png: cell (5) 1 1 21 21"),
    case("an annotation without image", without("annotations", "image_id"),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 is of image "
         "None, which is not in 'images'. Correct that; `frcnn check` lists everything, "
         "and skip_bad (--skip-bad) continues without it."),
    case("an unknown image", annotation(image_id=77),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 is of image 77,"
         " which is not in 'images'. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an image id as text", annotation(image_id="1"),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 is of image "
         "'1', which is not in 'images'. Correct that; `frcnn check` lists everything, and"
         " skip_bad (--skip-bad) continues without it."),
    case("an unknown category", annotation(category_id=4),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) is of category 4, which is not in 'categories'. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a category as a list", annotation(category_id=[3]),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) is of category [3], which is not in 'categories'. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("one annotation id twice", annotation(id=2),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 2 (image 2) "
         "occurs twice in 'annotations'; ids must differ. Correct that; `frcnn check` "
         "lists everything, and skip_bad (--skip-bad) continues without it."),
    case("an object twice", with_(lambda content: content["annotations"].append(
        {**content["annotations"][0], "id": 3})),
         "warning: DIR/annotations/instances_train.json: object listed twice, 1 in all. "
         "The first: Annotation 3 (image 1) is the same as annotation 1; used once.",
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("iscrowd of 2", annotation(iscrowd=2),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has iscrowd 2; allowed are 0 and 1. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    case("iscrowd in words", annotation(iscrowd="no"),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has iscrowd 'no'; allowed are 0 and 1. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    harmless("a crowd", annotation(iscrowd=1),
         "= a.png: crowd of rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("no bbox", without("annotations", "bbox"),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox None; give [x, y, width, height]. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a bbox of three", bbox(1, 2, 3),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox [1, 2, 3]; give [x, y, width, height]. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a bbox of words", bbox("1", "2", "3", "4"),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox ['1', '2', '3', '4']; give four finite numbers, [x, y, "
         "width, height]. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("a bbox with null", bbox(1, 2, None, 4),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox [1, 2, None, 4]; give four finite numbers, [x, y, width, "
         "height]. Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad)"
         " continues without it."),
    case("a bbox with true", bbox(1, 2, True, 4),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox [1, 2, True, 4]; give four finite numbers, [x, y, width, "
         "height]. Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad)"
         " continues without it."),
    case("a bbox with NaN", bbox(1, 2, float("nan"), 4),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox [1, 2, nan, 4]; give four finite numbers, [x, y, width, "
         "height]. Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad)"
         " continues without it."),
    case("a bbox with infinity", bbox(1, 2, float("inf"), 4),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox [1, 2, inf, 4]; give four finite numbers, [x, y, width, "
         "height]. Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad)"
         " continues without it."),
    case("a bbox beyond 64 bits", bbox(1, 2, 10**30, 4),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, a.png) "
         "has the bbox [1, 2, 10…0, 4]; give four finite numbers, [x, y, width, height]. "
         "Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad) continues "
         "without it."),
    case("a bbox as text", annotation(bbox="1,2,3,4"),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has the bbox '1,2,3,4'; give [x, y, width, height]. Correct that; `frcnn "
         "check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a bbox of no width", bbox(1, 2, 0, 4),
         "warning: DIR/annotations/instances_train.json: empty or inverted box, 1 in all. "
         "The first: Annotation 1 (image 1): the box [1, 2, 0, 4] is empty; dropped.",
         "= a.png: ; b.png: cell 1 1 21 21"),
    case("a bbox of negative width", bbox(10, 2, -5, 4),
         "warning: DIR/annotations/instances_train.json: empty or inverted box, 1 in all. "
         "The first: Annotation 1 (image 1): the box [10, 2, -5, 4] is empty; dropped.",
         "= a.png: ; b.png: cell 1 1 21 21"),
    case("a bbox outside", bbox(50, 2, 5, 4),
         "warning: DIR/annotations/instances_train.json: box outside the image, 1 in all. "
         "The first: Annotation 1 (image 1): the box [50, 2, 5, 4] lies outside the image "
         "of 40x30 pixels; dropped.",
         "= a.png: ; b.png: cell 1 1 21 21"),
    case("a bbox over the edge", bbox(-3, 2, 10, 4),
         "warning: DIR/annotations/instances_train.json: box beyond the image's edge, 1 in"
         " all. The first: Annotation 1 (image 1): the box [-3, 2, 10, 4] reaches beyond "
         "the image of 40x30 pixels; clipped.",
         "= a.png: rod 2 0 6 7; b.png: cell 1 1 21 21"),
    case("a bbox of 1e308", bbox(1, 2, 1e308, 1e308),
         "warning: DIR/annotations/instances_train.json: box beyond the image's edge, 1 in"
         " all. The first: Annotation 1 (image 1): the box [1, 2, 1e+308, 1e+308] reaches "
         "beyond the image of 40x30 pixels; clipped.",
         "= a.png: rod 2 1 30 40; b.png: cell 1 1 21 21"),
    case("a bbox at 1e308", bbox(1e308, 2, 1e308, 4),
         "warning: DIR/annotations/instances_train.json: box outside the image, 1 in all. "
         "The first: Annotation 1 (image 1): the box [1e+308, 2, 1e+308, 4] lies outside "
         "the image of 40x30 pixels; dropped.",
         "= a.png: ; b.png: cell 1 1 21 21"),
    case("a bbox as fractions", bbox(0.1, 0.2, 0.3, 0.4),
         "DatasetError: DIR/annotations/instances_train.json: 1 of 2 boxes lie between 0 "
         "and 1, as fractions of the image do; the first is annotation 1 (image 1), [0.1, "
         "0.2, 0.3, 0.4]. COCO has pixels: multiply x and width by the image's width, y "
         "and height by its height. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("boxes that are corners", with_(corners),
         "warning: DIR/annotations/instances_train.json: boxes may be corners, 1 in all. "
         "The first: 4 of 6 boxes reach beyond their images, and all would fit if they "
         "were [x1, y1, x2, y2]; COCO has [x, y, width, height]. Look at some of them.",
         "warning: DIR/annotations/instances_train.json: box beyond the image's edge, 4 in"
         " all. The first: Annotation 10 (image 1): the box [20, 20, 38, 29] reaches "
         "beyond the image of 40x30 pixels; clipped.",
         "= a.png: rod 4 2 16 12, rod 20 20 30 40, rod 20 21 30 40, rod 20 22 30 40, rod "
         "20 23 30 40; b.png: cell 1 1 21 21"),
    case("a polygon for a box", outline([[2, 4, 12, 4, 12, 16]]),
         "warning: DIR/annotations/instances_train.json: box from an outline, 1 in all. "
         "The first: Annotation 1 (image 1) has no bbox; it is taken from its "
         "segmentation.",
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("a polygon of two points", outline([[2, 4, 12, 4]]),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a polygon of an odd number", outline([[2, 4, 12, 4, 12, 16, 2]]),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a polygon with words", outline([["a", 4, 12, 4, 12, 16]]),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a polygon without area", outline([[2, 4, 12, 4, 7, 4]]),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a mask as runs", outline({"size": [30, 40], "counts": [64, 12, 1124]}),
         "warning: DIR/annotations/instances_train.json: box from an outline, 1 in all. "
         "The first: Annotation 1 (image 1) has no bbox; it is taken from its "
         "segmentation.",
         "= a.png: rod 4 2 16 3; b.png: cell 1 1 21 21"),
    case("a mask of another size", outline({"size": [40, 31], "counts": [64, 12, 1124]}),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a mask whose runs end early", outline({"size": [30, 40], "counts": [64, 12]}),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a mask with a negative run", outline({"size": [30, 40], "counts": [64, -12, 1148]}),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a mask of an endless run", outline({"size": [30, 40], "counts": "o" * 5000}),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a mask in no letters of COCO", outline({"size": [30, 40], "counts": "\u00e4~"}),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("a mask without object", outline({"size": [30, 40], "counts": [1200]}),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 1 (image 1, "
         "a.png) has no bbox, and a segmentation that is no outline of anything in this "
         "image; give [x, y, width, height]. Correct that; `frcnn check` lists everything,"
         " and skip_bad (--skip-bad) continues without it."),
    case("seven bad boxes", with_(lambda content: content.update(annotations=[
        {"id": number, "image_id": 1, "category_id": 3, "bbox": None} for number in range(7)])),
         "DatasetError: DIR/annotations/instances_train.json: Annotation 0 (image 1, "
         "a.png) has the bbox None; give [x, y, width, height]. Annotation 1 (image 1, "
         "a.png) has the bbox None; give [x, y, width, height]. Annotation 2 (image 1, "
         "a.png) has the bbox None; give [x, y, width, height]. Annotation 3 (image 1, "
         "a.png) has the bbox None; give [x, y, width, height]. Annotation 4 (image 1, "
         "a.png) has the bbox None; give [x, y, width, height]. And 2 more such problems. "
         "Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad) "
         "continues without it."),
    case("bad items, left out", with_(lambda content: content["annotations"].extend(
        [{"id": 8, "image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}, 5]), skip_bad=True),
         "warning: DIR/annotations/instances_train.json: 2 bad items are left out (not an "
         "object in 'annotations' 1, unknown image 1). The first: Entry 3 of 'annotations'"
         " is a JSON number, not an object.",
         "= a.png: rod 4 2 16 12; b.png: cell 1 1 21 21"),
    case("all bad, left out", with_(lambda content: content.update(images=[{"id": "x"}]),
                                    skip_bad=True),
         "warning: DIR/annotations/instances_train.json: 3 bad items are left out (bad "
         "image entry 1, unknown image 2). The first: Entry 0 of 'images' (None) has the "
         "id 'x'; give a whole number.",
         "= "),
    case("categories that are not there", unknown_class_ids,
         "DatasetError: DIR/annotations/instances_train.json has no category 4; its "
         "categories are {3: 'rod', 5: 'cell'}."),
    case("one subset loaded twice", twice,
         "DatasetError: Image id 1 of DIR/annotations/instances_train.json is already "
         "loaded; load this subset under another name (source=…)."),
    case("an image that is not listed", ids_of("train/a.png", "train/z.png"),
         "DatasetError: DIR/annotations/instances_train.json does not list z.png; leave "
         "--annotations out to number the images instead."),
    case("two files under one name", ids_of("train/a.png", "other/train/a.png"),
         "DatasetError: DIR/annotations/instances_train.json: DIR/train/a.png and "
         "DIR/other/train/a.png are both image 1 (a.png); list them with their folders, or"
         " detect in one of them."),
]
