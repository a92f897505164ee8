"""Folders as Roboflow, CVAT, Label Studio and LabelImg write them are read as they come."""

import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image
from voc_tools import annotation, draw_voc, voc_object

from frcnn.cli import main as cli
from frcnn.data.coco import CocoDataset
from frcnn.data.folders import find_folder, find_layout, open_folder
from frcnn.data.layouts import divided, recognise
from frcnn.data.voc import VocDataset
from frcnn.errors import DatasetError


def pixels(number):
    """A picture that no other number has."""
    return np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)


def draw(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number)).save(path)


def coco(numbers, name="{}.png"):
    """A COCO file's content: one image and two objects for each number."""
    return {
        "images": [{"id": n, "file_name": name.format(n), "width": 50, "height": 40}
                   for n in numbers],
        "annotations": [{"id": 10 * n + k, "image_id": n, "category_id": k, "iscrowd": 0,
                         "bbox": [5 * k, 4, 9 + n % 7, 8 + k], "area": (9 + n % 7) * (8 + k)}
                        for n in numbers for k in (1, 2)],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "white"}],
    }


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


TRAIN, VAL = range(1, 5), range(5, 8)


def roboflow(folder):
    for subset, numbers in (("train", TRAIN), ("valid", VAL)):
        write(folder / subset / "_annotations.coco.json", coco(numbers))
        for number in numbers:
            draw(folder / subset / f"{number}.png", number)


def cvat(folder):
    for subset, numbers in (("Train", TRAIN), ("Validation", VAL)):
        write(folder / f"annotations/instances_{subset}.json", coco(numbers))
        for number in numbers:
            draw(folder / "images" / subset / f"{number}.png", number)


def cvat_flat(folder):
    for subset, numbers in (("train", TRAIN), ("val", VAL)):
        write(folder / f"annotations/instances_{subset}.json", coco(numbers))
        for number in numbers:
            draw(folder / "images" / f"{number}.png", number)


def named_files(folder):
    write(folder / "train.json", coco(TRAIN))
    write(folder / "my_val2017.json", coco(VAL, "images/{}.png"))
    for number in (*TRAIN, *VAL):
        draw(folder / "images" / f"{number}.png", number)


def files_with_folders(folder):
    """file_name begins with the subset's folder, which lies beside annotations/."""
    for subset, numbers in (("train", TRAIN), ("val", VAL)):
        write(folder / f"annotations/{subset}.json", coco(numbers, subset + "/{}.png"))
        for number in numbers:
            draw(folder / subset / f"{number}.png", number)


DIVIDED = {"roboflow": roboflow, "cvat": cvat, "cvat, one folder of images": cvat_flat,
           "named files": named_files, "names with folders": files_with_folders}


@pytest.mark.parametrize("kind", DIVIDED)
def test_coco_files_with_subsets(tmp_path, kind):
    DIVIDED[kind](tmp_path)
    assert find_layout(tmp_path)[0] is CocoDataset
    for subset, numbers in (("train", TRAIN), ("val", VAL)):
        dataset = open_folder(tmp_path, subset)
        assert [info["id"] for info in dataset.image_info] == list(numbers)
        assert dataset.class_names == ["BG", "red", "white"]
        for image_id, number in enumerate(numbers):
            np.testing.assert_array_equal(dataset.load_image(image_id), pixels(number))
            np.testing.assert_array_equal(
                dataset.load_boxes(image_id)[0],
                [[4, 5 * k, 12 + k, 5 * k + 9 + number % 7] for k in (1, 2)])
    with pytest.raises(FileNotFoundError, match="the subsets there are"):
        open_folder(tmp_path, "test")


def label_studio(folder):
    write(folder / "result.json", coco(range(30), "images/{}.png"))
    for number in range(30):
        draw(folder / "images" / f"{number}.png", number)


def label_studio_windows(folder):
    write(folder / "result.json", coco(range(30), "images\\{}.png"))
    for number in range(30):
        draw(folder / "images" / f"{number}.png", number)


def cvat_default(folder):
    write(folder / "annotations/instances_default.json", coco(range(30)))
    for number in range(30):
        draw(folder / "images" / "default" / f"{number}.png", number)


def sub_folders(folder):
    write(folder / "labels_coco.json", coco(range(30)))
    for number in range(30):
        draw(folder / f"slide{number % 3}" / f"{number}.png", number)


UNDIVIDED = {"Label Studio": label_studio, "Label Studio on Windows": label_studio_windows,
             "CVAT": cvat_default, "images in sub-folders": sub_folders}


@pytest.mark.parametrize("kind", UNDIVIDED)
@pytest.mark.filterwarnings("ignore:.*image found under another name, ")
def test_coco_files_without_subsets_are_divided(tmp_path, kind):
    UNDIVIDED[kind](tmp_path)
    shares = {}
    for subset in ("train", "val"):
        with pytest.warns(UserWarning, match="has no subsets: one image in 5, chosen by its name"):
            dataset = open_folder(tmp_path, subset)
        shares[subset] = {info["id"] for info in dataset.image_info}
        for image_id, info in enumerate(dataset.image_info):
            np.testing.assert_array_equal(dataset.load_image(image_id), pixels(info["id"]))
    assert shares["train"] | shares["val"] == set(range(30))
    assert not shares["train"] & shares["val"] and 1 <= len(shares["val"]) <= 12
    (whole,) = find_layout(tmp_path)[1]
    assert open_folder(tmp_path, whole).num_images == 30


def test_files_of_another_spelling_are_counted_in_one_warning(tmp_path):
    label_studio_windows(tmp_path)
    with pytest.warns(UserWarning) as caught:
        CocoDataset.from_folder(tmp_path, "all")
    (warning,) = caught
    assert "image found under another name, 30 in all" in str(warning.message)
    assert "another spelling" in str(warning.message)


@pytest.mark.filterwarnings("ignore:.*has no subsets", "ignore:.*under another name")
@pytest.mark.parametrize("kind", [*UNDIVIDED, "names with folders"])
def test_a_folder_below_home_is_read_as_by_its_whole_path(tmp_path, monkeypatch, recwarn, kind):
    """Its images are in the same shares, and are found under their own names."""
    {**DIVIDED, **UNDIVIDED}[kind](tmp_path / "home/data")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    whole, short = (CocoDataset.from_folder(folder, "val")
                    for folder in (tmp_path / "home/data", "~/data"))
    assert [info["path"] for info in short.image_info] == [
        info["path"] for info in whole.image_info]
    assert len(short.findings) == len(whole.findings)


def test_an_image_keeps_its_share_when_others_are_added():
    names = [f"{number}.png" for number in range(200)]
    few, many = (set(divided(names[:count], names[:count], "val")) for count in (100, 200))
    assert few == many & set(names[:100])
    assert 20 <= len(many) <= 60
    for count in (2, 3):  # there is always one in each
        assert divided(names[:count], names[:count], "val")
        assert divided(names[:count], names[:count], "train")
    assert divided(names, names, "") == names


def test_files_that_are_not_coco_are_no_data_set(tmp_path):
    write(tmp_path / "found.json", [{"image_id": 1, "bbox": [1, 2, 3, 4]}])
    write(tmp_path / "config.json", {"images": 3})
    (tmp_path / "empty.json").write_bytes(b"")
    with pytest.raises(DatasetError, match="neither layout"):
        find_folder(tmp_path)


# --- Pascal VOC without lists ---------------------------------------------------------------


def beside(tmp_path):
    """As LabelImg: the XML files beside the images."""
    source = draw_voc(tmp_path / "voc")
    folder = tmp_path / "labelimg"
    folder.mkdir()
    for part in ("Annotations", "JPEGImages"):
        for path in (source / part).iterdir():
            shutil.copy(path, folder)
    return source, folder


def voc_label_studio(tmp_path):
    source = draw_voc(tmp_path / "voc")
    folder = tmp_path / "export"
    shutil.copytree(source / "Annotations", folder / "Annotations")
    shutil.copytree(source / "JPEGImages", folder / "images")
    return source, folder


@pytest.mark.parametrize("make", [beside, voc_label_studio])
def test_xml_files_without_lists(tmp_path, make):
    source, folder = make(tmp_path)
    assert find_layout(folder) == (VocDataset, ["all"])
    dataset = open_folder(folder, "all")
    assert [info["id"] for info in dataset.image_info] == ["a", "b", "c", "d"]
    expected = [*VocDataset.from_folder(source, "train").image_info,
                *VocDataset.from_folder(source, "val").image_info]
    for info, other in zip(dataset.image_info, expected):
        np.testing.assert_array_equal(info["boxes"], other["boxes"])
        assert str(folder) in info["path"]
    names = []
    for subset in ("train", "val"):
        with pytest.warns(UserWarning, match="has no subsets"):
            share = VocDataset.from_folder(folder, subset)
        assert share.class_names == dataset.class_names  # of all, not of the share
        names += [info["id"] for info in share.image_info]
    assert sorted(names) == ["a", "b", "c", "d"]


def test_xml_files_in_folders_of_subsets(tmp_path):
    source = draw_voc(tmp_path / "voc")
    for subset, names in (("train", "ab"), ("valid", "cd")):
        (tmp_path / "robo" / subset).mkdir(parents=True)
        for name in names:
            shutil.copy(source / f"Annotations/{name}.xml", tmp_path / "robo" / subset)
            shutil.copy(source / f"JPEGImages/{name}.png", tmp_path / "robo" / subset)
    for subset, names in (("train", "ab"), ("val", "cd")):
        dataset = open_folder(tmp_path / "robo", subset)
        assert [info["id"] for info in dataset.image_info] == list(names)
        assert dataset.class_names == ["BG", "cell", "rod"]


def test_images_without_an_xml_file_are_counted(tmp_path):
    _, folder = beside(tmp_path)
    for number in range(3):
        draw(folder / f"extra{number}.png", number)
    with pytest.warns(UserWarning, match=r"3 images have no XML file.*extra0\.png"):
        assert open_folder(folder, "all").num_images == 4


def test_a_whole_data_set_in_a_folder_is_not_a_subset(tmp_path):
    draw_voc(tmp_path / "voc")
    assert recognise(tmp_path) is None


# --- frcnn check ----------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "title"), [
    (roboflow, "Roboflow's export in COCO's format, with the subsets train, valid"),
    (label_studio, "files in COCO's format, with the subsets all")])
def test_check_says_what_was_recognised(capsys, tmp_path, make, title):
    make(tmp_path)
    cli.main(["check", str(tmp_path)])
    assert f"frcnn: recognised as {title}\n" in capsys.readouterr().err
    cli.main(["check", str(tmp_path), "--json"])
    assert title.startswith(json.loads(capsys.readouterr().out)["layout"])


def test_one_bad_xml_is_named_without_lists(tmp_path):
    _, folder = beside(tmp_path)
    (folder / "b.xml").write_text(annotation(voc_object(xmin="x"), filename="b.png"))
    with pytest.raises(DatasetError, match="Object 1 of image b has the box"):
        open_folder(folder, "all")


# --- annotations of one subset in several places --------------------------------------------

PARTS = {"a": (1, 2), "b": (3, 4)}


def parts(folder, *names):
    """A COCO file for each name, and all images in images/."""
    for name, numbers in zip(names, (*PARTS.values(), VAL)):
        write(folder / name, coco(numbers))
        for number in numbers:
            draw(folder / "images" / f"{number}.png", number)


def parts_beside(folder, *names):
    """A COCO file for each name in train/, beside the images."""
    for name, numbers in zip(names, PARTS.values()):
        write(folder / "train" / name, coco(numbers))
        for number in numbers:
            draw(folder / "train" / f"{number}.png", number)
    write(folder / "valid" / "_annotations.coco.json", coco(VAL))
    for number in VAL:
        draw(folder / "valid" / f"{number}.png", number)


SEVERAL_FILES = {
    "at the top": (parts, "train_part1.json", "train_part2.json", "val.json"),
    "in annotations/": (parts, "annotations/train_1.json", "annotations/train_2.json", "val.json"),
    "at the top and in annotations/": (parts, "train.json", "annotations/train.json", "val.json"),
    "with another spelling": (parts, "Train_a.json", "my-train.json", "val.json"),
    "beside the images": (parts_beside, "batch1.json", "batch2.json"),
    "Roboflow's and another": (parts_beside, "_annotations.coco.json", "more.json"),
    "in the subset's folder and at the top": (parts, "train/x.json", "train.json", "val.json"),
    "COCO's own name and another, at the top": (parts, "instances_train.json", "train_2.json",
                                                "val.json"),
}


@pytest.mark.parametrize("case", SEVERAL_FILES)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_several_files_of_one_subset_are_an_error_that_names_them(tmp_path, case, skip_bad):
    make, *names = SEVERAL_FILES[case]
    make(tmp_path, *names)
    with pytest.raises(DatasetError, match="of the subset 'train' in 2 files: ") as raised:
        open_folder(tmp_path, "train", skip_bad=skip_bad)
    assert all(name in str(raised.value) for name in names[:2])
    assert "join them into one file, or move" in str(raised.value)
    assert open_folder(tmp_path, "val").num_images == len(VAL)


@pytest.mark.parametrize("names", [("a.json", "annotations/a.json"), ("a.json", "a/b.json")])
def test_several_files_of_one_name_that_is_no_subsets(tmp_path, names):
    parts(tmp_path, *names)
    with pytest.raises(DatasetError, match="annotations of the subset 'a' in 2 files"):
        open_folder(tmp_path, "a")
    with pytest.raises(DatasetError, match="annotations of the subset 'a' in 2 files"):
        open_folder(tmp_path, "train")  # its share


@pytest.mark.parametrize("case", SEVERAL_FILES)
def test_check_names_several_files_of_one_subset(tmp_path, capsys, case):
    make, *names = SEVERAL_FILES[case]
    make(tmp_path, *names)
    assert cli.main(["check", str(tmp_path)]) == 2
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("error"))
    assert all(name in line for name in names[:2])


OTHER_FILES = ("person_keypoints_train.json", "stuff_train.json", "panoptic_train.json")


@pytest.mark.parametrize("where", ["", "annotations/"])
def test_files_of_cocos_other_tasks_are_not_further_annotations(tmp_path, recwarn, where):
    parts(tmp_path, f"{where}instances_train.json")
    for name in OTHER_FILES:
        write(tmp_path / where / name, coco(PARTS["b"]))
    write(tmp_path / where / "captions_train.json", {"images": [], "annotations": []})
    write(tmp_path / where / "train_found.json", [{"image_id": 1, "bbox": [1, 2, 3, 4]}])
    assert [info["id"] for info in open_folder(tmp_path, "train").image_info] == [1, 2]
    assert not recwarn.list


def test_a_file_of_another_task_alone_is_read(tmp_path):
    parts(tmp_path, "person_keypoints_train.json")
    assert open_folder(tmp_path, "train").num_images == 2


@pytest.mark.parametrize(("other", "concerned"), [
    ("annotations/train_part2.json", ["train"]), ("train2.json", ["train"]),
    ("valid_more.json", ["val"]), ("annotations/more.json", ["train", "val"]),
    ("train/_annotations.coco.json", ["train"])])
def test_files_beside_cocos_own_that_are_not_read_are_named(tmp_path, other, concerned):
    for subset, numbers in (("train", TRAIN), ("val", VAL)):
        write(tmp_path / f"annotations/instances_{subset}.json", coco(numbers))
        for number in numbers:
            draw(tmp_path / subset / f"{number}.png", number)
    write(tmp_path / other, coco([9]))
    for subset, numbers in (("train", TRAIN), ("val", VAL)):
        dataset = CocoDataset()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            dataset.load_coco(tmp_path, subset)
        assert len(dataset.image_info) == len(numbers)
        assert len(caught) == len(dataset.findings) == (subset in concerned)
        assert all(f"not read: {other}. Join" in str(warning.message) for warning in caught)


def xml_parts(tmp_path, *places):
    """The XML files of four images in two folders, and all images in images/."""
    source, folder = draw_voc(tmp_path / "voc"), tmp_path / "data"
    shutil.copytree(source / "JPEGImages", folder / "images")
    for place, names in zip(places, ("ab", "cd"), strict=True):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(source / f"Annotations/{name}.xml", folder / place)
    return folder


@pytest.mark.parametrize("places", [
    ("Annotations", "labels"), ("Annotations", "Annotations/batch2"), (".", "Annotations"),
    (".", "batch2"), (".", "train"), ("Annotations", "train"), ("Annotations", "batch2"),
    ("xmls", "val/Annotations")])
def test_xml_files_in_several_folders_are_an_error_that_names_them(tmp_path, capsys, places):
    folder = xml_parts(tmp_path, *places)
    for subset in ("all", "train"):
        with pytest.raises(DatasetError, match="the subset 'all' in 2 folders: ") as raised:
            open_folder(folder, subset)
        named = str(raised.value).split("folders: ")[1].split(". Only")[0].split(", ")
        assert named == ["the folder itself" if place == "." else place for place in places]
    assert cli.main(["check", str(folder)]) == 2
    assert "put them into one folder" in capsys.readouterr().out


def test_xml_files_in_several_folders_of_one_subset(tmp_path):
    folder = xml_parts(tmp_path, "train/Annotations", "train/labels")
    with pytest.raises(DatasetError, match="'train' in 2 folders: train/Annotations, train/labels"):
        open_folder(folder, "train")


def test_many_files_of_one_subset_are_counted(tmp_path):
    for number in range(8):
        write(tmp_path / f"train_{number}.json", coco([number + 1]))
    with pytest.raises(DatasetError, match=r"in 8 files: (train_\d\.json(, )?){5} and 3 more\."):
        open_folder(tmp_path, "train")


# --- images that are not listed -------------------------------------------------------------


def voc_with_lists(folder):
    draw_voc(folder)


FOLDERS = {**DIVIDED, **UNDIVIDED, "COCO": None, "Pascal VOC": voc_with_lists}


def unlisted(capsys, folder, *options):
    """The findings on images that are not listed: subset, message."""
    cli.main(["check", str(folder), "--json", *options])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return [(finding["subset"], finding["message"]) for finding in findings
            if finding["kind"] == "image not listed" and finding["doubtful"]]


def make_folder(tmp_path, coco_folder, kind):
    if FOLDERS[kind] is None:
        return coco_folder
    FOLDERS[kind](tmp_path / "made")
    return tmp_path / "made"


def pictures_in(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix == ".png")


@pytest.mark.parametrize("kind", FOLDERS)
def test_images_that_are_not_listed_are_counted(tmp_path, coco_folder, capsys, kind):
    folder = make_folder(tmp_path, coco_folder, kind)
    subsets = find_layout(folder)[1]
    assert unlisted(capsys, folder) == []
    assert all(unlisted(capsys, folder, "--subset", subset) == [] for subset in subsets)
    place = pictures_in(folder)[-1].parent
    for number in range(4):
        draw(place / f"extra{number}.png", 90 + number)
    (place / "notes.txt").write_text("not an image")
    ((_, message),) = unlisted(capsys, folder)
    inside = place.relative_to(folder)
    named = ", ".join(str(inside / f"extra{number}.png") for number in range(3))
    assert " 4 are in no " in message and f": {named} and 1 more. " in message
    several = [unlisted(capsys, folder, "--subset", subset) for subset in subsets]
    assert [message] in [[text for _, text in found] for found in several]


@pytest.mark.parametrize("kind", FOLDERS)
def test_images_that_cannot_be_used_are_listed(tmp_path, coco_folder, capsys, kind):
    """A finding of their own is enough."""
    folder = make_folder(tmp_path, coco_folder, kind)
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_text())
        content["images"][0]["width"] = "wide"
        path.write_text(json.dumps(content))
    for path in sorted(folder.rglob("*.xml"))[:1]:
        path.write_text("no XML")
    assert cli.main(["check", str(folder)]) == 2
    capsys.readouterr()
    assert unlisted(capsys, folder) == []


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.filterwarnings("ignore:.*has no subsets", "ignore:.*under another name")
def test_loading_says_nothing_of_images_that_are_not_listed(tmp_path, coco_folder, kind):
    folder = make_folder(tmp_path, coco_folder, kind)
    draw(pictures_in(folder)[0].parent / "extra.png", 99)
    assert open_folder(folder, "train").num_images


def test_seven_of_eight_images_in_a_subsets_folder(coco_folder, capsys):
    for number in range(7):
        draw(coco_folder / f"train/batch2/more{number}.png", number)  # none there is listed
    ((subset, message),) = unlisted(capsys, coco_folder)
    assert subset == "train" and " 7 are in no annotation file" in message


def test_masks_and_other_folders_are_no_images_of_the_data_set(coco_folder, capsys):
    for path in pictures_in(coco_folder / "train"):
        draw(coco_folder / "train/masks" / f"{path.stem}.tif", 1)
        draw(coco_folder / "train/.cache" / f"{path.stem}_small.png", 1)
    draw(coco_folder / "results/detections.png", 1)
    draw(coco_folder / "overview.png", 1)
    draw(coco_folder / "test/1.png", 1)  # a subset without annotations
    assert unlisted(capsys, coco_folder) == []


# --- names of classes -----------------------------------------------------------------------


def rename(folder, names):
    """Gives the classes of a folder's annotation files other names."""
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_text())
        for entry, name in zip(content["categories"], names):
            entry["name"] = name
        path.write_text(json.dumps(content))
    for path in folder.rglob("*.xml"):
        text = path.read_text()
        for name, other in zip(("cell", "rod"), names):
            text = text.replace(f"<name>{name}</name>", f"<name>{other}</name>")
        path.write_text(text)


def alike(capsys, folder):
    cli.main(["check", str(folder), "--json"])
    found = json.loads(capsys.readouterr().out)
    messages = [finding["message"] for finding in found["findings"]
                if finding["kind"] == "class names alike" and finding["doubtful"]]
    assert not messages or found["exit_code"] >= 1
    return messages


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("names", [("Cell", "cell"), ("red cell", "Red  Cell"),
                                   ("red cell", "redcell"), ("\uff23ell", "cell")])
def test_class_names_that_differ_in_case_or_spaces_are_doubtful(tmp_path, coco_folder, capsys, kind,
                                                                names):
    folder = make_folder(tmp_path, coco_folder, kind)
    assert alike(capsys, folder) == []
    rename(folder, names)
    (message,) = alike(capsys, folder)
    first, second = sorted(names)
    assert message.startswith(f"The classes {first!r}, {second!r} have names that differ only")


def test_class_names_that_differ_between_subsets(coco_folder, capsys):
    rename(coco_folder / "annotations", ["cell"])
    path = coco_folder / "annotations/instances_val.json"
    path.write_text(path.read_text().replace('"cell"', '" Cell "'))
    assert len(alike(capsys, coco_folder)) == 1
