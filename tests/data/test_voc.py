"""Pascal VOC folders: boxes on their pixels, classes, subsets, and every sort of bad file."""

import json
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from voc_tools import (
    COLOURS,
    annotation,
    draw_voc,
    field,
    set_annotation,
    set_list,
    voc_object,
)

from frcnn.data import voc_xml
from frcnn.data.coco import CocoDataset
from frcnn.data.convert import convert_voc
from frcnn.data.folders import FolderDataset, find_layout, open_folder
from frcnn.data.voc import VocDataset
from frcnn.data.voc_folder import read_voc, voc_subsets
from frcnn.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    return draw_voc(tmp_path / "voc")


def load(folder, subset="train", **options):
    """A data set that is loaded without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return VocDataset.from_folder(folder, subset, **options)


# --- good folders ---------------------------------------------------------------------------


def test_boxes_lie_on_their_pixels(folder):
    """Each class is drawn in a colour of its own, which is found by search, not by the boxes."""
    dataset = load(folder)
    assert dataset.class_names == ["BG", "cell", "rod"]  # by name
    assert dataset.check() == []
    for image_id in dataset.image_ids:
        pixels = dataset.load_image(image_id)
        boxes, class_ids = dataset.load_boxes(image_id)
        assert boxes.dtype == np.float32 and len(boxes) == len(class_ids) > 0
        for box, class_id in zip(boxes, class_ids):
            colour = COLOURS[dataset.class_names[abs(class_id)]]
            rows, columns = np.nonzero((pixels == colour).all(-1))
            assert box.tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


def test_image_info_and_crowds(folder):
    dataset = load(folder)
    info = dataset.image_info[0]
    assert (info["id"], info["source"], info["width"], info["height"]) == ("a", "voc", 100, 80)
    assert dataset.image_reference(0) == str(folder / "JPEGImages" / "a.png")
    assert dataset.load_boxes(0)[1].tolist() == [2, -1]  # the cell is difficult
    boxes, class_ids = load(folder, "val").load_boxes(1)
    assert boxes.shape == (0, 4) and class_ids.shape == (0,)


def test_subsets_share_their_classes(folder):
    set_annotation(folder, "c", annotation(voc_object("ampulla", 1, 1, 9, 9)))
    names = ["BG", "ampulla", "cell", "rod"]
    assert load(folder).class_names == load(folder, "val").class_names == names


def test_classes_in_a_given_order(folder):
    dataset = load(folder, class_names=["rod", "ghost", "cell"])
    assert dataset.class_names == ["BG", "rod", "ghost", "cell"]
    assert dataset.load_boxes(0)[1].tolist() == [1, -3]


def test_a_tool_that_counts_from_zero(folder):
    set_list(folder, "train", ["a"])
    set_annotation(folder, "a", annotation(voc_object("rod", 0, 0, 100, 80)))
    dataset = load(folder, first_pixel=0)
    assert dataset.load_boxes(0)[0].tolist() == [[0, 0, 80, 100]]
    with pytest.warns(UserWarning, match="beyond the image's edge, 1 in all"):
        dataset = VocDataset.from_folder(folder, "train")
    assert dataset.load_boxes(0)[0].tolist() == [[0, 0, 80, 100]]


@pytest.mark.parametrize("size", [(None, None), (0, 0), ("100.0", "80")])
def test_a_size_that_is_missing_or_zero_comes_from_the_image(folder, size):
    width, height = size
    set_annotation(folder, "a", annotation(voc_object(), width=width, height=height))
    info = load(folder).image_info[0]
    assert (info["width"], info["height"]) == (100, 80)


def test_fields_that_others_write_are_passed_over(folder):
    part = f"<part>{field('name', 'head')}<bndbox><xmin>1</xmin></bndbox></part>"
    text = annotation(voc_object("rod", "11.25", 21, 40, 60, None, part + "<pose/><difficult/>"))
    set_annotation(folder, "a", '<?xml version="1.0" encoding="latin-1"?><!-- \xe9 -->'
                   .encode("latin-1") + text.encode())
    dataset = load(folder)
    assert dataset.class_names == ["BG", "cell", "rod"]
    assert dataset.load_boxes(0)[0].tolist() == [[20, 10.25, 60, 40]]


def test_an_image_by_the_filename_in_its_annotation(folder):
    (folder / "JPEGImages/a.png").rename(folder / "JPEGImages/photo 1.png")
    set_annotation(folder, "a", annotation(filename="photo 1.png"))
    assert load(folder).image_info[0]["path"].endswith("photo 1.png")


@pytest.mark.parametrize("ending", ["JPG", "jpeg", "bmp", "TIF"])
def test_images_of_other_endings(folder, ending):
    image = Image.open(folder / "JPEGImages/a.png")
    (folder / "JPEGImages/a.png").unlink()
    image.save(folder / f"JPEGImages/a.{ending}")
    assert load(folder).image_info[0]["path"].endswith(f"a.{ending}")


def test_lists_with_blank_lines_byte_order_mark_and_names_with_spaces(folder):
    for part, ending in (("JPEGImages", "png"), ("Annotations", "xml")):
        (folder / part / f"b.{ending}").rename(folder / part / f"cell 1.{ending}")
    (folder / "ImageSets/Main/train.txt").write_bytes(b"\xef\xbb\xbfcell 1\r\n\r\n  a \r\n")
    assert [info["id"] for info in load(folder).image_info] == ["cell 1", "a"]
    assert voc_subsets(folder) == ["train", "val"]


def test_lists_for_one_class_are_no_subsets(folder):
    set_list(folder, "rod_train", ["a  1", "b -1"])
    assert voc_subsets(folder) == ["train", "val"]


def test_both_formats_in_one_data_set(folder, coco_folder):
    dataset = FolderDataset()
    dataset.load_voc(folder, "train")
    dataset.load_voc(folder, "val")
    dataset.load_coco(coco_folder, "val")
    dataset.prepare(class_map={"rod": "bar"})
    assert dataset.class_names == ["BG", "cell", "bar", "square", "slab"]
    assert dataset.num_images == 7
    assert dataset.source_class_ids == {"": [0], "voc": [0, 1, 2], "coco": [0, 2, 3, 4]}
    assert dataset.load_boxes(0)[1].tolist() == [2, -1]
    assert sorted(dataset.load_boxes(4)[1].tolist()) == [2, 3, 4]
    with pytest.raises(DatasetError, match=r"Image id a of .*train\.txt is already loaded"):
        dataset.load_voc(folder, "train")


def test_an_empty_map_joins_classes_of_equal_names(folder, tmp_path):
    dataset = FolderDataset()
    dataset.load_voc(folder, "train")
    dataset.load_voc(draw_voc(tmp_path / "other"), "val", source="other")
    dataset.prepare({})
    assert dataset.class_names == ["BG", "cell", "rod"]
    dataset.leave_out([0])  # numbers anew, by the same map
    assert dataset.class_names == ["BG", "cell", "rod"]
    assert [info["id"] for info in dataset.image_info] == ["b", "c", "d"]


def test_a_folder_is_recognised(folder, coco_folder):
    assert find_layout(folder) == (VocDataset, ["train", "val"])
    assert find_layout(coco_folder) == (CocoDataset, ["train", "val"])
    assert open_folder(folder, "val").class_names == ["BG", "cell", "rod"]
    assert open_folder(coco_folder, "val").num_images == 3


def test_a_subclass_for_both_layouts_reads_either(folder, coco_folder):
    class Own(FolderDataset):
        image_channels = 1

    for path, names in ((folder, ["cell", "rod"]), (coco_folder, ["bar", "square", "slab"])):
        dataset = Own.from_folder(path, "val", source="own")
        assert type(dataset) is Own and dataset.class_names[1:] == names
        assert dataset.sources == ["", "own"] and dataset.load_image(0).shape[2] == 1
    with pytest.raises(TypeError, match="first_pixel"):  # an option of the other layout
        Own.from_folder(coco_folder, "val", first_pixel=0)


# --- folders that are wrong -----------------------------------------------------------------


def test_missing_folders_and_subsets(folder, tmp_path):
    for read in (open_folder, VocDataset.from_folder):
        with pytest.raises(FileNotFoundError, match=r"There is no data set folder .*nowhere"):
            read(tmp_path / "nowhere", "train")
    with pytest.raises(DatasetError, match="neither layout"):
        open_folder(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"test\.txt; the subsets there are train, val"):
        open_folder(folder, "test")
    with pytest.raises(FileNotFoundError, match="has no ImageSets"):
        VocDataset.from_folder(tmp_path, "train")
    (folder / "JPEGImages").rename(folder / "Images")
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*JPEGImages"):
        open_folder(folder, "train")


BAD_LISTS = {
    "empty": (b"", r"train\.txt is empty"),
    "blank": (b"\n \n", r"train\.txt is empty"),
    "binary": (b"\xff\xfe\x00a", r"train\.txt cannot be read as UTF-8"),
    "unknown image": (b"a\nzebra\n", r"Image zebra: there is no file .*zebra\.xml"),
    "with the ending": (b"a.png\n", r"there is no file .*a\.png\.xml"),
    "parent": (b"../Annotations/a\n", r"Image '\.\./Annotations/a' leaves the data set's folder"),
    "absolute": (b"/etc/passwd\n", "leaves the data set's folder; it is not opened"),
    "drive": (b"C:\\a\n", "leaves the data set's folder"),
    "null byte": (b"a\0\n", "leaves the data set's folder"),
    "endless name": (b"a" * 5000, "there is no file"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_bad_list(folder, case):
    content, message = BAD_LISTS[case]
    (folder / "ImageSets/Main/train.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        VocDataset.from_folder(folder, "train")


def test_an_image_that_is_listed_twice_is_taken_once(folder):
    set_list(folder, "train", ["a", "b", "a", "a"])
    with pytest.warns(UserWarning, match=r"Image a is listed 3 times in train\.txt; taken once"):
        assert VocDataset.from_folder(folder, "train").num_images == 2


def test_a_set_without_any_object_has_no_classes(folder):
    for name in "abc":
        set_annotation(folder, name, annotation())
    with pytest.raises(DatasetError, match="there are no classes"):
        VocDataset.from_folder(folder, "train")


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
    set_annotation(folder, "b", annotation(width=None, height=None))
    first, second = read_voc(folder, "train")[2]
    assert_matches(first.message, r"Image a: there is no file .*a\.jpg, nor \.png")
    assert_matches(second.message, r"Image b: .*b\.png")
    assert [first.kind, second.kind] == ["image missing", "image unreadable"]


def test_loading_stops_or_goes_on_without(folder):
    set_annotation(folder, "a", annotation(voc_object(), voc_object("rod", "x"), voc_object("")))
    set_list(folder, "train", ["a", "b", "zebra"])
    with pytest.raises(DatasetError, match=r"train\.txt: Object 2 of image a .*Image zebra"):
        VocDataset.from_folder(folder, "train")
    with pytest.warns(UserWarning, match=r"3 bad items are left out \(bad box 1, bad object name "
                                         r"1, annotation missing 1\)\. The first: Object 2 of"):
        dataset = VocDataset.from_folder(folder, "train", skip_bad=True)
    assert [info["id"] for info in dataset.image_info] == ["a", "b"]
    assert len(dataset.load_boxes(0)[0]) == 1
    assert len(dataset.check()) == 3


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


# --- conversion -----------------------------------------------------------------------------


def test_conversion_is_read_as_the_original_is(folder, tmp_path):
    set_annotation(folder, "b", annotation(voc_object("cell", "1.7", "3.1", "77.77", "60.123456")))
    counts = convert_voc(folder, tmp_path / "coco")
    assert counts == {"train": (2, 3), "val": (2, 1)}
    for subset in ("train", "val"):
        before, after = load(folder, subset), CocoDataset.from_folder(tmp_path / "coco", subset)
        assert after.check() == []
        assert after.class_names == before.class_names
        assert after.num_images == before.num_images
        for image_id in before.image_ids:
            np.testing.assert_array_equal(after.load_image(image_id), before.load_image(image_id))
            for old, new in zip(before.load_boxes(image_id), after.load_boxes(image_id)):
                np.testing.assert_array_equal(new, old)
                assert new.dtype == old.dtype


def test_conversion_loses_nothing(folder, tmp_path):
    """Every field of the annotations is made anew from the result, and compared."""
    extra = field("pose", "Left") + field("truncated", 1) + field("occluded", 0)
    originals = [("rod", 11, 21, 40, 60, 0, extra), ("cell", 1, 1, 100, 80, 1)]
    set_annotation(folder, "a", annotation(*(voc_object(*each) for each in originals)))
    set_list(folder, "trainval", "abcd")
    convert_voc(folder, tmp_path / "coco")
    contents = {path.stem: json.loads(path.read_text())
                for path in (tmp_path / "coco/annotations").iterdir()}
    assert sorted(contents) == ["instances_train", "instances_trainval", "instances_val"]
    content = contents["instances_trainval"]
    assert [entry["file_name"] for entry in content["images"]] == [f"{name}.png" for name in "abcd"]
    ids = {entry["file_name"]: entry["id"] for part in contents.values()
           for entry in part["images"]}
    assert ids == {entry["file_name"]: entry["id"] for entry in content["images"]}  # one each
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    again = []
    for entry in content["annotations"]:
        if entry["image_id"] == ids["a.png"]:
            x, y, width, height = entry["bbox"]
            extra = "".join(field(key, entry[key]) for key in ("pose", "truncated", "occluded")
                            if key in entry)
            again.append((names[entry["category_id"]], x + 1, y + 1, x + width, y + height,
                          entry["difficult"], *([extra] if extra else [])))
            assert entry["area"] == width * height and entry["iscrowd"] == entry["difficult"]
    assert again == originals
    every_id = [entry["id"] for part in contents.values() for entry in part["annotations"]]
    assert len(set(every_id)) == len(every_id)


def test_conversion_of_bad_input_writes_nothing(folder, tmp_path):
    set_list(folder, "train", ["a", "zebra"])
    with pytest.raises(DatasetError, match="zebra"):
        convert_voc(folder, tmp_path / "out" / "coco")
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match="1 bad item is left out"):
        assert convert_voc(folder, tmp_path / "coco", ["train"], skip_bad=True) == {"train": (1, 2)}
    with pytest.raises(DatasetError, match="is there already and not empty"):
        convert_voc(folder, tmp_path / "coco")
    with pytest.raises(DatasetError, match="not in Pascal VOC's layout"):
        convert_voc(tmp_path / "coco", tmp_path / "again")
    with pytest.raises(DatasetError, match=r"No image of train\.txt can be used"):
        set_list(folder, "train", ["zebra"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            convert_voc(folder, tmp_path / "again", ["train"], skip_bad=True)


def test_a_copy_that_fails_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        convert_voc(folder, tmp_path / "coco")
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def assert_matches(text, pattern):
    assert re.search(pattern, text), f"{text!r} does not match {pattern!r}"
