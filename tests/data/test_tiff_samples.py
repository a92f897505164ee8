"""The samples of a TIFF's pixels: colors, alpha, other channels, inks, signs; 8 and 16 bits."""

import sys

import numpy as np
import pytest
from deep_tools import picture
from PIL import Image
from tiff_tools import write_tiff

from frcnn.data.image_io import read_image
from frcnn.data.measure import measure_files
from frcnn.errors import ImageError, MissingExtraError

UNNAMED, ASSOCIATED, ALPHA = 0, 1, 2  # of ExtraSamples
MINISBLACK, RGB, CMYK = 1, 2, 5
SEVERAL = [(RGB, 4), (MINISBLACK, 2)]  # photometric, samples


def values_of(samples, dtype=np.uint8):
    """Random bytes `[11, 14, samples]`; as 16 bits, a range of 0 to 65535 gives them again."""
    values = np.random.default_rng(samples).integers(0, 256, (11, 14, samples))
    return (values * (257 if dtype == np.uint16 else 1)).astype(dtype)


def write(path, values, photometric, extra, planar=False):
    tags = [] if extra is None else [(338, 3, extra)]
    return write_tiff(path, values, photometric=photometric, planar=planar, tags=tags)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("photometric", "samples"), SEVERAL)
def test_a_channel_that_is_no_alpha_is_read_or_an_error(tmp_path, photometric, samples, dtype,
                                                        planar):
    pytest.importorskip("tifffile")
    path = write(tmp_path / "a.tif", values_of(samples, dtype), photometric, UNNAMED, planar)
    limits = (0, 65535) if dtype == np.uint16 else None
    np.testing.assert_array_equal(read_image(path, samples, limits), values_of(samples))
    for channels in {1, 2, 3, 4} - {samples}:
        with pytest.raises(ImageError, match=r"a\.tif: "):
            read_image(path, channels, limits)
        assert measure_files([path], "measure", channels).limits is None
    if dtype == np.uint16:
        assert measure_files([path], "measure", samples).limits == (0, 65535)


def test_the_error_names_what_to_do(tmp_path):
    path = write(tmp_path / "a.tif", values_of(4), RGB, UNNAMED)
    with pytest.raises(ImageError, match=r"has 4 channels, 1 of them neither color nor alpha by "
                                         r"its tag ExtraSamples, but 3 are read "
                                         r"\(IMAGE_CHANNEL_COUNT\); set it to 4, or save"):
        read_image(path)


def test_without_tifffile_the_line_to_type(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", values_of(4), RGB, UNNAMED)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"frcnn\[slides\]"):
        read_image(path, 4)


@pytest.mark.parametrize("extra", [None, ALPHA])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_left_out_as_of_other_formats(tmp_path, extra, dtype):
    path = write(tmp_path / "a.tif", values_of(4, dtype), RGB, extra)
    limits = (0, 65535) if dtype == np.uint16 else None
    np.testing.assert_array_equal(read_image(path, 3, limits), values_of(4)[..., :3])
    np.testing.assert_array_equal(read_image(path, 4, limits), values_of(4))


def test_colors_multiplied_by_alpha(tmp_path):
    """With 8 bits they are divided; of 16, Pillow has the upper byte alone."""
    weak = values_of(3) // 6
    values = np.concatenate([weak, np.full((11, 14, 1), 51, np.uint8)], axis=-1)  # a fifth
    path = write(tmp_path / "a.tif", values, RGB, ASSOCIATED)
    np.testing.assert_array_equal(read_image(path), weak * 5)
    path = write(tmp_path / "b.tif", values.astype(np.uint16) * 257, RGB, ASSOCIATED)
    with pytest.raises(ImageError, match=r"b\.tif: .*only the upper 8 can be read"):
        read_image(path, 3, (0, 4095))


# --- inks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("limits", "step"), [(None, 257), ((0, 65535), 257), ((0, 4095), 16)])
def test_inks_of_16_bits_are_the_colors_of_8(tmp_path, limits, step, order):
    inks = values_of(4)
    inks[:5, :, :3] = 0  # black alone
    path = write_tiff(tmp_path / "a.tif", inks.astype(np.uint16) * step, order, photometric=CMYK)
    expected = np.asarray(Image.frombytes("CMYK", (14, 11), inks.tobytes()).convert("RGB"))
    np.testing.assert_array_equal(read_image(path, 3, limits), expected)
    assert expected[:5].std() > 50
    ink = np.where(np.arange(4) == 3, inks, 0)  # black alone, everywhere
    path = write_tiff(tmp_path / "a.tif", ink.astype(np.uint16) * step, order, photometric=CMYK)
    np.testing.assert_allclose(read_image(path, 1, limits)[..., 0], 255 - inks[..., 3], atol=1)
    assert measure_files([path], "measure").limits == ((0, 65535) if step == 257 else (0, 4095))


# --- signs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_signed_integers_need_a_range(tmp_path, dtype):
    values = (picture(top=101).astype(int) - 50).astype(dtype)
    assert values.min() == -50
    path = write_tiff(tmp_path / "a.tif", values)
    for channels in (1, 3, 4):
        with pytest.raises(ImageError, match=r"a\.tif: holds int\d+ values from -50 to \d+, whose "
                                             "range is not known"):
            read_image(path, channels)
    with pytest.raises(ImageError, match="outside of its range 0 to 255"):
        read_image(path, 1, (0, 255))
    pixels = read_image(path, 1, (-128, 127))[..., 0]
    np.testing.assert_array_equal(pixels, values.astype(int) + 128)
    assert measure_files([path], "auto", 1).limits is None
    low, high, clip = measure_files([path], "measure", 1).limits
    assert -50 <= low < 0 < high <= values.max() + 1 and clip == "clip"


def test_unsigned_bytes_that_say_so_are_read_as_they_are(tmp_path):
    values = values_of(1)
    path = write_tiff(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(path, 1), values)
    assert measure_files([path], "measure", 1).limits is None
