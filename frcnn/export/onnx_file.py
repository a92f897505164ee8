"""The detector as an ONNX file."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frcnn.arrays import Array
from frcnn.export import image_graph
from frcnn.export.graph import DETECTIONS, ExportGraph
from frcnn.runtime.metadata import KEY, FileMetadata

OPSET = 17


def write_onnx(graph: ExportGraph, path: Path, metadata: FileMetadata) -> None:
    """Writes the graph as an ONNX file."""
    import onnx

    model = to_onnx(graph, metadata.image_in_graph)
    onnx.helper.set_model_props(model, {KEY: metadata.to_json()})
    onnx.save(model, os.fspath(path))


def to_onnx(graph: ExportGraph, image_in_graph: bool = False) -> Any:
    """The graph as an `onnx.ModelProto`, checked; with molding and unmolding if wanted."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)

    def of_molded(detect: Any, image: Any, window: Any) -> dict[str, Any]:
        return {DETECTIONS: detect(image, window)}

    def of_images(detect: Any, image: Any) -> dict[str, Any]:
        return image_graph.of_images(detect, image, graph.config)

    body: Callable[..., dict[str, Any]] = of_molded
    inputs = graph.signature()
    if image_in_graph:
        body, inputs = of_images, image_graph.image_signature(graph)
    function, weights = graph.function_of_weights("onnx", body)
    with _without_copies():
        model, _ = tf2onnx.convert.from_function(
            function, input_signature=[*inputs, *weights], opset=OPSET,
            custom_op_handlers={"CropAndResize": (_roi_align, []), "Select": (_where, []),
                                "SelectV2": (_where, [])})
    _store_weights(model.graph, {name: np.asarray(value) for name, value in graph.weights.items()})
    _separate_loop_outputs(model.graph)
    onnx.checker.check_model(model)
    return model


def _store_weights(graph: Any, weights: dict[str, Array]) -> None:
    """Makes constants of the inputs that are weights, in the order and shape that is used."""
    from onnx import numpy_helper

    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    constants = {value.name: value for value in graph.initializer}
    nodes = []
    for node in graph.node:
        source = weights.get(node.input[0]) if node.input else None
        if node.op_type == "Transpose" and source is not None:
            (order,) = (attribute.ints for attribute in node.attribute)
            weights[node.output[0]] = np.ascontiguousarray(source.transpose(order))
        elif node.op_type == "Reshape" and source is not None and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]])
            weights[node.output[0]] = source.reshape(shape)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name)
                             for name, value in weights.items() if name in used)


@contextlib.contextmanager
def _without_copies() -> Iterator[None]:
    """Keeps tf2onnx from copying the graph before each of its dozens of steps."""
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _where(context: Any, node: Any, name: str, args: Any) -> None:
    """Replaces a selection by ONNX's Where: tf2onnx multiplies by 0, and infinity becomes NaN."""
    node.type = "Where"


def _separate_loop_outputs(graph: Any) -> None:
    """Copies those outputs of a loop's body that are its inputs, as OpenVINO demands."""
    from onnx import helper

    for node in graph.node:
        for body in (attribute.g for attribute in node.attribute if attribute.HasField("g")):
            inputs = {value.name for value in body.input}
            for value in body.output:
                if value.name in inputs:
                    copy = f"{value.name}_unchanged"
                    body.node.append(helper.make_node("Identity", [value.name], [copy]))
                    value.name = copy
            _separate_loop_outputs(body)


def _roi_align(context: Any, node: Any, name: str, args: Any) -> None:
    """Replaces the CropAndResize of `crop_levels_for_onnx` by RoiAlign and transpositions.

    That operator has channels first, and boxes as (x1, y1, x2, y2).
    """
    features, boxes, images, _ = node.input
    height, width = (int(side) for side in node.inputs[3].get_tensor_value())
    samples = int(node.get_attr_value("extrapolation_value"))
    shapes, types = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    order = context.make_const(f"{name}_order", np.array([1, 0, 3, 2], np.int64)).output[0]
    boxes = context.make_node("Gather", [boxes, order], attr={"axis": 1}).output[0]
    images = context.make_node("Cast", [images], attr={"to": 7}).output[0]  # int64
    features = context.make_node("Transpose", [features], attr={"perm": [0, 3, 1, 2]}).output[0]
    pooled = context.make_node("RoiAlign", [features, boxes, images], attr={
        "mode": "avg", "output_height": height, "output_width": width, "spatial_scale": 1.0,
        "sampling_ratio": samples, "coordinate_transformation_mode": "half_pixel"}).output[0]
    context.make_node("Transpose", [pooled], attr={"perm": [0, 2, 3, 1]}, name=name,
                      outputs=node.output, shapes=shapes, dtypes=types)
