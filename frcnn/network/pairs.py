"""Where a convolution and the BatchNorm that is joined with it are in one graph, in a call.

A convolution may do the work of its BatchNorm only where nothing else reads its output. Keras makes
models of any part of a graph, from the same layers, so that this differs from call to call.
"""

import enum
from collections.abc import Iterator

import keras

from frcnn.arrays import Tensor


class Pairing(enum.Enum):
    """How two joined layers stand to each other in the call that is going on.

    Attributes:
        WHOLE: every graph in the call that has one of them has both, and nothing but the BatchNorm
            reads the convolution's output.
        CUT: a graph has one without the other, or the convolution's output has another reader.
        NO_GRAPH: no functional model in the call has either of them: they are called by hand.
    """

    WHOLE = "whole"
    CUT = "cut"
    NO_GRAPH = "no graph"


def pairing(conv: keras.layers.Layer, norm: keras.layers.Layer) -> Pairing:
    """How the layers stand to each other now; to be called in the `call` of one of them."""
    found = [_is_whole(model, conv, norm) for model in _running_graphs(conv)
             if any(layer is conv or layer is norm for layer in model.layers)]
    if not found:
        return Pairing.NO_GRAPH
    return Pairing.WHOLE if all(found) else Pairing.CUT


def _running_graphs(layer: keras.layers.Layer) -> Iterator[keras.Model]:
    """The functional models that are or may be in progress: of the outermost layer being called."""
    outermost = layer._get_call_context().entry_layer
    for inner in outermost._flatten_layers():
        if hasattr(inner, "_nodes_by_depth"):
            yield inner


def _is_whole(model: keras.Model, conv: keras.layers.Layer, norm: keras.layers.Layer) -> bool:
    """Whether in this model's graph the BatchNorm alone reads the convolution, and vice versa."""
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
    of_conv = [node for node in nodes if node.operation is conv]
    of_norm = [node for node in nodes if node.operation is norm]
    if len(of_conv) != 1 or len(of_norm) != 1:
        return False
    (output,) = of_conv[0].output_tensors
    readers = [node for node in nodes if _is_among(output, node.input_tensors)]
    return readers == of_norm and not _is_among(output, keras.tree.flatten(model.outputs))


def _is_among(tensor: Tensor, tensors: list[Tensor]) -> bool:
    return any(other is tensor for other in tensors)
