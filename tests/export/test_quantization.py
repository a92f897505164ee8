"""8 bits: which layers, calibrated on a data set, judged by AP."""

import logging

import keras
import numpy as np
import pytest
from export_tools import NAMES
from model_tools import Rectangles

from frcnn.errors import ArgumentError, ExportError
from frcnn.export import quantization
from frcnn.runtime import Detector
from frcnn.runtime.openvino_core import openvino_core

pytest.importorskip("nncf")
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                       reason="TensorFlow traces what is exported"),
    # Of NNCF and what it imports.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]


@pytest.fixture(scope="module")
def dataset():
    return Rectangles([(100, 130), (128, 128), (90, 200)])


@pytest.fixture(scope="module")
def calibration(dataset):
    from frcnn.export import Calibration

    return Calibration(dataset, [0, 1, 2], dataset, [0, 1], max_ap_drop=1.0)


@pytest.fixture(scope="module")
def converted(exports):
    """Spares the conversion, which `test_formats` tests: it gives the model of another file."""
    from frcnn.export import openvino_file

    path, _ = exports("openvino")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_file, "to_openvino",
                      lambda *_: openvino_core().read_model(path))
        yield


@pytest.fixture(scope="module")
def written(exports, calibration, converted, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "detector.xml"
    return path, exports.model.export(path, "openvino", class_names=NAMES,
                                      calibration=calibration)


@pytest.mark.slow
def test_loggers_and_handlers_of_the_process_keep_their_levels(written):
    """NNCF's own way to be quiet also silences the handlers that a program has added."""
    from nncf.common.logging.logger import nncf_logger

    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    nncf_logger.addHandler(handler)
    level = nncf_logger.level
    try:
        with quantization._quiet():
            assert not nncf_logger.isEnabledFor(logging.INFO)
        assert (handler.level, nncf_logger.level) == (logging.WARNING, level)
    finally:
        nncf_logger.removeHandler(handler)


def test_a_file_in_8_bits(exports, written, dataset):
    path, exported = written
    assert exported.metadata.precision == "int8" and exported.comparison is None
    before, after = exported.average_precisions
    assert 0 <= after <= 1 and f"AP is {after:.4f} in 8 bits, and {before:.4f}" in "".join(
        exported.lines())
    float_size = exports("openvino")[0].with_suffix(".bin").stat().st_size
    assert path.with_suffix(".bin").stat().st_size < 0.6 * float_size
    image = dataset.load_image(1)
    (found,), (expected,) = Detector(path).detect([image]), exports.model.detect([image])
    # Scores are about the same; the first box is one of the model's, whatever the order.
    assert found["scores"][0] == pytest.approx(expected["scores"][0], abs=0.1)
    distances = np.abs(expected["boxes"] - found["boxes"][0]).max(axis=1)
    assert distances.min() < 8


def test_what_stays_in_float32(exports):
    from frcnn.export.quantization import float_operations

    model = openvino_core().read_model(exports("openvino")[0])
    names = set(float_operations(model))
    kinds = {operation.get_friendly_name(): operation.get_type_name()
             for operation in model.get_ordered_ops()}
    of_8_bits = [name for name in kinds if name not in names]
    convolutions = [name for name, kind in kinds.items() if kind == "Convolution"]
    kept = [name for name in convolutions if name in names]
    # The RPN's two output layers on five levels, the pyramid's four levels, and the second 3x3
    # convolution of the backbone, whose stages have one each.
    outputs = [name for name in kept if "rpn_class_raw" in name or "rpn_bbox_pred" in name]
    pyramid = [name for name in kept if "fpn_" in name]
    (first,) = set(kept) - {*outputs, *pyramid}
    assert len(outputs) == 10 and len(pyramid) == 8 and first.startswith("small2_conv")
    assert any("rpn_conv_shared" in name for name in set(convolutions) - names)
    assert sum(kinds[name] == "MatMul" for name in of_8_bits) == 2
    assert not {"TopK", "ROIAlign", "NonMaxSuppression", "Loop", "Softmax"} & {
        kinds[name] for name in of_8_bits}
    assert len(convolutions) > 20


def test_a_loss_of_ap_is_refused(exports, calibration, converted, tmp_path, monkeypatch):
    from dataclasses import replace

    from frcnn.export import quantization

    figures = iter([0.5, 0.48])
    monkeypatch.setattr(quantization, "average_precision", lambda *_: next(figures))
    monkeypatch.setattr(quantization, "quantized", lambda model, *_: model)
    with pytest.raises(ExportError, match=r"In 8 bits AP is 0\.4800, in float32 0\.5000, on 2 "
                                          r"images: that is more than 0\.01 lower"):
        exports.model.export(tmp_path / "a.xml", "openvino", class_names=NAMES,
                             calibration=replace(calibration, max_ap_drop=0.01))
    assert not list(tmp_path.iterdir())


def test_8_bits_are_for_openvino(exports, calibration, tmp_path):
    with pytest.raises(ArgumentError, match="8 bits are for the format 'openvino', not 'onnx'"):
        exports.model.export(tmp_path / "a.onnx", "onnx", class_names=NAMES,
                             calibration=calibration)
