"""Checkpoints laid out as the reference writes them, small, and of any backbone."""

import importlib.util
import json

from places import GOLDEN

DENSENETS = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32),
             "densenet201": (6, 12, 48, 32)}
GROWTH = 32


def write_reference_checkpoint(path, backbone, **sizes):
    """Writes formula weights of `reference_layout(backbone, **sizes)`; returns the path."""
    spec = importlib.util.spec_from_file_location("reference_weights",
                                                  GOLDEN / "reference_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path.parent.mkdir(parents=True, exist_ok=True)
    module.write_checkpoint(path, reference_layout(backbone, **sizes))
    return path


def reference_layout(backbone, *, classes=4, pyramid=32, hidden=32, ratios=3, channels=3, pool=7):
    """`[{"layer": group, "weights": [[name, shape], ...]}, ...]` of a Mask R-CNN checkpoint.

    The names and their order are those of the golden layouts; the widths are the arguments'. A
    DenseNet has the names that `keras.applications` gives its layers.
    """
    resnet = backbone if backbone.startswith("resnet") else "resnet50"
    entries = json.loads((GOLDEN / f"layout_{resnet}.json").read_text())
    if backbone in DENSENETS:
        rest = [entry for entry in entries
                if entry["layer"].startswith(("fpn", "rpn", "mrcnn", "anchors"))]
        entries = [*_densenet(DENSENETS[backbone], channels), *rest]
        stages = _densenet_channels(DENSENETS[backbone])
    else:
        stages = {2: 256, 3: 512, 4: 1024, 5: 2048}
    ends = {"mrcnn_class_logits": classes, "mrcnn_bbox_fc": 4 * classes, "mrcnn_mask": classes,
            "rpn_class_raw": 2 * ratios, "rpn_bbox_pred": 4 * ratios,
            "mrcnn_class_conv1": hidden, "mrcnn_class_conv2": hidden,
            "mrcnn_class_bn1": hidden, "mrcnn_class_bn2": hidden}
    starts = {"mrcnn_class_conv1": [pool, pool, pyramid], "mrcnn_class_conv2": [1, 1, hidden],
              "mrcnn_class_logits": [hidden], "mrcnn_bbox_fc": [hidden],
              "rpn_conv_shared": [3, 3, pyramid], "conv1": [7, 7, channels]}

    def resized(name, shape):
        layer = name.split("/")[-2] if "/" in name else name
        if layer.startswith("fpn_"):
            ends[layer] = pyramid
            starts[layer] = [3, 3, pyramid]
            if "c" in layer:
                starts[layer] = [1, 1, stages[int(layer[-1])]]
        start = starts.get(layer, shape[:-1]) if len(shape) > 1 else []
        return [*start, ends.get(layer, shape[-1])]

    return [{**entry, "weights": [[name, resized(name, shape)]
                                  for name, shape in entry["weights"]]} for entry in entries]


def _densenet_channels(blocks):
    """Channels of C2 to C5, by level."""
    channels, found = 64, {}
    for level, count in enumerate(blocks, start=2):
        found[level] = channels + count * GROWTH
        channels = found[level] // 2
    return found


def _densenet(blocks, channels):
    """The entries of a DenseNet's layers with weights, as `keras.applications` names them."""
    def conv(name, *shape):
        entries.append({"layer": name, "weights": [[f"{name}/kernel:0", list(shape)]]})

    def norm(name, width):
        entries.append({"layer": name, "weights": [
            [f"{name}/{part}:0", [width]]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")]})

    entries, width = [], 64
    conv("conv1_conv", 7, 7, channels, 64)
    norm("conv1_bn", 64)
    for stage, count in enumerate(blocks, start=2):
        for block in range(1, count + 1):
            name = f"conv{stage}_block{block}"
            norm(f"{name}_0_bn", width)
            conv(f"{name}_1_conv", 1, 1, width, 4 * GROWTH)
            norm(f"{name}_1_bn", 4 * GROWTH)
            conv(f"{name}_2_conv", 3, 3, 4 * GROWTH, GROWTH)
            width += GROWTH
        end = f"pool{stage}_" if stage < 5 else ""
        norm(f"{end}bn", width)
        if stage < 5:
            conv(f"{end}conv", 1, 1, width, width // 2)
            width //= 2
    return entries
