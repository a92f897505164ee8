"""The detector as one graph for other runtimes: SavedModel, ONNX, OpenVINO, LiteRT."""

from frcnn.export.api import Exported, export
from frcnn.export.quantization import Calibration

__all__ = ["Calibration", "Exported", "export"]
