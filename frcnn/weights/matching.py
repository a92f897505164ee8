"""Which array of a weight file belongs to which weight of a model.

ResNets of `keras.applications` differ from the reference's in three things, and all are minded:
layer names; BatchNorm's epsilon (1.001e-5, the reference has 1e-3), for which gamma is scaled by
`sqrt((variance + our epsilon) / (variance + theirs))` so that the layer computes the same from its
stored statistics; and the channel order, since they were trained on BGR and this model is fed RGB,
so that the first kernel's input channels are reversed. The classic ResNet-50 file keeps its values
as they are: it was trained on BGR too, but the reference feeds it RGB, and so do we.
"""

from dataclasses import dataclass

import numpy as np

from frcnn.errors import CheckpointError
from frcnn.weights.hdf5 import FileWeight
from frcnn.weights.names import backbone_block, reference_resnet_name, without_counter

APPLICATIONS_EPSILON = 1.001e-5


@dataclass
class Match:
    """An array of the file for one weight of the model.

    Attributes:
        weight: the `FileWeight`.
        rank: how far its name is from the model's; the smaller, the closer.
        adapted: it is of a `keras.applications` ResNet.
        variance: for an adapted gamma, the `FileWeight` of the same layer's moving variance.
        epsilon: for an adapted gamma, the model's epsilon.
        reverse_channels: it is an adapted first kernel.
    """

    weight: FileWeight
    rank: int = 0
    adapted: bool = False
    variance: FileWeight | None = None
    epsilon: float | None = None
    reverse_channels: bool = False

    @property
    def shape(self):
        return self.weight.shape

    def read(self):
        """The array, float32, as the model needs it."""
        value = self.weight.read()
        if self.reverse_channels:
            value = value[:, :, ::-1]
        if self.variance is not None:
            variance = self.variance.read().astype(np.float64)
            factor = (variance + self.epsilon) / (variance + APPLICATIONS_EPSILON)
            value = (value * np.sqrt(factor)).astype(np.float32)
        return value


def match_by_name(layers, file_weights, path):
    """Matches by layer and weight names.

    Args:
        layers: `{layer name: ModelLayer}`.
        file_weights: `[FileWeight, ...]`.
        path: the file's, for messages.

    Returns:
        `{(layer name, variable name): Match}` and the names of what was left over.

    Raises:
        CheckpointError: two arrays of the file claim the same weight equally.
    """
    matches, ignored = {}, []
    ordinals = _ordinals(file_weights)
    for weight in file_weights:
        found = _resolve(layers, weight)
        variable = found and _variable(layers[found[0]], weight, ordinals)
        if not variable:
            ignored.append(weight)
            continue
        name, rank, adapted = found
        key, match = (name, variable), Match(weight, rank, adapted)
        old = matches.get(key)
        if old is not None and old.rank == rank:
            raise CheckpointError(
                f"{path} holds {'/'.join(key)} twice, as {old.weight.name} in {old.weight.group} "
                f"and as {weight.name} in {weight.group}; remove or rename one."
            )
        if old is None or rank < old.rank:
            matches[key] = match
        ignored += [] if old is None else [max(old, match, key=lambda each: each.rank).weight]
    for key in matches:
        _adapt(key, matches, layers)
    return matches, _names_of(ignored, {id(match.weight) for match in matches.values()},
                              file_weights)


def _ordinals(file_weights):
    """Position of each weight in its group, and the groups' sizes, for files without names."""
    sizes, positions = {}, {}
    for weight in file_weights:
        positions[id(weight)] = sizes.get(weight.group, 0)
        sizes[weight.group] = sizes.get(weight.group, 0) + 1
    return positions, sizes


def _candidates(weight):
    """Names that the weight's layer may have, the likeliest first."""
    yield weight.group
    if len(weight.parts) > 1:
        yield weight.parts[-2]
    yield weight.group.split("/")[-1]
    for part in reversed(weight.parts[:-1]):
        yield without_counter(part)
    yield without_counter(weight.group)
    yield without_counter(weight.group.split("/")[-1])


def _resolve(layers, weight):
    """`(layer name, rank, adapted)` of the model's layer for a weight of the file, or None."""
    for rank, candidate in enumerate(_candidates(weight)):
        for name in (candidate, candidate.replace("/", "_")):
            if name in layers:
                return name, rank, False
        name = reference_resnet_name(candidate)
        if name in layers:
            return name, rank, True
    return None


def _variable(layer, weight, ordinals):
    """The name of the layer's variable for a weight of the file, or None."""
    for start in range(len(weight.parts)):
        name = "/".join(weight.parts[start:])
        if name in layer.variables:
            return name
    positions, sizes = ordinals
    unnamed = weight.parts[-1].isdigit() or weight.parts[-1].startswith("param_")
    if unnamed and sizes[weight.group] == len(layer.variables):
        return list(layer.variables)[positions[id(weight)]]
    return None


def _adapt(key, matches, layers):
    name, variable = key
    match = matches[key]
    if not match.adapted:
        return
    if name == "conv1" and variable == "kernel" and match.shape[2:3] == (3,):
        match.reverse_channels = True
    epsilon, variance = layers[name].epsilon, matches.get((name, "moving_variance"))
    if variable == "gamma" and epsilon and variance and variance.shape == match.shape:
        match.variance, match.epsilon = variance.weight, epsilon


def _names_of(ignored, used, file_weights):
    """Names for the report: the group's where nothing of it was used, else group and weight."""
    used_groups = {weight.group for weight in file_weights if id(weight) in used}
    names = (weight.label if weight.group in used_groups else weight.group for weight in ignored)
    return list(dict.fromkeys(names))


def match_by_order(layers, file_weights, path):
    """Matches the file's arrays and the model's weights one by one, in order.

    Args and returns: as `match_by_name`.

    Raises:
        CheckpointError: the numbers of weights differ.
    """
    keys = [(name, variable) for name, layer in layers.items() for variable in layer.variables]
    if len(keys) != len(file_weights):
        raise CheckpointError(
            f"{path} has {len(file_weights)} weights and the model {len(keys)}, so they cannot be "
            "matched by their order; pass by_name=True."
        )
    return {key: Match(weight) for key, weight in zip(keys, file_weights, strict=True)}, []


def other_backbone_layers(layers, file_weights):
    """Groups of the file in blocks that the model's backbone does not have, though the stage is.

    A ResNet-101's file has all that a ResNet-50 needs, by name and by shape, and yet is not for it.
    """
    blocks = {backbone_block(name) for name in layers} - {None}
    stages = {block[:2] for block in blocks}
    others = {}
    for weight in file_weights:
        for name in (weight.group, *weight.parts[-2:-1]):
            for block in (backbone_block(name), backbone_block(reference_resnet_name(name) or "")):
                if block and block[:2] in stages and block not in blocks:
                    others[name] = None
    return list(others)
