"""Downloads that are interrupted go on; what comes is checked by its SHA-256 sum."""

import hashlib
import http.server
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from frcnn.errors import CheckpointError
from frcnn.weights import download, transfer

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers requests for a part, as `server.script` says: one entry a request.

    An entry is the number of bytes after which the connection breaks; None for all.
    """

    def do_GET(self):
        server = self.server
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.requests.append((wanted, condition))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not server.knows_ranges or (condition and condition != server.tag):
            start = 0
        if wanted and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        if start:
            self.send_response(206)
            shift = server.shift
            self.send_header("Content-Range", f"bytes {start + shift}-{len(server.content) - 1}/"
                                              f"{len(server.content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        limit = server.script.pop(0) if server.script else None
        self.wfile.write(body[:limit])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.script = [], []
        server.content, server.tag, server.knows_ranges, server.shift = CONTENT, '"1"', True, 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FRCNN_CACHE", str(folder))
    monkeypatch.setattr(transfer, "CHUNK", 1000)  # what is kept is a multiple of it
    return folder


@pytest.fixture
def fetch(server, tmp_path):
    """A function that fetches the file, to a new folder, with what is expected of it."""
    def call(**expected):
        url = f"http://127.0.0.1:{server.server_port}/file.h5"
        path = tmp_path / "new" / "file.h5"
        download.fetch(download.WeightFile(url, "file.h5", **expected), path)
        assert os.listdir(path.parent) == ["file.h5"]
        return path.read_bytes()
    return call


def breaks(fetch, **expected):
    with pytest.raises(CheckpointError, match="cannot be fetched") as error:
        fetch(**expected)
    return str(error.value)


def parts(cache):
    folder = cache / "downloads"
    return {path.suffix: path.stat().st_size for path in folder.iterdir()}


@pytest.mark.parametrize("tag", ['"1"', ""])
def test_an_interrupted_download_goes_on_where_it_ended(server, fetch, cache, tag):
    server.tag, server.script = tag, [1_000_000, 500_000, None]
    assert "1,000,000 bytes are kept" in breaks(fetch, sha256=SHA256)
    assert parts(cache)[".part"] == 1_000_000
    assert "1,500,000 bytes are kept" in breaks(fetch, sha256=SHA256)
    assert fetch(sha256=SHA256) == CONTENT
    assert server.requests == [(None, None), ("bytes=1000000-", tag or None),
                               ("bytes=1500000-", tag or None)]
    assert parts(cache) == {}


def test_a_process_that_was_killed_leaves_what_it_had(server, fetch, cache):
    server.script = [1_000_000]
    breaks(fetch, sha256=SHA256)
    (part,) = (cache / "downloads").glob("*.part")
    part.write_bytes(CONTENT[:2_000_000])  # as if it had gone on, and ended without a word
    assert fetch(sha256=SHA256) == CONTENT
    assert server.requests[-1][0] == "bytes=2000000-"


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_new_version_is_fetched_from_the_beginning(server, fetch, knows_ranges):
    server.script = [1_000_000]
    breaks(fetch)
    server.content, server.tag = CONTENT[::-1], '"2"'
    server.knows_ranges = knows_ranges
    assert fetch() == CONTENT[::-1]
    assert server.requests[1] == ("bytes=1000000-", '"1"')


def test_without_sum_and_tag_nothing_goes_on(server, fetch):
    """Nobody could tell whether the rest is of the same file."""
    server.tag, server.script = "", [1_000_000]
    breaks(fetch, size=len(CONTENT))
    server.content = CONTENT[::-1]
    assert fetch(size=len(CONTENT)) == CONTENT[::-1]
    assert server.requests[1] == (None, None)


def test_a_rest_that_does_not_fit_makes_it_begin_anew(server, fetch):
    server.tag, server.script = "", [1_000_000]
    server.content = CONTENT[::-1]
    breaks(fetch, sha256=SHA256)
    server.content = CONTENT  # of the same size, without a tag: seen by the sum alone
    assert fetch(sha256=SHA256) == CONTENT
    assert server.requests == [(None, None), ("bytes=1000000-", None), (None, None)]


@pytest.mark.parametrize(("shift", "size"), [(1, None), (0, len(CONTENT)), (0, len(CONTENT) + 9)])
def test_a_wrong_answer_makes_it_begin_anew(server, fetch, cache, shift, size):
    server.script, server.shift = [1_000_000], shift
    breaks(fetch, sha256=SHA256)
    if size is not None:
        (part,) = (cache / "downloads").glob("*.part")
        part.write_bytes(bytes(size))
    assert fetch(sha256=SHA256) == CONTENT
    assert server.requests[-1] == (None, None)


def test_two_processes_do_not_write_to_one_file(server, fetch, cache):
    url = f"http://127.0.0.1:{server.server_port}/file.h5"
    with transfer.Transfer(url, True, 60) as other:
        other.path.write_bytes(b"of the other process")
        assert fetch(sha256=SHA256) == CONTENT
        assert other.path.read_bytes() == b"of the other process"
    assert server.requests == [(None, None)]


def test_without_a_cache_it_comes_all_the_same(server, fetch, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FRCNN_CACHE", str(tmp_path / "file" / "cache"))
    server.script = [1_000_000]
    assert "are kept" not in breaks(fetch, sha256=SHA256)
    assert fetch(sha256=SHA256) == CONTENT


@pytest.mark.parametrize("expected", [{"sha256": "0" * 64}, {"sha256": SHA256, "size": 12},
                                      {"md5": "0" * 32}])
def test_other_content_is_refused_and_not_kept(fetch, cache, expected):
    with pytest.raises(CheckpointError, match=r"SHA-256 sum|bytes instead of|MD5 sum"):
        fetch(**expected)
    assert parts(cache) == {}


def test_what_came_first_holds_from_then_on(server, fetch, cache, tmp_path):
    """Where no SHA-256 sum is known."""
    assert fetch(size=len(CONTENT)) == CONTENT
    assert (cache / "weights.sha256").read_text().split()[0] == SHA256
    changed = bytearray(CONTENT)
    changed[1234] ^= 1
    (tmp_path / "new" / "file.h5").write_bytes(changed)  # of the same size
    assert fetch(size=len(CONTENT)) == CONTENT and len(server.requests) == 2
    server.content = bytes(changed)
    (tmp_path / "new" / "file.h5").unlink()
    with pytest.raises(CheckpointError, match=f"first file from there had {SHA256}"):
        fetch(size=len(CONTENT))
    (cache / "weights.sha256").write_text("")  # as the message says
    assert fetch(size=len(CONTENT)) == changed


def test_an_encrypted_address_does_not_lead_to_another():
    """As a redirection would, which requests follows."""
    answer = SimpleNamespace(is_redirect=False, url="http://elsewhere/file.h5", status_code=200,
                             headers={})
    with transfer.Transfer("https://host/file.h5", True, 60) as started:
        with pytest.raises(OSError, match="not encrypted"):
            started._begin(answer)
        answer.url = "https://elsewhere/file.h5"
        started._begin(answer)
