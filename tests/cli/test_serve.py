"""`frcnn serve`: its options, its token, and the process: load, and SIGTERM in the middle of it."""

import io
import logging
import os
import re
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, checkpoint, fails
from PIL import Image
from places import PROJECT
from serve_load import Load, lost
from serve_tools import Echo

from frcnn.cli import serve
from frcnn.errors import MissingExtraError
from frcnn.serve import server

TOKEN = "correct-horse-battery"
# Of load in the tests; by hand, two minutes: see tests/tools/serve_load.py.
SECONDS = 20


@pytest.fixture
def weights(tmp_path):
    return checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv(serve.TOKEN_VARIABLE, raising=False)


def options(*arguments):
    return serve.build_parser().parse_args(list(map(str, arguments)))


# --- options --------------------------------------------------------------------------------------


def test_on_this_machine_no_token_is_needed():
    assert options().host == "127.0.0.1" and serve.read_token(options()) is None
    assert serve.read_token(options("--host", "localhost")) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "lab.example"])
def test_for_others_a_token_is_demanded(host, weights, capsys):
    line = fails(capsys, serve.main, "--host", host, "--model", weights)
    assert f"--host {host} lets other machines" in line and "FRCNN_TOKEN" in line


def test_the_token_is_that_of_the_file_or_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(serve.TOKEN_VARIABLE, f" {TOKEN}\n")
    assert serve.read_token(options("--host", "0.0.0.0")) == TOKEN
    (tmp_path / "token").write_text(f"another-{TOKEN}\n")
    assert serve.read_token(options("--token-file", tmp_path / "token")) == f"another-{TOKEN}"


@pytest.mark.parametrize("content, text", [
    ("", "is empty"), ("short", "16 or more"), ("with some spaces in it", "16 or more"),
    ("ümläute-und-anderes", "16 or more")])
def test_tokens_that_are_too_weak(tmp_path, weights, capsys, content, text):
    (tmp_path / "token").write_text(content, encoding="utf-8")
    line = fails(capsys, serve.main, "--token-file", tmp_path / "token", "--model", weights)
    assert text in line and "secrets.token_urlsafe" in line
    if content:
        assert content not in line  # messages are kept in logs


def test_a_token_file_that_is_missing(tmp_path, weights, capsys):
    assert "cannot be read" in fails(capsys, serve.main, "--token-file", tmp_path / "none",
                                     "--model", weights)


def test_an_address_in_use(weights, capsys):
    taken = server.listening("127.0.0.1", 0)
    taken.listen()
    try:
        port = taken.getsockname()[1]
        line = fails(capsys, serve.main, "--port", port, "--model", weights)
    finally:
        taken.close()
    assert f"Port {port} of 127.0.0.1" in line and "--port" in line


@pytest.mark.parametrize("arguments, text", [
    (["--host", "203.0.113.99", "--token-file", "TOKEN"], "cannot be used"),
    (["--port", "65536"], "--port"), (["--port", "-1"], "--port"), (["--queue", "0"], "--queue"),
    (["--rate", "many"], "--rate"), (["--model", "none.h5"], "no such file"),
    (["--model", "imagenet"], "no detector")])
def test_mistakes_are_one_line(tmp_path, weights, capsys, arguments, text):
    (tmp_path / "token").write_text(TOKEN)
    arguments = [str(tmp_path / "token") if word == "TOKEN" else word for word in arguments]
    model = [] if "--model" in arguments else ["--model", weights]
    assert text in fails(capsys, serve.main, *model, *arguments)


def test_missing_libraries_are_named(weights, monkeypatch):
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "frcnn\[serve\]"'):
        serve.run(options("--model", weights))


# --- the detector ---------------------------------------------------------------------------------


@pytest.fixture
def made(weights, monkeypatch):
    """Makes the Service of options, with a detector that is no network; keeps its Config."""
    configs = []

    def detector(start, config, given):
        configs.append(config)
        return Echo(DETECTION_MIN_CONFIDENCE=config.DETECTION_MIN_CONFIDENCE), [1], None

    monkeypatch.setattr(serve, "_detector", detector)

    def make(*arguments):
        given = options("--model", weights, *arguments)
        start = serve.starts.find_trained(given.model, given.logs, given.config, given.trust)
        return serve.make_service(start, given, None), configs[-1]

    return make


def test_low_scores_are_detected_and_the_configuration_s_are_counted(made):
    service, config = made()
    assert config.DETECTION_MIN_CONFIDENCE == serve.LOWEST_SCORE
    assert service.default_score == 0.7  # the default of Config
    service, config = made("--min-confidence", "0.01")
    assert config.DETECTION_MIN_CONFIDENCE == service.default_score == 0.01


def test_the_range_is_the_checkpoint_s_or_the_option_s(made, weights, capsys):
    assert made()[1].IMAGE_INTENSITY_RANGE is None
    assert tuple(made("--range", 0, 4095)[1].IMAGE_INTENSITY_RANGE) == (0, 4095)
    line = fails(capsys, serve.main, "--model", weights, "--range", "measure")
    assert "give --range LOW HIGH" in line


def test_limits_and_names_are_those_of_the_options(made, weights):
    service, _ = made("--max-megabytes", 3, "--max-megapixels", 2, "--queue", 5, "--rate", 7,
                      "--allow-host", "lab.example")
    assert vars(service.limits) == {"max_bytes": 3_000_000, "max_pixels": 2_000_000, "queue": 5,
                                    "rate": 7, "body_seconds": 120.0}
    assert "lab.example" in service.access.hosts and service.access.token is None
    assert service.name == weights.name and service.classes.names == NAMES
    assert re.fullmatch("[0-9a-f]{64}", service.digest)


def test_a_failed_warm_up_ends_it_with_one_line(weights, monkeypatch, capsys):
    class Broken(Echo):
        def detect_stream(self, images, **options):
            raise ValueError("no memory\nleft")
            yield

    monkeypatch.setattr(serve, "_detector", lambda *arguments: (Broken(), [1], None))
    line = fails(capsys, serve.main, "--model", weights, "--port", 0)
    assert line.endswith("detection in a blank image failed: no memory left")


def test_log_handlers_of_the_process_stay_open():
    closed = []

    class Handler(logging.Handler):
        def close(self):
            closed.append(self)
            super().close()

    handler = Handler()
    server.make_server(lambda scope, receive, send: None)
    assert not closed
    handler.close()


# --- the process ----------------------------------------------------------------------------------


class Process:
    """`frcnn serve` in a process of its own."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "frcnn.cli", "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)})

    def __enter__(self):
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("page "):
                self.address = line.split()[1].rstrip("/")
                break
        else:
            raise AssertionError((lines, self.process.stderr.read()))
        end = time.monotonic() + 120
        while httpx.get(f"{self.address}/healthz").status_code != 200:
            assert time.monotonic() < end and self.process.poll() is None
            time.sleep(0.1)
        return self

    def finish(self):
        """What it printed, after its end."""
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err
        assert "Traceback" not in err
        return out

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The checkpoint of a small detector with random weights, whose network is a ResNet-50."""
    from model_tools import prefer_objects

    from frcnn.config import Config
    from frcnn.model.mask_rcnn import MaskRCNN
    from frcnn.runs import save_metadata
    from frcnn.weights.checkpoint import save_weights

    config = Config(
        NAME="small", BACKBONE="resnet50", NUM_CLASSES=4, IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128,
        TOP_DOWN_PYRAMID_SIZE=32, FPN_CLASSIF_FC_LAYERS_SIZE=32, PRE_NMS_LIMIT=200,
        POST_NMS_ROIS_INFERENCE=40, DETECTION_MAX_INSTANCES=20,
        RPN_ANCHOR_SCALES=(12, 24, 48, 72, 96), DETECTION_MIN_CONFIDENCE=0.01)
    folder = tmp_path_factory.mktemp("small")
    model = MaskRCNN("inference", config, folder, seed=1)
    prefer_objects(model)
    path = folder / "mask_rcnn_small_0001.h5"
    save_weights(model.keras_model, path)
    save_metadata(path, config, NAMES, CATEGORY_IDS)
    return path


def pictures(count):
    """`{name: content}` of images of several sizes and kinds."""
    random, made = np.random.default_rng(0), {}
    for number in range(count):
        shape = (*random.integers(60, 200, 2), 3)
        pixels = random.integers(0, 256, shape, np.uint8)
        content, kind = io.BytesIO(), ("PNG", "TIFF", "BMP")[number % 3]
        Image.fromarray(pixels).save(content, kind)
        made[f"{number}.{kind.lower()}"] = content.getvalue()
    return made


@pytest.mark.nightly
def test_under_load_every_answer_is_right_memory_is_flat_and_sigterm_loses_none(small):
    with Process("--model", small, "--rate", 1_000_000, "--min-confidence", 0.01) as served:
        load = Load(served.address, pictures(12))
        assert any(answer["detections"] for answer in load.expected.values())
        load.run(SECONDS)  # what is allocated once is allocated now
        before = np.median(load.memory[-5:])
        ended = load.run(SECONDS, served.process.pid)
        out = served.finish()
    assert not load.wrong and not lost(load, ended)
    assert len(load.times) > 100
    assert np.median(load.memory[-5:]) < before + 60e6
    assert out.endswith("all requests that were under way have been answered.\n")


@pytest.mark.slow
def test_it_detects_as_the_command_does(small, tmp_path):
    import json

    from frcnn.cli import detect

    for name, content in pictures(5).items():
        (tmp_path / name).write_bytes(content)
    output = tmp_path / "found.json"
    assert detect.main([str(tmp_path), "--model", str(small), "--output", str(output)]) == 0
    rows = json.loads(output.read_text())
    with Process("--model", small) as served, httpx.Client(base_url=served.address) as client:
        sent = []
        for path in sorted(tmp_path.iterdir()):
            if path != output:
                answer = client.post("/v1/detect", timeout=60, files={
                    "file": (path.name, path.read_bytes())}).json()
                sent.append({**answer["image"], "name": str(path),
                             "detections": answer["detections"]})
        found = client.post("/v1/export", params={"format": "coco"}, json={"images": sent}).json()
        served.process.send_signal(signal.SIGINT)
        served.finish()
    assert len(found) == len(rows) > 0
    for one, other in zip(found, rows, strict=True):
        np.testing.assert_allclose(one.pop("bbox"), other.pop("bbox"), atol=0.011)
        assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-4)
        # No name that the server writes is absolute.
        assert one == {**other, "file_name": other["file_name"].removeprefix("/")}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_exported_files_are_served(exports, format):
    path = exports(format)[0]
    with Process("--model", path) as served, httpx.Client(base_url=served.address) as client:
        model = client.get("/v1/model").json()
        assert [entry["name"] for entry in model["classes"]] == ["red", "green", "blue"]
        assert model["lowest_score"] == exports.SETTINGS["DETECTION_MIN_CONFIDENCE"]
        content = io.BytesIO()
        pixels = np.random.default_rng(1).integers(0, 256, (100, 120, 3), np.uint8)
        Image.fromarray(pixels).save(content, "PNG")
        answer = client.post("/v1/detect", params={"min_score": 0}, timeout=60,
                             files={"file": content.getvalue()}).json()
        served.process.send_signal(signal.SIGTERM)
        served.finish()
    (expected,) = exports.model.detect([pixels])
    assert len(answer["detections"]) == len(expected["scores"]) > 0
    np.testing.assert_allclose([found["score"] for found in answer["detections"]],
                               expected["scores"], atol=1e-4)
    np.testing.assert_allclose([found["box"] for found in answer["detections"]],
                               expected["boxes"], atol=0.01)
