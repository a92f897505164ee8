"""Which layers are trained: the words of `layers`, and regular expressions of layer names."""

import logging
import re

import keras

log = logging.getLogger(__name__)

_HEADS = r"mrcnn_.*|rpn_.*|fpn_.*"
_DENSENET_FROM = {
    3: r"pool2_conv|conv3_.*|pool3_.*|conv4_.*|pool4_.*|conv5_.*|bn",
    4: r"pool3_conv|conv4_.*|pool4_.*|conv5_.*|bn",
    5: r"pool4_conv|conv5_.*|bn",
}


def layer_pattern(layers):
    """The regular expression of the layer names that a word for layers stands for.

    Args:
        layers: "heads" (pyramid, RPN and head), "3+", "4+", "5+" (also every backbone layer after
            C2, C3, C4), "all", or a regular expression.
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


def set_trainable(model, pattern, verbose=0):
    """Makes the layers trainable whose whole name matches, and no others.

    Args:
        model: keras.Model; nested models are entered.
        pattern: regular expression.
        verbose: 1 logs each chosen layer's name.

    Raises:
        ValueError: the expression is broken, or matches no layer with weights.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"layers is {pattern!r}, which is neither heads, 3+, 4+, 5+, all nor a "
                         f"regular expression ({error}).") from error
    chosen = _set_trainable(model, expression)
    if not chosen:
        raise ValueError(f"layers is {pattern!r}, which matches no layer that has weights; use "
                         "heads, 3+, 4+, 5+, all, or a regular expression of layer names.")
    for name in chosen if verbose else ():
        log.info("training %s", name)
    return chosen


def _set_trainable(model, expression):
    chosen = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            layer.trainable = True
            chosen += _set_trainable(layer, expression)
        elif layer.weights:
            layer.trainable = bool(expression.fullmatch(layer.name))
            chosen += [layer.name] if layer.trainable else []
    return chosen
