"""Images of more than 8 bits, and PNG files of them."""

import struct
import zlib

import numpy as np
from PIL import Image


def picture(dtype=np.uint16, top=4096, channels=None, seed=0):
    """Random values from 0 to top − 1, both of which occur."""
    shape = (13, 17) if channels is None else (13, 17, channels)
    values = np.random.default_rng(seed).integers(0, top, shape)
    values[0, 0], values[0, 1] = 0, top - 1
    return values.astype(dtype)


def gray_png(path, values):
    Image.fromarray(values).save(path)
    return path


def rgb_png(path, values):
    """A 16-bit RGB or RGBA PNG, which Pillow cannot write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks))
    return path
