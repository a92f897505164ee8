"""What requests bring: images and JSON, read and decoded in memory, never on disk."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from PIL import Image as Pictures
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from frcnn.arrays import Image
from frcnn.data.image_io import read_image, read_image_size
from frcnn.data.image_source import ImageBytes
from frcnn.data.intensity import Intensity
from frcnn.errors import FrcnnError, SeveralPagesError
from frcnn.files import escaped
from frcnn.serve.limits import MEGABYTE, Limits, Refusal

Pictures.init()
# Those that Pillow reads in its own process and in memory: EPS, for one, starts Ghostscript.
FORMATS = tuple(name for name in ("PNG", "JPEG", "TIFF", "BMP", "DIB", "WEBP", "GIF", "PPM",
                                  "JPEG2000", "AVIF") if name in Pictures.OPEN)
MOST_PARTS = 20
MAX_NAME = 300
_ADVICE = "send a PNG, JPEG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000 or AVIF file"


async def read_body(chunks: AsyncIterator[bytes], headers: Mapping[str, str],
                    limits: Limits) -> bytearray:
    """The body of a request.

    Raises:
        Refusal: it is too large (413), has an invalid length (400) or arrives too slowly (408).
    """
    declared_length(headers, limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in chunks:
                body += chunk
                if len(body) > limits.max_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        raise Refusal(408, f"The file did not arrive within {limits.body_seconds:g} s; send a "
                           "smaller one, or use a faster connection.") from None
    except ClientDisconnect:
        raise Refusal(400, "The connection was closed before the file had arrived; send it "
                           "again.") from None
    return body


def declared_length(headers: Mapping[str, str], limits: Limits) -> int:
    """The length that a request declares; the largest one allowed if it declares none.

    Raises:
        Refusal: it is too large (413), or no number (400).
    """
    text = headers.get("content-length")
    if text is None:
        return limits.max_bytes
    if not text.isdecimal():
        raise Refusal(400, "Content-Length is not a number; send the length of the body in bytes.")
    if int(text) > limits.max_bytes:
        raise _too_large(limits)
    return int(text)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"The file is larger than the {limits.max_bytes / MEGABYTE:,.4g} MB that "
                        "this server accepts; send a smaller or compressed one.")


# --- the file in a body ---------------------------------------------------------------------------


class _Form:
    """The parts of a multipart body; of the field `file`, name and content are kept."""

    def __init__(self, boundary: bytes) -> None:
        self.files: list[tuple[str, bytearray]] = []
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._is_kept, self._parts = False, 0
        self.is_complete = False
        self.parser = MultipartParser(boundary, {
            "on_part_begin": self._begin, "on_header_field": self._on_field,
            "on_header_value": self._on_value, "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers, "on_part_data": self._on_data,
            "on_end": self._on_end})

    def _begin(self) -> None:
        self._parts += 1
        self._headers, self._is_kept = {}, False
        if self._parts > MOST_PARTS:
            raise Refusal(400, f"The form has more than {MOST_PARTS} fields; send one, named "
                               "\"file\", with the image.")

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._is_kept = options.get(b"name") == b"file"
        if self._is_kept:
            if self.files:
                raise Refusal(400, "The form has several files; send one image a request.")
            name = options.get(b"filename", b"image").decode("utf-8", "replace")
            self.files.append((name, bytearray()))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_kept:
            self.files[-1][1].extend(data[start:end])

    def _on_end(self) -> None:
        self.is_complete = True


def file_of(body: bytearray, headers: Mapping[str, str], name: str | None = None) -> ImageBytes:
    """The image file in a body: the field `file` of a form, or the whole body.

    Args:
        body: of the request.
        headers: of the request, in lower case.
        name: of the file, where the body is not a form.

    Raises:
        Refusal: there is none (400), or the body is of another type (415).
    """
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        name, body = _file_of_form(body, options.get(b"boundary", b""))
    elif not (kind.startswith(b"image/") or kind == b"application/octet-stream"):
        raise Refusal(415, "The body is neither a form nor an image by its Content-Type; send "
                           "multipart/form-data with a field \"file\", or the file itself as "
                           "image/png or the like.")
    if not body:
        raise Refusal(400, f"The file is empty; {_ADVICE}.")
    return ImageBytes(_plain_name(name or "image"), bytes(body), FORMATS)


def _file_of_form(body: bytearray, boundary: bytes) -> tuple[str, bytearray]:
    try:
        form = _Form(boundary)
        form.parser.write(bytes(body))
        form.parser.finalize()
    except (FormParserError, ValueError):
        raise Refusal(400, "The form cannot be read; send multipart/form-data with a field "
                           "\"file\".") from None
    if not form.is_complete:
        raise Refusal(400, "The form ends too early; send the whole of it.")
    if not form.files:
        raise Refusal(400, "The form has no field \"file\"; send the image in a field of this "
                           "name.")
    return form.files[0]


def _plain_name(name: str) -> str:
    """A file's name without folders and control characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1][-MAX_NAME:]
    return escaped("".join(letter if letter.isprintable() else "_" for letter in last)) or "image"


# --- pixels ---------------------------------------------------------------------------------------


def size_of(file: ImageBytes, channels: int, limits: Limits) -> tuple[int, int]:
    """(height, width) by the file's header.

    Args:
        file: the content.
        channels: that it will be read with.
        limits: Limits.

    Raises:
        Refusal: it is no image (400), or has too many pixels (413).
    """
    try:
        height, width = read_image_size(file, channels)
    except (FrcnnError, UserWarning, MemoryError) as error:
        raise _unreadable(file, error) from error
    if not height * width:
        raise Refusal(400, f"{file}: has no pixels; send another file.")
    if height * width > limits.max_pixels:
        raise Refusal(413, f"{file}: has {width:,} × {height:,} pixels, more than the "
                           f"{limits.max_pixels / MEGABYTE:,.4g} million that this server accepts; "
                           "send a smaller one, or cut it into tiles.")
    return height, width


def decode(file: ImageBytes, channels: int, intensity: Any) -> tuple[Image, str]:
    """The pixels of an image file, and a doubt about them, or an empty text.

    Args:
        file: the content.
        channels: see `read_image`.
        intensity: range of deeper images, or None; see `frcnn.data.intensity`.

    Returns:
        image: `[H, W, channels]` uint8.
        doubt: why the values may have another range than was taken.

    Raises:
        Refusal: it cannot be read (400).
    """
    scale = Intensity(intensity, warns=False)
    try:
        image = read_image(file, channels, scale)
    except (FrcnnError, UserWarning, MemoryError) as error:
        raise _unreadable(file, error) from error
    return image, scale.first_doubt


def _unreadable(file: ImageBytes, error: Exception) -> Refusal:
    if isinstance(error, MemoryError):
        return Refusal(413, f"{file}: takes more memory than the server has; send a smaller one.")
    reason = getattr(error, "reason", "")
    if reason == "format":
        return Refusal(415, f"{file}: is not an image of a known format; {_ADVICE}.")
    if reason == "range":
        return Refusal(400, f"{file}: its values have more than 8 bits and do not fit the range "
                            "that the detector was trained with; save it with 8 bits.")
    if isinstance(error, SeveralPagesError):
        return Refusal(400, f"{file}: has several pages, which may be channels, a stack or a film; "
                            "save one page, as gray or as RGB.")
    return Refusal(413 if reason == "size" else 400,
                   " ".join(str(error).split()))
