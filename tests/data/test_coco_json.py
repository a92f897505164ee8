"""Every sort of bad annotation file gives its message; good ones are read exactly."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from frcnn.data.coco_json import leaves_folder, read_coco
from frcnn.errors import DatasetError

NAN, INFINITE = float("nan"), float("inf")


def content(**changes):
    """A small valid file: two images of 100x80 pixels, two categories, one object."""
    return {
        "images": [image(1, "a.png"), image(2, "b.png")],
        "categories": [{"id": 5, "name": "cell"}, {"id": 3, "name": "rod"}],
        "annotations": [box(1, 1, 3, [10, 20, 30, 40])],
        **changes,
    }


def image(image_id, file_name, **changes):
    return {"id": image_id, "file_name": file_name, "width": 100, "height": 80, **changes}


def box(annotation_id, image_id, category_id, bbox, **changes):
    return {"id": annotation_id, "image_id": image_id, "category_id": category_id, "bbox": bbox,
            **changes}


@pytest.fixture
def read(tmp_path):
    """Writes a file's content beside two images, and reads it."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (100, 80)).save(tmp_path / name)

    def write_and_read(data):
        path = tmp_path / "instances.json"
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            path.write_text(json.dumps(data), encoding="utf-8")
        return read_coco(path, tmp_path)

    return write_and_read


# --- good files -----------------------------------------------------------------------------


def test_a_valid_file_is_read_as_it_is(read):
    categories, images, findings = read(content())
    assert findings == []
    assert list(categories.items()) == [(3, "rod"), (5, "cell")]
    assert [(image.id, image.width, image.height) for image in images] == [
        (1, 100, 80), (2, 100, 80)]
    np.testing.assert_array_equal(images[0].boxes, np.float32([[20, 10, 60, 40]]))
    assert images[0].boxes.dtype == np.float32
    assert images[0].category_ids.tolist() == [3] and images[0].crowds.tolist() == [False]
    assert images[1].boxes.shape == (0, 4) and len(images[1].category_ids) == 0


def test_boxes_keep_their_fractions(read):
    data = content(annotations=[box(1, 1, 3, [0.25, 1.5, 10.75, 20.125])])
    np.testing.assert_array_equal(read(data)[1][0].boxes, np.float32([[1.5, .25, 21.625, 11]]))


@pytest.mark.parametrize(("value", "expected"),
                         [(1, True), (0, False), (True, True), (None, False), (1.0, True)])
def test_iscrowd(read, value, expected):
    _, images, findings = read(content(annotations=[box(1, 1, 3, [1, 2, 3, 4], iscrowd=value)]))
    assert images[0].crowds.tolist() == [expected] and not findings


def test_optional_fields_may_be_missing(read):
    data = content(images=[{"id": 1, "file_name": "a.png"}],
                   annotations=[{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}])
    _, images, findings = read(data)
    assert not findings
    assert (images[0].width, images[0].height) == (100, 80)  # from the image's header
    assert len(images[0].boxes) == 1


def test_no_annotations_at_all_is_fine(read):
    _, images, findings = read(content(annotations=[]))
    assert len(images) == 2 and not findings


def test_a_byte_order_mark_is_fine(read):
    assert not read(b"\xef\xbb\xbf" + json.dumps(content()).encode())[2]


def test_whole_numbers_may_be_written_with_a_point(read):
    data = content(images=[image(1.0, "a.png", width=100.0)])
    assert not read(data)[2]


# --- files that are not usable at all -------------------------------------------------------

NOT_USABLE = {
    "empty": (b"", "is not JSON: Expecting value in line 1"),
    "truncated": (json.dumps(content()).encode()[:-20], "is not JSON"),
    "xml": (b"<annotation/>", "is not JSON"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not JSON text in UTF-8"),
    "deep": (b"[" * 100_000, "is not JSON"),
    "endless number": (b'{"images": 1' + b"0" * 5000 + b"}", "is not JSON that can be read"),
    "list": ([], "holds a JSON list, where COCO has an object"),
    "null": (None, "holds a JSON null"),
    "text": ("hello", "holds a JSON text"),
    "no images": ({"annotations": [], "categories": []}, "has no 'images'"),
    "no annotations": ({"images": [image(1, "a.png")]}, "has no 'annotations'"),
    "no categories": ({"images": [image(1, "a.png")], "annotations": []}, "has no 'categories'"),
    "images an object": (content(images={"1": {}}), "'images' in .* is a JSON object"),
    "images null": (content(images=None), "'images' in .* is a JSON null"),
    "annotations a number": (content(annotations=3), "'annotations' in .* is a JSON number"),
    "images empty": (content(images=[]), "'images' in .* is empty"),
    "categories empty": (content(categories=[]), "'categories' in .* is empty"),
}


@pytest.mark.parametrize("case", NOT_USABLE)
def test_an_unusable_file_is_an_error_that_names_it(read, case):
    data, message = NOT_USABLE[case]
    with pytest.raises(DatasetError, match=r"instances\.json") as caught:
        read(data)
    assert caught.match(message)


def test_a_missing_file_and_a_folder_in_its_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no annotation file .*none\.json"):
        read_coco(tmp_path / "none.json", tmp_path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_coco(tmp_path, tmp_path)


# --- entries that are wrong -----------------------------------------------------------------

WRONG_IMAGES = {
    "not an object": (["a.png"], "Entry 0 of 'images' is a JSON text"),
    "no id": ([{"file_name": "a.png"}], r"Entry 0 of 'images' \('a.png'\) has the id None"),
    "id text": ([image("1", "a.png")], "has the id '1'; give a whole number"),
    "id fraction": ([image(1.5, "a.png")], "has the id 1.5"),
    "id list": ([image([1], "a.png")], r"has the id \[1\]"),
    "id NaN": ([image(NAN, "a.png")], "has the id nan"),
    "id huge": ([image(10**400, "a.png")], "has the id 1000"),
    "id twice": ([image(1, "a.png"), image(1, "b.png")], "Image id 1 occurs twice .*'b.png'"),
    "no file_name": ([{"id": 1}], "Image 1 has the file_name None"),
    "file_name number": ([image(1, 7)], "Image 1 has the file_name 7"),
    "file_name empty": ([image(1, "")], "Image 1 has the file_name ''"),
    "parent": ([image(1, "../a.png")], r"Image 1 .*'\.\./a.png', which leaves the data set's fold"),
    "inner parent": ([image(1, "x/../../a.png")], "leaves the data set's folder"),
    "absolute": ([image(1, "/etc/passwd")], "leaves the data set's folder"),
    "drive": ([image(1, "C:\\a.png")], "leaves the data set's folder"),
    "backslash parent": ([image(1, "..\\a.png")], "leaves the data set's folder"),
    "null byte": ([image(1, "a\0.png")], "leaves the data set's folder"),
    "missing": ([image(1, "c.png")], r"Image 1: there is no file .*c\.png"),
    "width text": ([image(1, "a.png", width="100")], r"Image 1 \(a.png\) has the width '100'"),
    "width zero": ([image(1, "a.png", width=0)], "has the width 0; give a whole number of pixels"),
    "height negative": ([image(1, "a.png", height=-80)], "has the height -80"),
    "height NaN": ([image(1, "a.png", height=NAN)], "has the height nan"),
    "height fraction": ([image(1, "a.png", height=80.5)], "has the height 80.5"),
}


@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_a_wrong_image_entry_is_found(read, case):
    images, message = WRONG_IMAGES[case]
    findings = serious(read(content(images=images, annotations=[])))
    assert len(findings) == 1
    assert_matches(findings[0].message, message)


def test_an_image_id_of_two_files_leaves_both_out(read):
    """Whose its annotations are cannot be known, so none may go to either file."""
    _, images, findings = read(content(images=[image(1, "a.png"), image(1, "b.png")]))
    assert images == [] and [finding.kind for finding in findings] == ["duplicate image id"]


def test_an_image_that_is_listed_twice_alike_is_taken_once(read):
    data = content(images=[image(1, "a.png"), image(1, "a.png")],
                   annotations=[box(1, 1, 3, [10, 20, 30, 40]), box(2, 1, 9, [1, 2, 3, 4])])
    _, images, findings = read(data)
    assert len(images) == 1 and len(images[0].boxes) == 1
    assert [(finding.kind, finding.repairable) for finding in findings] == [
        ("image listed twice", True), ("unknown category", False)]


def test_what_is_told_stays_short(read):
    data = content(annotations=[box(1, 1, 3, list(range(10_000)))])
    assert all(len(finding.message) < 200 for finding in read(data)[2])


WRONG_CATEGORIES = {
    "not an object": (["cell"], "Entry 0 of 'categories' is a JSON text"),
    "no id": ([{"name": "cell"}], "Entry 0 of 'categories' has the id None"),
    "id text": ([{"id": "1", "name": "cell"}], "has the id '1'"),
    "id true": ([{"id": True, "name": "cell"}], "has the id True"),
    "id twice": ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}],
                 r"Category id 1 occurs twice .*\('a' and 'b'\)"),
    "no name": ([{"id": 1}], "Category 1 has the name None"),
    "name number": ([{"id": 1, "name": 4}], "Category 1 has the name 4"),
    "name blank": ([{"id": 1, "name": " "}], "Category 1 has the name ' '"),
}


@pytest.mark.parametrize("case", WRONG_CATEGORIES)
def test_a_wrong_category_is_found(read, case):
    categories, message = WRONG_CATEGORIES[case]
    findings = serious(read(content(categories=categories, annotations=[])))
    assert len(findings) == 1
    assert_matches(findings[0].message, message)


WRONG_ANNOTATIONS = {
    "not an object": ([1, 2], "Entry 0 of 'annotations' is a JSON list"),
    "image unknown": (box(9, 77, 3, [1, 2, 3, 4]), "Annotation 9 is of image 77, which is not in"),
    "image text": (box(9, "1", 3, [1, 2, 3, 4]), "Annotation 9 is of image '1'"),
    "no image": ({"id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}, "is of image None"),
    "category unknown": (box(9, 1, 4, [1, 2, 3, 4]),
                         r"Annotation 9 \(image 1, a.png\) is of category 4, which is not in"),
    "category text": (box(9, 1, "3", [1, 2, 3, 4]), "is of category '3'"),
    "category list": (box(9, 1, [3], [1, 2, 3, 4]), r"is of category \[3\]"),
    "no bbox": ({"id": 9, "image_id": 1, "category_id": 3}, "has the bbox None"),
    "three numbers": (box(9, 1, 3, [1, 2, 3]), r"has the bbox \[1, 2, 3\]; give \[x, y, width"),
    "an object": (box(9, 1, 3, {"x": 1}), "has the bbox {'x': 1}"),
    "strings": (box(9, 1, 3, ["1", "2", "3", "4"]), "give four finite numbers"),
    "null": (box(9, 1, 3, [1, 2, None, 4]), "give four finite numbers"),
    "truth": (box(9, 1, 3, [1, 2, True, 4]), "give four finite numbers"),
    "NaN": (box(9, 1, 3, [1, NAN, 3, 4]), r"has the bbox \[1, nan, 3, 4\]; give four finite"),
    "infinite": (box(9, 1, 3, [1, 2, INFINITE, 4]), "give four finite numbers"),
    "iscrowd text": (box(9, 1, 3, [1, 2, 3, 4], iscrowd="0"), "has iscrowd '0'; allowed are 0"),
    "iscrowd two": (box(9, 1, 3, [1, 2, 3, 4], iscrowd=2), "has iscrowd 2"),
    "no id": ({"image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]}, "Annotation number 0 "),
}


@pytest.mark.parametrize("case", WRONG_ANNOTATIONS)
def test_a_wrong_annotation_is_found(read, case):
    annotation, message = WRONG_ANNOTATIONS[case]
    result = read(content(annotations=[annotation]))
    findings = serious(result)
    assert len(findings) == 1
    assert_matches(findings[0].message, message)
    assert all(len(image.boxes) == 0 for image in result[1])


def test_an_annotation_id_that_occurs_twice(read):
    pair = [box(4, 1, 3, [1, 2, 3, 4]), box(4, 2, 3, [1, 2, 3, 4])]
    (finding,) = serious(read(content(annotations=pair)))
    assert finding.message == ("Annotation 4 (image 2) occurs twice in 'annotations'; ids must "
                               "differ.")
    assert (finding.image_id, finding.annotation_id) == (2, 4)


def test_annotations_of_an_unusable_image_are_not_reported_again(read):
    data = content(images=[image(1, "gone.png")], annotations=[box(1, 1, 3, [1, 2, 3, 4])] * 1)
    assert [finding.kind for finding in read(data)[2]] == ["image missing"]


def test_an_image_without_size_that_is_unreadable(read, tmp_path):
    (tmp_path / "a.png").write_bytes(b"not an image")
    (finding,) = serious(read(content(images=[{"id": 1, "file_name": "a.png"}], annotations=[])))
    assert_matches(finding.message, r"Image 1: .*a\.png")


# --- what is wrong with many entries alike --------------------------------------------------


def test_text_ids_of_images_are_one_finding(read):
    """And not one for each image and each annotation of it."""
    data = content(images=[image("a", "a.png"), image("b", "b.png")],
                   annotations=[box(n, "ab"[n % 2], 3, [10, n, 5, 5]) for n in range(20)])
    (finding,) = read(data)[2]
    assert finding.message == ("Entry 0 of 'images' ('a.png') has the id 'a'; give a whole number. "
                               "1 more entries of 'images' have such ids.")


def test_text_ids_of_categories_are_one_finding(read):
    data = content(categories=[{"id": "3", "name": "rod"}, {"id": "5", "name": "cell"}],
                   annotations=[box(n, 1, "3", [10, n, 5, 5]) for n in range(20)])
    (finding,) = read(data)[2]
    assert_matches(finding.message, "Entry 0 of 'categories' has the id '3'.*1 more entries")
    # A category that is not there at all is still reported.
    data["annotations"].append(box(99, 1, "7", [1, 2, 3, 4]))
    assert [finding.kind for finding in read(data)[2]] == ["bad category", "unknown category"]


def test_one_file_under_two_ids(read):
    """Which objects are in the picture cannot be known, so both are left out."""
    data = content(images=[image(1, "a.png"), image(2, "./a.png"), image(3, "b.png")],
                   annotations=[box(1, 1, 3, [1, 2, 9, 9]), box(2, 2, 5, [30, 2, 9, 9]),
                                box(3, 3, 5, [30, 2, 9, 9])])
    _, images, (finding,) = read(data)
    assert (finding.kind, finding.repairable) == ("one file under two ids", False)
    assert_matches(finding.message, r"Images 1 and 2 are the same file .*a\.png")
    assert [image.id for image in images] == [3] and len(images[0].boxes) == 1


def test_an_object_that_is_listed_twice_is_used_once(read):
    objects = [box(1, 1, 3, [1, 2, 30, 40]), box(2, 1, 3, [1, 2, 30, 40]),
               box(3, 1, 5, [1, 2, 30, 40]), box(4, 2, 3, [1, 2, 30, 40]),
               box(5, 1, 3, [1, 2, 30, 40], iscrowd=1)]
    _, images, (finding,) = read(content(annotations=objects))
    assert finding.message == "Annotation 2 (image 1) is the same as annotation 1; used once."
    assert finding.repairable
    assert [len(image.boxes) for image in images] == [3, 1]


def test_boxes_as_fractions_are_one_finding(read):
    objects = [box(n, 1, 3, [0.1 * n, 0.25, 0.3, 0.5]) for n in range(1, 6)]
    _, images, (finding,) = read(content(annotations=[*objects, box(6, 1, 3, [1, 2, 30, 40])]))
    assert (finding.kind, finding.repairable) == ("boxes as fractions", False)
    assert_matches(finding.message, r"5 of 6 boxes lie between 0 and 1.*annotation 1 \(image 1\), "
                                    r"\[0\.1, 0\.25, 0\.3, 0\.5\]\. COCO has pixels")
    assert len(images[0].boxes) == 1
    # Among fractions, the whole image is one, too; alone it is the pixel in the corner.
    for others, expected in ((objects, 0), ([], 1)):
        result = read(content(annotations=[*others, box(9, 1, 3, [0, 0, 1, 1])]))
        assert len(result[1][0].boxes) == expected


def test_boxes_that_may_be_corners_are_warned_of(read):
    corners = [[10, 10, 30, 40], [50, 20, 90, 60], [60, 50, 95, 75], [40, 40, 70, 70]]
    findings = read(content(annotations=[box(n, 1, 3, c) for n, c in enumerate(corners)]))[2]
    assert findings[0].kind == "boxes may be corners" and findings[0].repairable
    assert_matches(findings[0].message, r"3 of 4 boxes reach beyond .*\[x1, y1, x2, y2\]")
    right = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in corners]
    assert not read(content(annotations=[box(n, 1, 3, c) for n, c in enumerate(right)]))[2]


@pytest.mark.parametrize("bbox", [None, []])
def test_a_box_is_taken_from_an_outline(read, bbox):
    polygon = [[10, 20, 40, 20, 40, 60, 10, 60]]
    runs = {"size": [80, 100], "counts": [10 * 80 + 20, 40, 80 * 100 - 10 * 80 - 60]}
    data = content(annotations=[box(1, 1, 3, bbox, segmentation=polygon),
                                box(2, 2, 3, bbox, segmentation=runs)])
    _, images, findings = read(data)
    assert images[0].boxes.tolist() == [[20, 10, 60, 40]]
    assert images[1].boxes.tolist() == [[20, 10, 60, 11]]
    assert [(finding.kind, finding.repairable) for finding in findings] == [
        ("box from an outline", True)] * 2
    # A bbox that is there counts, and an outline that is none does not.
    data = content(annotations=[box(1, 1, 3, [1, 2, 3, 4], segmentation=polygon),
                                box(2, 2, 3, bbox, segmentation="x")])
    _, images, findings = read(data)
    assert images[0].boxes.tolist() == [[2, 1, 6, 4]]
    assert [finding.kind for finding in findings] == ["bad box"]


# --- boxes that are repaired ----------------------------------------------------------------

REPAIRED = {
    "empty": ([10, 10, 0, 5], "empty or inverted box", None),
    "inverted": ([10, 10, -5, 5], "empty or inverted box", None),
    "thin": ([10, 10, 5, 0.01], "empty or inverted box", None),
    "right of the image": ([100, 10, 5, 5], "box outside the image", None),
    "above the image": ([10, -9, 5, 9], "box outside the image", None),
    "far away": ([1e30, 1e30, 1e300, 1e308], "box outside the image", None),
    "beyond the right": ([90, 10, 20, 5], "box beyond the image's edge", [10, 90, 15, 100]),
    "beyond every edge": ([-5, -5, 500, 500], "box beyond the image's edge", [0, 0, 80, 100]),
    "beyond by infinitely much": ([0, 0, 1e308, 1e308], "box beyond the image's edge",
                                  [0, 0, 80, 100]),
    "by rounding": ([90, 10, 10.004, 5], None, [10, 90, 15, 100]),
    "tiny": ([10, 10, 1, 1], None, [10, 10, 11, 11]),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_boxes_are_clipped_or_dropped(read, case):
    bbox, kind, expected = REPAIRED[case]
    _, images, findings = read(content(annotations=[box(6, 1, 3, bbox)]))
    np.testing.assert_array_equal(images[0].boxes.tolist(), [expected] if expected else [])
    assert [finding.kind for finding in findings] == ([kind] if kind else [])
    for finding in findings:
        assert finding.repairable and (finding.image_id, finding.annotation_id) == (1, 6)
        assert "Annotation 6 (image 1)" in finding.message


def test_shared_category_names_are_told_apart(read):
    categories, _, findings = read(content(categories=[
        {"id": 3, "name": "cell"}, {"id": 0, "name": "cell"}, {"id": 1, "name": "rod"}]))
    assert categories == {0: "cell (0)", 1: "rod", 3: "cell (3)"}
    assert [finding.repairable for finding in findings] == [True]


# --- helpers --------------------------------------------------------------------------------


def serious(result):
    return [finding for finding in result[2] if not finding.repairable]


def assert_matches(text, pattern):
    assert re.search(pattern, text), f"{text!r} does not match {pattern!r}"


@pytest.mark.parametrize(("name", "expected"), [
    ("a.png", False), ("sub/a.png", False), ("a..b.png", False), ("..a.png", False),
    ("./a.png", False), ("..", True), ("sub/../../a.png", True), ("/a.png", True),
    ("\\\\server\\a.png", True), ("c:a.png", True), ("c:/a.png", True), ("sub\\..\\a.png", True),
])
def test_leaves_folder(name, expected):
    assert leaves_folder(name) == expected
