"""Where files are: `~` is home everywhere, folders are filled, and locales may be anything."""

import json
import os
import subprocess
import sys

import pytest
from cli_tools import CATEGORY_IDS, NAMES, TINY, Stub, checkpoint
from PIL import Image
from places import PROJECT
from voc_tools import draw_voc

from frcnn.cli import main as cli
from frcnn.cli import run_report, train
from frcnn.data.coco import CocoDataset
from frcnn.data.folders import open_folder
from frcnn.data.image_io import read_image, read_image_size
from frcnn.data.voc import VocDataset
from frcnn.model.run_folder import RunFolder
from frcnn.weights.hdf5 import open_weight_file
from samples.urinary import synthetic


@pytest.fixture
def home(tmp_path, monkeypatch, coco_folder):
    """A home folder with data sets, a run and a slide; the current folder is another one."""
    home, current = tmp_path / "home", tmp_path / "current"
    for folder in (home, current):
        folder.mkdir()
    coco_folder.rename(home / "coco")
    draw_voc(home / "voc")
    checkpoint(home / "logs" / "ury20180101T0000", 4, names=NAMES, category_ids=CATEGORY_IDS)
    Image.new("RGB", (9, 8)).save(home / "a.png")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(current)
    monkeypatch.setattr(run_report, "inference_model", Stub)
    yield home
    assert os.listdir(current) == []  # above all no folder called "~"


@pytest.mark.parametrize("command", [
    "check ~/coco", "check ~/voc", "anchors ~/coco --output=~/made.png",
    "convert ~/voc ~/made", "detect ~/a.png --logs=~/logs --output=~/made.json --pictures=~/made",
    "detect ~/coco/val --logs=~/logs --output=~/made.json "
    "--annotations=~/coco/annotations/instances_val.json",
    "detect ~/a.png --model=~/logs/ury20180101T0000/mask_rcnn_ury_0003.h5 --output=~/made.csv "
    "--config=~/logs/ury20180101T0000/config_mask_rcnn_ury_0003.json",
    "evaluate --dataset=~/coco --logs=~/logs --output=~/made"])
def test_home_in_every_option(home, command):
    assert cli.main(command.split()) == 0
    made = [path for path in home.iterdir() if path.stem == "made"]
    assert made or command.startswith("check")


def test_home_in_a_training(home, monkeypatch):
    seen = {}
    monkeypatch.setattr(train, "_build", lambda config, start, options, *more: seen.update(
        model_dir=RunFolder(options.logs, "ury").model_dir))
    monkeypatch.setattr(train, "_train", lambda *arguments, resume: None)
    monkeypatch.setattr(train, "_report", lambda *arguments: None)
    assert train.main(["--dataset=~/coco", "--logs=~/new", "--epochs=1", *TINY]) == 0
    assert seen["model_dir"] == str(home / "new")


def test_home_in_the_functions_behind(home):
    assert CocoDataset.from_folder("~/coco", "val").num_images == 3
    assert VocDataset.from_folder("~/voc", "train").num_images
    assert open_folder("~/voc", "train").num_images
    assert read_image("~/a.png").shape == (8, 9, 3) and read_image_size("~/a.png") == (8, 9)
    with open_weight_file("~/logs/ury20180101T0000/mask_rcnn_ury_0003.h5") as weights:
        assert weights
    run = RunFolder("~/logs", "ury")
    assert run.model_dir == str(home / "logs") and run.log_dir.startswith(str(home))
    assert run.find_last().startswith(str(home / "logs"))
    assert RunFolder("./logs", "ury").model_dir == "./logs"
    synthetic.generate("~/drawn", train=1, val=1, size=128, verbose=0)
    assert CocoDataset.from_folder("~/drawn", "val").num_images == 1
    with pytest.raises(FileNotFoundError, match=str(home)):
        CocoDataset.from_folder("~/absent", "val")


# --- folders that exist -------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders under several names: a link, the current one, and one that must stay."""
    for name in ("real", "here", "volume"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "here")
    return {"link": tmp_path / "link", "here": ".", "volume": tmp_path / "volume"}


@pytest.mark.parametrize("name", ["link", "here", "volume"])
@pytest.mark.parametrize("kind", ["converted", "drawn"])
def test_an_empty_folder_is_filled(tmp_path, places, name, kind):
    target = places[name]
    number = os.stat(target).st_ino
    if kind == "converted":
        assert cli.main(["convert", str(draw_voc(tmp_path / "voc")), str(target)]) == 0
    else:
        assert synthetic.main([str(target), "--train", "1", "--val", "1", "--size", "128"]) == 0
    assert os.stat(target).st_ino == number and os.path.islink(tmp_path / "link")
    assert CocoDataset.from_folder(target, "train").num_images
    assert not [entry for entry in os.listdir(target) if entry.startswith(".")]


# --- locales ------------------------------------------------------------------------------------


def frcnn(folder, *arguments, **environment):
    kept = {name: value for name, value in os.environ.items()
            if name not in ("PYTHONUTF8", "LANG", "LC_ALL")}
    done = subprocess.run([sys.executable, "-m", "frcnn.cli", *arguments], cwd=folder, check=False,
                          capture_output=True,
                          env={**kept, "PYTHONPATH": str(PROJECT), **environment})
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are UTF-8 there")
def test_names_in_any_locale(coco_folder):
    name = "präp 細胞.png"
    (coco_folder / "val/val_0.png").rename(coco_folder / "val" / name)
    path = coco_folder / "annotations/instances_val.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    for environment in ({"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"PYTHONIOENCODING": "ascii"}):
        code, out, err = frcnn(coco_folder, "check", ".", **environment)
        assert (code, out) == (0, "") and "warning" not in err
    code, out, err = frcnn(coco_folder, "check", ".", **ASCII)
    assert code == 2 and name in out and "Traceback" not in err
    assert err.startswith("frcnn: warning: in this locale, file names can only be ascii")
    assert "PYTHONUTF8=1" in err and "LC_ALL=C.UTF-8" in err


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are UTF-8 there")
def test_results_of_names_that_the_locale_lacks(tmp_path):
    """File names are bytes: read and written as they are, and in the results as UTF-8."""
    code = ("import sys; from cli_tools import *; from frcnn.cli import detect, run_report\n"
            "run_report.inference_model = Stub; from pathlib import Path; from PIL import Image\n"
            "path = checkpoint(Path('run'), 4, names=NAMES, category_ids=CATEGORY_IDS)\n"
            "Path('in').mkdir(); Image.new('L', (9, 9)).save(open(b'in/pr\\xc3\\xa4p.png', 'wb'), "
            "'png')\n"
            "sys.exit(detect.main(['in', '--model', str(path), '--output', 'r.json', '--pictures', "
            "'shown']))")
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "tests" / "tools")])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True,
                   env={**os.environ, "PYTHONPATH": paths, **ASCII})
    (row,) = json.loads((tmp_path / "r.json").read_text())
    assert row["file_name"] == "in/präp.png"
    assert os.listdir(tmp_path / "shown") == ["präp.png"]


@pytest.mark.parametrize("environment", [
    {"MPLBACKEND": "nonsense"}, {"COLUMNS": "1", "TERM": "dumb"}, {"HOME": "/nonexistent"}])
def test_other_surroundings(coco_folder, environment):
    code, _, err = frcnn(coco_folder, "anchors", ".", "--output", "p.png", **environment)
    assert code == 0 and "Traceback" not in err and (coco_folder / "p.png").exists()
