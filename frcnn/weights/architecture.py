"""What a weight file says about the network it belongs to, from the names and shapes in it.

A checkpoint of the reference has no configuration beside it. Its backbone, number of classes and
layer widths can be read from the file itself; image size, anchor scales and anchor stride cannot.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from frcnn.weights.hdf5 import FileWeight, open_weight_file
from frcnn.weights.names import backbone_block, reference_resnet_name, without_counter
from frcnn.weights.recipes import recipe_settings

# Blocks in the stages 2 to 5. He et al. 2015, table 1; Huang et al. 2017, table 1.
_RESNETS: dict[tuple[int, ...], str] = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101"}
_BASIC_RESNETS: dict[tuple[int, ...], str] = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}
_DENSENETS: dict[tuple[int, ...], str] = {
    (6, 12, 24, 16): "densenet121",
    (6, 12, 32, 32): "densenet169",
    (6, 12, 48, 32): "densenet201",
}

_Shapes = dict[str, tuple[int, ...]]


def read_architecture(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings of `Config` that a weight file determines.

    Args:
        path: an HDF5 file in any layout that `frcnn.weights.hdf5` reads.

    Returns:
        Values by setting: BACKBONE and IMAGE_CHANNEL_COUNT (of a ResNet or DenseNet that
        `frcnn.config.BACKBONES` lists), TOP_DOWN_PYRAMID_SIZE, POOL_SIZE,
        FPN_CLASSIF_FC_LAYERS_SIZE and NUM_CLASSES (background included). A setting whose layer is
        not in the file is left out: NUM_CLASSES is missing from a file with only a backbone.
        CASCADE_IOUS and PYRAMID_ATTENTION are there if the file has such layers; of the former it
        determines only the number, see `recipe_settings`.

    Raises:
        FileNotFoundError, CheckpointError: see `open_weight_file`.
    """
    shapes = _layer_shapes(path)
    found: dict[str, Any] = {}
    backbone = _backbone(shapes)
    if backbone is not None:
        found["BACKBONE"] = backbone
        stem = shapes.get("conv1") or shapes.get("conv1_conv")
        if stem is not None and len(stem) == 4:
            found["IMAGE_CHANNEL_COUNT"] = stem[2]
    if "fpn_c5p5" in shapes:
        found["TOP_DOWN_PYRAMID_SIZE"] = shapes["fpn_c5p5"][-1]
    if "mrcnn_class_conv1" in shapes:
        found["FPN_CLASSIF_FC_LAYERS_SIZE"] = shapes["mrcnn_class_conv1"][-1]
        if len(shapes["mrcnn_class_conv1"]) == 4:
            found["POOL_SIZE"] = shapes["mrcnn_class_conv1"][0]
    if "mrcnn_class_logits" in shapes:
        found["NUM_CLASSES"] = shapes["mrcnn_class_logits"][-1]
    return {**found, **recipe_settings(shapes)}


def count_anchor_ratios(path: str | os.PathLike[str]) -> int | None:
    """The number of anchors at a cell: how many RPN_ANCHOR_RATIOS the RPN was built for.

    Returns:
        None if the file has no RPN. The ratios themselves are not in a weight file.

    Raises:
        FileNotFoundError, CheckpointError: see `open_weight_file`.
    """
    shape = _layer_shapes(path).get("rpn_class_raw")
    return None if shape is None else shape[-1] // 2  # two logits for each


def _layer_shapes(path: str | os.PathLike[str]) -> _Shapes:
    """The shape of each layer's kernel (the weight with the most axes) by all names it may have."""
    shapes: _Shapes = {}
    with open_weight_file(path) as weights:
        for weight in weights:
            if not weight.shape:
                continue
            for name in _layer_names(weight):
                if len(weight.shape) > len(shapes.get(name, ())):
                    shapes[name] = weight.shape
    return shapes


def _layer_names(weight: FileWeight) -> Iterator[str]:
    """The names under which a weight's layer may be known, less scopes and Keras's counters."""
    for name in (weight.group.replace("/", "_"), weight.group.split("/")[-1], *weight.parts[-2:-1]):
        yield name
        yield without_counter(name)


def _backbone(shapes: _Shapes) -> str | None:
    """The BACKBONE with the file's number of blocks in every stage; None if it is another."""
    blocks = {block for name in shapes if (block := backbone_block(name))}
    families = {family for family, _, _ in blocks}
    if len(families) != 1:
        return None
    counts = Counter(stage for _, stage, _ in blocks)
    key = tuple(counts[stage] for stage in sorted(counts))
    if families == {"resnet"}:  # of two convolutions a block, or three
        return (_RESNETS if "res2a_branch2c" in shapes else _BASIC_RESNETS).get(key)
    # A DenseNet has two convolutions in a block, a ResNet three with BatchNorm after each; the
    # second version of ResNet, which has BatchNorm before each, is not supported.
    renamed = {reference_resnet_name(name) for name in shapes}
    if any(name and "branch2c" in name for name in renamed):
        return _RESNETS.get(key) if "bn2a_branch2c" in renamed else None
    return _DENSENETS.get(key)
