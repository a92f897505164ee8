"""Downloading weight files, from a server in this process."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from frcnn.errors import CheckpointError
from frcnn.weights import download

CONTENT = bytes(range(256)) * 10_000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path == "/absent.h5":
            self.send_error(404)
        elif self.path == "/moved.h5":  # as GitHub does with the files of a release
            self.send_response(302)
            self.send_header("Location", "/file.h5")
            self.end_headers()
        elif self.path == "/silent.h5":
            self.server.closing.wait(30)
        else:
            self.send_response(200)
            if self.path != "/unsized.h5":
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: 1000 if self.path == "/broken.h5" else None])

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    """The cache's folder: a new one, not the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FRCNN_CACHE", str(folder))
    return folder


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.closing = [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.closing.set()
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
    shown = capsys.readouterr().err
    assert "file.h5" in shown and "100%" in shown and "2.56M/2.56M" in shown


@pytest.mark.parametrize("name", ["moved.h5", "unsized.h5"])
@pytest.mark.parametrize("verbose", [0, 1])
def test_servers_may_redirect_and_leave_the_size_out(server, tmp_path, name, verbose):
    path = download.fetch(source(server, name, size=len(CONTENT)), tmp_path / name, verbose)
    assert (tmp_path / name).read_bytes() == CONTENT and path == str(tmp_path / name)


def test_others_may_read_the_file(server, tmp_path):
    download.fetch(source(server), tmp_path / "file.h5")
    (tmp_path / "usual").touch()
    assert (tmp_path / "file.h5").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_incomplete_file_is_fetched_again(server, tmp_path):
    path = tmp_path / "file.h5"
    path.write_bytes(CONTENT[:500])
    download.fetch(source(server, size=len(CONTENT)), path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "expected", "complaint"), [
    ("absent.h5", {}, "cannot be fetched .*Not Found"),
    ("broken.h5", {}, "cannot be fetched .*1000 bytes read, 2559000 more expected"),
    ("silent.h5", {}, "cannot be fetched .*timed out"),
    ("file.h5", {"size": 12}, "2560000 bytes instead of 12"),
    ("file.h5", {"md5": "0" * 32}, "another MD5 sum"),
])  # fmt: skip
def test_what_fails_leaves_nothing_new_behind(server, tmp_path, monkeypatch, name, expected,
                                              complaint):
    monkeypatch.setattr(download, "_TIMEOUT", 0.2 if name == "silent.h5" else 60)
    path = tmp_path / "file.h5"
    for _ in range(2):
        try:
            raise KeyError("of the caller")
        except KeyError:
            with pytest.raises(CheckpointError, match=complaint) as error:
                download.fetch(source(server, name, **expected), path, verbose=1)
        assert "of the caller" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_an_older_file_as_it_was(server, tmp_path):
    path = tmp_path / "file.h5"
    path.write_bytes(b"incomplete")
    with pytest.raises(CheckpointError):
        download.fetch(source(server, "broken.h5", size=len(CONTENT)), path)
    assert path.read_bytes() == b"incomplete" and os.listdir(tmp_path) == ["file.h5"]


def test_no_connection_says_what_to_do(tmp_path, server, monkeypatch):
    server.shutdown()
    server.server_close()
    monkeypatch.setattr(download, "COCO", source(server, "mask_rcnn_coco.h5"))
    with pytest.raises(CheckpointError, match=r"copy the file to .*coco\.h5 by hand") as error:
        download.download_trained_weights(tmp_path / "coco.h5")
    assert "refused" in str(error.value) and "object at" not in str(error.value)
    assert os.listdir(tmp_path) == []


# --- where named files are kept --------------------------------------------------------------


@pytest.fixture
def named(server, tmp_path, monkeypatch):
    """The names' files come from the server; home is an empty folder, no variable is set."""
    monkeypatch.setattr(download, "COCO", source(server, "coco.h5", size=len(CONTENT)))
    monkeypatch.setitem(download.IMAGENET, "resnet50", source(server, "resnet50.h5"))
    for name in ("KERAS_HOME", "FRCNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return monkeypatch


@pytest.mark.parametrize(("variables", "folder"), [
    ({"FRCNN_CACHE": "cache"}, "cache/weights"), ({"KERAS_HOME": "keras"}, "keras/models"),
    ({"FRCNN_CACHE": "cache", "KERAS_HOME": "keras"}, "cache/weights"),
])  # fmt: skip
def test_the_environment_says_where_named_files_are_kept(named, server, tmp_path, variables,
                                                         folder):
    for name, value in variables.items():
        named.setenv(name, str(tmp_path / value))
    for _ in range(2):
        assert download.get_coco_weights() == str(tmp_path / folder / "coco.h5")
        assert download.get_imagenet_weights("resnet50") == str(tmp_path / folder / "resnet50.h5")
    assert server.requests == ["/coco.h5", "/resnet50.h5"]


def test_named_files_are_kept_in_the_cache_by_default(named, tmp_path):
    path = Path(download.get_coco_weights())
    assert path.parts[-2:] == ("weights", "coco.h5") and path.is_relative_to(tmp_path / "home")


@pytest.mark.parametrize("home", [None, "keras"])
def test_complete_files_in_keras_folder_are_used(named, server, tmp_path, home):
    if home:
        named.setenv("KERAS_HOME", str(tmp_path / home))
    named.setenv("FRCNN_CACHE", str(tmp_path / "cache"))
    earlier = tmp_path / (home or "home/.keras") / "models" / "coco.h5"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(CONTENT)
    assert download.get_coco_weights() == str(earlier) and server.requests == []

    earlier.write_bytes(CONTENT[:500])
    assert download.get_coco_weights() == str(tmp_path / "cache" / "weights" / "coco.h5")
    assert earlier.read_bytes() == CONTENT[:500]
    earlier.write_bytes(CONTENT)
    assert download.get_coco_weights() == str(tmp_path / "cache" / "weights" / "coco.h5")


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
