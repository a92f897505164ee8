"""Regions of a TIFF of any kind are the pixels that its writer meant, or opening it is an error."""

import numpy as np
import pytest
from PIL import Image
from tiff_tools import write_tiff

from frcnn.data.image_io import read_image
from frcnn.data.slides import Slide
from frcnn.errors import ImageError

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")
pytest.importorskip("tiffslide")

HEIGHT, WIDTH = 96, 160
rows, columns = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([rows * 2, columns, 255 - (rows + columns) // 2], axis=-1).astype(np.uint8)
GRAY = RGB[..., 0]
OTHER = ((rows * 3 + columns) % 256).astype(np.uint8)  # a channel that is neither color nor alpha
WEAK = RGB // 6  # at most 42: colors multiplied by an alpha of 51, which is a fifth


def write(**options):
    """A function that writes pixels with tifffile, in tiles unless they are planes or pages."""
    pixels, options = options.pop("pixels"), {"metadata": None, "tile": (64, 64), **options}
    return lambda path: tifffile.imwrite(path, pixels, **options)


def save(mode, **options):
    return lambda path: Image.fromarray(RGB).convert(mode).save(path, **options)


def beside(*channels):
    return np.concatenate([np.atleast_3d(channel) for channel in channels], axis=-1)


def gray_in_three(values):
    return np.repeat(values[..., None], 3, axis=-1)


def preview_first(path):
    with tifffile.TiffWriter(path) as file:
        for pixels in (RGB[::4, ::4].copy(), RGB):
            file.write(pixels, photometric="rgb", metadata=None)


def two_of_one_size(path):
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(RGB, photometric="rgb", metadata=None, compression="deflate")


def jpeg_2000_of_ycbcr(path):
    """As Aperio writes compression 33003: the tag says RGB, the tiles hold YCbCr."""
    tile = np.asarray(Image.fromarray(np.resize(RGB, (128, 128, 3))).convert("YCbCr"))
    data = imagecodecs.jpeg2k_encode(tile, level=0, mct=False, codecformat="j2k")
    tifffile.imwrite(path, iter([data]), shape=tile.shape, dtype=np.uint8, photometric="rgb",
                     tile=(128, 128), compression=33003, metadata=None)


# What the pixels are: red, green, blue and alpha.
PICTURES = {
    "RGB": (write(pixels=RGB, photometric="rgb"), RGB, 255),
    "RGB, deflate, strips": (
        write(pixels=RGB, photometric="rgb", compression="deflate", tile=None), RGB, 255),
    "RGB, BigTIFF": (write(pixels=RGB, photometric="rgb", bigtiff=True), RGB, 255),
    "gray": (write(pixels=GRAY, photometric="minisblack"), gray_in_three(GRAY), 255),
    "white is zero": (
        write(pixels=GRAY, photometric="miniswhite"), gray_in_three(255 - GRAY), 255),
    "RGB and alpha": (
        write(pixels=beside(RGB, OTHER), photometric="rgb", extrasamples=["unassalpha"]),
        RGB, OTHER),
    "RGB and a fourth without a tag": (
        lambda path: write_tiff(path, beside(RGB, OTHER), photometric=2), RGB, OTHER),
    "RGB multiplied by alpha": (
        write(pixels=beside(WEAK, np.full_like(GRAY, 51)), photometric="rgb",
              extrasamples=["assocalpha"]), WEAK * 5, 51),
    "gray and alpha": (
        write(pixels=beside(GRAY, OTHER), photometric="minisblack", extrasamples=["unassalpha"]),
        gray_in_three(GRAY), OTHER),
}
# Channels as they are in the file: these, if they are as many as are read.
CHANNELS = {
    "RGB and infrared": (
        write(pixels=beside(RGB, OTHER), photometric="rgb", extrasamples=["unspecified"]),
        beside(RGB, OTHER)),
    "RGB and two more": (
        write(pixels=beside(RGB, OTHER, GRAY), photometric="rgb", extrasamples=["unspecified"] * 2),
        beside(RGB, OTHER, GRAY)),
    "RGB, alpha and one more": (
        write(pixels=beside(RGB, OTHER, GRAY), photometric="rgb",
              extrasamples=["unassalpha", "unspecified"]), beside(RGB, OTHER, GRAY)),
    "gray and one more": (
        write(pixels=beside(GRAY, OTHER), photometric="minisblack", extrasamples=["unspecified"]),
        beside(GRAY, OTHER)),
    "three grays": (write(pixels=RGB, photometric="minisblack", planarconfig="contig"), RGB),
    "four grays": (
        write(pixels=beside(RGB, OTHER), photometric="minisblack", planarconfig="contig"),
        beside(RGB, OTHER)),
    **{f"{count} pages of OME": (
        write(pixels=np.moveaxis(beside(RGB, OTHER, GRAY)[..., :count], -1, 0), ome=True,
              photometric="minisblack", metadata={"axes": "CYX"}),
        beside(RGB, OTHER, GRAY)[..., :count]) for count in (2, 3, 4, 5)},
    "two pages of OME, white is zero": (
        write(pixels=np.stack([GRAY, OTHER]), ome=True, photometric="miniswhite",
              metadata={"axes": "CYX"}), 255 - beside(GRAY, OTHER)),
}
REFUSED = {
    "palette": (save("P"), "has colors of a palette"),
    "CMYK": (save("CMYK"), r"has colors CMYK \(PhotometricInterpretation 5\).*convert it to RGB"),
    "YCbCr": (save("YCbCr"), "has colors YCbCr, not compressed as JPEG"),
    "CIELAB": (save("LAB"), "has colors CIELAB"),
    "1 bit": (save("1"), "holds bool values, and slides are read with 8 bits; convert it"),
    "4 bits": (
        lambda path: write_tiff(path, (GRAY % 16)[:, ::2] * 17, bits=4), "holds values of 4 bits"),
    "16 bits": (write(pixels=RGB.astype(np.uint16), photometric="rgb"), "holds uint16 values"),
    "signed": (write(pixels=GRAY.view(np.int8)), "holds int8 values"),
    "floats": (write(pixels=GRAY.astype(np.float32)), "holds float32 values"),
    "planes": (write(pixels=np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"),
               "cannot be read as a slide .*'SYX'.*convert it to a TIFF of RGB"),
    "pages without a statement": (
        write(pixels=np.moveaxis(RGB, -1, 0), photometric="minisblack", tile=None,
              metadata={}), "cannot be read as a slide .*'QYX'"),
    "planes in depth": (
        write(pixels=np.moveaxis(RGB, -1, 0), ome=True, photometric="minisblack",
              metadata={"axes": "ZYX"}), "cannot be read as a slide .*'ZYX'"),
    "a preview first": (preview_first, "is a preview of a later one of 160 x 96 pixels"),
    "two of one size": (two_of_one_size, "has several images of one size; save one page"),
    "JPEG 2000 of YCbCr": (
        jpeg_2000_of_ycbcr, "tiles hold YCbCr.*compression 33003.*install OpenSlide"),
    **{f"Orientation {turn}": (
        save("RGB", tiffinfo={274: turn}),
        rf"is stored rotated or mirrored \(Orientation {turn}\).*convert it to Orientation 1")
        for turn in range(2, 9)},
}
WRITERS = {name: kind[0] for kinds in (PICTURES, CHANNELS, REFUSED) for name, kind in kinds.items()}


def pixels_of(path, channels=3):
    slide = Slide(path, channels=channels)
    try:
        top, left = slide.height // 3, slide.width // 4
        whole = slide.read((0, 0, slide.height, slide.width))
        np.testing.assert_array_equal(
            slide.read((top, left, slide.height, slide.width - 3)), whole[top:, left:-3])
        return whole
    finally:
        slide.close()


@pytest.mark.parametrize("kind", PICTURES)
def test_the_colors_are_those_of_the_picture(tmp_path, kind):
    writer, colors, alpha = PICTURES[kind]
    writer(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif"), colors)
    four = pixels_of(tmp_path / "a.tif", 4)
    np.testing.assert_array_equal(four[..., :3], colors)
    np.testing.assert_array_equal(four[..., 3], np.broadcast_to(alpha, GRAY.shape))
    gray = pixels_of(tmp_path / "a.tif", 1)[..., 0]
    np.testing.assert_allclose(gray, colors @ [0.299, 0.587, 0.114], atol=1)  # ITU-R BT.601


@pytest.mark.parametrize("kind", CHANNELS)
def test_other_channels_are_read_in_their_order_or_not_at_all(tmp_path, kind):
    writer, values = CHANNELS[kind]
    writer(tmp_path / "a.tif")
    count = values.shape[2]
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif", count), values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", count), values)
    for channels in {1, 2, 3, 4, 5} - {count}:
        with pytest.raises(ImageError, match=rf"a\.tif: has {count} channels, .*but {channels} "
                                             "are read"):
            Slide(tmp_path / "a.tif", channels=channels)
        with pytest.raises(ImageError, match=r"a\.tif: "):
            read_image(tmp_path / "a.tif", channels)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_regions_cannot_show_is_an_error_at_once(tmp_path, kind, channels):
    writer, message = REFUSED[kind]
    writer(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=rf"a\.tif.* {message}"):
        Slide(tmp_path / "a.tif", channels=channels)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.filterwarnings("ignore:.*16-bit values end at")
def test_regions_are_what_the_whole_image_has(tmp_path, kind):
    WRITERS[kind](tmp_path / "a.tif")
    for channels in (1, 2, 3, 4, 5):
        try:
            pixels = pixels_of(tmp_path / "a.tif", channels)
        except ImageError:
            continue
        np.testing.assert_array_equal(pixels, read_image(tmp_path / "a.tif", channels))


@pytest.mark.parametrize("options", [
    {}, {"subsampling": (1, 1)}, {"compressionargs": {"outcolorspace": "rgb"}}],
    ids=["YCbCr 4:2:0", "YCbCr 4:4:4", "RGB"])
def test_jpeg_in_the_colors_that_slides_have(tmp_path, options):
    args = {"level": 98, **options.pop("compressionargs", {})}
    colors = RGB[:64, :128]  # whole tiles: what fills up others has edges
    tifffile.imwrite(tmp_path / "a.tif", colors, photometric="rgb", tile=(64, 64), metadata=None,
                     compression="jpeg", compressionargs=args, **options)
    pixels = pixels_of(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels, colors.astype(float), atol=8)
    np.testing.assert_allclose(pixels, read_image(tmp_path / "a.tif").astype(float), atol=2)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_2000_of_rgb_whatever_the_tag_says(tmp_path, photometric):
    """As Aperio writes compression 33005."""
    tile = np.ascontiguousarray(RGB[:64, :128])
    data = imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", reversible=True)
    tifffile.imwrite(tmp_path / "a.tif", iter([data]), shape=tile.shape, dtype=np.uint8,
                     photometric=photometric, tile=(64, 128), compression=33005, metadata=None)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif"), tile)


def test_scaled_channels_do_not_mix(tmp_path):
    """Nor does a fourth one of zeros darken the others, as an alpha would."""
    values = np.broadcast_to(np.uint8([200, 100, 50, 0]), (HEIGHT, WIDTH, 4)).copy()
    values[:, ::2, 3] = 255
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unspecified"],
                     resolution=(10_000, 10_000), resolutionunit="CENTIMETER", metadata=None)
    slide = Slide(tmp_path / "a.tif", mpp=2, channels=4)
    try:
        pixels = slide.read((0, 0, slide.height, slide.width))
    finally:
        slide.close()
    assert pixels.shape == (HEIGHT // 2, WIDTH // 2, 4)
    assert (pixels[..., :3] == [200, 100, 50]).all()
    assert 100 < pixels[..., 3].mean() < 155
