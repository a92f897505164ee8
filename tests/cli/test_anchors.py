"""`frcnn anchors`: its table, its recommendation, its plot, and what it refuses."""

import re

import pytest
from cli_tools import fails
from PIL import Image

from frcnn.cli.anchors import main
from frcnn.config import Config
from frcnn.data import open_folder
from frcnn.data.anchor_fit import AnchorShapes, best_ious, coverage, molded_objects


def test_it_recommends_settings_that_cover_more(coco_folder, tmp_path, capsys):
    plot = tmp_path / "anchors.png"
    assert main([str(coco_folder), "--image-size", "128", "--output", str(plot),
                 "--set", "RPN_ANCHOR_SCALES=64,128,256,512,1024"]) == 0
    text = capsys.readouterr().out
    scales, ratios = (tuple(map(float, re.search(rf"{name}=(\S+)", text)[1].split(",")))
                      for name in ("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS"))
    config = Config(BACKBONE="resnet50", IMAGE_RESIZE_MODE="fit64", IMAGE_MIN_DIM=128,
                    IMAGE_MAX_DIM=128, RPN_ANCHOR_STRIDE=2, RPN_ANCHOR_SCALES=scales,
                    RPN_ANCHOR_RATIOS=ratios)
    objects = molded_objects(open_folder(coco_folder, "train"), config)
    now, then = map(float, re.search(r"covered +([\d.]+)% of .* now, ([\d.]+)%", text).groups())
    share = coverage(best_ious(objects, AnchorShapes.from_config(config)))
    assert then == pytest.approx(100 * share, abs=0.06) and then > now
    for name in ("square", "bar", "slab", "all"):
        assert re.search(rf"^{name} ", text, re.MULTILINE)
    with Image.open(plot) as image:
        assert min(image.size) > 300


def test_anchors_that_fit_stay(coco_folder, capsys):
    arguments = [str(coco_folder), "--image-size", "128"]
    assert main(arguments) == 0
    settings = re.findall(r"--set (\S+)", capsys.readouterr().out)
    for _ in range(2):  # the recommendation, taken, is not recommended away
        assert main([*arguments, *(word for text in settings for word in ("--set", text))]) == 0
        assert "No other scales" in capsys.readouterr().out


def test_what_it_refuses(capsys, coco_folder, tmp_path):
    assert str(tmp_path / "absent") in fails(capsys, main, tmp_path / "absent")
    assert "instances_test" in fails(capsys, main, coco_folder, "--subset", "test")
    assert "RPN_ANCHOR_SCALES" in fails(capsys, main, coco_folder, "--set", "RPN_ANCHOR_SCALES=1")
