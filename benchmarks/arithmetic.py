"""The number of multiply-adds of a model, counted layer by layer."""

import math
from typing import NamedTuple

import keras

from frcnn.network.sampled_rpn import SampledRPN

# The name under which SampledRPN's work is listed.
SAMPLED = "rpn_sampled"
STAGES = {"fpn_": "FPN", "rpn_": "RPN", "mrcnn_": "head"}


class LayerWork(NamedTuple):
    """Name of a layer, and the multiply-adds of one call of it."""

    name: str
    multiply_adds: int


def multiply_adds(model, batch=1):
    """The work of every call of a layer that has a kernel, in the order of the calls.

    A layer that is called several times, as the RPN's are on each level, counts each time. Biases,
    BatchNorm, activations, pooling, RoI align and suppression are left out: they have no kernel.

    Args:
        model: a functional `keras.Model`, channels last; the sides of its image must be fixed.
        batch: number of images.

    Returns:
        A list of LayerWork.

    Raises:
        ValueError: a layer is a transposed convolution, or its output has no fixed shape.
    """
    inputs = [keras.KerasTensor((batch, *x.shape[1:]), x.dtype) for x in model.inputs]
    found = []
    _walk(model, inputs, found)
    return found


def _walk(model, inputs, found):
    """Propagates shapes through a model and appends the work to `found`; returns the outputs."""

    def operation(layer):
        def call(*args, **kwargs):
            if isinstance(layer, keras.Model):
                return _walk(layer, args[0], found)
            outputs = layer.compute_output_spec(*args, **kwargs)
            if isinstance(layer, SampledRPN):
                found.append(LayerWork(SAMPLED, _sampled_work(layer, outputs[0].shape)))
            elif getattr(layer, "kernel", None) is not None:
                found.append(LayerWork(layer.name, _work(layer, outputs.shape)))
            return outputs
        return call

    return model._run_through_graph(inputs, operation_fn=operation)


def _work(layer, shape):
    """Every position of the output multiplies by each value of the kernel once."""
    if isinstance(layer, (keras.layers.Conv2DTranspose, keras.layers.Conv1DTranspose)):
        raise ValueError(f"The layer {layer.name!r} is a transposed convolution, which is not "
                         "counted.")
    if None in shape:
        raise ValueError(f"The shape {shape} of the layer {layer.name!r} is not fixed; build the "
                         "model for images of one size.")
    return math.prod(shape[:-1]) * math.prod(layer.kernel.shape)


def _sampled_work(layer, shape):
    """Every sampled anchor multiplies by the RPN's kernels once."""
    kernels = sum(math.prod(conv.kernel.shape) for conv in layer.rpn.layers
                  if getattr(conv, "kernel", None) is not None)
    return math.prod(shape[:2]) * kernels


def by_stage(works):
    """Multiply-adds of those of the stages "backbone", "FPN", "RPN" and "head" that occur."""
    total = {}
    for work in works:
        stage = next((stage for prefix, stage in STAGES.items() if work.name.startswith(prefix)),
                     "backbone")
        total[stage] = total.get(stage, 0) + work.multiply_adds
    return total


def of_training_step(works):
    """The same list for a training step.

    For each product of the forward pass a step has three: that one, the gradient of the kernel and
    the gradient of the input. The first layer needs no gradient of its input, the image. The RPN
    over all cells needs no gradients where its sampled anchors are computed separately.
    """
    samples = any(work.name == SAMPLED for work in works)

    def products(index, name):
        if samples and name != SAMPLED and name.startswith("rpn_"):
            return 1
        return 3 if index else 2

    return [LayerWork(work.name, products(index, work.name) * work.multiply_adds)
            for index, work in enumerate(works)]


def total(works, training=False):
    """Multiply-adds of a forward pass, or of a training step."""
    return sum(work.multiply_adds for work in (of_training_step(works) if training else works))
