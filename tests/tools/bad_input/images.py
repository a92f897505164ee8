"""Image files of every kind, as `read_image` reads them."""

import io
import os
import struct
import zlib

import numpy as np
from PIL import Image

from bad_input import case, harmless
from frcnn.data import image_io
from frcnn.data.image_io import read_image, read_image_size

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (12, 16, 3), np.uint8)
GRAY16 = (np.arange(192, dtype=np.uint16) * 300).reshape(12, 16)


def encoded(pixels, kind, **options):
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, kind, **options)
    return out.getvalue()


def shown(pixels):
    """Shape and a few values, enough to tell one way of reading from another."""
    return f"{pixels.shape} {pixels.dtype} from {pixels.min()} to {pixels.max()}, mean " \
           f"{pixels.mean():.0f}"


def reads(data, name="a.img", **options):
    """Reads the header, then the image."""
    def act(folder):
        (folder / name).write_bytes(data)
        assert len(read_image_size(folder / name)) == 2
        return shown(read_image(folder / name, **options))
    return act


def header(data, name="a.img"):
    """Reads the header alone."""
    def act(folder):
        (folder / name).write_bytes(data)
        return str(read_image_size(folder / name))
    return act


def png(*chunks):
    """A PNG of chunks (name, content)."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(name + content)) for name, content in chunks)


def png_header(width, height, bits=8, color=2, interlace=0):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlace)


def bmp(width, height):
    """The header of a BMP that claims a size."""
    return b"BM" + struct.pack("<IHHI", 70, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 24, 0, 16, 0, 0, 0, 0) + bytes(16)


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0xff]) + data[place + 1:]


def exif(kind, data):
    """A JPEG with an EXIF orientation: its type in TIFF's numbers, and its four bytes."""
    entry = struct.pack("<HHI", 0x0112, kind, 1 if kind == 3 else 4) + data
    tags = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return encoded(COLORS, "JPEG", exif=tags)



def missing(folder):
    read_image(folder / "no.png")


def a_folder(folder):
    read_image(folder)


def dangling(folder):
    os.symlink(folder / "gone.png", folder / "a.png")
    read_image(folder / "a.png")


def loop(folder):
    os.symlink(folder / "a.png", folder / "a.png")
    read_image(folder / "a.png")


def long_name(folder):
    read_image(folder / ("x" * 256 + ".png"))


def pages(*images):
    return encoded(images[0], "TIFF", save_all=True, append_images=list(images[1:]))


def limit(data, pixels):
    """Reads with another limit of pixels."""
    def act(folder):
        (folder / "a.png").write_bytes(data)
        before, image_io.MAX_PIXELS = image_io.MAX_PIXELS, pixels
        try:
            return shown(read_image(folder / "a.png"))
        finally:
            image_io.MAX_PIXELS = before
    return act


def deep(values, **options):
    return reads(encoded(np.asarray(values), "TIFF"), **options)


GOOD_PNG, GOOD_JPEG = encoded(COLORS, "PNG"), encoded(COLORS, "JPEG")
GRAY = Image.fromarray(COLORS[..., 0])
FLOATS = np.linspace(0, 1, 192, dtype=np.float32).reshape(12, 16)
WITH_NAN = FLOATS.copy()
WITH_NAN[3, 3] = np.nan
BOMB = png(png_header(60000, 60000), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
EMPTY = png(png_header(0, 0), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
NO_PIXELS = png(png_header(16, 12), (b"IEND", b""))
SHORT = png(png_header(16, 12), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
TEXT_BOMB = png(png_header(1, 1), (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))),
                (b"IDAT", zlib.compress(bytes(4))), (b"IEND", b""))

CASES = [
    case("no file", missing,
         "FileNotFoundError: DIR/no.png: there is no such image file."),
    case("a folder", a_folder,
         "ImageError: DIR: the image cannot be read ([Errno 21] Is a directory: 'DIR'); "
         "replace the file or leave it out."),
    case("a link to nothing", dangling,
         "FileNotFoundError: DIR/a.png: there is no such image file."),
    case("a link to itself", loop,
         "ImageError: DIR/a.png: the image cannot be read ([Errno 40] Too many levels of "
         "symbolic links: 'DIR/a.png'); replace the file or leave it out."),
    case("a name too long", long_name,
         "ImageError: DIR/x…x.png: the image cannot be read ([Errno 36] File name too long: "
         "'DIR/x…x.png'); replace the file or leave it out."),
    case("an empty file", reads(b""),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a text", reads(b"no image at all\n"),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a page of HTML", reads(b"<!DOCTYPE html><html></html>", "a.jpg"),
         "ImageError: DIR/a.jpg: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("an SVG", reads(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "a.svg"),
         "ImageError: DIR/a.svg: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PDF", reads(b"%PDF-1.4\n%%EOF", "a.png"),
         "ImageError: DIR/a.png: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a zip", reads(b"PK\x03\x04" + bytes(40), "a.png"),
         "ImageError: DIR/a.png: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a pickle", reads(b"\x80\x04K\x07.", "a.png"),
         "ImageError: DIR/a.png: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("an array of NumPy", reads(b"\x93NUMPY\x01\x00" + bytes(60), "a.png"),
         "ImageError: DIR/a.png: the image cannot be read (…); replace the file or leave it "
         "out."),
    harmless("a PNG named .jpg", reads(GOOD_PNG, "a.jpg"),
         "= (12, 16, 3) uint8 from 0 to 255, mean 124"),
    case("a PNG's signature alone", reads(GOOD_PNG[:8]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PNG's header alone", reads(GOOD_PNG[:33]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PNG cut off", reads(GOOD_PNG[:300]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    harmless("the header of a PNG cut off", header(GOOD_PNG[:300]),
         "= (12, 16)"),
    case("a PNG with a wrong checksum", reads(flipped(GOOD_PNG, 29)),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PNG with other pixels than its checksum", reads(flipped(GOOD_PNG, 200)),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PNG without pixels", reads(NO_PIXELS),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PNG with too few pixels", reads(SHORT),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PNG of no size", reads(EMPTY),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PNG of 3.6 billion pixels", reads(BOMB),
         "ImageError: DIR/a.img: claims 60000 x 60000 pixels, more than the 400,000,000 that "
         "are decoded (a decompression bomb?); cut it into smaller images."),
    case("the header of 3.6 billion pixels", header(BOMB),
         "ImageError: DIR/a.img: claims 60000 x 60000 pixels, more than the 400,000,000 that "
         "are decoded (a decompression bomb?); cut it into smaller images."),
    case("a PNG with a text of 100 MB", reads(TEXT_BOMB),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("more pixels than the limit", limit(GOOD_PNG, 191),
         "ImageError: DIR/a.png: claims 16 x 12 pixels, more than the 191 that are decoded (a "
         "decompression bomb?); cut it into smaller images."),
    harmless("as many pixels as the limit", limit(GOOD_PNG, 192),
         "= (12, 16, 3) uint8 from 0 to 255, mean 124"),
    case("a JPEG cut off", reads(GOOD_JPEG[:400]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a JPEG's beginning alone", reads(GOOD_JPEG[:3]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a JPEG without its tables", reads(GOOD_JPEG[:2] + GOOD_JPEG[-80:]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    harmless("an orientation", reads(exif(3, b"\6\0\0\0")),
         "= (16, 12, 3) uint8 from 0 to 255, mean 124"),
    harmless("an unknown orientation", reads(exif(3, b"\x4d\0\0\0")),
         "= (12, 16, 3) uint8 from 0 to 255, mean 124"),
    harmless("an orientation in words", reads(exif(2, b"left")),
         "= (12, 16, 3) uint8 from 0 to 255, mean 124"),
    harmless("CMYK", reads(encoded(Image.fromarray(COLORS).convert("CMYK"), "JPEG")),
         "= (12, 16, 3) uint8 from 0 to 255, mean 124"),
    harmless("a palette with transparency", reads(encoded(
        GRAY.convert("P"), "GIF", transparency=0)),
         "= (12, 16, 3) uint8 from 0 to 254, mean 123"),
    harmless("1 bit", reads(encoded(GRAY.convert("1"), "PNG")),
         "= (12, 16, 3) uint8 from 0 to 255, mean 122"),
    harmless("gray and alpha", reads(encoded(GRAY.convert("LA"), "PNG")),
         "= (12, 16, 3) uint8 from 0 to 254, mean 123"),
    case("a GIF cut off", reads(encoded(GRAY, "GIF")[:60]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a BMP of 4 billion pixels", reads(bmp(65536, 65536)),
         "ImageError: DIR/a.img: claims 65536 x 65536 pixels, more than the 400,000,000 that "
         "are decoded (a decompression bomb?); cut it into smaller images."),
    case("a BMP of no size", reads(bmp(0, 5)),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a BMP with few pixels", reads(bmp(100, 100)),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a WebP cut off", reads(encoded(COLORS, "WEBP")[:60]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PPM without end", reads(b"P6 " + b"9" * 400),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a PPM of letters", reads(b"P6 a b 255\n"),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a TIFF's header alone", reads(encoded(COLORS, "TIFF")[:8]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a TIFF cut off", reads(encoded(COLORS, "TIFF")[:-700]),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("a TIFF whose directory is itself", reads(b"II*\0" + struct.pack("<I", 8)
                                                   + struct.pack("<HI", 0, 8)),
         "ImageError: DIR/a.img: the image cannot be read (…); replace the file or leave it "
         "out."),
    case("gray pages", reads(pages(GRAY, GRAY, GRAY)),
         "SeveralPagesError: DIR/a.img: has several pages of one gray channel each, such as red, "
         "green and blue, or a stack; save one page, as gray or as RGB. tifffile splits it into "
         "files of a page each: python -c \"import sys, tifffile; [tifffile.imwrite("
         "f'page{i}.tif', page.asarray()) for i, page in "
         "enumerate(tifffile.TiffFile(sys.argv[1]).pages)]\" FILE."),
    case("12 bits in 16", deep(np.arange(192, dtype=np.uint16).reshape(12, 16) * 20),
         "warning: DIR/a.img: its 16-bit values end at 3820, so the picture is nearly black; "
         "they fit into 12 bits. If the images of this data set have 12 bits, declare that: "
         "(0, 4095) as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of the Config "
         "(--range LOW HIGH). If they have 16, declare (0, 65535), which "
         "also ends this warning.",
         "= (12, 16, 3) uint8 from 0 to 14, mean 7"),
    harmless("12 bits, declared", deep(np.arange(192, dtype=np.uint16).reshape(12, 16) * 20,
                                       intensity=(0, 4095)),
         "= (12, 16, 3) uint8 from 0 to 238, mean 119"),
    harmless("16 bits", deep(GRAY16),
         "= (12, 16, 3) uint8 from 0 to 223, mean 111"),
    case("above the declared range", deep(GRAY16, intensity=(0, 4095)),
         "ImageError: DIR/a.img: holds uint16 values from 0 to 57300, outside of its range 0 "
         "to 4095. Declare the range that all images of the data set have as intensity_range "
         "of the Dataset and IMAGE_INTENSITY_RANGE of the Config (--range "
         "LOW HIGH), or correct the file."),
    case("floats without a range", deep(FLOATS),
         "ImageError: DIR/a.img: holds float32 values from 0 to 1, whose range is not known. "
         "Declare it as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of the Config"
         " (--range LOW HIGH): the lowest and the highest value that "
         "images of this data set can have, such as (0, 1)."),
    case("floats above 1", deep(FLOATS * 1.01, intensity=(0, 1)),
         "ImageError: DIR/a.img: holds float32 values from 0 to 1.01, outside of its range 0 "
         "to 1. Declare the range that all images of the data set have as intensity_range of "
         "the Dataset and IMAGE_INTENSITY_RANGE of the Config (--range "
         "LOW HIGH), or correct the file."),
    case("floats below 0", deep(FLOATS - 0.01, intensity=(0, 1)),
         "ImageError: DIR/a.img: holds float32 values from -0.01 to 0.99, outside of its range"
         " 0 to 1. Declare the range that all images of the data set have as intensity_range "
         "of the Dataset and IMAGE_INTENSITY_RANGE of the Config (--range "
         "LOW HIGH), or correct the file."),
    case("a NaN", deep(WITH_NAN, intensity=(0, 1)),
         "ImageError: DIR/a.img: holds float32 values from nan to nan, NaN or infinity among "
         "them; replace these in the file."),
    case("32-bit integers", deep(GRAY16.astype(np.int32)),
         "ImageError: DIR/a.img: holds int32 values from 0 to 57300, whose range is not known."
         " Declare it as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of the "
         "Config (--range LOW HIGH): the lowest and the highest value that"
         " images of this data set can have, such as (0, 1)."),
    case("one value in its range", deep(FLOATS, intensity=(0, 5000)),
         "warning: DIR/a.img: its values from 0 to 1 are all one in its range (0.0, 5000.0), "
         "so the picture is empty. Declare the range that the images of this data set have as "
         "intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of the Config (--range "
         "LOW HIGH).",
         "= (12, 16, 3) uint8 from 0 to 0, mean 0"),
    case("a range that is inverted", deep(FLOATS, intensity=(1, 0)),
         "ConfigError: The intensity range is (1, 0); allowed are None or two numbers, the "
         "lowest and the highest possible value of the images, such as (0, 4095)."),
    case("a range of one number", deep(FLOATS, intensity=(1,)),
         "ConfigError: The intensity range is (1,); allowed are None or two numbers, the "
         "lowest and the highest possible value of the images, such as (0, 4095)."),
    case("a range of NaN", deep(FLOATS, intensity=(0, float("nan"))),
         "ConfigError: The intensity range is (0, nan); allowed are None or two numbers, the "
         "lowest and the highest possible value of the images, such as (0, 4095)."),
    case("a range in words", deep(FLOATS, intensity="01"),
         "ConfigError: The intensity range is '01'; allowed are None or two numbers, the "
         "lowest and the highest possible value of the images, such as (0, 4095)."),
    case("2 channels", reads(GOOD_PNG, channels=2),
         "ImageError: DIR/a.img: cannot be read with 2 channels; image files are read with 1, "
         "3 or 4, and TIFFs (.tif, .tiff) with as many as they have. Override "
         "Dataset.load_image for other data."),
    case("channels in words", reads(GOOD_PNG, channels="3"),
         "ImageError: DIR/a.img: cannot be read with '3' channels; image files are read with "
         "1, 3 or 4, and TIFFs (.tif, .tiff) with as many as they have. Override "
         "Dataset.load_image for other data."),
]
