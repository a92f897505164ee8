"""Folding of frozen BatchNorm into the preceding convolution, which saves detection that layer."""

from typing import Any

import keras
from keras import ops

from frcnn.arrays import Tensor
from frcnn.network import ops as frcnn_ops
from frcnn.network.layers import BatchNorm, RoiConv

FOLDABLE = (keras.layers.Conv2D, RoiConv)


class FoldedModel:
    """A copy of a model without its foldable BatchNorm layers.

    A BatchNorm on stored statistics is `scale · x + shift` in each channel, so a convolution whose
    output only it reads can include it: `scale · kernel` and `scale · bias + shift`. The copy's
    convolutions hold these, in the number format they compute in; all other layers are shared.

    Args:
        model: functional model whose BatchNorm layers are not trained any more.
        outputs, inputs: the copy's, tensors of the model; default the model's own (`inputs` needs
            `outputs`).

    Attributes:
        model: the copy, a functional model.
        folded: names of the BatchNorm layers that the copy leaves out.

    Source: Jacob et al. 2018 (Quantization and Training of Neural Networks), section 3.2.
    """

    def __init__(self, model: keras.Model, outputs: Tensor = None, inputs: Tensor = None) -> None:
        self._pairs = foldable_pairs(model)
        self._copies = {conv: _copy(conv) for conv in self._pairs}
        dropped = set(self._pairs.values())

        def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Tensor:
            return args[0] if layer in dropped else layer(*args, **kwargs)

        source = model if outputs is None else keras.Model(inputs or model.inputs, outputs)
        self.model = keras.models.clone_model(
            source, clone_function=lambda layer: self._copies.get(layer, layer),
            call_function=call)
        self.folded = [norm.name for norm in self._pairs.values()]
        self._source, self._variables = model, list(model.variables)
        self._watch = frcnn_ops.Watch(self._variables)
        self._fold()

    @property
    def is_outdated(self) -> bool:
        """Whether the source has other variables by now, as after `quantize` or `enable_lora`.

        Then the copy, and functions compiled from it, are no longer of use.
        """
        variables = self._source.variables
        return len(variables) != len(self._variables) or any(
            new is not old for new, old in zip(variables, self._variables))

    def refresh(self) -> bool:
        """Folds again if weights of the source have changed; call it before using the copy.

        Returns:
            Whether any weight has changed, those included that the copy shares.
        """
        has_changed = self._watch.has_changed()
        if has_changed:
            self._fold()
        return has_changed

    def _fold(self) -> None:
        for conv, norm in self._pairs.items():
            kernel, bias = folded_weights(conv, norm)
            copy = self._copies[conv]
            copy.kernel.assign(kernel)
            copy.bias.assign(bias)


def foldable_pairs(model: keras.Model) -> dict[keras.layers.Layer, BatchNorm]:
    """The model's convolutions that exactly one BatchNorm follows: dict conv → BatchNorm."""
    readers: dict[int, list[keras.layers.Layer]] = {}
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                readers.setdefault(id(tensor), []).append(layer)
    outputs = {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    pairs = {}
    for layer in model.layers:
        if isinstance(layer, FOLDABLE) and len(layer._inbound_nodes) == 1 \
                and id(layer.output) not in outputs and _is_linear(layer):
            following = readers.get(id(layer.output), [])
            if len(following) == 1 and isinstance(following[0], BatchNorm):
                pairs[layer] = following[0]
    return pairs


def folded_weights(conv: keras.layers.Layer, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Kernel and bias, float32, of the convolution and its BatchNorm together."""
    scale, shift = norm.scale_and_shift()
    bias = 0.0 if conv.bias is None else ops.cast(conv.bias, "float32")
    return ops.cast(conv.kernel, "float32") * scale, bias * scale + shift


def _is_linear(layer: keras.layers.Layer) -> bool:
    return getattr(layer, "activation", None) in (None, keras.activations.linear)


def _copy(conv: keras.layers.Layer) -> keras.layers.Layer:
    """A layer like `conv` with a bias, its weights stored in the format it computes in."""
    settings = conv.get_config()
    # Zeros: drawing random weights that are overwritten at once would take time for nothing.
    settings.update(dtype=conv.compute_dtype, trainable=False, kernel_initializer="zeros")
    if "use_bias" in settings:
        settings["use_bias"] = True
    return type(conv).from_config(settings)
