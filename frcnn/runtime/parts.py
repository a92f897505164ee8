"""An OpenVINO graph in two parts: the network, and what turns its outputs into boxes.

Only the first may be computed in bfloat16: it has 8 bits of mantissa, so that a coordinate of a
thousand pixels would be rounded to multiples of four.
"""

from typing import Any

import numpy as np

from frcnn.errors import ExportError

# The tensors between the parts, beside the feature maps that RoI align reads: the RPN's outputs.
_RPN_OUTPUTS = ("rpn_class_logits", "rpn_bbox")
_PREFIX = "between_"


def split(model: Any, name: str) -> tuple[Any, Any]:
    """The parts of a detector's graph.

    Args:
        model: an `openvino.Model` of image and windows; it stays as it is.
        name: of the file, for messages.

    Returns:
        The network, of the image, whose outputs are named `between_0`, `between_1`, …; and the
        rest, of image, windows and these. The head belongs to the rest.

    Raises:
        ExportError: the graph has no such place.
    """
    from openvino import Model, opset13

    first, second = model.clone(), model.clone()
    results = [opset13.result(_named(output, place))
               for place, output in enumerate(_between(first, name))]
    network = Model(results, [first.input("image").get_node()], "network")
    parameters = []
    for place, output in enumerate(_between(second, name)):
        readers = list(output.get_target_inputs())
        parameter = opset13.parameter(output.get_partial_shape(), output.get_element_type())
        value = _named(parameter.output(0), place)
        if len(value.get_partial_shape()) == 4:
            value = _blocked(value)
        for reader in readers:
            reader.replace_source_output(value)
        parameters.append(parameter)
    detections = [result.get_node() for result in second.outputs]
    inputs = [entry.get_node() for entry in second.inputs]
    return network, Model(detections, [*inputs, *parameters], "boxes")


def _between(model: Any, name: str) -> list[Any]:
    """The outputs of operations that the second part reads, in a fixed order."""
    operations = model.get_ordered_ops()
    found = [operation.output(0) for layer in _RPN_OUTPUTS for operation in operations
             if operation.get_type_name() == "Concat"
             and operation.get_friendly_name().startswith(layer)]
    if len(found) == len(_RPN_OUTPUTS):
        maps = [operation.input_value(0) for operation in operations
                if operation.get_type_name() == "ROIAlign"]
        # A cascade reads every map once a stage.
        by_name = {(output.get_node().get_friendly_name(), output.get_index()): output
                   for output in maps}
        found += by_name.values()
    if len(found) <= len(_RPN_OUTPUTS):
        raise ExportError(f"{name}: the graph has no place between the network and the boxes, so "
                          "that bfloat16 would round boxes, too; use float32.")
    return found


def _blocked(feature_map: Any) -> Any:
    """The same values, from a convolution of each channel with 1.

    OpenVINO computes convolutions in a layout of blocks of channels, which RoI align then reads;
    with a map in the layout of an input it takes twenty times as long.
    """
    from openvino import opset13

    channels = feature_map.get_partial_shape()[1].get_length()
    kernel = opset13.constant(np.ones((channels, 1, 1, 1, 1), np.float32))
    return opset13.group_convolution(
        feature_map, kernel, strides=[1, 1], pads_begin=[0, 0], pads_end=[0, 0],
        dilations=[1, 1]).output(0)


def _named(output: Any, place: int) -> Any:
    output.get_tensor().add_names({f"{_PREFIX}{place}"})
    return output
