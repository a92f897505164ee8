"""Conversion from Pascal VOC's layout to COCO's, without loss."""

import json
import warnings

import numpy as np
import pytest
from voc_tools import (
    annotation,
    draw_voc,
    field,
    set_annotation,
    set_list,
    voc_object,
)

from frcnn.data.coco import CocoDataset
from frcnn.data.convert import convert_voc
from frcnn.data.voc import VocDataset
from frcnn.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    return draw_voc(tmp_path / "voc")


def test_conversion_is_read_as_the_original_is(folder, tmp_path):
    set_annotation(folder, "b", annotation(voc_object("cell", "1.7", "3.1", "77.77", "60.123456")))
    counts = convert_voc(folder, tmp_path / "coco")
    assert counts == {"train": (2, 3), "val": (2, 1)}
    for subset in ("train", "val"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            before = VocDataset.from_folder(folder, subset)
        after = CocoDataset.from_folder(tmp_path / "coco", subset)
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
    set_annotation(folder, "a", annotation(*(voc_object(*original) for original in originals)))
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
