"""Data sets in Pascal VOC's layout: boxes on their pixels, classes, subsets, and wrong folders."""

import warnings

import numpy as np
import pytest
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

from frcnn.data.coco import CocoDataset
from frcnn.data.folders import FolderDataset, find_layout, open_folder
from frcnn.data.voc import VocDataset
from frcnn.data.voc_folder import voc_subsets
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


@pytest.mark.smoke
def test_boxes_lie_on_their_pixels(folder):
    """Each class is drawn in a color of its own, which is found by search, not by the boxes."""
    dataset = load(folder)
    assert dataset.class_names == ["BG", "cell", "rod"]  # by name
    assert dataset.check() == []
    for image_id in dataset.image_ids:
        pixels = dataset.load_image(image_id)
        boxes, class_ids = dataset.load_boxes(image_id)
        assert boxes.dtype == np.float32 and len(boxes) == len(class_ids) > 0
        for box, class_id in zip(boxes, class_ids):
            color = COLOURS[dataset.class_names[abs(class_id)]]
            rows, columns = np.nonzero((pixels == color).all(-1))
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
    with pytest.warns(UserWarning, match=r"Image a is listed 3 times in train\.txt; used once"):
        assert VocDataset.from_folder(folder, "train").num_images == 2


def test_a_set_without_any_object_has_no_classes(folder):
    for name in "abc":
        set_annotation(folder, name, annotation())
    with pytest.raises(DatasetError, match="there are no classes"):
        VocDataset.from_folder(folder, "train")


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
