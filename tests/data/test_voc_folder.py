"""Reading Pascal VOC's files: every sort of bad annotation file, object, box and image."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from voc_tools import (
    annotation,
    draw_voc,
    field,
    set_annotation,
    set_list,
    voc_object,
)

from frcnn.data import voc_xml
from frcnn.data.voc_folder import read_voc
from frcnn.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    return draw_voc(tmp_path / "voc")


def assert_matches(text, pattern):
    assert re.search(pattern, text), f"{text!r} does not match {pattern!r}"


BOMB = ('<!DOCTYPE a [<!ENTITY x "boom">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("xbcdefgh", "bcdefghi"))
    + "]><annotation>&i;</annotation>")

BAD_FILES = {
    "empty": (b"", "is not XML: no element found in line 1"),
    "text": ("hello", "is not XML: syntax error in line 1"),
    "json": ("{}", "is not XML"),
    "truncated": (annotation(voc_object())[:-30], "is not XML"),
    "mismatched": ("<annotation>\n<a></b></annotation>", "mismatched tag in line 2"),
    "binary": (b"\x89PNG\r\n\x1a\n", "is not XML"),
    "bad letters": (b"<annotation>\xff\xfe</annotation>", "is not XML"),
    "unknown encoding": ('<?xml version="1.0" encoding="klingon"?><annotation/>', "encoding"),
    "wide encoding": ('<?xml version="1.0" encoding="gb2312"?><annotation/>',
                      "encoding that cannot be read"),
    "another root": ("<html/>", "root element <html>, where Pascal VOC has <annotation>"),
    "entity bomb": (BOMB, "has a DOCTYPE"),
    "outer entity": ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
                     "<annotation>&x;</annotation>", "has a DOCTYPE"),
    "outer DTD": ('<!DOCTYPE a SYSTEM "http://localhost:9/a.dtd"><annotation/>', "has a DOCTYPE"),
    "bomb in UTF-16": (BOMB.encode("utf-16"), "has a DOCTYPE"),
    "unknown entity": ("<annotation>&x;</annotation>", "is not XML: undefined entity"),
    "huge": ("<annotation>" + " " * voc_xml.MAX_BYTES + "</annotation>", "larger than 8 MiB"),
    "deep": ("<annotation>" + "<a>" * 100_000, "nested more than 32"),
    "size text": (annotation(width="wide"), r"declares the size \('wide', '80'\)"),
    "size negative": (annotation(width=-100), "declares the size"),
    "size fraction": (annotation(height=80.5), "declares the size"),
    "size NaN": (annotation(height="nan"), "declares the size"),
    "half a size": (annotation(height=None), r"declares the size \('100', None\)"),
    "two widths": (annotation().replace("<depth>", "<width>9</width><depth>"),
                   r"declares the size \(None, '80'\)"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_annotation_file_is_found(folder, case):
    content, message = BAD_FILES[case]
    set_annotation(folder, "a", content)
    (finding,) = read_voc(folder, "train")[2]
    assert finding.image_id == "a" and not finding.repairable
    assert_matches(finding.message, r"Image a: .*a\.xml .*" + message)


BAD_OBJECTS = {
    "no name": (voc_object(None), "has no <name>, or several"),
    "blank name": (voc_object(" "), "has no <name>"),
    "two names": (voc_object(extra=field("name", "cell")), "has no <name>, or several"),
    "no box": ("<object><name>rod</name></object>", "has 0 <bndbox>; give it one"),
    "two boxes": (voc_object(extra="<bndbox/>"), "has 2 <bndbox>"),
    "no xmin": (voc_object(xmin=None), "has the box ymin '21', xmin None, .*four finite numbers"),
    "empty xmin": (voc_object(xmin=""), "xmin ''"),
    "text": (voc_object(xmax="forty"), "xmax 'forty'"),
    "NaN": (voc_object(ymin="NaN"), "ymin 'NaN'"),
    "infinite": (voc_object(ymax="inf"), "ymax 'inf'"),
    "too large": (voc_object(ymax="1e999"), "ymax '1e999'"),
    "underscore": (voc_object(ymax="6_0"), "ymax '6_0'"),
    "other digits": (voc_object(ymax="６０"), "four finite numbers"),
    "comma": (voc_object(ymax="60,5"), "ymax '60,5'"),
    "difficult text": (voc_object(difficult="yes"), "has difficult 'yes'; allowed are 0 and 1"),
    "difficult two": (voc_object(difficult=2), "has difficult '2'"),
    "difficult twice": (voc_object(extra="<difficult>1</difficult>"), "has difficult None"),
}


@pytest.mark.parametrize("case", BAD_OBJECTS)
def test_a_bad_object_is_found(folder, case):
    text, message = BAD_OBJECTS[case]
    set_annotation(folder, "a", annotation(voc_object(), text))
    _, images, (finding,) = read_voc(folder, "train")
    assert (finding.image_id, finding.annotation_id, finding.repairable) == ("a", 2, False)
    assert_matches(finding.message, f"Object 2 of image a .*{message}")
    assert len(images[0].boxes) == 1


def test_an_object_of_a_class_that_is_not_given(folder):
    _, images, findings = read_voc(folder, "train", ["rod"])
    assert [finding.kind for finding in findings] == ["unknown category"] * 2
    assert_matches(findings[0].message, "Object 2 of image a is a 'cell', .*among the classes rod")
    assert [len(image.boxes) for image in images] == [1, 0]


REPAIRED = {
    "inverted": ((40, 21, 11, 60), "empty or inverted box", None),
    "empty": ((40, 21, 39, 60), "empty or inverted box", None),
    "right of the image": ((101, 21, 120, 60), "box outside the image", None),
    "above the image": ((11, -20, 40, 0), "box outside the image", None),
    "beyond every edge": ((-5, -5, 500, 500), "box beyond the image's edge", [0, 0, 80, 100]),
    "from zero": ((0, 21, 40, 60), "box beyond the image's edge", [20, 0, 60, 40]),
    "one pixel": ((40, 21, 40, 21), None, [20, 39, 21, 40]),
    "the whole image": ((1, 1, 100, 80), None, [0, 0, 80, 100]),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_boxes_are_clipped_or_dropped(folder, case):
    corners, kind, expected = REPAIRED[case]
    set_annotation(folder, "a", annotation(voc_object("rod", *corners)))
    _, images, findings = read_voc(folder, "train")
    assert images[0].boxes.tolist() == ([expected] if expected else [])
    assert [finding.kind for finding in findings] == ([kind] if kind else [])
    assert all(finding.repairable and "Object 1 of image a: the box" in finding.message
               for finding in findings)


def test_the_file_of_the_filename_is_read_where_several_have_the_name(folder):
    for ending in ("png", "bmp"):
        set_annotation(folder, "a", annotation(voc_object(), filename=f"a.{ending}"))
        Image.new("RGB", (100, 80)).save(folder / "JPEGImages/a.bmp")
        _, images, findings = read_voc(folder, "train")
        assert images[0].path.endswith(f"a.{ending}") and not findings


def test_an_annotation_of_another_image_of_the_data_set(folder):
    set_annotation(folder, "a", annotation(voc_object(), filename="c.png"))
    _, images, (finding,) = read_voc(folder, "train")
    assert not finding.repairable and [image.id for image in images] == ["b"]
    assert_matches(finding.message, r"Image a: .*filename 'c\.png', which is another image.*a\.png")


def test_an_annotation_of_a_file_that_does_not_exist_is_doubtful(folder):
    set_annotation(folder, "a", annotation(voc_object(), filename="s1.png"))
    _, images, (finding,) = read_voc(folder, "train")
    assert finding.repairable and finding.doubtful and len(images) == 2
    assert_matches(finding.message, r"Image a: .*'s1\.png', which does not exist; .*a\.png is used")
    for filename in ("a.jpg", "A.JPG", "a", ""):  # another ending is usual
        set_annotation(folder, "a", annotation(voc_object(), filename=filename))
        assert not read_voc(folder, "train")[2]


def test_an_object_that_is_listed_twice_is_used_once(folder):
    set_annotation(folder, "a", annotation(voc_object(), voc_object("cell"), voc_object()))
    _, images, (finding,) = read_voc(folder, "train")
    assert finding.repairable and len(images[0].boxes) == 2
    assert_matches(finding.message, "Object 3 of image a is the same as an earlier one; used once")


def test_boxes_as_fractions(folder):
    set_annotation(folder, "a", annotation(voc_object("rod", 0.1, 0.2, 0.5, 1), voc_object()))
    _, images, (finding,) = read_voc(folder, "train")
    assert (finding.kind, finding.repairable) == ("boxes as fractions", False)
    assert len(images[0].boxes) == 1


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda folder: [set_annotation(folder, name, "<!DOCTYPE a><annotation/>") for name in "abcd"],
     r"Image a: .*a\.xml has a DOCTYPE"),
    (lambda folder: [set_list(folder, subset, ["a.png", "b.png"]) for subset in ("train", "val")],
     r"no file .*a\.png\.xml\. There is a\.xml: list names without their endings"),
    (lambda folder: [(folder / f"Annotations/{name}.xml").unlink() for name in "abcd"],
     r"Image a: there is no file .*a\.xml"),
])
def test_where_all_files_fail_the_reason_is_told(folder, spoil, reason):
    spoil(folder)
    with pytest.raises(DatasetError, match="so there are no classes") as error:
        read_voc(folder, "train")
    assert_matches(str(error.value), r"train\.txt: .*The first problem: .*" + reason)
    assert "1 more such problems" in str(error.value)


OUTSIDE = ["../Annotations/b.xml", "..\\x.png", "/etc/passwd", "C:\\Users\\me\\a.png"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_filename_that_leaves_the_folder_is_never_opened(folder, name):
    set_annotation(folder, "a", annotation(filename=name))
    (finding,) = read_voc(folder, "train")[2]
    assert finding.repairable and finding.kind == "file name leaves the folder"
    (folder / "JPEGImages/a.png").unlink()
    _, images, (finding,) = read_voc(folder, "train")
    assert not finding.repairable and [image.id for image in images] == ["b"]
    assert_matches(finding.message, "Image a has the filename .*, which leaves the data set's fold")


def test_images_that_are_missing_or_unreadable(folder):
    (folder / "JPEGImages/a.png").unlink()
    (folder / "JPEGImages/b.png").write_bytes(b"not an image")
    set_annotation(folder, "b", annotation(filename="b.png", width=None, height=None))
    first, second = read_voc(folder, "train")[2]
    assert_matches(first.message, r"Image a: there is no file .*a\.jpg, nor \.png")
    assert_matches(second.message, r"Image b: .*b\.png")
    assert [first.kind, second.kind] == ["image missing", "image unreadable"]


@settings(deadline=None, max_examples=60)
@given(st.one_of(st.binary(max_size=60), st.text("<>/!&;[]annotation \"'=", max_size=60)
                 .map(lambda text: f"<annotation>{text}</annotation>".encode())))
def test_no_bytes_make_the_parser_fail_otherwise(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.xml"
    path.write_bytes(content)
    try:
        assert voc_xml.parse(path).tag == "annotation"
    except voc_xml.XmlError as error:
        assert str(error)
