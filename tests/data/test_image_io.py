"""Reading image files: every kind, damaged ones, and those that are no images."""

import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import PROJECT

from frcnn.data import image_io as image_files
from frcnn.data.image_io import read_image, read_image_size
from frcnn.errors import ImageError


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_rgb_files_give_their_pixels(tmp_path, suffix):
    pixels, path = noise(5, 7), tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, lossless=True)
    image = read_image(path)
    np.testing.assert_array_equal(image, pixels)
    assert image.dtype == np.uint8
    image[0, 0] = 1  # writable
    assert read_image_size(str(path)) == (5, 7)


def test_jpeg_comes_close(tmp_path):
    pixels = np.full((16, 24, 3), (200, 90, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - pixels).max() <= 3


def kinds():
    """Pictures of one left half and one right half, each kind with the colors it should give."""
    gray = np.uint8([[0, 200]])
    red_green = np.uint8([[[255, 0, 0], [0, 255, 0]]])
    alpha = np.concatenate([red_green, np.uint8([[[0], [255]]])], axis=2)
    both = gray[..., None].repeat(3, axis=2)
    return {
        "gray": (Image.fromarray(gray), both),
        "gray with alpha": (Image.merge("LA", [Image.fromarray(gray)] * 2), both),
        "bilevel": (Image.fromarray(gray).convert("1"), both.clip(0, 1) * 255),
        "palette": (Image.fromarray(red_green).quantize(4), red_green),
        "RGBA": (Image.fromarray(alpha), red_green),
        "16 bits": (Image.fromarray(np.uint16([[0, 200 * 256 + 255]])), both),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_becomes_8_bit_rgb(tmp_path, kind):
    image, expected = kinds()[kind]
    path = tmp_path / "a.png"
    image.save(path)
    np.testing.assert_array_equal(read_image(path), expected)


def test_big_endian_16_bits(tmp_path):
    Image.frombytes("I;16B", (2, 1), bytes([0, 99, 200, 0])).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1)[0, :, 0], [0, 200])


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg")[8, 8].astype(int) - [255, 0, 0]).max() <= 4


def test_other_numbers_of_channels(tmp_path):
    pixels, path = noise(3, 4, 4), tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_image(path, channels=4), pixels)
    gray = read_image(path, channels=1)
    expected = pixels[..., :3] @ [0.299, 0.587, 0.114]
    assert gray.shape == (3, 4, 1)
    assert np.abs(gray[..., 0] - expected).max() <= 1
    with pytest.raises(ImageError, match=r"5 channels.*Dataset\.load_image"):
        read_image(path, channels=5)


def test_gray_of_a_palette_is_that_of_its_colours(tmp_path):
    Image.fromarray(np.uint8([[[255, 255, 255]]])).quantize(2).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", channels=1).item() == 255


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = 250  # top left is white
    # How a camera stores it: the inverse of the turn that the orientation stands for.
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
              5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1),
              7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    image = read_image(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 4
    assert read_image_size(path) == (32, 48)


@pytest.mark.parametrize("strip", [1, 50, 70, 1000])
def test_large_images_are_read_in_strips(tmp_path, monkeypatch, strip):
    monkeypatch.setattr("frcnn.data.image_io._STRIP_PIXELS", strip)
    pixels = noise(13, 10)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 2], pixels[..., 0])


def test_one_pixel(tmp_path):
    Image.fromarray(np.uint8([[[1, 2, 3]]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[1, 2, 3]]])


def test_the_first_of_several_frames(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", lossless=True, save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.webp") as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp")[0, 0], [255, 0, 0])


def png(width, height, data, bits=8):
    """An RGB PNG file of compressed pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
              for c in (header, b"IDAT" + data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_claiming(width, height):
    """A PNG without its pixels: what a decompression bomb shows before it goes off."""
    return png(width, height, zlib.compress(bytes(100)))


def saved(image_format):
    stream = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(stream, image_format)
    return stream.getvalue()


DAMAGED = {
    "empty": b"",
    "text": b"this is no image\n" * 30,
    "half a jpeg": saved("JPEG")[:900],
    "half a png": saved("PNG")[:900],
    "half a bmp": saved("BMP")[:900],
    "half a tiff": saved("TIFF")[:900],
    "a png's signature": b"\x89PNG\r\n\x1a\n",
    "a png with a broken checksum": saved("PNG")[:40] + b"\0\0\0\0" + saved("PNG")[44:],
    "a header without its pixels": png_claiming(640, 480),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_named(tmp_path, kind):
    path = tmp_path / "cell_17.jpg"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(ImageError, match=r"cell_17\.jpg: .*cannot be read") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png: there is no such image file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        read_image_size(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_a_decompression_bomb_is_refused_by_name(tmp_path, read):
    (tmp_path / "bomb.png").write_bytes(png_claiming(100_000, 100_000))
    with pytest.raises(ImageError, match=r"bomb\.png: claims 100000 x 100000 pixels"):
        read(tmp_path / "bomb.png")


def test_twenty_thousand_squared_is_no_bomb_and_pillows_limit_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (tmp_path / "big.png").write_bytes(png_claiming(20_000, 20_000))
    assert read_image_size(tmp_path / "big.png") == (20_000, 20_000)
    assert vars(Image)["MAX_IMAGE_PIXELS"] == 1000


@pytest.mark.parametrize("limit", [1000, None])
def test_other_threads_can_compare_with_pillows_limit_at_any_moment(tmp_path, monkeypatch, limit):
    """Pillow reads its limit twice, as here; between the two it must not become None."""
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    opened, seen = Image.open, []

    def opening(path, **options):
        seen.append(vars(Image)["MAX_IMAGE_PIXELS"])
        return opened(path, **options)

    monkeypatch.setattr(Image, "open", opening)
    read_image(tmp_path / "a.png", 1)
    assert seen and all((value is None) == (limit is None) for value in seen)



def test_sixteen_bits_of_colour(tmp_path):
    """Pillow cannot write such PNGs, so this one is put together by hand."""
    pixels = np.random.default_rng(0).integers(0, 2**16, (4, 5, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    (tmp_path / "a.png").write_bytes(png(5, 4, zlib.compress(rows), bits=16))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels >> 8)


def test_sixteen_bits_turned_by_their_exif(tmp_path):
    pixels = np.uint16([[0, 99 * 256, 200 * 256]])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png", channels=1)[..., 0].tolist() == [[0], [99], [200]]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_twenty_thousand_squared_takes_a_few_copies_of_memory(tmp_path, mode):
    """Written and read in processes of their own, whose largest size is then known."""
    path, copy = str(tmp_path / "big.png"), 20_000**2 * 3 / 1e6
    write = (f"from PIL import Image; image = Image.new({mode!r}, (20_000, 20_000), 'gray'); "
             f"image.save({path!r}, compress_level=1)")
    subprocess.run([sys.executable, "-c", write], check=True)
    # Not getrusage: what it gives starts with the largest size of the process that forked this one.
    read = ("from frcnn.data.image_io import read_image\n"
            "from frcnn.data.resize import resize_image\n"
            "def peak():\n"
            "    lines = open('/proc/self/status').read().splitlines()\n"
            "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))\n"
            f"before = peak(); image = read_image({path!r}); print((peak() - before) / 1e3)\n"
            "assert image.shape == (20_000, 20_000, 3) and image[-1, -1, 0] == 128\n"
            "resize_image(image, 800, 1024, mode='square'); print((peak() - before) / 1e3)")
    result = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True,
                            text=True, cwd=PROJECT)
    reading, resizing = (float(line) for line in result.stdout.split())
    assert copy <= reading < 2.5 * copy  # Pillow's own takes four bytes a pixel
    assert resizing < 2.6 * copy


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_while_a_file_is_opened_does_not_hang(tmp_path):
    Image.fromarray(noise(3, 3)).save(tmp_path / "a.png")
    with image_files._pillow_limit:
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # a hanging child ends by a signal
            os._exit(read_image(tmp_path / "a.png").shape != (3, 3, 3))
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("kind", ["half a jpeg", "half a png", "half a bmp"])
def test_the_size_is_read_without_the_pixels(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(DAMAGED[kind])
    assert read_image_size(tmp_path / "a.png") == (64, 64)
