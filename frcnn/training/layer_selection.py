"""Selection of the layers to train: keywords such as "heads", and regular expressions of names."""

import logging
import re

import keras

from frcnn.errors import ArgumentError

log = logging.getLogger(__name__)

_HEADS = r"mrcnn_.*|rpn_.*|fpn_.*"
_DENSENET_FROM = {
    3: r"pool2_conv|conv3_.*|pool3_.*|conv4_.*|pool4_.*|conv5_.*|bn",
    4: r"pool3_conv|conv4_.*|pool4_.*|conv5_.*|bn",
    5: r"pool4_conv|conv5_.*|bn",
}


def layer_pattern(layers: str) -> str:
    """The regular expression of layer names for the `layers` argument of `MaskRCNN.train`.

    Args:
        layers: "heads" (pyramid, RPN and head), "3+", "4+", "5+" (also every backbone layer after
            C2, C3, C4), "all", or a regular expression, which is returned as it is.
    """
    if layers == "all":
        return r".*"
    if layers == "heads":
        return _HEADS
    if layers in ("3+", "4+", "5+"):
        first = int(layers[0])
        stages = f"[{first}-5]"
        return rf"res{stages}.*|bn{stages}.*|{_DENSENET_FROM[first]}|{_HEADS}"
    return layers


def matching_layers(model: keras.Model, pattern: str) -> list[keras.layers.Layer]:
    """The layers with weights whose whole name matches.

    Args:
        model: keras.Model; layers of nested models are included.
        pattern: regular expression.

    Raises:
        ValueError: the expression is invalid, or matches no layer with weights.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ArgumentError(f"layers is {pattern!r}, which is neither heads, 3+, 4+, 5+, all nor a "
                            f"regular expression ({error}).") from error
    matching = [layer for layer in layers_with_weights(model) if expression.fullmatch(layer.name)]
    if not matching:
        raise ArgumentError(f"layers is {pattern!r}, which matches no layer that has weights; use "
                            "heads, 3+, 4+, 5+, all, or a regular expression of layer names.")
    return matching


def set_trainable(model: keras.Model, pattern: str, verbose: int = 0) -> list[str]:
    """Makes the layers trainable whose whole name matches, and no others.

    Args:
        model: keras.Model; layers of nested models are included.
        pattern: regular expression.
        verbose: 1 logs the name of each layer that is made trainable.

    Returns:
        The names of these layers.

    Raises:
        ValueError: as `matching_layers`; no layer has been changed then.
    """
    matching = matching_layers(model, pattern)
    chosen = set(matching)
    for nested in _nested_models(model):  # first, since they set the flag of all their layers
        nested.trainable = True
    for layer in layers_with_weights(model):
        layer.trainable = layer in chosen
    names = [layer.name for layer in matching]
    for name in names if verbose else ():
        log.info("training %s", name)
    return names


def layers_with_weights(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers with weights, in the model's order, those of nested models included."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += layers_with_weights(layer)
        elif layer.weights:
            found.append(layer)
    return found


def _nested_models(model: keras.Model) -> list[keras.Model]:
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += [layer, *_nested_models(layer)]
    return found
