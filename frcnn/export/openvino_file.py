"""The detector as OpenVINO's two files, made from the ONNX graph."""

from pathlib import Path
from typing import Any

from frcnn.export.graph import ExportGraph
from frcnn.export.onnx_file import to_onnx
from frcnn.runtime.metadata import KEY, FileMetadata
from frcnn.runtime.openvino_core import openvino_core


def to_openvino(graph: ExportGraph, folder: Path) -> Any:
    """The graph as an `openvino.Model`; intermediate files go into the folder."""
    import onnx

    path = folder / "graph.onnx"
    onnx.save(to_onnx(graph), str(path))
    try:
        # Read, not memory-mapped: the file is deleted.
        model = openvino_core().read_model(path.read_bytes())
    finally:
        path.unlink()
    return model


def write_openvino(model: Any, path: Path, metadata: FileMetadata) -> None:
    """Writes `path` and, beside it, the weights as `.bin`, in float32."""
    import openvino

    model.set_rt_info(metadata.to_json(), [KEY])
    openvino.save_model(model, str(path), compress_to_fp16=False)
