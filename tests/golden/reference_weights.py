"""Weights made by a formula, in place of a checkpoint of 180 MB.

The outputs in `model_resnet50.npz` belong to a detector whose every weight is `formula_weight` of
its layer's name, its own name and its shape, with seed 5. A test sets these weights on a model, or
writes them to a file laid out as the reference's checkpoints are and loads that:

    python tests/golden/reference_weights.py resnet50 weights.h5 5
"""

import argparse
import json
import math
import zlib
from pathlib import Path

import numpy as np

# Standard deviation of a kernel, times the square root of its fan-in. They keep the activations
# and the scores in a range where mistakes show.
KERNEL_GAINS = {
    "conv1": 0.02,
    "fpn_p2": 0.5, "fpn_p3": 1.0, "fpn_p4": 2.0, "fpn_p5": 3.0,
    "rpn_class_raw": 1.5, "rpn_bbox_pred": 0.5,
    "mrcnn_class_logits": 0.7, "mrcnn_bbox_fc": 0.5,
}  # fmt: skip


def formula_weight(layer, weight, shape, seed=0):
    """One weight of one layer.

    Args:
        layer: the layer's name, as "res2a_branch2a".
        weight: "kernel", "bias", "gamma", "beta", "moving_mean" or "moving_variance".
        shape: its shape.
        seed: another seed gives other weights.

    Returns:
        float32 of that shape, the same on every machine.
    """
    name = f"{layer}/{weight}"
    normal = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    if weight == "kernel":
        values = _kernel_gain(layer) * normal / np.sqrt(math.prod(shape[:-1]))
    elif weight == "gamma":
        # The last one of a residual block is small, lest the sums grow from block to block.
        values = (0.3 if layer.endswith("branch2c") else 1.0) * (1 + 0.1 * normal)
    elif weight == "moving_variance":
        values = 1 + 0.2 * np.abs(normal)
    elif weight in ("beta", "moving_mean"):
        values = 0.1 * normal
    elif weight == "bias":
        values = 0.01 * normal
    else:
        raise ValueError(f"{name}: there is no formula for a weight of that name")
    return values.astype(np.float32)


def _kernel_gain(layer):
    default = 1.0 if layer.startswith("fpn_") else 2.0**0.5
    return KERNEL_GAINS.get(layer, default)


def write_checkpoint(path, layout, seed=0):
    """Writes the formula's weights as an HDF5 file in the reference's layout.

    Args:
        path: the file to write.
        layout: the content of a `layout_*.json`: a list of `{"layer": group, "weights":
            [[name, shape], ...]}`, names as "conv1/kernel:0". The anchors, whose name has no
            layer, are written as zeros.
        seed: as in `formula_weight`.
    """
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [entry["layer"].encode() for entry in layout]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        for entry in layout:
            group = file.create_group(entry["layer"])
            group.attrs["weight_names"] = [name.encode() for name, _ in entry["weights"]]
            for name, shape in entry["weights"]:
                layer, _, weight = name.removesuffix(":0").rpartition("/")
                layer = layer.rpartition("/")[2]  # a scope may stand before the layer's name
                group[name] = (formula_weight(layer, weight, shape, seed) if layer
                               else np.zeros(shape, np.float32))


def main():
    parser = argparse.ArgumentParser(description="Write a checkpoint of formula weights.")
    parser.add_argument("architecture", choices=["resnet50", "resnet101"])
    parser.add_argument("path")
    parser.add_argument("seed", type=int, nargs="?", default=5)
    arguments = parser.parse_args()
    layout = Path(__file__).with_name(f"layout_{arguments.architecture}.json")
    write_checkpoint(arguments.path, json.loads(layout.read_text()), arguments.seed)


if __name__ == "__main__":
    main()
