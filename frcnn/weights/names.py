"""Names of layers and weights: the reference's, and those of other weight files for the same.

Text only; `hdf5` reads files, `checkpoint` models.
"""

import re
from collections.abc import Iterable

VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")

# Keras 1's names; its "running_std" is a variance in spite of the name.
_OLD_VARIABLES = {
    "W": "kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
    "running_var": "moving_variance",
}
_FLAT_NAME = re.compile(
    rf"(?P<owner>.+)_(?P<variable>{'|'.join([*VARIABLES, *_OLD_VARIABLES])})(?:_\d+)?"
)
_COUNTER = re.compile(r"_\d+$")

_APPLICATIONS_LAYER = re.compile(r"conv(\d)_block(\d+)_(\d)_(conv|bn)")
_APPLICATIONS_STEM = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}
_RESNET_LAYER = re.compile(r"(res|bn)(\d)([a-z])_branch(1|2a|2b|2c)")

# A ResNet block in the order in which the reference's files list its layers.
_BLOCK_ORDER = ("res2a", "bn2a", "res2b", "bn2b", "res2c", "res1", "bn2c", "bn1")
_HEADS_ORDER = (
    "fpn_c5p5", "fpn_c4p4", "fpn_c3p3", "fpn_c2p2", "fpn_p5", "fpn_p2", "fpn_p3", "fpn_p4",
    "rpn_model", "rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred",
    "mrcnn_class_conv1", "mrcnn_class_bn1", "mrcnn_class_conv2", "mrcnn_class_bn2",
    "mrcnn_bbox_fc", "mrcnn_class_logits",
)  # fmt: skip
HEAD_OUTPUT_LAYERS = ("mrcnn_class_logits", "mrcnn_bbox_fc")


def parse_weight_name(name: str) -> tuple[str, ...]:
    """Splits a weight's name in a file.

    `"conv1/kernel:0"` gives `("conv1", "kernel")`, `"scope/conv1_1/kernel:0"` gives
    `("scope", "conv1_1", "kernel")`, and the flat names of Keras 1, as
    `"bn_conv1_running_std_1:0"`, give `("bn_conv1", "moving_variance")`.

    Returns:
        The scopes, the layer and, last, the variable by its present name.
    """
    parts = re.sub(r":\d+$", "", name).split("/")
    last = parts[-1]
    if last not in VARIABLES and last not in _OLD_VARIABLES:
        flat = _FLAT_NAME.fullmatch(last)
        if flat:
            parts[-1:] = [flat["owner"], flat["variable"]]
        elif without_counter(last) in VARIABLES:
            parts[-1] = without_counter(last)
    parts[-1] = _OLD_VARIABLES.get(parts[-1], parts[-1])
    return tuple(parts)


def without_counter(name: str) -> str:
    """The name without the `_1` that Keras adds to a name already in use."""
    return _COUNTER.sub("", name)


def counter_of(name: str) -> int:
    """The number of the `_1` that `without_counter` removes; 0 without one."""
    match = _COUNTER.search(name)
    return int(match[0][1:]) if match else 0


def reference_resnet_name(name: str) -> str | None:
    """The reference's name for a layer of a `keras.applications` ResNet, or None.

    `"conv4_block23_2_conv"` is `"res4w_branch2b"`; index 0 is the shortcut, `branch1`.
    """
    name = name.replace("/", "_")
    if name in _APPLICATIONS_STEM:
        return _APPLICATIONS_STEM[name]
    match = _APPLICATIONS_LAYER.fullmatch(name)
    if not match or not 1 <= int(match[2]) <= 26 or int(match[3]) > 3:
        return None
    branch = ("1", "2a", "2b", "2c")[int(match[3])]
    kind = "res" if match[4] == "conv" else "bn"
    return f"{kind}{match[1]}{chr(ord('a') + int(match[2]) - 1)}_branch{branch}"


def backbone_block(name: str) -> tuple[str, int, int] | None:
    """`(family, stage, block)` of a layer inside a ResNet or DenseNet block, else None.

    The family is "resnet" for the reference's names and "applications" for those that
    `keras.applications` gives to ResNets and DenseNets alike.
    """
    match = _RESNET_LAYER.fullmatch(name)
    if match:
        return "resnet", int(match[2]), ord(match[3]) - ord("a") + 1
    match = _APPLICATIONS_LAYER.fullmatch(name.replace("/", "_"))
    return ("applications", int(match[1]), int(match[2])) if match else None


def is_backbone_layer(name: str) -> bool:
    """Whether a layer of the detector is part of the backbone: not of the pyramid, RPN or head."""
    return not name.startswith(("fpn_", "rpn_", "mrcnn_"))


def in_reference_order(names: Iterable[str]) -> list[str]:
    """Sorts layer names in the order of the reference's files.

    A ResNet's layers by stage, block and branch, then those that the reference does not have
    (another backbone) in the given order, then pyramid, RPN and head.
    """
    names = list(names)
    return sorted(names, key=lambda name: _order(name, names.index(name)))


def _order(name: str, position: int) -> tuple[int, int, int, int]:
    if name in ("conv1", "bn_conv1"):
        return 0, 0, 0, ("conv1", "bn_conv1").index(name)
    match = _RESNET_LAYER.fullmatch(name)
    if match:
        return 0, int(match[2]), ord(match[3]), _BLOCK_ORDER.index(match[1] + match[4])
    if name in _HEADS_ORDER:
        return 2, _HEADS_ORDER.index(name), 0, 0
    return 1, position, 0, 0
