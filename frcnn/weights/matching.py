"""Matches the arrays of a weight file to the weights of a model.

ResNets of `keras.applications` differ from the reference's in three ways, and are adapted: layer
names; BatchNorm's epsilon (1.001e-5, the reference has 1e-3), for which gamma is scaled by
`sqrt((variance + our epsilon) / (variance + theirs))` so that the layer computes the same from its
stored statistics; and the channel order, since they were trained on BGR and this model's input is
RGB, so that the first kernel's input channels are reversed. The classic ResNet-50 file is not
adapted: it was trained on BGR, too, but the reference feeds it RGB, and so does this package.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from frcnn.errors import CheckpointError
from frcnn.weights.hdf5 import FileWeight
from frcnn.weights.names import backbone_block, reference_resnet_name, without_counter

Layers: TypeAlias = "Mapping[str, ModelLayer]"
# By (layer name, variable name).
Matches: TypeAlias = "dict[tuple[str, str], Match]"
# Position of each weight, by id, in its group, and the groups' sizes.
_Ordinals: TypeAlias = tuple[dict[int, int], dict[str, int]]


@dataclass(frozen=True)
class ModelLayer:
    """A layer that has weights.

    Attributes:
        name: the layer's name.
        group: name of the nested model that it is part of, or its own.
        variables: Keras variables by name ("kernel", ...), in Keras's order.
        epsilon: BatchNorm's, else None.
    """

    name: str
    group: str
    variables: dict[str, Any]
    epsilon: float | None = None

APPLICATIONS_EPSILON = 1.001e-5


@dataclass
class Match:
    """An array of the file for one weight of the model.

    Attributes:
        weight: the `FileWeight`.
        rank: distance of its name from the model's; lower is closer.
        adapted: whether it is of a `keras.applications` ResNet.
        variance: for an adapted gamma, the `FileWeight` of the same layer's moving variance.
        epsilon: for an adapted gamma, the model's epsilon.
        reverse_channels: whether it is an adapted first kernel.
        spread: for a first kernel, factors `[3, C]` of its input channels in those of the model;
            see `frcnn.weights.channels`.
    """

    weight: FileWeight
    rank: int = 0
    adapted: bool = False
    variance: FileWeight | None = None
    epsilon: float | None = None
    reverse_channels: bool = False
    spread: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, adapted to the model."""
        shape = self.weight.shape
        return shape if self.spread is None else (*shape[:2], self.spread.shape[1], *shape[3:])

    def read(self) -> NDArray[np.float32]:
        """The array, float32, adapted to the model."""
        value = self.weight.read()
        if self.reverse_channels:
            value = value[:, :, ::-1]
        if self.spread is not None:
            value = np.einsum("hwcf,cd->hwdf", value, self.spread)
        if self.variance is not None and self.epsilon is not None:
            variance = self.variance.read().astype(np.float64)
            factor = (variance + self.epsilon) / (variance + APPLICATIONS_EPSILON)
            value = (value * np.sqrt(factor)).astype(np.float32)
        return value


def match_by_name(layers: Layers, file_weights: Sequence[FileWeight],
                  path: object) -> tuple[Matches, list[str]]:
    """Matches by layer and weight names.

    Args:
        layers: `{layer name: ModelLayer}`.
        file_weights: `[FileWeight, ...]`.
        path: the file's, for messages.

    Returns:
        `{(layer name, variable name): Match}` and the names of what was not matched.

    Raises:
        CheckpointError: two arrays of the file match the same weight equally well.
    """
    matches: Matches = {}
    ignored: list[FileWeight] = []
    ordinals = _ordinals(file_weights)
    for weight in file_weights:
        found = _resolve(layers, weight)
        variable = _variable(layers[found[0]], weight, ordinals) if found else None
        if found is None or variable is None:
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
        if old is not None:
            ignored.append(old.weight if rank < old.rank else weight)
    for key in matches:
        _adapt(key, matches, layers)
    return matches, _names_of(ignored, {id(match.weight) for match in matches.values()},
                              file_weights)


def _ordinals(file_weights: Sequence[FileWeight]) -> _Ordinals:
    """For files without names: position of each weight in its group, and the groups' sizes."""
    sizes: dict[str, int] = {}
    positions: dict[int, int] = {}
    for weight in file_weights:
        positions[id(weight)] = sizes.get(weight.group, 0)
        sizes[weight.group] = sizes.get(weight.group, 0) + 1
    return positions, sizes


def _candidates(weight: FileWeight) -> Iterator[str]:
    """Names that the weight's layer may have in the model, the likeliest first."""
    yield weight.group
    if len(weight.parts) > 1:
        yield weight.parts[-2]
    yield weight.group.split("/")[-1]
    for part in reversed(weight.parts[:-1]):
        yield without_counter(part)
    yield without_counter(weight.group)
    yield without_counter(weight.group.split("/")[-1])


def _resolve(layers: Layers, weight: FileWeight) -> tuple[str, int, bool] | None:
    """`(layer name, rank, adapted)` of the model's layer for a weight of the file, or None."""
    for rank, candidate in enumerate(_candidates(weight)):
        for name in (candidate, candidate.replace("/", "_")):
            if name in layers:
                return name, rank, False
        reference_name = reference_resnet_name(candidate)
        if reference_name is not None and reference_name in layers:
            return reference_name, rank, True
    return None


def _variable(layer: "ModelLayer", weight: FileWeight, ordinals: _Ordinals) -> str | None:
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


def _adapt(key: tuple[str, str], matches: Matches, layers: Layers) -> None:
    """Completes the match of a weight from a ResNet of `keras.applications`."""
    name, variable = key
    match = matches[key]
    if not match.adapted:
        return
    if name == "conv1" and variable == "kernel" and match.shape[2:3] == (3,):
        match.reverse_channels = True
    epsilon, variance = layers[name].epsilon, matches.get((name, "moving_variance"))
    if variable == "gamma" and epsilon and variance and variance.shape == match.shape:
        match.variance, match.epsilon = variance.weight, epsilon


def _names_of(ignored: Sequence[FileWeight], used: set[int],
              file_weights: Sequence[FileWeight]) -> list[str]:
    """Names for the report: the group's if nothing of it was used, else group and weight."""
    used_groups = {weight.group for weight in file_weights if id(weight) in used}
    names = (weight.label if weight.group in used_groups else weight.group for weight in ignored)
    return list(dict.fromkeys(names))


def match_by_order(layers: Layers, file_weights: Sequence[FileWeight],
                   path: object) -> tuple[Matches, list[str]]:
    """Matches the file's arrays to the model's weights one by one, in order.

    Args and returns: as `match_by_name`.

    Raises:
        CheckpointError: the counts of weights differ.
    """
    keys = [(name, variable) for name, layer in layers.items() for variable in layer.variables]
    if len(keys) != len(file_weights):
        raise CheckpointError(
            f"{path} has {len(file_weights)} weights and the model {len(keys)}, so they cannot be "
            "matched by their order; pass by_name=True."
        )
    return {key: Match(weight) for key, weight in zip(keys, file_weights, strict=True)}, []


def other_backbone_layers(layers: Layers, file_weights: Sequence[FileWeight]) -> list[str]:
    """Groups of the file in blocks that the model's backbone lacks in a stage that it has.

    A ResNet-101's file has all layers of a ResNet-50, by name and by shape, but is not for it.
    """
    blocks = {block for name in layers if (block := backbone_block(name))}
    stages = {block[:2] for block in blocks}
    others: dict[str, None] = {}
    for weight in file_weights:
        for name in (weight.group, *weight.parts[-2:-1]):
            for block in (backbone_block(name), backbone_block(reference_resnet_name(name) or "")):
                if block and block[:2] in stages and block not in blocks:
                    others[name] = None
    return list(others)
