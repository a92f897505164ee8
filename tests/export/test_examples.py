"""The examples run as they are: without frcnn, on files that were exported as they say."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import keras
import numpy as np
import pytest
from export_tools import IMAGES, NAMES
from PIL import Image
from places import PROJECT

EXAMPLES = PROJECT / "examples"
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                                reason="TensorFlow traces what is exported")


@pytest.fixture
def picture(tmp_path):
    """An image that is not resized, so that the simple molding is exact."""
    Image.fromarray(IMAGES[1]).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def lines_of(result):
    """What an example prints of a result of `detect`."""
    return [f"{NAMES[class_id]} {score:.3f} " + " ".join(f"{side:.2f}" for side in box)
            for box, class_id, score in zip(result["boxes"], result["class_ids"],
                                            result["scores"])]


def words(lines):
    """Names, and numbers with a tolerance: rounding may differ in the last digit."""
    return [[word if word.isalpha() else pytest.approx(float(word), abs=0.011)
             for word in line.split()] for line in lines]


@pytest.mark.parametrize(("program", "format", "options"), [
    ("onnx_runtime.py", "onnx", {"image_in_graph": True}), ("openvino_cpu.py", "openvino", {}),
    ("litert.py", "litert", {})])
def test_programs(exports, picture, tmp_path, program, format, options):
    path, _ = exports(format, **options)
    for name in (program, "molding.py"):  # away from the package, which they must not need
        shutil.copy(EXAMPLES / name, tmp_path)
    done = subprocess.run([sys.executable, program, path, picture], cwd=tmp_path,
                          capture_output=True, text=True,
                          env={name: value for name, value in os.environ.items()
                               if name != "PYTHONPATH"})
    assert done.returncode == 0, done.stderr
    (expected,) = exports.model.detect([IMAGES[1]])
    found = [[word if word.isalpha() else float(word) for word in line.split()]
             for line in done.stdout.splitlines()]
    assert len(found) > 3 and found == words(lines_of(expected))
    code = (EXAMPLES / program).read_text()
    assert "import frcnn" not in code and "from frcnn" not in code


@pytest.fixture
def server(exports):
    """The address of a server that answers as TensorFlow Serving's REST interface is documented."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(exports("savedmodel")[0]))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/models/detector:predict"
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            signature = loaded.signatures[request["signature_name"]]
            (name,) = signature.structured_input_signature[1]
            data = [base64.b64decode(instance["b64"]) for instance in request["instances"]]
            found = {key: value.numpy().tolist()
                     for key, value in signature(**{name: tf.constant(data)}).items()}
            rows = [dict(zip(found, values)) for values in zip(*found.values())]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": rows}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_the_request_to_serving(exports, server, picture):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    environment = {name: value for name, value in os.environ.items()
                   if not name.lower().endswith("_proxy")}
    done = subprocess.run(["sh", EXAMPLES / "serving.sh", picture], capture_output=True, text=True,
                          env={**environment, "URL": server})
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["predictions"]
    (expected,) = exports.model.detect([IMAGES[1]])
    count = answer["count"]
    np.testing.assert_allclose(answer["boxes"][:count], expected["boxes"], atol=0.01)
    np.testing.assert_array_equal(answer["class_ids"][:count], expected["class_ids"])


def test_the_configuration_for_triton(exports):
    import onnx

    text = re.sub("#.*", "", (EXAMPLES / "triton/detector/config.pbtxt").read_text())
    assert 'platform: "onnxruntime_onnx"' in text and "max_batch_size: 8" in text
    graph = onnx.load(str(exports("onnx")[0])).graph
    for kind, values in (("input", graph.input), ("output", graph.output)):
        block = re.search(rf"^{kind} \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)[1]
        found = re.findall(r'name: "(\w+)"\s+data_type: TYPE_(\w+)\s+dims: \[ (.+?) \]', block)
        stated = {name: ([int(side) for side in dims.split(", ")], dtype)
                  for name, dtype, dims in found}
        assert list(stated) == [value.name for value in values]
        for value in values:
            dims, dtype = stated[value.name]
            sides = [side.dim_value or -1 for side in value.type.tensor_type.shape.dim]
            assert sides[0] == -1 and dtype == "FP32"  # the batch is not among Triton's
            assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            assert [-1 if side == 100 else side for side in dims] == [
                -1 if value.name == "detections" and place == 0 else side
                for place, side in enumerate(sides[1:])]
