"""Ids by file name, for detection: by the same reader as for training."""

import json
from pathlib import Path

import pytest

from frcnn.data.image_ids import ids_of_files
from frcnn.errors import DatasetError


@pytest.fixture
def write(tmp_path):
    def write_file(names, encoding="utf-8"):
        images = [{"id": image_id, "file_name": name} for image_id, name in names]
        path = tmp_path / "ann.json"
        path.write_text(json.dumps({"images": images}, ensure_ascii=False), encoding=encoding)
        return path
    return write_file


def ids(paths, annotations):
    return list(ids_of_files([Path(path) for path in paths], annotations).values())


def test_files_of_one_name_in_two_folders(write):
    path = write([(11, "patient_a/001.png"), (21, "patient_b/001.png")])
    assert ids(["x/patient_b/001.png", "x/patient_a/001.png"], path) == [21, 11]
    with pytest.raises(DatasetError, match=r"does not list 001\.png \(but patient_a/001\.png\)"):
        ids(["x/patient_c/001.png"], path)


def test_a_byte_order_mark(write):
    assert ids(["a/x.png"], write([(3, "x.png")], "utf-8-sig")) == [3]


def test_a_copy_in_another_folder_has_the_id_of_its_name(write):
    path = write([(11, "patient_a/001.png"), (12, "patient_a/002.png")])
    assert ids(["flat/001.png", "flat/002.png"], path) == [11, 12]
    with pytest.raises(DatasetError, match="does not list"):
        ids(["flat/001.png", "other/001.png"], path)


def test_one_entry_for_two_files_is_refused(write):
    path = write([(7, "001.png")])
    with pytest.raises(DatasetError, match=r"a/001\.png and b/001\.png are both image 7"):
        ids(["a/001.png", "b/001.png"], path)
    with pytest.raises(DatasetError, match=r"lists 001\.png as the images 7 and 8"):
        ids(["a/001.png"], write([(7, "001.png"), (8, "001.PNG")]))


@pytest.mark.parametrize("name", ["Sub\\A.PNG", "sub/a.png", "./sub/a.png"])
def test_other_spellings(write, name):
    assert ids(["x/sub/a.png"], write([(5, name)])) == [5]


@pytest.mark.parametrize(("content", "message"), [
    ("{", "is not JSON"), ("[]", "a JSON list"), ("{}", "has no 'images'"),
    ('{"images": []}', "'images' in .* is empty"),
    ('{"images": [{"id": "x", "file_name": "a.png"}, {"id": "y", "file_name": "b.png"}]}',
     r"Entry 0 of 'images' \('a.png'\) has the id 'x'; give a whole number\. 1 more entries"),
    ('{"images": [{"id": 1}]}', "Image 1 has the file_name None"),
    ('{"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]}',
     "Image id 1 occurs twice"),
])
def test_files_that_training_would_refuse(tmp_path, content, message):
    path = tmp_path / "ann.json"
    path.write_text(content)
    with pytest.raises(DatasetError, match=message):
        ids(["a.png"], path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no annotation file"):
        ids(["a.png"], tmp_path / "none.json")
