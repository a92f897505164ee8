"""Annotations in Pascal VOC's format, and the lists of their images."""

import shutil

from PIL import Image
from voc_tools import annotation, field, voc_object

from bad_input import boxes_of, case, harmless
from frcnn.data.convert import convert_voc
from frcnn.data.voc import VocDataset

HEAD = '<?xml version="1.0" encoding="utf-8"?>'
SIZE = {"width": 40, "height": 30}


def write(folder, content, names="a\n", images=("a.png",)):
    """A data set with one subset, "train", of one image; its annotation is a text, or bytes."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for name in images:
        Image.new("RGB", (40, 30), (200, 90, 30)).save(folder / "JPEGImages" / name)
    path = folder / "Annotations" / "a.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "ImageSets/Main/train.txt").write_bytes(
        names if isinstance(names, bytes) else names.encode())
    return path


def reads(content, names="a\n", images=("a.png",), **options):
    def act(folder):
        write(folder, content, names, images)
        return boxes_of(VocDataset.from_folder(folder, "train", **options))
    return act


def holds(*objects, **fields):
    """Reads an annotation with these objects beside a good one."""
    good = voc_object(name="cell", xmin=1, ymin=1, xmax=9, ymax=9)
    fields = {"filename": "a.png", **SIZE, **fields}
    return reads(annotation(good, *objects, **fields))


def bare(text):
    """Reads an object of this content beside a good one."""
    return holds(f"<object>{text}</object>")


def size(**sides):
    return holds(**sides)


def listed(names, **options):
    text = annotation(voc_object(xmax=20, ymax=30), filename="a.png", **SIZE)
    return reads(text, names, **options)


def no_folder(name):
    def act(folder):
        write(folder, annotation(voc_object(), filename="a.png", **SIZE))
        shutil.rmtree(folder / name)
        VocDataset.from_folder(folder, "train")
    return act


def converts_into_itself(folder):
    write(folder, annotation(voc_object(), filename="a.png", **SIZE))
    convert_voc(folder, folder)


def converts_badly(folder):
    write(folder / "voc", annotation(voc_object(xmax="wide"), filename="a.png", **SIZE))
    try:
        convert_voc(folder / "voc", folder / "coco")
    finally:
        assert not (folder / "coco").exists()


GOOD = annotation(voc_object(xmax=20, ymax=30), filename="a.png", **SIZE)
DEEP = "<annotation>" + "<a>" * 40 + "</a>" * 40 + "</annotation>"
LAUGHS = ('<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>'
          "<annotation><object><name>&c;</name></object></annotation>")
OUTSIDE = ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'
           "<annotation><object><name>&b;</name></object></annotation>")

CASES = [
    case("no annotation", listed("a\nb\n"),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image b: there is no file "
         "DIR/Annotations/b.xml. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("an empty annotation", reads(""),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: no"
         " element found in line 1, column 1."),
    case("cut off", reads(GOOD[:150]),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: "
         "unclosed token in line 1, column 145."),
    case("tags exchanged", reads(GOOD.replace("</xmin>", "</xmax>", 1)),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: "
         "mismatched tag in line 1, column 194."),
    case("two roots", reads(GOOD + GOOD),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: "
         "junk after document element in line 1, column 275."),
    case("another root", reads("<html></html>"),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml has the root "
         "element <html>, where Pascal VOC has <annotation>."),
    case("JSON", reads('{"images": []}'),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: "
         "not well-formed (invalid token) in line 1, column 1."),
    case("a bare ampersand", reads(GOOD.replace("rod", "rod & cell")),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: "
         "not well-formed (invalid token) in line 1, column 147."),
    case("a NUL", reads(GOOD.replace("rod", "r\0d")),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: "
         "not well-formed (invalid token) in line 1, column 143."),
    case("an unknown encoding", reads(GOOD.replace(
        "<annotation>", '<?xml version="1.0" encoding="klingon"?><annotation>')),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is in an "
         "encoding that cannot be read (unknown encoding: klingon). Save it as UTF-8."),
    case("a wrong encoding", reads((HEAD + GOOD.replace("rod", "Stäbchen")).encode("latin-1")),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is not XML: "
         "not well-formed (invalid token) in line 1, column 182."),
    harmless("UTF-16", reads(GOOD.encode("utf-16")),
         "= a.png: rod 20 10 30 20"),
    case("entities that grow", reads(LAUGHS),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml has a DOCTYPE,"
         " whose entities can hide any amount of text; it is not read. Save it without "
         "one."),
    case("an entity that is a file", reads(OUTSIDE),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml has a DOCTYPE,"
         " whose entities can hide any amount of text; it is not read. Save it without "
         "one."),
    case("nested 40 deep", reads(DEEP),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is nested more"
         " than 32 elements deep; it is no annotation."),
    case("10 MiB", reads(GOOD + " " * 10 * 2**20),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a: DIR/Annotations/a.xml is larger than"
         " 8 MiB, which no image's annotation is; it is not read."),
    harmless("no size", size(width=None, height=None),
         "= a.png: cell 0 0 9 9"),
    harmless("a size of 0", size(width=0, height=0),
         "= a.png: cell 0 0 9 9"),
    case("a size in words", size(width="wide"),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: DIR/Annotations/a.xml "
         "declares the size ('wide', '30'); give whole numbers of pixels up to 1,048,576, "
         "or leave <size> out. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("a negative size", size(height=-30),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: DIR/Annotations/a.xml "
         "declares the size ('40', '-30'); give whole numbers of pixels up to 1,048,576, "
         "or leave <size> out. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("a size of half a pixel", size(height=30.5),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: DIR/Annotations/a.xml "
         "declares the size ('40', '30.5'); give whole numbers of pixels up to 1,048,576, "
         "or leave <size> out. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("a size beyond any image", size(width=10**12),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: DIR/Annotations/a.xml "
         "declares the size ('1000000000000', '30'); give whole numbers of pixels up to "
         "1,048,576, or leave <size> out. Correct that; `frcnn check` lists everything, "
         "and skip_bad (--skip-bad) continues without it."),
    case("a size of 1e300", size(width="1e300"),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: DIR/Annotations/a.xml "
         "declares the size ('1e300', '30'); give whole numbers of pixels up to 1,048,576,"
         " or leave <size> out. Correct that; `frcnn check` lists everything, and skip_bad"
         " (--skip-bad) continues without it."),
    case("two sizes", reads(GOOD.replace("<size>", "<size></size><size>", 1)),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: DIR/Annotations/a.xml has 2"
         " <size>; give it one. Correct that; `frcnn check` lists everything, and skip_bad"
         " (--skip-bad) continues without it."),
    case("two widths", reads(GOOD.replace("<width>", "<width>7</width><width>", 1)),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: DIR/Annotations/a.xml "
         "declares the size (None, '30'); give whole numbers of pixels up to 1,048,576, or"
         " leave <size> out. Correct that; `frcnn check` lists everything, and skip_bad "
         "(--skip-bad) continues without it."),
    case("no name", holds(voc_object(name=None)),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has no <name>, "
         "or several; give it one. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("a blank name", holds(voc_object(name=" ")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has no <name>, "
         "or several; give it one. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("two names", holds(voc_object(extra=field("name", "cell"))),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has no <name>, "
         "or several; give it one. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("no box", bare("<name>rod</name>"),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has 0 <bndbox>; "
         "give it one. Correct that; `frcnn check` lists everything, and skip_bad (--skip-"
         "bad) continues without it."),
    case("two boxes", bare("<name>rod</name><bndbox/><bndbox/>"),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has 2 <bndbox>; "
         "give it one. Correct that; `frcnn check` lists everything, and skip_bad (--skip-"
         "bad) continues without it."),
    case("no corner", holds(voc_object(xmin=None)),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '21', xmin None, ymax '60', xmax '40'; give four finite numbers. Correct that; "
         "`frcnn check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a corner in words", holds(voc_object(xmin="left")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '21', xmin 'left', ymax '60', xmax '40'; give four finite numbers. Correct "
         "that; `frcnn check` lists everything, and skip_bad (--skip-bad) continues "
         "without it."),
    case("a corner of NaN", holds(voc_object(xmin="nan")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '21', xmin 'nan', ymax '60', xmax '40'; give four finite numbers. Correct that;"
         " `frcnn check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a corner of infinity", holds(voc_object(xmax="1e999")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '21', xmin '11', ymax '60', xmax '1e999'; give four finite numbers. Correct "
         "that; `frcnn check` lists everything, and skip_bad (--skip-bad) continues "
         "without it."),
    case("a corner in Arabic digits", holds(voc_object(xmin="\u0661")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '21', xmin '١', ymax '60', xmax '40'; give four finite numbers. Correct that; "
         "`frcnn check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a corner with a comma", holds(voc_object(xmin="1,5")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '21', xmin '1,5', ymax '60', xmax '40'; give four finite numbers. Correct that;"
         " `frcnn check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("a corner twice", bare("<name>rod</name><bndbox><xmin>1</xmin><xmin>2</xmin><ymin>1"
                                "</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '1', xmin None, ymax '9', xmax '9'; give four finite numbers. Correct that; "
         "`frcnn check` lists everything, and skip_bad (--skip-bad) continues without it."),
    case("an inverted box", holds(voc_object(xmin=30, xmax=20, ymax=25)),
         "warning: DIR/ImageSets/Main/train.txt: empty or inverted box, 1 in all. The "
         "first: Object 2 of image a: the box ymin '21', xmin '30', ymax '25', xmax '20' "
         "is empty; dropped.",
         "= a.png: cell 0 0 9 9"),
    case("a box outside", holds(voc_object(xmin=100, xmax=120, ymax=25)),
         "warning: DIR/ImageSets/Main/train.txt: box outside the image, 1 in all. The "
         "first: Object 2 of image a: the box ymin '21', xmin '100', ymax '25', xmax '120'"
         " lies outside the image of 40x30 pixels; dropped.",
         "= a.png: cell 0 0 9 9"),
    case("a box over the edge", holds(voc_object(xmin=21, xmax=80, ymax=25)),
         "warning: DIR/ImageSets/Main/train.txt: box beyond the image's edge, 1 in all. "
         "The first: Object 2 of image a: the box ymin '21', xmin '21', ymax '25', xmax "
         "'80' reaches beyond the image of 40x30 pixels; clipped.",
         "= a.png: cell 0 0 9 9, rod 20 20 25 40"),
    case("a box of 1e308", holds(voc_object(xmin="-1e308", xmax="1e308", ymax=25)),
         "warning: DIR/ImageSets/Main/train.txt: box beyond the image's edge, 1 in all. "
         "The first: Object 2 of image a: the box ymin '21', xmin '-1e308', ymax '25', "
         "xmax '1e308' reaches beyond the image of 40x30 pixels; clipped.",
         "= a.png: cell 0 0 9 9, rod 20 0 25 40"),
    case("a box as fractions", holds(voc_object(xmin=0.1, ymin=0.2, xmax=0.6, ymax=0.7)),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has the box ymin"
         " '0.2', xmin '0.1', ymax '0.7', xmax '0.6', which lies between 0 and 1, as "
         "fractions of the image do; Pascal VOC has pixels. Correct that; `frcnn check` "
         "lists everything, and skip_bad (--skip-bad) continues without it."),
    case("an object twice", holds(voc_object(xmax=20, ymax=29), voc_object(xmax=20, ymax=29)),
         "warning: DIR/ImageSets/Main/train.txt: object listed twice, 1 in all. The first:"
         " Object 3 of image a is the same as an earlier one; used once.",
         "= a.png: cell 0 0 9 9, rod 20 10 29 20"),
    case("difficult in words", holds(voc_object(xmax=20, ymax=29, difficult="no")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 2 of image a has difficult "
         "'no'; allowed are 0 and 1. Correct that; `frcnn check` lists everything, and "
         "skip_bad (--skip-bad) continues without it."),
    case("a class that is not known", reads(GOOD, class_names=["cell"]),
         "DatasetError: DIR/ImageSets/Main/train.txt: Object 1 of image a is a 'rod', "
         "which is not among the classes cell. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    case("a file name of another image", reads(
        GOOD.replace("a.png", "b.png"), images=("a.png", "b.png")),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: its annotation has the "
         "filename 'b.png', which is another image of the data set, and "
         "DIR/JPEGImages/a.png is there, too. Correct the filename or the annotation. "
         "Correct that; `frcnn check` lists everything, and skip_bad (--skip-bad) "
         "continues without it."),
    harmless("a file name that is not there", reads(GOOD.replace("a.png", "z.png")),
         "= a.png: rod 20 10 30 20"),
    case("a file name outside", reads(GOOD.replace("a.png", "/etc/hostname")),
         "warning: DIR/ImageSets/Main/train.txt: file name leaves the folder, 1 in all. "
         "The first: Image a: its annotation's filename '/etc/hostname' leaves the data "
         "set's folder; DIR/JPEGImages/a.png is used instead.",
         "= a.png: rod 20 10 30 20"),
    case("no image", reads(GOOD, images=()),
         "DatasetError: DIR/ImageSets/Main/train.txt: Image a: there is no file "
         "DIR/JPEGImages/a.jpg, nor .png, .bmp, .tif. Correct that; `frcnn check` lists "
         "everything, and skip_bad (--skip-bad) continues without it."),
    case("no object at all", reads(annotation(filename="a.png", **SIZE)),
         "DatasetError: No annotation of DIR/Annotations that train.txt or another subset "
         "names has an object: there are no classes."),
    case("an empty list", listed(""),
         "DatasetError: DIR/ImageSets/Main/train.txt is empty: there is nothing to load."),
    case("a list in Latin-1", listed("ä\n".encode("latin-1")),
         "DatasetError: DIR/ImageSets/Main/train.txt cannot be read as UTF-8 text: 'utf-8'"
         " codec can't decode byte 0xe4 in position 0: invalid continuation byte."),
    case("a list with a NUL", listed("a\0\n"),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image 'a\\x00' leaves the data set's folder; "
         "it is not opened. List names as they are in Annotations/, without the ending."),
    case("a list that leaves the folder", listed("../a\n"),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image '../a' leaves the data set's folder; it"
         " is not opened. List names as they are in Annotations/, without the ending."),
    case("a list with an absolute name", listed("/etc/hostname\n"),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image '/etc/hostname' leaves the data set's "
         "folder; it is not opened. List names as they are in Annotations/, without the "
         "ending."),
    case("a list with endings", listed("a.png\n"),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there "
         "are no classes. The first problem: Image a.png: there is no file "
         "DIR/Annotations/a.png.xml. There is a.xml: list names without their endings."),
    case("a name listed twice", listed("a\na\n"),
         "warning: DIR/ImageSets/Main/train.txt: image listed twice, 1 in all. The first: "
         "Image a is listed 2 times in train.txt; used once.",
         "= a.png: rod 20 10 30 20"),
    case("a listed name of 5,000 characters", listed("x" * 5000 + "\n"),
         "DatasetError: DIR/ImageSets/Main/train.txt: no annotation can be used, so there are "
         "no classes. The first problem: Image x…x … x…x: there is no file DIR/Annotations/x…x"
         " … x…x.xml."),
    case("no folder of annotations", no_folder("Annotations"),
         "FileNotFoundError: There is no folder DIR/Annotations."),
    case("no folder of images", no_folder("JPEGImages"),
         "FileNotFoundError: There is no folder DIR/JPEGImages."),
    case("no lists", no_folder("ImageSets"),
         "warning: DIR has no subsets: one image in 5, chosen by its name, is 'val', and "
         "the others are 'train'. If several images are of one sample or patient, divide "
         "them yourself.",
         "warning: DIR: box beyond the image's edge, 1 in all. The first: Object 1 of "
         "image a: the box ymin '21', xmin '11', ymax '60', xmax '40' reaches beyond the "
         "image of 40x30 pixels; clipped."),
    case("bad objects, left out", reads(annotation(
        voc_object(xmax=20, ymax=29), voc_object(name=None), filename="a.png", **SIZE),
        skip_bad=True),
         "warning: DIR/ImageSets/Main/train.txt: 1 bad item is left out (bad object name "
         "1). The first: Object 2 of image a has no <name>, or several; give it one.",
         "= a.png: rod 20 10 29 20"),
    case("converted into itself", converts_into_itself,
         "DatasetError: DIR is there already and not empty; name a new folder."),
    case("converted with a bad box", converts_badly,
         "DatasetError: train.txt: Object 1 of image a has the box ymin '21', xmin '11', "
         "ymax '60', xmax 'wide'; give four finite numbers. Correct that; `frcnn check` "
         "lists everything, and skip_bad (--skip-bad) continues without it."),
]
