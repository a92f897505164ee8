"""Uploads: what is read is what `read_image` reads, and a bad file is one sentence with a 4xx."""

import io
import os
import socket
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from serve_tools import Echo, client_of, encoded, error_of, expected, make_service, upload

from frcnn.data.image_io import read_image
from frcnn.serve import uploads
from frcnn.serve.limits import Limits, Refusal

BOUND = "x7MA4YWxkTrZu0gW"


@pytest.fixture(scope="module")
def client():
    with client_of(make_service(limits={"rate": 100_000, "max_bytes": 300_000,
                                        "max_pixels": 100_000})) as client:
        yield client


def noise(seed=0, shape=(30, 40, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def png(pixels, **options):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", **options)
    return content.getvalue()


def chunk(kind, content):
    return (struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content)))


def giant(width, height):
    """A PNG of a few hundred bytes that claims this size, 8 bits gray."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def tiff(*pages):
    content = io.BytesIO()
    pages[0].save(content, "TIFF", save_all=True, append_images=pages[1:])
    return content.getvalue()


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("format, options", [
    ("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True}), ("PPM", {}), ("GIF", {}), ("JPEG", {}), ("JPEG2000", {})])
def test_it_reads_as_files_are_read(format, options, tmp_path):
    content = io.BytesIO()
    Image.fromarray(noise()).save(content, format, **options)
    (tmp_path / "image").write_bytes(content.getvalue())
    image, doubt = uploads.decode(
        uploads.ImageBytes("a", content.getvalue(), uploads.FORMATS), 3, None)
    np.testing.assert_array_equal(image, read_image(tmp_path / "image", 3))
    assert doubt == ""


def test_an_image_is_turned_as_its_camera_says(client):
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10), (8, 8, 8)).save(content, "JPEG", exif=exif)
    answer = upload(client, content.getvalue()).json()
    assert answer["image"] == {"name": "a.png", "width": 10, "height": 20}


def test_16_bits_are_read_by_the_range_of_the_model(tmp_path):
    values = (np.arange(200, dtype=np.uint16) * 20).reshape(10, 20)  # 12 bits
    content = png(values)
    with client_of(make_service(Echo(IMAGE_INTENSITY_RANGE=(0, 4095)))) as client:
        answer = upload(client, content).json()
    assert answer["doubt"] is None
    with client_of(make_service()) as client:
        answer = upload(client, content, "b.png").json()
    assert answer["doubt"].startswith("b.png: its 16-bit values end at 3980")


def test_a_body_may_be_the_file_itself(client):
    done = client.post("/v1/detect", params={"name": "folder/ä b.png"}, content=encoded(9),
                       headers={"Content-Type": "image/png"})
    assert done.json()["image"] == {"name": "ä b.png", "width": 20, "height": 10}


@pytest.mark.parametrize("name, shown", [
    ("../../etc/passwd", "passwd"), ("C:\\slides\\a.tif", "a.tif"), ("", "image"),
    ("a\n\u202eb.png", "a__b.png"), ("x" * 5000, "x" * 300), ("<img src=x>", "<img src=x>")])
def test_names_are_plain(name, shown):
    body = bytearray(encoded())
    assert str(uploads.file_of(body, {"content-type": "image/png"}, name)) == shown


END = f"--{BOUND}--\r\n".encode()


def form(*parts, end=END):
    """A multipart body of (headers, content)."""
    return b"".join(f"--{BOUND}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"
                    for headers, content in parts) + end


def of_form(body):
    return uploads.file_of(bytearray(body), {
        "content-type": f"multipart/form-data; boundary={BOUND}"})


FILE = 'Content-Disposition: form-data; name="file"; filename="a.png"'


@given(st.binary(max_size=300), st.binary(max_size=50))
@settings(max_examples=200, deadline=None)
def test_a_form_gives_the_bytes_of_its_file(content, other):
    content = content or b"x"
    if BOUND.encode() in content + other:
        return
    found = of_form(form(('Content-Disposition: form-data; name="note"', other), (FILE, content)))
    assert (found.name, found.content) == ("a.png", content)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_as_a_form_are_a_file_or_a_sentence(body):
    for whole in (body, f"--{BOUND}\r\n".encode() + body, form((FILE, body))[:-20] + body):
        try:
            assert of_form(whole).content
        except Refusal as refusal:
            assert 400 <= refusal.status < 500 and refusal.message.endswith(".")


# --- what is not --------------------------------------------------------------------------------

WHOLE = png(noise())
BAD = {
    "empty": (b"", 400, "is empty"),
    "text": (b"hello, this is text\n" * 20, 415, "not an image of a known format"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 415, "send a PNG"),
    "html": (b"<!doctype html><script>alert(1)</script>", 415, "send a PNG"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", 415,
            "send a PNG"),
    "zip": (b"PK\x03\x04" + bytes(200), 415, "send a PNG"),
    "only a signature": (WHOLE[:8], 415, "send a PNG"),
    "half": (WHOLE[:len(WHOLE) // 2], 400, "cannot be read"),
    "half a JPEG": (encoded(format="JPEG", size=(200, 200))[:400], 400, "cannot be read"),
    "100,000 pixels a side": (giant(100_000, 100_000), 413, "pixels"),
    "400 pixels a side": (giant(400, 400), 413, "more than the 0.1 million"),
    "fewer rows than it claims": (giant(200, 200), 400, "cannot be read"),
    "no pixels": (giant(0, 0), 415, "send a PNG"),
    "gray pages": (tiff(*[Image.new("L", (9, 9))] * 3), 400, "several pages"),
    "floats": (tiff(Image.fromarray(np.full((9, 9), 0.5, np.float32))), 400,
               "with 8 bits"),
    "half a TIFF": (tiff(Image.fromarray(noise()))[:1000], 400, "cannot be read"),
    "too many bytes": (encoded(format="BMP", size=(400, 300)), 413, "0.3 MB"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(client, name):
    content, status, text = BAD[name]
    assert text in error_of(upload(client, content, "bad.png"), status)
    raw = client.post("/v1/detect", content=content, headers={"Content-Type": "image/png"})
    assert text in error_of(raw, status)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of some tags
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "GIF", "WEBP", "BMP"])
def test_damaged_files_are_an_answer_or_a_sentence(client, kind):
    content = io.BytesIO()
    Image.fromarray(noise()).save(content, kind)
    whole, random = content.getvalue(), np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, min(len(damaged), 400), random.integers(1, 8)):
            damaged[place] = random.integers(0, 256)
        done = upload(client, bytes(damaged[:random.integers(1, len(damaged) + 1)]))
        if done.status_code != 200:
            assert done.status_code in (400, 413, 415)
            error_of(done, done.status_code)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("content, headers, status", [
    (b"x", {}, 415), (b"x", {"Content-Type": "text/plain"}, 415),
    (b"{}", {"Content-Type": "application/json"}, 415),
    (b"x", {"Content-Type": "multipart/form-data"}, 400),
    (b"", {"Content-Type": f"multipart/form-data; boundary={BOUND}"}, 400),
    (form(('Content-Disposition: form-data; name="image"', b"x")), {
        "Content-Type": f"multipart/form-data; boundary={BOUND}"}, 400),
    (form((FILE, WHOLE), (FILE, WHOLE)), {
        "Content-Type": f"multipart/form-data; boundary={BOUND}"}, 400),
    (form((FILE, WHOLE), end=b""), {"Content-Type": f"multipart/form-data; boundary={BOUND}"}, 400),
    (form(*[('Content-Disposition: form-data; name="x"', b"")] * 30), {
        "Content-Type": f"multipart/form-data; boundary={BOUND}"}, 400)])
def test_bodies_that_are_no_upload(client, content, headers, status):
    error_of(client.post("/v1/detect", content=content, headers=headers), status)


@pytest.mark.parametrize("query", ["min_score=2", "min_score=nan", "min_score=x", "preview=maybe",
                                   f"name={'x' * 400}"])
def test_values_that_are_not_allowed(client, query):
    done = client.post(f"/v1/detect?{query}", files={"file": WHOLE})
    assert error_of(done, 422).startswith(query.partition("=")[0])


# --- bodies that never end ------------------------------------------------------------------------


def test_a_body_without_a_length_is_cut_off_at_the_limit(client):
    def endless():
        for _ in range(100):
            yield bytes(10_000)

    done = client.post("/v1/detect", content=endless(), headers={"Content-Type": "image/png"})
    assert "0.3 MB" in error_of(done, 413)


def test_a_large_body_is_refused_by_its_length():
    with pytest.raises(Refusal) as refused:
        uploads.declared_length({"content-length": "10" * 20}, Limits())
    assert refused.value.status == 413
    with pytest.raises(Refusal, match="not a number"):
        uploads.declared_length({"content-length": "-5"}, Limits())


START = (b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
         b"Content-Length: 100\r\n\r\nabc")


def test_a_body_that_stalls_is_given_up():
    service = make_service(limits={"body_seconds": 1})
    with client_of(service) as client:
        address = client.base_url.host, client.base_url.port
        with socket.create_connection(address, timeout=30) as stalled:
            stalled.sendall(START)
            assert b" 408 " in stalled.recv(65536).split(b"\r\n")[0]
        with socket.create_connection(address, timeout=30) as gone:
            gone.sendall(START)
        end = time.monotonic() + 20
        while service.requests.used or service.bytes.used:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert upload(client, WHOLE).status_code == 200


# --- memory and disk ------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_is_written_to_disk(client, tmp_path, monkeypatch):
    """A temporary file could have no name: what the process has open is looked at, too."""
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(arguments)
                     if event == "open" and active else None)
    active = True
    content = png(noise(1, (250, 300, 3)))  # over the size at which forms usually go to disk
    assert len(content) > 200_000
    assert upload(client, content).status_code == 200
    answer = client.post("/v1/detect", content=tiff(Image.fromarray(noise())),
                         headers={"Content-Type": "image/tiff"})
    assert answer.status_code == 200
    active = False
    written = [arguments for arguments in opened if isinstance(arguments[2], int)
               and arguments[2] & (os.O_WRONLY | os.O_RDWR | getattr(os, "O_TMPFILE", 0))]
    assert not written


@pytest.mark.smoke
def test_the_answer_names_what_was_found(client):
    answer = upload(client, encoded(12), "slide 1.png", min_score=0.1).json()
    boxes, class_ids = expected(12)
    assert [found["box"] for found in answer["detections"]] == boxes
    assert [found["class_id"] for found in answer["detections"]] == class_ids
    assert [found["class_name"] for found in answer["detections"]] == ["red", "red", "white"]
    assert [found["score"] for found in answer["detections"]] == pytest.approx([0.9, 0.6, 0.2])
    assert answer["model"] == {"digest": "d" * 64, "classes": ["red", "white"]}
    assert answer["counts"] == [
        {"class_id": 1, "class_name": "red", "detected": 2, "expected": None, "interval": None},
        {"class_id": 2, "class_name": "white", "detected": 1, "expected": None, "interval": None}]
    assert answer["preview"] is None
    assert len(upload(client, encoded(12)).json()["detections"]) == 2  # from 0.5 on


# --- channels and pages -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tif", "a", "a.png"])
def test_channels_are_read_as_from_a_file(name, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = noise(2, (5, 20, 30))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, metadata={"axes": "CYX"})
    file = uploads.ImageBytes(name, path.read_bytes(), uploads.FORMATS)
    assert uploads.size_of(file, 5, Limits()) == (20, 30)
    image, _ = uploads.decode(file, 5, None)
    np.testing.assert_array_equal(image, read_image(path, 5))
    np.testing.assert_array_equal(image, values.transpose(1, 2, 0))
    with client_of(make_service(Echo(IMAGE_CHANNEL_COUNT=5, MEAN_PIXEL=[100.0] * 5))) as client:
        answer = upload(client, path.read_bytes(), name, preview=True).json()
        assert answer["image"] == {"name": name, "width": 30, "height": 20}
        assert answer["detections"][0]["box"] == expected(int(image[0, 0, 0]))[0][0]
        assert answer["preview"].startswith("data:image/jpeg")
        assert "channels" in error_of(upload(client, WHOLE), 400)


def test_a_stack_is_refused(client, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for number, (shape, options) in enumerate([((7, 20, 30), {"imagej": True}),
                                               ((7, 20, 30, 3), {"photometric": "rgb"})]):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, noise(number, shape), **options)
        sentence = error_of(upload(client, path.read_bytes(), "stack.tif"), 400)
        assert sentence.startswith("stack.tif: has several pages") and "import" not in sentence
