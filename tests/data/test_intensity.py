"""Images of more than 8 bits: the right picture, or an error or one warning; never another one."""

import struct
import warnings

import numpy as np
import pytest
from deep_tools import gray_png, picture, rgb_png
from PIL import Image
from tiff_tools import write_tiff

from frcnn.config import Config
from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.data.image_io import read_image
from frcnn.data.intensity import Intensity, as_range, pixels_of_array
from frcnn.data.reading import load_pixels
from frcnn.errors import ConfigError, DatasetError, ImageError

DECLARE = "IMAGE_INTENSITY_RANGE"


# --- 12 bits in 16-bit files ----------------------------------------------------------------

FILES = {
    "gray PNG": (gray_png, None, {}),
    "RGB PNG": (rgb_png, 3, {}),
    "gray TIFF": (write_tiff, None, {}),
    "gray TIFF, big endian": (write_tiff, None, {"order": ">"}),
    "RGB TIFF": (write_tiff, 3, {}),
    "RGB TIFF, big endian": (write_tiff, 3, {"order": ">"}),
    "RGB TIFF in planes": (write_tiff, 3, {"planar": True}),
    "RGB TIFF in planes, big endian": (write_tiff, 3, {"planar": True, "order": ">"}),
}


def written(tmp_path, kind, values):
    write, _, options = FILES[kind]
    return write(tmp_path / ("a.png" if "PNG" in kind else "a.tif"), values, **options)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", FILES)
def test_twelve_bits_give_the_right_picture_once_declared(tmp_path, kind):
    values = picture(channels=FILES[kind][1])
    path = written(tmp_path, kind, values)
    expected = np.broadcast_to(np.atleast_3d(values >> 4), (13, 17, 3))
    np.testing.assert_array_equal(read_image(path, 3, (0, 4095)), expected)


@pytest.mark.parametrize("kind", FILES)
def test_twelve_bits_are_warned_of_until_declared(tmp_path, kind):
    path = written(tmp_path, kind, picture(channels=FILES[kind][1]))
    with pytest.warns(UserWarning, match=rf"a\.\w+: its 16-bit values end at 4095.* fit into 12 "
                                         rf"bits\. .*\(0, 4095\) as .*{DECLARE}"):
        read_image(path)
    read_image(path, 3, (0, 65535))  # declared, so no warning


@pytest.mark.parametrize("kind", FILES)
def test_sixteen_bits_keep_their_upper_eight(tmp_path, kind):
    values = picture(top=65536, channels=FILES[kind][1])
    path = written(tmp_path, kind, values)
    expected = np.broadcast_to(np.atleast_3d(values >> 8), (13, 17, 3))
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image(path, 3, (0, 65535)), expected)


@pytest.mark.parametrize(("top", "bits"), [(256, 8), (1024, 10), (4096, 12), (16384, 14)])
def test_the_warning_names_the_bits_that_suffice(tmp_path, top, bits):
    path = gray_png(tmp_path / "a.png", picture(top=top))
    with pytest.warns(UserWarning, match=rf"fit into {bits} bits\..*\(0, {top - 1}\)"):
        read_image(path)
    assert read_image(path, 1, (0, top - 1)).max() == 255
    if bits == 8:  # 8-bit values in a 16-bit file are read as they are
        np.testing.assert_array_equal(read_image(path, 1, (0, 255))[..., 0], picture(top=top))


def test_colors_whose_upper_bytes_are_all_zero_are_seen(tmp_path):
    path = rgb_png(tmp_path / "a.png", picture(top=256, channels=3))
    with pytest.warns(UserWarning, match="end at 255.* fit into 8 bits"):
        assert read_image(path).max() == 0


def test_alpha_is_no_brightness(tmp_path):
    values = np.dstack([picture(channels=3), np.full((13, 17), 65535, np.uint16)])
    path = rgb_png(tmp_path / "a.png", values)
    with pytest.warns(UserWarning, match="end at 4095"):
        read_image(path)
    pixels = read_image(path, 4, (0, 4095))
    np.testing.assert_array_equal(pixels[..., :3], values[..., :3] >> 4)
    assert (pixels[..., 3] == 255).all()


def test_a_value_beyond_the_declared_range_is_an_error(tmp_path):
    path = gray_png(tmp_path / "a.png", picture(top=4097))
    with pytest.raises(ImageError, match=r"a\.png: holds uint16 values from 0 to 4096, outside of "
                                         rf"its range 0 to 4095\. .*{DECLARE}"):
        read_image(path, 3, (0, 4095))


# --- what a TIFF says -----------------------------------------------------------------------


@pytest.mark.parametrize("tags", [[(281, 3, 4095)], [(341, 3, 4095), (340, 3, 0)]])
def test_the_range_that_a_tiff_states_is_used(tmp_path, tags):
    values = picture()
    path = write_tiff(tmp_path / "a.tif", values, tags=tags)
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], values >> 4)
    np.testing.assert_array_equal(read_image(path, 1, (0, 65535))[..., 0], values >> 8)  # overruled
    write_tiff(path, picture(top=5000), tags=tags)
    with pytest.raises(ImageError, match="outside of its range 0 to 4095"):
        read_image(path, 1)


def test_the_largest_value_of_one_image_is_no_range(tmp_path):
    path = write_tiff(tmp_path / "a.tif", picture(top=40_001), tags=[(281, 3, 40_000)])
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], picture(top=40_001) >> 8)


def test_packed_twelve_bits_are_known_to_be_twelve(tmp_path):
    values = picture()[:, :16]
    pairs = values.reshape(-1, 2).astype(np.uint32)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8,
                       pairs[:, 1] & 255], axis=1).astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", packed.reshape(13, 24))
    content = path.read_bytes()
    for number, old, new in ((256, 24, 16), (258, 8, 12)):
        entry = struct.pack("<HHIH", number, 3, 1, old)
        assert content.count(entry) == 1
        content = content.replace(entry, struct.pack("<HHIH", number, 3, 1, new))
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], values >> 4)


def test_white_may_be_zero(tmp_path):
    values = picture(top=65536)
    path = write_tiff(tmp_path / "a.tif", values, photometric=0)
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], 255 - (values >> 8))


def test_several_gray_pages_are_an_error(tmp_path):
    """OME-TIFFs of three channels; the first page alone is another picture."""
    planes = [Image.fromarray(plane) for plane in np.moveaxis(picture(np.uint8, 256, 3), -1, 0)]
    planes[0].save(tmp_path / "a.tif", save_all=True, append_images=planes[1:])
    with pytest.raises(ImageError, match=r"a\.tif: has several pages of one gray channel"):
        read_image(tmp_path / "a.tif")
    small = planes[1].resize((5, 4))  # a preview is no channel
    planes[0].save(tmp_path / "a.tif", save_all=True, append_images=[small])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1)[..., 0], np.asarray(planes[0]))


# --- floats and 32 bits ---------------------------------------------------------------------


@pytest.mark.parametrize("values", [
    picture() / np.float32(4095), picture() / np.float32(4095) * 1.01, picture().astype(np.int32),
    picture(np.float32, 256), picture().astype(np.int16)],
    ids=["0 to 1", "0 to 1.01", "int32", "0 to 255", "int16"])
def test_floats_and_signed_integers_need_a_declared_range(tmp_path, values):
    path = write_tiff(tmp_path / "a.tif", values)
    with pytest.raises(ImageError, match=rf"a\.tif: holds .* values from 0 to .*, whose range is "
                                         rf"not known\. Declare it as .*{DECLARE}"):
        read_image(path)


def test_the_maximum_of_an_image_does_not_change_its_other_pixels(tmp_path):
    values = (picture() / np.float32(4095)).clip(0, 0.99).astype(np.float32)
    dim = read_image(write_tiff(tmp_path / "a.tif", values), 1, (0, 1))
    values[5, 5] = 1.0
    bright = read_image(write_tiff(tmp_path / "a.tif", values), 1, (0, 1))
    assert bright[5, 5] == 255
    bright[5, 5] = dim[5, 5]
    np.testing.assert_array_equal(bright, dim)
    values[5, 5] = 1.01
    write_tiff(tmp_path / "a.tif", values)
    with pytest.raises(ImageError, match=r"from 0 to 1\.01, outside of its range 0 to 1"):
        read_image(tmp_path / "a.tif", 1, (0, 1))


def test_bytes_as_floats_come_back(tmp_path):
    values = picture(np.uint8, 256)
    write_tiff(tmp_path / "a.tif", values / np.float32(255))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1, (0, 1))[..., 0], values)
    write_tiff(tmp_path / "a.tif", values.astype(np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1, (0, 255))[..., 0], values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_value_may_be_nan_or_infinite(tmp_path, bad):
    values = picture(np.float32, 2)
    values[3, 3] = bad
    with pytest.raises(ImageError, match="NaN or infinity among them"):
        read_image(write_tiff(tmp_path / "a.tif", values), 1, (0, 1))


def test_a_range_in_which_an_image_has_no_contrast_is_warned_of(tmp_path):
    path = write_tiff(tmp_path / "a.tif", picture() / np.float32(4095))
    with pytest.warns(UserWarning, match="the picture is empty"):
        read_image(path, 1, (0, 4095))


def test_signed_values(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.int16([[-1000, 0, 1000]]))
    assert read_image(path, 1, (-1000, 1047))[0, :, 0].tolist() == [0, 125, 250]


@pytest.mark.parametrize("value", [(1, 0), (0, 0), (0,), (0, 1, 2), "ab", 5, (0, np.nan)])
def test_ranges_that_are_refused(value):
    with pytest.raises(ConfigError, match="two numbers"):
        as_range(value)
    with pytest.raises(ConfigError, match="IMAGE_INTENSITY_RANGE"):
        Config(IMAGE_INTENSITY_RANGE=value)


def test_the_range_is_stored_with_the_configuration():
    config = Config.from_json(Config(IMAGE_INTENSITY_RANGE=(0, 4095)).to_json())
    assert as_range(config.IMAGE_INTENSITY_RANGE) == (0, 4095)


# --- data sets ------------------------------------------------------------------------------


def deepen(folder, subset="train"):
    """Turns the images of a COCO folder into 12-bit gray; returns their number."""
    paths = sorted((folder / subset).iterdir())
    for path in paths:
        gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(gray * 16).save(path)
    return len(paths)


def test_one_warning_for_a_data_set(coco_folder):
    count = deepen(coco_folder)
    dataset = CocoDataset.from_folder(coco_folder, "train")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for image_id in dataset.image_ids:
            dataset.load_image(image_id)
    assert len(caught) == 1 and "train_0.png" in str(caught[0].message)
    assert dataset.intensity.doubtful == count


def test_a_data_set_declares_its_range(coco_folder):
    before = CocoDataset.from_folder(coco_folder, "train").load_image(0)
    gray = np.asarray(Image.fromarray(before).convert("L"))
    deepen(coco_folder)
    dataset = CocoDataset.from_folder(coco_folder, "train")
    dataset.intensity_range = (0, 4095)
    np.testing.assert_array_equal(dataset.load_image(0)[..., 1], gray)


class Loads(Dataset):
    """A data set whose load_image returns what it is given."""

    def __init__(self, image):
        super().__init__()
        self.image = image
        self.add_class("a", 1, "a")
        self.add_image("a", 1, "field7.dcm")
        self.prepare()

    def load_image(self, image_id):
        return self.image


@pytest.mark.parametrize("image", [
    np.zeros((4, 4, 3)), np.ones((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint16),
    np.zeros((4, 4, 3), bool), np.zeros((4, 4, 3), int), np.full((4, 4, 3), np.nan)],
    ids=lambda image: f"{image.dtype}, {image.max()}")
def test_load_image_must_return_8_bits(image):
    with pytest.raises(DatasetError, match=rf"field7\.dcm is an array of {image.dtype}.* uint8"):
        load_pixels(Loads(image), Config(NUM_CLASSES=2), 0)


def test_load_image_may_return_the_declared_range():
    image = np.float32([[[0, 0.5, 1]]])
    config = Config(NUM_CLASSES=2, IMAGE_INTENSITY_RANGE=(0, 1))
    assert load_pixels(Loads(image), config, 0).tolist() == [[[0, 128, 255]]]
    with pytest.raises(DatasetError, match=r"from 0 to 1\.5, outside of its range 0 to 1"):
        load_pixels(Loads(image * 1.5), config, 0)


def test_arrays_of_8_bits_are_not_touched():
    image = picture(np.uint8, 4)
    assert pixels_of_array(image, (0, 1), "Image 0") is image


def test_intensity_may_be_given_by_an_object_that_warns_once(tmp_path):
    path, intensity = gray_png(tmp_path / "a.png", picture()), Intensity()
    with pytest.warns(UserWarning, match="end at 4095"):
        read_image(path, 3, intensity)
    read_image(path, 3, intensity)
    assert intensity.doubtful == 2 and intensity.first_doubt.startswith(str(path))
