"""Detectors for images of one channel, and of more than three, from ImageNet's weights."""

import json
import warnings

import keras
import numpy as np
import pytest
from cli_tools import TINY, Reached, fails
from PIL import Image

from frcnn import runs
from frcnn.cli import detect, train
from frcnn.cli import main as cli
from frcnn.network.resnet import resnet_graph
from frcnn.weights.checkpoint import save_weights


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A file with the weights of a backbone for three channels."""
    path = tmp_path_factory.mktemp("imagenet") / "resnet50.h5"
    image = keras.Input((64, 64, 3))
    save_weights(keras.Model(image, resnet_graph(image, "resnet50", stage5=True)), path)
    return path


@pytest.fixture
def introduced(monkeypatch, capsys):
    """Function: runs `frcnn train` up to Keras; returns what it printed, and the Config."""
    def stop(config, *_):
        configs.append(config)
        raise Reached

    def run(*arguments):
        with pytest.raises(Reached):
            train.main(list(map(str, arguments)))
        return capsys.readouterr().out, configs[-1]

    configs = []
    monkeypatch.setattr(train, "_build", stop)
    monkeypatch.setattr(train.starts, "fetch", lambda *_: None)
    return run


def channel_lines(out):
    return [line for line in out.splitlines() if line.startswith("channels ")]


@pytest.mark.parametrize("model", ["imagenet", "none", "path"])
def test_the_mean_pixel_of_one_channel_is_that_of_three(introduced, coco_folder, imagenet, model):
    options = ["--dataset", coco_folder, "--model", imagenet if model == "path" else model,
               "--set", "IMAGE_CHANNEL_COUNT=1"]
    out, config = introduced(*options)
    assert config.IMAGE_CHANNEL_COUNT == 1 and np.allclose(config.MEAN_PIXEL, [114.8])
    assert channel_lines(out) == ["channels      1, with the mean pixel 114.8 in each, that of "
                                  "ImageNet's; --set MEAN_PIXEL=[…] gives another"]
    out, config = introduced(*options, "--set", "MEAN_PIXEL=[9]")
    assert np.allclose(config.MEAN_PIXEL, [9]) and channel_lines(out) == []


def test_three_channels_are_not_spoken_of(introduced, coco_folder):
    out, config = introduced("--dataset", coco_folder, "--model", "imagenet")
    assert channel_lines(out) == [] and np.allclose(config.MEAN_PIXEL, [123.7, 116.8, 103.9])


def test_coco_is_for_three_channels(capsys, coco_folder):
    assert "train one for 1 from --model imagenet" in fails(
        capsys, train.main, "--dataset", coco_folder, "--model", "coco",
        "--set", "IMAGE_CHANNEL_COUNT=1")


def as_gray(path):
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    Image.fromarray(pixels).save(path)


def as_five_channels(path):
    tifffile = pytest.importorskip("tifffile")
    with Image.open(path) as image:
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    path.unlink()
    channels = np.stack([red, green, blue, 255 - red, green]).astype(np.uint16) << 4
    tifffile.imwrite(path.with_suffix(".tif"), channels, photometric="minisblack", ome=True,
                     metadata={"axes": "CYX"})


def rename_in_annotations(folder):
    for path in (folder / "annotations").iterdir():
        path.write_text(path.read_text().replace(".png", ".tif"))


def test_check_reads_the_channels_that_it_is_told(coco_folder, capsys):
    for subset in ("train", "val"):
        for path in sorted((coco_folder / subset).iterdir()):
            as_five_channels(path)
    rename_in_annotations(coco_folder)
    assert cli.main(["check", str(coco_folder)]) == 2
    assert "has several pages of one gray channel each, by its description 5 channels" \
        in capsys.readouterr().out
    assert cli.main(["check", str(coco_folder), "--channels", "5", "--range", "0", "4095"]) == 0


@pytest.mark.nightly
@pytest.mark.parametrize(("count", "change", "said"), [
    (1, as_gray, "is summed over red, green and blue for images of one channel"),
    (5, as_five_channels, "is repeated for images of 5 channels and scaled by 3/5")])
def test_a_run_in_full(coco_folder, imagenet, tmp_path, capsys, count, change, said):
    for subset in ("train", "val"):
        for path in sorted((coco_folder / subset).iterdir()):
            change(path)
    if change is as_five_channels:
        rename_in_annotations(coco_folder)
    logs, output = tmp_path / "logs", tmp_path / "found.json"
    with warnings.catch_warnings(action="ignore"):
        assert train.main([
            "--dataset", str(coco_folder), "--model", str(imagenet), "--logs", str(logs),
            "--epochs", "1", "--steps", "1", "--set", f"IMAGE_CHANNEL_COUNT={count}",
            "--augmentation", "microscopy", *TINY]) == 0
    out = capsys.readouterr().out
    assert f"the first kernel, conv1, {said}" in out
    assert ("range 0 to 4095, 12 bits (measured over 5 images)" in out) == (count == 5)
    run = runs.find_last(logs)
    assert count == runs.load_metadata(run).config().IMAGE_CHANNEL_COUNT
    assert detect.main([str(coco_folder / "val"), "--logs", str(logs), "--min-confidence", "0",
                        "--output", str(output), "--pictures", str(tmp_path / "shown")]) == 0
    assert json.loads(output.read_text())
    assert len(list((tmp_path / "shown").iterdir())) == 3
    assert detect.main([str(coco_folder / "val"), "--logs", str(logs), "--tile", "96",
                        "--output", str(tmp_path / "tiled.json")]) == 0
