"""The loader's benchmark: its table, its options, its goal."""

import re

import numpy as np
import pytest
from PIL import Image

from benchmarks import loader

FAST = ["--runs", "1", "--max-dim", "128", "--objects", "5"]


def table(text):
    """`{stage: (ms, the reference's ms or None)}` as printed."""
    rows = re.findall(r"^(\w+) +([\d.]+)(?: +(\d+))?$", text, re.MULTILINE)
    return {name: (float(ms), int(reference) if reference else None)
            for name, ms, reference in rows}


def test_a_drawn_image_by_stage_beside_the_reference(capsys):
    loader.main(FAST)
    rows = table(capsys.readouterr().out)
    assert list(rows) == ["read", "resize", "mold", "targets", "whole"]
    assert [reference for _, reference in rows.values()] == list(map(loader.REFERENCE.get, rows))
    assert all(ms >= 0 for ms, _ in rows.values()) and rows["whole"][0] > 0


def test_a_folder_with_augmentation(tmp_path, capsys):
    for number in range(2):
        Image.fromarray(np.full((40, 60 + number, 3), 90, np.uint8)).save(
            tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    loader.main([*FAST, "--images", str(tmp_path), "--augmentation", "microscopy"])
    text = capsys.readouterr().out
    assert list(table(text)) == ["read", "augment", "resize", "mold", "targets", "whole"]
    assert "goal" not in text  # it is for the default image only


@pytest.mark.parametrize(("whole", "words"), [(20, "here it is met"), (50, "it is not met")])
def test_the_goal(monkeypatch, capsys, whole, words):
    monkeypatch.setattr(loader, "report", lambda *arguments: {"whole": whole})
    loader.main([])
    assert words in capsys.readouterr().out


def test_a_folder_without_images(tmp_path, capsys):
    with pytest.raises(SystemExit):
        loader.main(["--images", str(tmp_path)])
    assert "there are no images in" in capsys.readouterr().err


def test_boxes_are_inside_their_image(tmp_path):
    loader.draw_jpeg(tmp_path / "a.jpg")
    dataset = loader.Pictures([tmp_path / "a.jpg"], 50)
    boxes, class_ids = dataset.load_boxes(0)
    assert dataset.load_image(0).shape == (720, 1280, 3)
    assert boxes.shape == (50, 4) and (class_ids == 1).all()
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [720, 1280]).all()
