"""A data set cut into tiles: the same objects, at the right places, and none counted falsely."""

import json

import numpy as np
import pytest
from PIL import Image

from frcnn.data.coco import CocoDataset
from frcnn.data.cut import Cut, cut_dataset, objects_in
from frcnn.errors import ArgumentError, DatasetError, OutputError

HEIGHT, WIDTH = 300, 500


def drawn(path):
    """A picture in which every pixel tells its place."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([rows % 256, columns % 256, (columns // 256) * 100 + rows // 256], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def source(tmp_path):
    """Two images; the second has no objects."""
    folder = tmp_path / "source"
    (folder / "annotations").mkdir(parents=True)
    (folder / "train").mkdir()
    for number in (1, 2):
        drawn(folder / "train" / f"{number}.png")
    boxes = [([10, 20, 30, 40], 7, 0), ([190, 50, 30, 40], 9, 0), ([300, 200, 60, 50], 9, 1)]
    content = {
        "images": [{"id": 10 * number, "file_name": f"{number}.png", "width": WIDTH,
                    "height": HEIGHT} for number in (1, 2)],
        "categories": [{"id": 7, "name": "round"}, {"id": 9, "name": "long"}],
        "annotations": [{"id": number, "image_id": 10, "category_id": category, "bbox": box,
                         "iscrowd": crowd, "area": box[2] * box[3]}
                        for number, (box, category, crowd) in enumerate(boxes, start=1)]}
    (folder / "annotations/instances_train.json").write_text(json.dumps(content))
    return folder


def entries(folder):
    content = json.loads((folder / "annotations/instances_train.json").read_text())
    images = {image["id"]: image for image in content["images"]}
    return content, images


def test_tiles_show_the_pixels_of_their_place(source, tmp_path):
    counts = cut_dataset(source, tmp_path / "out", Cut(200, 0.2))
    content, images = entries(tmp_path / "out")
    assert counts["train"].tiles == len(images) == 2 * 2 * 3
    for image in images.values():
        x, y, width, height = image["source"]["window"]
        pixels = np.asarray(Image.open(tmp_path / "out/train" / image["file_name"]))
        assert pixels.shape == (height, width, 3) == (200, 200, 3)
        whole = np.asarray(Image.open(source / "train" / image["source"]["file_name"]))
        np.testing.assert_array_equal(pixels, whole[y:y + height, x:x + width])
    assert {image["source"]["image_id"] for image in images.values()} == {10, 20}
    assert [category["id"] for category in content["categories"]] == [7, 9]


def test_every_object_is_whole_somewhere_and_hardly_visible_ones_are_ignored(source, tmp_path):
    counts = cut_dataset(source, tmp_path / "out", Cut(200, 0.25, min_visible=0.5))
    content, images = entries(tmp_path / "out")
    back = []
    for entry in content["annotations"]:
        left, top, _, _ = images[entry["image_id"]]["source"]["window"]
        x, y, width, height = entry["bbox"]
        assert entry["area"] == width * height
        back.append(((left + x, top + y, width, height), entry["category_id"], entry["iscrowd"]))
    assert ((10, 20, 30, 40), 7, 0) in back and ((190, 50, 30, 40), 9, 0) in back
    # Of the second object 10 of 30 columns are in the first tile.
    assert ((190, 50, 10, 40), 9, 1) in back
    assert all(crowd for (x, *_), _, crowd in back if x >= 250)
    ignored = sum(crowd for *_, crowd in back)
    assert (counts["train"].objects, counts["train"].ignored) == (len(back) - ignored, ignored)


def test_the_tiles_are_a_data_set_to_train_on(source, tmp_path):
    cut_dataset(source, tmp_path / "out", Cut(200))
    dataset = CocoDataset.from_folder(tmp_path / "out", "train")
    assert dataset.check() == [] and list(dataset.class_names) == ["BG", "round", "long"]
    assert dataset.num_images == 12


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (1, 6)])
def test_tiles_without_objects_are_kept_at_a_rate(source, tmp_path, share, expected):
    counts = cut_dataset(source, tmp_path / "out", Cut(200, keep_empty=share))
    _, images = entries(tmp_path / "out")
    assert sum(image["source"]["image_id"] == 20 for image in images.values()) == expected
    assert counts["train"].tiles + counts["train"].left_out == 12


def test_the_choice_of_empty_tiles_depends_on_the_seed_alone(source, tmp_path):
    names = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        cut_dataset(source, tmp_path / folder, Cut(60, keep_empty=0.5, seed=seed))
        names.append(sorted(path.name for path in (tmp_path / folder / "train").iterdir()))
    assert names[0] == names[1] != names[2]


def test_images_of_one_name_keep_their_tiles(source, tmp_path):
    (source / "train/more").mkdir()
    drawn(source / "train/more/1.png")
    path = source / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["images"][1]["file_name"] = "more/1.png"
    path.write_text(json.dumps(content))
    cut_dataset(source, tmp_path / "out", Cut(200))
    assert len(list((tmp_path / "out/train").iterdir())) == 12


def test_objects_in_a_window_by_hand():
    boxes = np.array([[0, 0, 10, 10], [8, 8, 18, 28], [50, 50, 60, 60]], np.float32)
    parts, rows, ignored = objects_in((5, 5, 25, 25), boxes, 0.5)
    np.testing.assert_array_equal(parts, [[0, 0, 5, 5], [3, 3, 13, 20]])
    assert rows.tolist() == [0, 1] and ignored.tolist() == [True, False]


def test_a_part_thinner_than_a_pixel_is_nothing():
    boxes = np.array([[0, 0, 5.5, 10], [0, 0, 6, 10], [5.2, 5.2, 5.7, 5.9]], np.float32)
    _, rows, _ = objects_in((5, 0, 25, 20), boxes, 0.5)
    assert rows.tolist() == [1, 2]


def test_a_folder_that_is_not_empty_stays(source, tmp_path):
    with pytest.raises(OutputError, match="not an empty folder"):
        cut_dataset(source, source, Cut(200))


def test_nothing_left_is_an_error_and_leaves_nothing(source, tmp_path):
    path = source / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(DatasetError, match="No tile of train is left; raise the share"):
        cut_dataset(source, tmp_path / "out", Cut(200, keep_empty=0))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"size": 0}, "size is 0"), ({"size": 9, "overlap": 1}, "overlap is 1"),
    ({"size": 9, "min_visible": 2}, "min_visible is 2"), ({"size": 9, "keep_empty": -1}, "is -1"),
])
def test_what_cannot_be_cut(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Cut(**arguments)
