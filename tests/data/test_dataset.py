"""Data sets: numbering of classes and images, boxes from masks, COCO folders good and bad."""

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.errors import DatasetError


def edit(folder, subset, change):
    """Applies `change(content)` to an annotation file."""
    path = folder / "annotations" / f"instances_{subset}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def two_sources():
    dataset = Dataset()
    dataset.add_class("blood", 4, "rbc")
    dataset.add_class("blood", 9, "wbc")
    dataset.add_class("urine", 4, "erythrocyte")
    dataset.add_class("urine", 1, "crystal")
    dataset.add_image("blood", "b1", "b1.png", width=3)
    dataset.add_image("urine", 17, "u17.png")
    return dataset


# --- the base class -------------------------------------------------------------------------


def test_an_empty_data_set_knows_the_background():
    dataset = Dataset()
    assert dataset.class_info == [{"source": "", "id": 0, "name": "BG"}]
    dataset.prepare()
    assert dataset.num_classes == 1 and dataset.class_names == ["BG"]
    assert dataset.num_images == 0 and len(dataset.image_ids) == 0


def test_prepare_numbers_classes_and_images_in_order():
    dataset = two_sources()
    dataset.prepare()
    assert dataset.class_names == ["BG", "rbc", "wbc", "erythrocyte", "crystal"]
    assert dataset.num_classes == 5 and dataset.class_ids.tolist() == [0, 1, 2, 3, 4]
    assert dataset.num_images == 2 and dataset.image_ids.tolist() == [0, 1]
    assert dataset.sources == ["", "blood", "urine"]
    assert dataset.source_class_ids == {"": [0], "blood": [0, 1, 2], "urine": [0, 3, 4]}
    assert dataset.image_info[0] == {"id": "b1", "source": "blood", "path": "b1.png", "width": 3}


def test_classes_are_found_both_ways():
    dataset = two_sources()
    dataset.prepare()
    for source, source_id, class_id in (("blood", 4, 1), ("blood", 9, 2), ("urine", 4, 3)):
        assert dataset.map_source_class_id(f"{source}.{source_id}") == class_id
        assert dataset.get_source_class_id(class_id, source) == source_id
    with pytest.raises(DatasetError, match=r"no class 'blood\.5'"):
        dataset.map_source_class_id("blood.5")
    with pytest.raises(DatasetError, match="source 'urine' has no class 1"):
        dataset.get_source_class_id(1, "urine")


def test_a_class_map_joins_classes_of_several_sources():
    dataset = two_sources()
    dataset.prepare(class_map={"erythrocyte": "rbc", "urine.1": "other", "wbc": "other"})
    assert dataset.class_names == ["BG", "rbc", "other"]
    assert dataset.map_source_class_id("urine.4") == dataset.map_source_class_id("blood.4") == 1
    assert dataset.source_class_ids == {"": [0], "blood": [0, 1, 2], "urine": [0, 1, 2]}
    assert dataset.get_source_class_id(2, "blood") == 9
    assert dataset.get_source_class_id(2, "urine") == 1


def test_a_class_map_with_an_unknown_key_is_refused():
    with pytest.raises(DatasetError, match="class map names 'leuko', which is no class"):
        two_sources().prepare(class_map={"leuko": "wbc"})


def test_adding_a_class_twice_keeps_one_but_not_under_two_names():
    dataset = two_sources()
    dataset.add_class("blood", 4, "rbc")
    assert len(dataset.class_info) == 5
    with pytest.raises(DatasetError, match="'rbc' in one place and 'platelet' in another"):
        dataset.add_class("blood", 4, "platelet")
    with pytest.raises(DatasetError, match="contains a dot"):
        dataset.add_class("a.b", 1, "x")


def test_an_image_of_a_source_without_classes_is_refused():
    dataset = two_sources()
    dataset.add_image("bloood", 5, "x.png")
    with pytest.raises(DatasetError, match="Image 5 is of the source 'bloood', which has no clas"):
        dataset.prepare()


def test_preparing_again_after_adding_more():
    dataset = two_sources()
    dataset.prepare()
    dataset.add_image("urine", 18, "u18.png")
    dataset.prepare()
    assert dataset.num_images == 3 and dataset.image_reference(2) == "u18.png"
    assert dataset.source_image_link(2) == "u18.png"


def test_without_boxes_or_masks_the_error_says_what_to_write():
    with pytest.raises(NotImplementedError, match="load_boxes"):
        two_sources().load_boxes(0)


# --- subclasses written for masks -----------------------------------------------------------


class Masks(Dataset):
    """A subclass in the reference's manner: masks and class ids, no boxes."""

    def __init__(self, masks, class_ids):
        super().__init__()
        self.masks, self.ids = masks, class_ids
        self.add_class("m", 1, "a")
        self.add_image("m", 0, None)
        self.prepare()

    def load_mask(self, image_id):
        return self.masks, self.ids


@pytest.mark.smoke
def test_boxes_are_taken_from_masks():
    masks = np.zeros((20, 30, 3), bool)
    masks[4:9, 10:25, 0] = True
    masks[19, 29, 2] = True  # instance 1 is empty
    boxes, class_ids = Masks(masks, np.array([1, 1, -1])).load_boxes(0)
    np.testing.assert_array_equal(boxes, np.float32([[4, 10, 9, 25], [19, 29, 20, 30]]))
    assert boxes.dtype == np.float32
    assert class_ids.tolist() == [1, -1] and class_ids.dtype == np.int32


@pytest.mark.parametrize("masks", [np.zeros((20, 30, 0)), np.zeros((0, 0, 0)), np.zeros(0)])
def test_no_masks_are_no_boxes(masks):
    boxes, class_ids = Masks(masks, np.zeros(0)).load_boxes(0)
    assert boxes.shape == (0, 4) and class_ids.shape == (0,)


def test_masks_and_class_ids_that_disagree_are_an_error():
    with pytest.raises(DatasetError, match=r"masks of the shape \(20, 30, 2\) and 1 class"):
        Masks(np.ones((20, 30, 2)), [1]).load_boxes(0)


# --- COCO folders ---------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_coco_folder_is_loaded_without_a_warning(coco_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = CocoDataset.from_folder(coco_folder, "train")
    assert dataset.class_names == ["BG", "bar", "square", "slab"]  # by category id: 2, 7, 11
    assert dataset.num_images == 5
    assert dataset.map_source_class_id("coco.7") == 2
    assert dataset.get_source_class_id(3, "coco") == 11
    info = dataset.image_info[0]
    assert (info["id"], info["source"], info["width"], info["height"]) == (1, "coco", 128, 96)
    assert dataset.image_reference(0) == str(coco_folder / "train" / "train_0.png")


def test_coco_boxes_lie_on_their_pixels(coco_folder):
    """Each class is drawn in a color of its own, which is found by search, not by the boxes."""
    dataset = CocoDataset.from_folder(coco_folder, "train")
    colors = {1: (40, 200, 60), 2: (220, 40, 40), 3: (50, 80, 230)}
    for image_id in dataset.image_ids[:-1]:
        pixels = dataset.load_image(image_id)
        assert pixels.shape == (96, 128, 3) and pixels.dtype == np.uint8
        boxes, class_ids = dataset.load_boxes(image_id)
        assert sorted(abs(class_ids)) == [1, 2, 3]
        for box, class_id in zip(boxes, class_ids):
            rows, columns = np.nonzero((pixels == colors[abs(class_id)]).all(-1))
            assert box.tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


def test_crowds_are_negative_and_images_may_be_empty(coco_folder):
    dataset = CocoDataset.from_folder(coco_folder, "train")
    boxes, class_ids = dataset.load_boxes(0)
    assert sorted(class_ids.tolist()) == [-3, 1, 2]
    assert boxes.dtype == np.float32 and class_ids.dtype == np.int32
    boxes, class_ids = dataset.load_boxes(4)
    assert boxes.shape == (0, 4) and class_ids.shape == (0,)
    assert boxes.dtype == np.float32 and class_ids.dtype == np.int32


def test_boxes_handed_out_are_the_callers_own(coco_folder):
    dataset = CocoDataset.from_folder(coco_folder, "train")
    before = dataset.load_boxes(1)[0].copy()
    dataset.load_boxes(1)[0][:] = -1
    np.testing.assert_array_equal(dataset.load_boxes(1)[0], before)


def test_only_some_classes(coco_folder):
    edit(coco_folder, "val", lambda content: content.update(
        annotations=[entry for entry in content["annotations"]
                     if entry["image_id"] != 6 or entry["category_id"] == 11]))
    dataset = CocoDataset()
    dataset.load_coco(coco_folder, "val", class_ids=[2, 7])
    dataset.prepare()
    assert dataset.class_names == ["BG", "bar", "square"]
    # Image 6 has only a slab, image 8 nothing.
    assert [info["id"] for info in dataset.image_info] == [7]
    assert sorted(dataset.load_boxes(0)[1].tolist()) == [1, 2]
    with pytest.raises(DatasetError, match="has no category 5; its categories are"):
        CocoDataset().load_coco(coco_folder, "val", class_ids=[5])


def test_two_subsets_and_two_sources_in_one(coco_folder, tmp_path):
    dataset = CocoDataset()
    dataset.load_coco(coco_folder, "train")
    dataset.load_coco(coco_folder, "val")
    other = shutil.copytree(coco_folder, tmp_path / "other")
    edit(other, "val", lambda content: content["categories"][0].update(name="quadrat"))
    dataset.load_coco(other, "val", source="other")
    dataset.prepare(class_map={"quadrat": "square"})
    # "bar" and "slab" have equal names in both sources, so a map joins them as well.
    assert dataset.class_names == ["BG", "bar", "square", "slab"]
    assert dataset.num_images == 11
    np.testing.assert_array_equal(dataset.load_boxes(5)[1], dataset.load_boxes(8)[1])
    with pytest.raises(DatasetError, match=r"Image id 1 .* is already loaded"):
        dataset.load_coco(coco_folder, "train")


def test_a_conflicting_class_name_asks_for_another_source(coco_folder):
    dataset = CocoDataset()
    dataset.load_coco(coco_folder, "train")
    edit(coco_folder, "val", lambda content: content["categories"][0].update(name="quadrat"))
    with pytest.raises(DatasetError, match="'square' in one place and 'quadrat' in another"):
        dataset.load_coco(coco_folder, "val")


def test_a_subclass_may_add_images_of_its_own(coco_folder):
    class Mixed(CocoDataset):
        def load_mask(self, image_id):
            masks = np.zeros((9, 9, 1), bool)
            masks[2:5, 3:7] = True
            return masks, np.array([1])

    dataset = Mixed()
    dataset.load_coco(coco_folder, "val")
    dataset.add_image("coco", "drawn", None)
    dataset.prepare()
    assert dataset.load_boxes(3)[0].tolist() == [[2, 3, 5, 7]]
    assert len(dataset.load_boxes(0)[0]) == 3


# --- COCO folders that are wrong ------------------------------------------------------------


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no data set folder .*nowhere"):
        CocoDataset.from_folder(tmp_path / "nowhere", "train")


def test_a_missing_subset_lists_those_that_exist(coco_folder):
    with pytest.raises(FileNotFoundError, match=r"instances_test\.json.*are train, val"):
        CocoDataset.from_folder(coco_folder, "test")


def test_a_folder_without_annotations(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no annotations/instances_<subset>\.json at all"):
        CocoDataset.from_folder(tmp_path, "train")


def test_a_missing_folder_of_images(coco_folder):
    shutil.rmtree(coco_folder / "val")
    with pytest.raises(FileNotFoundError, match=r"no folder .*val; the images of the subset 'val'"):
        CocoDataset.from_folder(coco_folder, "val")


def test_missing_images_are_counted_and_the_first_few_named(coco_folder):
    for number in range(4):
        (coco_folder / "train" / f"train_{number}.png").unlink()
    with pytest.raises(DatasetError) as caught:
        CocoDataset.from_folder(coco_folder, "train")
    message = str(caught.value)
    assert all(f"train_{number}.png" in message for number in range(4))
    assert "instances_train.json" in message and "\n" not in message

    edit(coco_folder, "train", lambda content: content["images"].extend(
        {"id": 100 + number, "file_name": f"no_{number}.png"} for number in range(20)))
    with pytest.raises(DatasetError, match="And 19 more such problems"):
        CocoDataset.from_folder(coco_folder, "train")


def test_a_wrong_annotation_stops_loading(coco_folder):
    edit(coco_folder, "train", lambda content: content["annotations"][3].update(bbox="1 2 3 4"))
    with pytest.raises(DatasetError, match=r"instances_train\.json: Annotation 4 \(image 2, "
                                           r"train_1\.png\) has the bbox '1 2 3 4'"):
        CocoDataset.from_folder(coco_folder, "train")


def test_repairs_are_counted_in_a_warning(coco_folder):
    def spoil(content):
        for annotation in content["annotations"][:3]:
            annotation["bbox"] = [100, 80, 50, 50]
        content["annotations"][4]["bbox"] = [5, 5, 0, 0]

    edit(coco_folder, "train", spoil)
    with pytest.warns(UserWarning) as caught:
        dataset = CocoDataset.from_folder(coco_folder, "train")
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert "box beyond the image's edge, 3 in all. The first: Annotation 1 (image 1)" in messages[0]
    assert "empty or inverted box, 1 in all. The first: Annotation 5 (image 2)" in messages[1]
    assert (dataset.load_boxes(0)[0] == [80, 100, 96, 128]).all()
    assert len(dataset.load_boxes(1)[0]) == 2


def test_importing_does_not_load_keras():
    code = "import sys, frcnn.data, frcnn.data.examples; sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
