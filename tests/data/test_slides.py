"""Regions of slides and large TIFFs: the right pixels of the right level, or an error."""

import importlib
import re
import types

import numpy as np
import pytest
from PIL import Image

from frcnn.data import slides
from frcnn.data.slides import Slide, WholeImage, is_slide, open_large_image
from frcnn.errors import ArgumentError, ImageError, MissingExtraError

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("tiffslide")


def drawn(height=500, width=700):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 251, columns % 241, (rows + columns) % 239], axis=-1).astype(np.uint8)


def pyramid(path, pixels, mpp=0.25):
    """A tiled TIFF with a second level of half the size."""
    resolution = (10_000 / mpp, 10_000 / mpp)
    with tifffile.TiffWriter(path) as file:
        options = {"photometric": "rgb", "tile": (128, 128), "resolutionunit": "CENTIMETER"}
        file.write(pixels, subifds=1, resolution=resolution, **options)
        file.write(pixels[::2, ::2], subfiletype=1, **options)
    return path


@pytest.fixture(autouse=True)
def close_all(monkeypatch):
    """Closes what a test has opened."""
    opened = []

    def keep(path):
        opened.append(open_file(path))
        return opened[-1]

    open_file = slides._open
    monkeypatch.setattr(slides, "_open", keep)
    yield
    for slide in opened:
        slide.close()


@pytest.fixture
def slide_path(tmp_path):
    return pyramid(tmp_path / "a.ome.tif", drawn())


def test_regions_of_level_0_are_the_pixels(slide_path):
    slide = Slide(slide_path)
    assert (slide.height, slide.width, slide.scale) == (500, 700, 1.0)
    for window in ((0, 0, 500, 700), (3, 5, 90, 300), (499, 699, 500, 700)):
        y1, x1, y2, x2 = window
        np.testing.assert_array_equal(slide.read(window), drawn()[y1:y2, x1:x2])


def test_level_1_has_half_the_pixels(slide_path):
    slide = Slide(slide_path, level=1)
    assert (slide.height, slide.width, slide.scale) == (250, 350, 2.0)
    np.testing.assert_array_equal(slide.read((10, 20, 60, 90)), drawn()[20:120:2, 40:180:2])


@pytest.mark.parametrize(("mpp", "level", "scale"), [
    (0.25, 0, 1), (0.5, 1, 2), (0.4, 0, 1.6), (0.252, 0, 1), (1.0, 1, 4)])
def test_a_resolution_chooses_the_finest_level_that_suffices(slide_path, mpp, level, scale):
    slide = Slide(slide_path, mpp=mpp)
    assert slide.level == level and slide.scale == pytest.approx(scale)
    assert (slide.height, slide.width) == (int(500 / scale), int(700 / scale))
    region = slide.read((0, 0, slide.height, slide.width))
    assert region.shape == (slide.height, slide.width, 3)


def test_a_region_that_is_scaled_shows_the_same_place(tmp_path):
    pixels = np.full((500, 700, 3), 200, np.uint8)
    pixels[160:240, 320:400] = 10
    slide = Slide(pyramid(tmp_path / "a.tif", pixels), mpp=0.4)  # 1.6 pixels are one
    region = slide.read((50, 150, 200, 300))
    rows, columns = np.nonzero(region[..., 0] < 100)
    assert (rows.min(), rows.max() + 1) == (50, 100)
    assert (columns.min(), columns.max() + 1) == (50, 100)


def test_other_images_are_read_whole(tmp_path):
    Image.fromarray(drawn(40, 30)).save(tmp_path / "a.png")
    image = open_large_image(tmp_path / "a.png")
    assert isinstance(image, WholeImage)
    np.testing.assert_array_equal(image.read((3, 4, 20, 25)), drawn(40, 30)[3:20, 4:25])
    assert not is_slide(tmp_path / "a.png") and is_slide("x.SVS")


def test_a_large_tiff_is_read_by_regions(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    Image.fromarray(drawn(300, 200)).save(path)
    assert isinstance(open_large_image(path), WholeImage)
    monkeypatch.setattr(slides, "WHOLE_PIXELS", 50_000)
    image = open_large_image(path)
    assert isinstance(image, Slide)
    np.testing.assert_array_equal(image.read((100, 20, 300, 200)), drawn(300, 200)[100:, 20:])
    gray = open_large_image(path, channels=1)
    assert gray.read((0, 0, 50, 60)).shape == (50, 60, 1)


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"level": 2}, ImageError, "a.ome.tif has the levels 0 to 1, and not 2"),
    ({"level": -1}, ArgumentError, "level is -1; it must be 0 or more"),
    ({"mpp": 0.1}, ImageError, r"has 0.25 microns per pixel at best, and 0.1 were asked for; ask "),
    ({"mpp": 0}, ArgumentError, "mpp is 0; it must be a number of microns above 0"),
    ({"mpp": float("nan")}, ArgumentError, "mpp is nan"),
    ({"mpp": 0.5, "level": 0}, ArgumentError, "both choose the resolution; give one of them"),
])
def test_levels_and_resolutions_that_are_not_there(slide_path, arguments, error, message):
    with pytest.raises(error, match=message):
        open_large_image(slide_path, **arguments)


def test_a_file_without_a_resolution(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(), photometric="rgb", tile=(128, 128))
    with pytest.raises(ImageError, match="does not say how many microns a pixel has; choose a "):
        open_large_image(tmp_path / "a.tif", mpp=0.5)


def test_a_file_that_ends_early(slide_path):
    slide_path.write_bytes(slide_path.read_bytes()[:200_000])
    with pytest.raises(ImageError, match=re.escape(str(slide_path))):
        Slide(slide_path).read((400, 500, 500, 700))


def test_a_file_that_is_no_slide(tmp_path):
    (tmp_path / "a.svs").write_text("text")
    with pytest.raises(ImageError, match=r"a.svs cannot be read as a slide \(tiffslide: "):
        open_large_image(tmp_path / "a.svs")
    with pytest.raises(FileNotFoundError, match="there is no such image file"):
        open_large_image(tmp_path / "b.svs")


LAZY = ["level_count", "level_dimensions", "level_downsamples", "properties", "read_region"]


def library_without(name):
    """A library whose slides have one level of 30 x 20 pixels, and fail at one access."""

    class Failing:
        level_count, level_dimensions, level_downsamples = 1, ((30, 20),), (1.0,)
        properties = {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}
        closed = 0

        def __init__(self, path):
            pass

        def read_region(self, location, level, size):
            return Image.new("RGBA", size, (1, 2, 3, 255))

        def close(self):
            Failing.closed += 1

    def fail(self):
        raise NotImplementedError("series with axes='QYX' not supported yet")

    if name:
        setattr(Failing, name, property(fail))
    return types.SimpleNamespace(__name__="lib", OpenSlide=Failing)


@pytest.mark.parametrize("name", LAZY)
def test_what_the_library_lacks_is_an_error_of_the_file_whenever_it_says_so(
        tmp_path, monkeypatch, name):
    (tmp_path / "a.svs").touch()
    library = library_without(name)
    monkeypatch.setattr(slides, "_library", lambda wanted: library if wanted == "openslide" else
                        None)
    with pytest.raises(ImageError, match=r"a\.svs.*series with axes='QYX' not supported yet"):
        slide = open_large_image(tmp_path / "a.svs", mpp=0.5)
        slide.read((0, 0, 20, 30))
    if name != "read_region":
        assert library.OpenSlide.closed == 1
    if name in ("level_count", "properties"):
        with pytest.raises(ImageError, match=r"a\.svs.*not supported yet"):
            slides.microns_per_pixel(tmp_path / "a.svs")


def test_the_second_library_reads_what_the_first_lacks(tmp_path, monkeypatch):
    (tmp_path / "a.svs").touch()
    libraries = {"tiffslide": library_without("level_count"), "openslide": library_without(None)}
    monkeypatch.setattr(slides, "_library", libraries.get)
    for channels, pixel in ((3, [1, 2, 3]), (4, [1, 2, 3, 255]), (1, [2])):
        slide = open_large_image(tmp_path / "a.svs", channels=channels)
        assert slide.read((0, 0, 20, 30)).shape == (20, 30, channels)
        assert slide.read((3, 4, 5, 6))[0, 0].tolist() == pixel
    with pytest.raises(ImageError, match="has 3 channels, but 5 are read"):
        Slide(tmp_path / "a.svs", channels=5)


def test_16_bits_are_refused(tmp_path):
    pixels = drawn().astype(np.uint16) * 200
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(128, 128))
    with pytest.raises(ImageError, match="holds uint16 values, and slides are read with 8 bits"):
        Slide(tmp_path / "a.tif").read((0, 0, 9, 9))


def test_an_array_has_no_levels():
    with pytest.raises(ArgumentError, match="for files with several levels, not for arrays"):
        open_large_image(drawn(), mpp=0.5)


def test_without_the_libraries_the_error_has_the_line_to_type(slide_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r'pip install "frcnn\[slides\]"'):
        Slide(slide_path)
