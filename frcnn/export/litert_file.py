"""The detector as a LiteRT file, with built-in operators only, for one image of one size."""

import zipfile
from pathlib import Path

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from frcnn.export.graph import DETECTIONS, ExportGraph
from frcnn.runtime.metadata import FILE_NAME, FileMetadata


def write_litert(graph: ExportGraph, path: Path, metadata: FileMetadata) -> None:
    """Converts the graph to LiteRT.

    The metadata is appended as a ZIP archive with one file, as LiteRT's metadata format puts files
    into a model: `unzip -p detector.tflite frcnn.json` prints it.

    Args:
        graph: the ExportGraph.
        path: of the file.
        metadata: FileMetadata, whose `shape` is the molded images'.
    """
    assert metadata.shape is not None
    signature = graph.signature((*metadata.shape, graph.shape[2]), batch=1)
    # With constants: variables would be left without their values.
    constant = convert_variables_to_constants_v2(
        graph.function("litert").get_concrete_function(*signature))

    @tf.function(input_signature=signature, autograph=False)
    def detect(image: tf.Tensor, window: tf.Tensor) -> dict[str, tf.Tensor]:
        return {DETECTIONS: constant(image, window)[0]}

    module = tf.Module()
    module.detect = detect  # which keeps the names of inputs and outputs
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [detect.get_concrete_function()], module)
    path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FILE_NAME, metadata.to_json())
