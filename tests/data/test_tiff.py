"""TIFFs of several pages are one picture or an error; what a file states of its values counts."""

import numpy as np
import pytest
from deep_tools import picture
from PIL import Image
from tiff_tools import write_tiff

from frcnn.data.dataset import Dataset
from frcnn.data.image_io import read_image
from frcnn.errors import ImageError

SPLIT = r"save one page, as gray or as RGB\. tifffile splits it .* FILE\.$"


def pages(path, *images, tags=None):
    """A TIFF of these images; `tags` are those of each page, by number."""
    first, *others = (Image.fromarray(image) for image in images)
    for image, more in zip((first, *others), tags or ()):
        image.encoderinfo = {"tiffinfo": more}
    options = {"tiffinfo": tags[0]} if tags else {}
    first.save(path, save_all=True, append_images=others, **options)
    return path


def gray(side=8, value=9, dtype=np.uint8):
    return np.full((side, side), value, dtype)


def rgb(side=8, value=9):
    return np.full((side, side, 3), value, np.uint8)


@pytest.mark.parametrize(("images", "message"), [
    ([gray(), gray()], "has several pages of one gray channel each, such as red"),
    ([gray(dtype=np.uint16), gray(dtype=np.uint16)], "has several pages of one gray channel"),
    ([rgb(), rgb()], "has several pages of one size, such as red"),
    ([rgb(), rgb(4), rgb()], "has several pages of one size"),
    ([rgb(), gray()], "has several pages of one size"),
    ([rgb(4), rgb(8)], "its page 2 is the picture, of 8 x 8 pixels, and the first is a preview"),
    ([rgb(8), rgb(4), rgb(16)], "its page 3 is the picture, of 16 x 16 pixels")],
    ids=["gray", "gray, 16 bits", "RGB", "RGB after a preview", "RGB and gray", "preview first",
         "larger last"])
def test_several_pictures_in_one_file_are_an_error(tmp_path, images, message):
    path = pages(tmp_path / "a.tif", *images)
    with pytest.raises(ImageError, match=rf"a\.tif: {message}.* {SPLIT}"):
        read_image(path)


@pytest.mark.parametrize("images", [[rgb(16), rgb(8), rgb(4)], [gray(16), gray(8)],
                                    [rgb(16), gray(4)]], ids=["RGB", "gray", "RGB and a label"])
def test_pyramids_and_previews_are_one_picture(tmp_path, images):
    path = pages(tmp_path / "a.tif", *images)
    assert read_image(path).shape == (16, 16, 3)


def test_a_mask_of_transparency_is_no_picture(tmp_path):
    path = pages(tmp_path / "a.tif", rgb(), gray(), tags=[{}, {254: 4}])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert read_image(path)[0, 0].tolist() == [9, 9, 9]


def test_an_error_says_what_ome_states(tmp_path):
    text = '<OME><Image><Pixels SizeC="3" SizeZ="1" SizeT="2" Type="uint8"/></Image></OME>'
    path = pages(tmp_path / "a.ome.tif", *[gray()] * 6, tags=[{270: text}] + [{}] * 5)
    with pytest.raises(ImageError, match=r"by its description 3 channels and 2 points in "
                                         r"time; save one page"):
        read_image(path)


def test_a_stack_of_imagej_with_one_directory_is_an_error(tmp_path):
    text = "ImageJ=1.53t\nimages=4\nslices=4\nloop=false\n"
    Image.fromarray(gray()).save(tmp_path / "a.tif", tiffinfo={270: text})
    assert read_image(tmp_path / "a.tif").shape == (8, 8, 3)  # one plane of it, saved alone
    with open(tmp_path / "a.tif", "ab") as file:
        file.write(bytes(3 * 64))
    with pytest.raises(ImageError, match=r"has 4 planes, by its description 4 planes in "
                                         r"depth; save one page"):
        read_image(tmp_path / "a.tif")


def test_a_later_page_that_cannot_be_read_does_not_matter(tmp_path):
    path = pages(tmp_path / "a.tif", rgb(16), rgb(8), rgb(4))
    with Image.open(path) as image:
        image.seek(2)
        offset = image.tag_v2._offset
    content = bytearray(path.read_bytes())
    content[offset:offset + 2] = b"\xff\xff"
    path.write_bytes(content)
    assert read_image(path).shape == (16, 16, 3)


def test_pages_are_errors_of_a_data_set_too(tmp_path):
    dataset = Dataset()
    dataset.add_class("a", 1, "cell")
    dataset.add_image("a", 1, pages(tmp_path / "a.tif", rgb(), rgb()))
    dataset.prepare()
    dataset.load_boxes = lambda image_id: (np.zeros((0, 4)), np.zeros(0, int))
    (finding,) = dataset.check()
    assert finding.kind == "image unreadable" and "has several pages" in finding.message


# --- SignificantBits ------------------------------------------------------------------------


def ome(path, values, bits):
    pixels = f'<ome:Pixels ID="P:0" SignificantBits="{bits}" Type="uint16"/>'
    text = f"<OME><Image>{pixels}</Image></OME>"
    Image.fromarray(values).save(path, tiffinfo={270: text})
    return path


def test_the_significant_bits_of_ome_are_the_range(tmp_path):
    values = picture(top=3000)
    path = ome(tmp_path / "a.tif", values, 12)
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], values >> 4)
    np.testing.assert_array_equal(read_image(path, 1, (0, 65535))[..., 0], values >> 8)
    with pytest.raises(ImageError, match="outside of its range 0 to 4095"):
        read_image(ome(tmp_path / "b.tif", picture(top=5000), 12))


def test_significant_bits_of_the_whole_type_say_nothing(tmp_path):
    with pytest.warns(UserWarning, match="fit into 12 bits"):
        read_image(ome(tmp_path / "a.tif", picture(), 16))


def test_signed_pages_are_read_big_endian_too(tmp_path):
    values = np.array([[-5, 0, 250]], np.int16)
    path = write_tiff(tmp_path / "a.tif", values, order=">")
    assert read_image(path, 1, (-5, 250))[0, :, 0].tolist() == [0, 5, 255]
