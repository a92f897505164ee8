"""TIFF files of any depth, uncompressed, which Pillow cannot write."""

import struct

import numpy as np

_FORMATS = {"u": 1, "i": 2, "f": 3}
_LETTERS = {3: "H", 4: "I", 11: "f"}


def write_tiff(path, pixels, order="<", planar=False, photometric=None, bits=None, tags=()):
    """Writes `[H, W]` or `[H, W, C]` as one strip (or one a plane).

    Args:
        order: "<" or ">", of the bytes.
        planar: whether the channels lie in planes of their own.
        photometric: 0 white is zero, 1 black is zero, 2 RGB; None: by the number of channels.
        bits: what BitsPerSample says, if not what the type has.
        tags: further (number, type, value): type 3 is a short, 11 a float.
    """
    pixels = np.atleast_3d(pixels)
    height, width, count = pixels.shape
    planes = np.moveaxis(pixels, -1, 0) if planar else pixels[None]
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    bits = bits or 8 * pixels.itemsize
    offsets = 8 + np.cumsum([0, *(len(strip) for strip in strips)])
    entries = [
        (256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * count), (259, 3, [1]),
        (262, 3, [(2 if count > 2 else 1) if photometric is None else photometric]),
        (273, 4, offsets[:-1].tolist()), (277, 3, [count]), (278, 3, [height]),
        (279, 4, [len(strip) for strip in strips]), (284, 3, [2 if planar else 1]),
        (339, 3, [_FORMATS[pixels.dtype.kind]] * count),
        *((number, kind, [value]) for number, kind, value in tags),
    ]  # fmt: skip
    place = int(offsets[-1]) + 2 + 12 * len(entries) + 4
    directory, more = struct.pack(f"{order}H", len(entries)), b""
    for number, kind, values in sorted(entries):
        data = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        if len(data) > 4:
            data, more = struct.pack(f"{order}I", place + len(more)), more + data
        directory += struct.pack(f"{order}HHI", number, kind, len(values)) + data.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", int(offsets[-1]))
    path.write_bytes(head + b"".join(strips) + directory + bytes(4) + more)
    return path
