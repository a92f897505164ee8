"""Fetching weight files, from a server in this process."""

import hashlib
import http.server
import os
import threading

import pytest

from frcnn.errors import CheckpointError
from frcnn.weights import download

CONTENT = bytes(range(256)) * 10_000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path == "/absent.h5":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 1000 if self.path == "/broken.h5" else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def source(server, name="file.h5", **expected):
    return download.WeightFile(f"{server.url}/{name}", name, **expected)


def test_a_file_is_fetched_once(server, tmp_path, capsys):
    wanted = source(server, md5=hashlib.md5(CONTENT).hexdigest(), size=len(CONTENT))
    path = tmp_path / "new" / "file.h5"
    for _ in range(2):
        assert download.fetch(wanted, path) == str(path)
        assert path.read_bytes() == CONTENT
    assert server.requests == ["/file.h5"]
    assert os.listdir(path.parent) == ["file.h5"]
    assert "".join(capsys.readouterr()) == ""


def test_progress_is_shown_when_asked(server, tmp_path, capsys):
    download.fetch(source(server), tmp_path / "file.h5", verbose=1)
    assert "file.h5" in capsys.readouterr().err


def test_an_incomplete_file_is_fetched_again(server, tmp_path):
    path = tmp_path / "file.h5"
    path.write_bytes(CONTENT[:500])
    download.fetch(source(server, size=len(CONTENT)), path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "expected", "complaint"), [
    ("absent.h5", {}, "cannot be fetched .*Not Found"),
    ("broken.h5", {}, "cannot be fetched .*1000 of 2560000 bytes"),
    ("file.h5", {"size": 12}, "2560000 bytes instead of 12"),
    ("file.h5", {"md5": "0" * 32}, "another MD5 sum"),
])  # fmt: skip
def test_what_fails_leaves_nothing_new_behind(server, tmp_path, name, expected, complaint):
    path = tmp_path / "file.h5"
    with pytest.raises(CheckpointError, match=complaint):
        download.fetch(source(server, name, **expected), path)
    assert os.listdir(tmp_path) == []


def test_no_connection_says_what_to_do(tmp_path, server, monkeypatch):
    server.shutdown()
    server.server_close()
    monkeypatch.setattr(download, "COCO", source(server, "mask_rcnn_coco.h5"))
    with pytest.raises(CheckpointError, match=r"copy the file to .*coco\.h5 by hand"):
        download.download_trained_weights(tmp_path / "coco.h5")
    assert os.listdir(tmp_path) == []


def test_named_files_lie_in_keras_own_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(download, "COCO", source(server, "coco.h5"))
    monkeypatch.setitem(download.IMAGENET, "resnet50", source(server, "resnet50.h5"))
    assert download.get_coco_weights() == str(tmp_path / "models" / "coco.h5")
    assert download.get_imagenet_weights("resnet50") == str(tmp_path / "models" / "resnet50.h5")


@pytest.mark.parametrize("backbone", ["vgg16", len])
def test_backbones_without_weights(backbone):
    with pytest.raises(CheckpointError, match="no ImageNet weights for the backbone"):
        download.get_imagenet_weights(backbone)


def test_every_backbone_has_its_own_file():
    files = download.IMAGENET.values()
    assert set(download.IMAGENET) == {"resnet50", "resnet101", "densenet121", "densenet169",
                                      "densenet201"}  # fmt: skip
    assert len({file.name for file in files}) == len({file.url for file in files}) == 5
    assert all(file.url.startswith("https://") and len(file.md5) == 32 for file in files)
