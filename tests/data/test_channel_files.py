"""TIFFs of any number of channels: samples of a pixel, planes, pages, of 8 bits and more."""

import sys

import numpy as np
import pytest
from PIL import Image

from frcnn.data import channel_files, image_io
from frcnn.data.dataset import Dataset
from frcnn.data.image_io import read_image, read_image_size
from frcnn.data.intensity import Intensity
from frcnn.data.measure import measure_files
from frcnn.data.slides import open_large_image
from frcnn.errors import ImageError, MissingExtraError

tifffile = pytest.importorskip("tifffile")


def values_of(channels, top=256, dtype=np.uint8, seed=0):
    """Random values `[11, 14, channels]` from 0 to top − 1, both of which occur."""
    values = np.random.default_rng(seed).integers(0, top, (11, 14, channels))
    values[0, 0], values[0, 1] = 0, top - 1
    return values.astype(dtype)


def samples(path, values):
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")


def planes(path, values):
    tifffile.imwrite(path, np.moveaxis(values, -1, 0), photometric="minisblack",
                     planarconfig="separate")


def pages(path, values):
    tifffile.imwrite(path, np.moveaxis(values, -1, 0), photometric="minisblack")


def ome(path, values, **metadata):
    tifffile.imwrite(path, np.moveaxis(values, -1, 0), ome=True, photometric="minisblack",
                     metadata={"axes": "CYX", **metadata})


def imagej(path, values):
    tifffile.imwrite(path, np.moveaxis(values, -1, 0), imagej=True, metadata={"axes": "CYX"})


def imagej_of_one_page(path, values):
    """As ImageJ writes large stacks: the tags of the first plane, and all planes after it."""
    count = values.shape[2]
    text = f"ImageJ=1.53t\nimages={count}\nchannels={count}\nhyperstack=true\n"
    tifffile.imwrite(path, values[..., 0], photometric="minisblack", description=text,
                     metadata=None)
    with open(path, "ab") as file:
        for channel in range(1, count):
            file.write(values[..., channel].astype(values.dtype.newbyteorder("<")).tobytes())


WRITERS = [samples, planes, pages, ome, imagej]


@pytest.mark.parametrize("count", [2, 5, 7])
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_channels_are_read_in_their_order(tmp_path, write, count):
    values = values_of(count)
    write(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", count), values)
    assert read_image_size(tmp_path / "a.tif", count) == (11, 14)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_channels_of_12_bits(tmp_path, write):
    values = values_of(5, 4096, np.uint16)
    write(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 5, (0, 4095)), values >> 4)
    with pytest.warns(UserWarning, match="fit into 12 bits"):
        read_image(tmp_path / "a.tif", 5)
    assert measure_files([tmp_path / "a.tif"], "auto", 5).limits == (0, 4095)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("write", [ome, imagej, planes], ids=lambda write: write.__name__)
def test_three_or_four_channels_that_the_file_states(tmp_path, write, count):
    values = values_of(count, 4096, np.uint16)
    write(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", count, (0, 4095)), values >> 4)
    other = 7 - count
    with pytest.raises(ImageError):  # there is no fourth channel, and none to leave out
        read_image(tmp_path / "a.tif", other, (0, 4095))


def test_three_pages_without_a_statement_stay_an_error(tmp_path):
    pages(tmp_path / "a.tif", values_of(3))
    with pytest.raises(ImageError, match="has several pages of one gray channel each"):
        read_image(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore")  # of tifffile on the description
def test_a_stack_of_imagej_with_one_directory(tmp_path):
    values = values_of(3)
    imagej_of_one_page(tmp_path / "a.tif", values)
    with pytest.raises(ImageError, match="has 3 planes, by its description 3 channels"):
        read_image(tmp_path / "a.tif", 1)


def test_the_significant_bits_of_ome(tmp_path):
    values = values_of(5, 3000, np.uint16)
    ome(tmp_path / "a.tif", values, SignificantBits=12)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 5), values >> 4)


@pytest.mark.parametrize(("shape", "axes", "message"), [
    ((3, 5, 8, 9), "ZCYX", "has 3 planes in depth; save one page"),
    ((2, 3, 8, 9), "TZYX", "has 2 points in time and 3 planes in depth"),
    ((4, 8, 9), "CYX", r"has 4 channels, but 5 are read \(IMAGE_CHANNEL_COUNT\)"),
    ((8, 9), "YX", "has 1 channel, but 5 are read")])
def test_what_is_no_image_of_five_channels(tmp_path, shape, axes, message):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), ome=True,
                     photometric="minisblack", metadata={"axes": axes})
    with pytest.raises(ImageError, match=rf"a\.tif: {message}"):
        read_image(tmp_path / "a.tif", 5)


def test_other_files_have_no_five_channels(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: cannot be read with 5 channels; .*\.tif"):
        read_image(tmp_path / "a.png", 5)
    for channels in (0, -1, 2.5, "3"):
        with pytest.raises(ImageError, match="cannot be read with"):
            read_image(tmp_path / "a.tif", channels)


def test_damaged_missing_and_huge_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no such image file"):
        read_image(tmp_path / "a.tif", 5)
    (tmp_path / "a.tif").write_bytes(b"II*\0 damaged")
    with pytest.raises(ImageError, match=r"a\.tif: the image cannot be read as a TIFF"):
        read_image(tmp_path / "a.tif", 5)
    samples(tmp_path / "a.tif", values_of(5))
    monkeypatch.setattr(image_io, "MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="claims 14 x 11 pixels"):
        read_image(tmp_path / "a.tif", 5)


def test_without_tifffile(tmp_path, monkeypatch):
    pages(tmp_path / "a.tif", values_of(5))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"frcnn\[slides\]"):
        read_image(tmp_path / "a.tif", 5)
    with pytest.raises(ImageError, match="several pages"):
        read_image(tmp_path / "a.tif", 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_as_pillow_does(tmp_path, orientation):
    values = values_of(3)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb",
                     extratags=[(274, 3, 1, orientation, False)])
    expected = read_image(tmp_path / "a.tif", 3)
    found = channel_files.read_channels(tmp_path / "a.tif", 3, Intensity(), 10**6)
    np.testing.assert_array_equal(found, expected)
    assert channel_files.size_of(tmp_path / "a.tif") == expected.shape[:2]


def test_white_may_be_zero(tmp_path):
    values = values_of(2)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(values, -1, 0), photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 2), 255 - values)


def test_a_data_set_and_tiles_of_five_channels(tmp_path):
    values = values_of(5)
    planes(tmp_path / "a.tif", values)
    dataset = Dataset()
    dataset.image_channels = 5
    dataset.add_class("a", 1, "cell")
    dataset.add_image("a", 1, tmp_path / "a.tif", height=11, width=14)
    dataset.prepare()
    dataset.load_boxes = lambda image_id: (np.float32([[1, 1, 9, 9]]), np.int32([1]))
    assert dataset.check() == [] and dataset.header_size(0) == (11, 14)
    np.testing.assert_array_equal(dataset.load_image(0), values)
    image = open_large_image(tmp_path / "a.tif", channels=5)
    np.testing.assert_array_equal(image.read((2, 3, 5, 9)), values[2:5, 3:9])
