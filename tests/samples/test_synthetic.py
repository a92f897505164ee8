"""The synthetic urine sediment: what is drawn, where the boxes lie, and how the cache behaves."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import PROJECT
from scipy.spatial import cKDTree
from skimage.feature import hog
from skimage.transform import resize

from frcnn.errors import DatasetError, FrcnnError
from samples.urinary import synthetic
from samples.urinary.sediment.scene import CLASSES, Scene, draw_object

NAMES = ("cast", "cryst", "epith", "epithn", "eryth", "leuko", "mycete")
SMALL = {"train": 2, "val": 1, "size": 128, "verbose": 0}


@pytest.fixture(scope="module")
def micrographs():
    """Some of the default training and validation pictures, as draw_micrograph returns them."""
    def draw(subset, count):
        return [
            synthetic.draw_micrograph(np.random.default_rng([0, subset, k])) for k in range(count)
        ]
    return draw(0, 60), draw(1, 25)


def pairwise_intersections(boxes):
    """Areas [N, N] that boxes share with one another; 0 with themselves."""
    y1, x1, y2, x2 = boxes.T
    height = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    width = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    shared = np.clip(height, 0, None) * np.clip(width, 0, None)
    np.fill_diagonal(shared, 0)
    return shared


def areas(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def test_class_order():
    assert synthetic.CLASS_NAMES == NAMES


def test_each_picture_holds_5_to_30_objects_inside_it(micrographs):
    for image, boxes, class_ids in micrographs[0] + micrographs[1]:
        assert image.shape == (384, 384, 3) and image.dtype == np.uint8
        assert boxes.dtype == np.float32 and boxes.shape == (len(class_ids), 4)
        assert 5 <= len(boxes) <= 30
        assert boxes.min() >= 0 and boxes.max() <= 384
        assert (boxes[:, 2:] - boxes[:, :2]).min() >= 14 * 384 / 320
        assert class_ids.min() >= 1 and class_ids.max() <= 7


def test_every_class_is_well_represented(micrographs):
    for pictures in micrographs:
        counts = np.bincount(np.concatenate([ids for _, _, ids in pictures]), minlength=8)[1:]
        assert (counts / counts.sum()).min() > 0.07


def test_a_tenth_of_the_objects_overlap_another(micrographs):
    overlapping = []
    for _, boxes, _ in micrographs[0] + micrographs[1]:
        shared = pairwise_intersections(boxes)
        smaller = np.minimum(areas(boxes)[:, None], areas(boxes))
        overlapping.extend((shared / smaller).max(1) > 0.1)
    assert 0.10 <= np.mean(overlapping) <= 0.75


def test_light_is_uneven_and_the_sensor_noisy(micrographs):
    for image, boxes, _ in micrographs[1]:
        plain = np.ones((384, 384), bool)
        for y1, x1, y2, x2 in boxes.astype(int):
            plain[y1:y2, x1:x2] = False
        gray = image.mean(-1)
        neighbours = np.abs(np.diff(gray, axis=1))[plain[:, 1:] & plain[:, :-1]]
        assert np.median(neighbours) > 0.3
        tiles = [
            np.median(gray[r:r + 96, c:c + 96][plain[r:r + 96, c:c + 96]])
            for r in range(0, 384, 96) for c in range(0, 384, 96)
            if plain[r:r + 96, c:c + 96].mean() > 0.2
        ]
        assert np.ptp(tiles) > 3


def nearest_neighbours(known, classes, asked, k):
    """Class by majority of the k nearest after standardization."""
    mean, scale = known.mean(0), known.std(0) + 1e-9
    _, nearest = cKDTree((known - mean) / scale).query((asked - mean) / scale, k=k)
    votes = classes[nearest].reshape(len(asked), -1)
    return np.array([np.bincount(row).argmax() for row in votes])


def size_and_colour(pictures):
    """Log height, log width, aspect, mean RGB, and mean RGB less the picture's, of each box."""
    rows = []
    for image, boxes, _ in pictures:
        ground = np.median(image, axis=(0, 1))
        for y1, x1, y2, x2 in boxes.astype(int):
            colour = image[y1:y2, x1:x2].mean((0, 1))
            h, w = np.log(y2 - y1), np.log(x2 - x1)
            rows.append([h, w, h - w, *colour, *(colour - ground)])
    return np.array(rows), np.concatenate([ids for _, _, ids in pictures])


@pytest.mark.parametrize("features", [slice(0, 3), slice(0, 6), slice(0, 9)])
def test_size_aspect_and_colour_do_not_give_the_class_away(micrographs, features):
    known, classes = size_and_colour(micrographs[0])
    asked, truth = size_and_colour(micrographs[1])
    for k in (1, 7, 25):
        guess = nearest_neighbours(known[:, features], classes, asked[:, features], k)
        assert np.mean(guess == truth) < 0.60


@pytest.mark.nightly
def test_the_whole_default_set(tmp_path):
    folder = synthetic.generate(tmp_path / "set", verbose=0)
    sets = []
    for subset, least in (("train", 200), ("val", 50)):
        coco = json.loads((folder / f"annotations/instances_{subset}.json").read_text())
        assert len(coco["images"]) >= least
        pictures = []
        for entry in coco["images"]:
            own = [a for a in coco["annotations"] if a["image_id"] == entry["id"]]
            x, y, w, h = np.array([a["bbox"] for a in own]).T
            image = np.asarray(Image.open(folder / subset / entry["file_name"]))
            boxes = np.stack([y, x, y + h, x + w], axis=1)
            pictures.append((image, boxes, np.array([a["category_id"] for a in own])))
        counts = np.bincount(np.concatenate([ids for _, _, ids in pictures]))[1:]
        assert len(counts) == 7 and counts.min() > 0.1 * counts.sum()
        sets.append(pictures)
    known, classes = size_and_colour(sets[0])
    asked, truth = size_and_colour(sets[1])
    for k in (1, 5, 15, 31):
        assert np.mean(nearest_neighbours(known, classes, asked, k) == truth) < 0.60


def looks(rng, count):
    """Gradients and contrasts of `count` objects a class, all of one size and brightness."""
    rows, classes = [], []
    for class_id in np.repeat(np.arange(1, 8), count):
        contrast = draw_object(rng, int(class_id), 46).contrast
        cells = hog(resize(contrast, (48, 48)), pixels_per_cell=(8, 8), cells_per_block=(1, 1))
        # Objects lie at any angle: how strongly a cell prefers one direction, not which.
        directed = np.sort(cells.reshape(-1, 9), axis=1).mean(0)
        tones = np.histogram(contrast, np.linspace(-0.4, 0.4, 12), density=True)[0] / 10
        rows.append(np.concatenate([directed, tones]))
        classes.append(class_id)
    return np.array(rows), np.array(classes)


def test_shape_and_texture_tell_the_classes_apart():
    known, classes = looks(np.random.default_rng(0), 40)
    asked, truth = looks(np.random.default_rng(1), 15)
    right = nearest_neighbours(known, classes, asked, 5) == truth
    assert np.mean(right) > 0.75


@pytest.mark.parametrize("class_id", range(1, 8), ids=NAMES)
def test_a_lone_object_changes_just_its_box(class_id):
    longest = CLASSES[NAMES[class_id - 1]][1][1]
    for seed in range(12):
        rng = np.random.default_rng(seed)
        extent = longest * rng.uniform(0.7, 1)
        sprite = draw_object(rng, class_id, extent, blur=rng.uniform(0.4, 1.2))
        scene = Scene(384)
        corner = rng.integers(5, 200, 2)
        assert scene.place(sprite, *corner, overlap="free")
        picture = np.round(140 * (1 + scene.contrast))
        rows, cols = np.nonzero(np.abs(picture - 140) >= 4)
        changed = [rows.min(), cols.min(), rows.max() + 1, cols.max() + 1]
        assert np.abs(np.subtract(changed, scene.boxes[0])).max() <= 1


def test_a_truncated_object_has_the_box_of_its_visible_part():
    sprite = draw_object(np.random.default_rng(0), 5, 40)
    h, w = sprite.mask.shape
    scene = Scene(384)
    assert scene.place(sprite, -8, 384 - w + 6, overlap="free")
    y1, x1, y2, x2 = scene.boxes[0]
    assert (y1, x2) == (0, 384)
    assert y2 == h - 8 and x1 == 384 - w + 6
    assert not scene.place(sprite, 384 - h // 3, 100, overlap="free")  # mostly outside


def test_no_object_is_hidden_by_another():
    rng = np.random.default_rng(0)
    large, small = draw_object(rng, 6, 60), draw_object(rng, 6, 24)
    scene = Scene(384)
    assert scene.place(small, 100, 100, overlap="free")
    assert not scene.place(large, 82, 82, overlap="touch")  # would cover the small one
    assert not scene.place(small, 100, 100, overlap="free")
    assert not scene.place(large, 300, 300, overlap="touch")  # touches nothing
    body = small.mask.sum()
    assert any(scene.place(large, top, 82, overlap="touch") for top in range(83, 140))
    assert 0.6 * body <= scene.shown[0].sum() < body


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_seed_same_files(tmp_path):
    first = files(synthetic.generate(tmp_path / "a", seed=3, **SMALL))
    again = files(synthetic.generate(tmp_path / "b", seed=3, **SMALL))
    other = files(synthetic.generate(tmp_path / "c", seed=4, **SMALL))
    assert first == again
    picture = Path("train/000001.jpg")
    assert first[picture] != other[picture]
    assert first[picture] != first[Path("val/000001.jpg")]


def test_coco_files(tmp_path):
    folder = synthetic.generate(tmp_path / "set", train=3, val=2, size=200, verbose=0)
    for subset, count in (("train", 3), ("val", 2)):
        coco = json.loads((folder / f"annotations/instances_{subset}.json").read_text())
        assert [(c["id"], c["name"]) for c in coco["categories"]] == list(enumerate(NAMES, 1))
        assert len(coco["images"]) == count == len(list((folder / subset).iterdir()))
        for entry in coco["images"]:
            with Image.open(folder / subset / entry["file_name"]) as image:
                assert image.size == (entry["width"], entry["height"]) == (200, 200)
                assert image.mode == "RGB"
        ids = [a["id"] for a in coco["annotations"]]
        assert len(set(ids)) == len(ids) and min(ids) > 0
        per_image = np.bincount([a["image_id"] for a in coco["annotations"]])[1:]
        assert len(per_image) == count and per_image.min() >= 5 and per_image.max() <= 30
        for a in coco["annotations"]:
            x, y, w, h = a["bbox"]
            assert a["iscrowd"] == 0 and a["area"] == w * h > 0
            assert min(x, y) >= 0 and x + w <= 200 and y + h <= 200


def test_cache_is_filled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FRCNN_CACHE", str(tmp_path / "cache"))
    folder = synthetic.ensure(**SMALL)
    assert folder.parent == tmp_path / "cache"
    assert synthetic.ensure(train=1, val=1, size=128, verbose=0) != folder

    def refuse(*_):
        raise AssertionError("drawn again")
    monkeypatch.setattr(synthetic, "draw_micrograph", refuse)
    assert synthetic.ensure(**SMALL) == folder


def test_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "draw_micrograph", interrupt)
        with pytest.raises(KeyboardInterrupt):
            synthetic.ensure(tmp_path / "set", **SMALL)
    assert list(tmp_path.iterdir()) == []
    assert (synthetic.ensure(tmp_path / "set", **SMALL) / "train/000002.jpg").exists()


def test_two_processes_at_once_and_no_keras(tmp_path):
    code = (
        "import sys; from samples.urinary import synthetic as s;"
        "print(s.ensure(train=4, val=2, size=128, verbose=0));"
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow')))"
    )
    environment = {"FRCNN_CACHE": str(tmp_path), "PYTHONPATH": str(PROJECT), "PATH": ""}
    runs = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    printed = {run.communicate(timeout=300)[0].decode().strip() for run in runs}
    assert [run.returncode for run in runs] == [0, 0]
    assert len(printed) == 1
    folder = Path(printed.pop())
    assert list(tmp_path.iterdir()) == [folder]
    assert len(list((folder / "train").iterdir())) == 4


def test_names_that_begin_with_a_tilde_and_no_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert synthetic.ensure("~no-such-user", **SMALL) == Path("~no-such-user")
    assert (tmp_path / "~no-such-user" / "train").is_dir()

    for name in ("FRCNN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(FrcnnError, match="FRCNN_CACHE"):
        synthetic.ensure(**SMALL)


def test_a_folder_with_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not an empty folder"):
        synthetic.ensure(tmp_path, **SMALL)
    assert synthetic.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path) in error and error.count("\n") == 1
    assert files(tmp_path) == {Path("notes.txt"): b"mine"}


@pytest.mark.parametrize("bad", [{"train": 0}, {"val": 0}, {"size": 64}, {"seed": -1}])
def test_impossible_settings_are_named(tmp_path, bad):
    with pytest.raises(DatasetError, match=next(iter(bad))):
        synthetic.generate(tmp_path / "set", **{**SMALL, **bad})


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="FRCNN_CACHE"):
        synthetic.ensure(tmp_path / "file" / "set", **SMALL)


def test_command_line(tmp_path, capsys):
    folder = tmp_path / "set"
    assert synthetic.main([str(folder), "--train", "1", "--val", "1", "--size", "128"]) == 0
    assert str(folder) in capsys.readouterr().out
    assert (folder / "annotations/instances_val.json").exists()
