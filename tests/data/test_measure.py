"""The intensity range that is measured over image files: rounded up, percentiles, or none."""

import warnings

import numpy as np
import pytest
from deep_tools import gray_png, picture, rgb_png
from PIL import Image
from tiff_tools import write_tiff

from frcnn.data import measure
from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.data.image_io import read_image
from frcnn.data.intensity import Intensity
from frcnn.data.measure import measure_files
from frcnn.errors import ArgumentError


def files(tmp_path, *images, **options):
    return [write_tiff(tmp_path / f"{number}.tif", image, **options)
            for number, image in enumerate(images)]


@pytest.mark.parametrize("way", ["measure", "auto"])
@pytest.mark.parametrize(("top", "bits"), [(200, 8), (256, 8), (257, 10), (1000, 10), (1025, 12),
                                           (3821, 12), (4096, 12), (4097, 14), (16384, 14)])
def test_the_highest_value_of_all_is_rounded_up_to_a_cameras_bits(tmp_path, top, bits, way):
    paths = files(tmp_path, picture(top=100), picture(top=top), picture(top=50))
    found = measure_files(paths, way)
    assert (found.limits, found.images) == ((0, 2**bits - 1), 3)
    assert str(found) == (f"the images' values go from 0 to {top - 1}: range 0 to {2**bits - 1}, "
                          f"{bits} bits (measured over 3 images)")


@pytest.mark.parametrize("write", ["gray PNG", "RGB PNG", "RGBA PNG", "RGB TIFF", "big endian",
                                   "planes", "white is zero"])
def test_files_of_any_kind_are_measured(tmp_path, write):
    values = picture(channels=3 if "RGB" in write or write == "planes" else None)
    if write == "gray PNG":
        path = gray_png(tmp_path / "a.png", values)
    elif "PNG" in write:  # the alpha has no part in it
        alpha = [np.full((13, 17), 65535, np.uint16)] * (write == "RGBA PNG")
        path = rgb_png(tmp_path / "a.png", np.dstack([values, *alpha]))
    else:
        options = {"big endian": {"order": ">"}, "planes": {"planar": True},
                   "white is zero": {"photometric": 0}}
        (path,) = files(tmp_path, values, **options.get(write, {}))
    assert measure_files([path], "auto").limits == (0, 4095)


def test_a_training_changes_nothing_unasked_for_8_bits_16_bits_and_signed_values(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "8.png")
    eight = measure_files([tmp_path / "8.png"], "auto")
    assert eight.limits is None and "no image has more than 8 bits" in str(eight)
    for image in (picture(top=16385), picture(top=65536), picture(np.int16), picture(np.int32),
                  picture() / np.float32(4095)):
        assert measure_files([tmp_path / "8.png", *files(tmp_path, image)], "auto").limits is None


@pytest.mark.parametrize(("image", "limits"), [
    (picture(np.int16), (0, 4095)), (picture(np.int32, 40_000), (0, 65535)),
    (picture(np.float32, 1000), (0, 1023)), (picture() / np.float32(5000), (0, 1)),
    (picture(top=65536), (0, 65535))], ids=["int16", "int32", "whole floats", "floats", "uint16"])
def test_values_of_any_type_are_rounded_up_when_asked(tmp_path, image, limits):
    assert measure_files(files(tmp_path, image)).limits == limits


def ramp(dtype=np.float32, low=0.0, high=1000.0):
    return np.linspace(low, high, 10_001).reshape(73, 137).astype(dtype)


@pytest.mark.parametrize(("image", "way", "limits"), [
    (ramp(low=-500.25, high=500.25), "measure", (-499.3, 499.3)),
    (ramp(high=3.7), "measure", (0.003, 3.697)),
    (ramp(np.uint16, high=10_000), "percentiles", (10, 9990)),
    (ramp(np.int32, high=100_000), "measure", (100, 99900))],
    ids=["signed", "floats", "16 bits", "32 bits"])
def test_what_cannot_be_rounded_up_is_clipped_at_percentiles(tmp_path, image, way, limits):
    found = measure_files(files(tmp_path, image), way)
    low, high, word = found.limits
    assert word == "clip" and "values beyond clipped" in str(found)
    assert np.allclose([low, high], limits, rtol=2e-3, atol=2e-3 * np.ptp(image) / 1000)
    beyond = ((image < low) | (image > high)).mean()
    assert 0 < beyond < 0.004


def test_one_hot_pixel_does_not_darken_a_set_clipped_at_percentiles(tmp_path):
    images = [picture(top=900, seed=seed) for seed in range(30)]
    images[3][4, 4] = 4000
    paths = files(tmp_path, *images)
    assert measure_files(paths).limits == (0, 4095)
    found = measure_files(paths, "percentiles")
    assert 880 <= found.limits[1] <= 900
    pixels = read_image(paths[3], 1, Intensity(found.limits))[..., 0]
    assert pixels[4, 4] == 255 and np.median(pixels) > 100


def test_an_image_of_which_much_is_clipped_is_warned_of_once(tmp_path):
    intensity = Intensity((0, 1000, "clip"))
    dim, bright = files(tmp_path, picture(top=1010), picture(top=2000))
    read_image(dim, 1, intensity)
    with pytest.warns(UserWarning, match=r"1\.tif: \d+% of its values, from 0 to 1999, lie beyond "
                                         r"the range 0 to 1000 and are clipped"):
        read_image(bright, 1, intensity)
    read_image(bright, 1, intensity)
    with pytest.raises(Exception, match="NaN"):
        read_image(write_tiff(tmp_path / "a.tif", np.float32([[np.nan, 1]])), 1, intensity)


def test_what_files_state_counts(tmp_path):
    stated = write_tiff(tmp_path / "a.tif", picture(top=900), tags=[(281, 3, 4095)])
    found = measure_files([stated], "auto")
    assert found.limits is None and "the files state their range" in str(found)
    other, same = files(tmp_path, picture(top=900), picture())
    assert measure_files([stated, other], "auto").limits is None  # 1023 is wrong for the first
    assert measure_files([stated, same], "auto").limits == (0, 4095)
    assert measure_files([stated]).limits == (0, 1023)  # asked for


def test_files_that_cannot_be_read_are_left_to_their_reader(tmp_path):
    good, bad = files(tmp_path, picture(), picture(np.float32, 2))
    bad.write_bytes(b"no image")
    nan = write_tiff(tmp_path / "nan.tif", np.float32([[np.nan, 1]]))
    assert measure_files([bad, nan, tmp_path / "missing.tif", good]).images == 1


def test_of_many_files_some_from_all_over_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "MOST_FILES", 4)
    paths = files(tmp_path, *[picture(top=100)] * 9, picture())
    found = measure_files(paths)
    assert (found.images, found.limits) == (4, (0, 4095))  # the last is one of them


def test_there_are_three_ways():
    with pytest.raises(ArgumentError, match="way is 'guess'; allowed are measure, percentiles"):
        measure_files([], "guess")


def test_a_data_set_measures_itself(coco_folder):
    expected = [CocoDataset.from_folder(coco_folder, "train").load_image(i) for i in range(5)]
    for path in (coco_folder / "train").iterdir():
        gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(gray * 16).save(path)
    dataset = CocoDataset.from_folder(coco_folder, "train")
    assert dataset.measure_intensity_range().images == 5
    assert dataset.intensity_range == (0, 4095)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image_id, image in enumerate(expected):
            gray = np.asarray(Image.fromarray(image).convert("L"))
            np.testing.assert_array_equal(dataset.load_image(image_id)[..., 0], gray)
    shallow = CocoDataset.from_folder(coco_folder, "val")
    assert shallow.measure_intensity_range().limits is None and shallow.intensity_range is None


def test_a_data_set_that_makes_its_images_has_no_files_to_measure():
    class Draws(Dataset):
        def load_image(self, image_id):
            return np.zeros((4, 4, 3), np.uint8)

    dataset = Draws()
    dataset.add_image("a", 1, "a.png")
    assert dataset.image_files() == [] and dataset.measure_intensity_range().limits is None
