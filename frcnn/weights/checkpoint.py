"""Checkpoints: saves a model's weights in the reference's file layout, loads them from several.

`save_weights` and `load_weights` work on any Keras model whose layers have the reference's names.
They use `names`, `matching` and `hdf5` of this package.
"""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal, NoReturn

import numpy as np

from frcnn.errors import CheckpointError
from frcnn.weights.channels import fit_channels, other_channels
from frcnn.weights.hdf5 import open_weight_file, write_weight_file
from frcnn.weights.load_report import LoadReport, mismatch_text, some
from frcnn.weights.matching import (
    Matches,
    ModelLayer,
    match_by_name,
    match_by_order,
    other_backbone_layers,
)
from frcnn.weights.names import in_reference_order, is_backbone_layer
from frcnn.weights.recipes import (
    class_layers,
    missing_norms,
    new_layers,
    unknown_part,
    untrained_stages,
)

log = logging.getLogger(__name__)


# --- layers of a model ----------------------------------------------------------------------


def model_layers(model: Any) -> dict[str, ModelLayer]:
    """The layers of a Keras model that have weights, with those of nested models.

    Returns:
        `{layer name: ModelLayer}`, in the model's order.

    Raises:
        CheckpointError: two layers have the same name, so that a file could not distinguish them.
    """
    layers: dict[str, ModelLayer] = {}
    for layer in _flatten(getattr(model, "inner_model", model)):
        if layer.name in layers:
            raise CheckpointError(f"The model has two layers named {layer.name!r}; rename one.")
        layers[layer.name] = layer
    return layers


def _flatten(model: Any, group: str | None = None) -> Iterator[ModelLayer]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _flatten(layer, group or layer.name)
        elif layer.weights:
            epsilon = getattr(layer, "epsilon", None)
            yield ModelLayer(layer.name, group or layer.name, _variables(layer), epsilon)


def _variables(layer: Any) -> dict[str, Any]:
    """Variables by name, prefixed with the sublayer's name where a name occurs twice."""
    counts = Counter(variable.name for variable in layer.weights)
    variables = {}
    for variable in layer.weights:
        name = variable.name
        if counts[name] > 1:
            scopes = variable.path.split("/")
            start = scopes.index(layer.name) + 1 if layer.name in scopes else 0
            name = "/".join(scopes[start:])
        variables[name] = variable
    return variables


# --- saving ---------------------------------------------------------------------------------


def save_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Writes a model's weights in the reference's file layout, float32, atomically.

    The groups, names, order and attributes are those of the reference's files, so that its own
    loader reads them by name. A failed write leaves no partial file and keeps an older one.

    Args:
        model: a Keras model with the reference's layer names.
        path: the file, usually from `runs.checkpoint_path`; its folder is made if missing.

    Raises:
        CheckpointError: the file cannot be written.
    """
    layers = model_layers(model)
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name in in_reference_order(layers):
        weights = groups.setdefault(layers[name].group, [])
        for variable_name, variable in layers[name].variables.items():
            weights.append((f"{name}/{variable_name}:0", np.asarray(variable.numpy(), np.float32)))
    try:
        write_weight_file(path, [(name, groups[name]) for name in in_reference_order(groups)])
    except OSError as error:
        raise CheckpointError(f"The checkpoint {path} cannot be written: {error}.") from error


# --- loading --------------------------------------------------------------------------------


def load_weights(model: Any, path: str | os.PathLike[str], by_name: bool = True,
                 exclude: str | Iterable[str] | None = None,
                 allow_missing: bool | Iterable[str] = False,
                 adapt_channels: bool = False) -> LoadReport:
    """Loads a model's weights from a file; if anything is wrong, no weight is changed.

    Reads the reference's checkpoints (mask layers and anchors are ignored), whole models saved as
    `.h5`, the ImageNet files of ResNet and DenseNet, Keras 3's `.weights.h5`, and the files of
    `save_weights`. Scope prefixes, `_1` suffixes and Keras 1's names do not matter. The weights of
    a `keras.applications` ResNet are adapted to RGB input and to the model's BatchNorm epsilon
    (see `matching`).

    Args:
        model: a Keras model with the reference's layer names.
        path: an HDF5 file.
        by_name: False matches the layers by their order instead, whatever their names.
        exclude: names of layers to leave unchanged; a nested model's name includes all its layers.
            Names that the model does not have, such as "mrcnn_mask", are ignored.
        allow_missing: the names of layers that the file may lack, or True for all; such layers keep
            their weights. With True a file of a deeper or shallower backbone gives the layers that
            both have, as in the reference. A file may always lack the attention of a pyramid, which
            computes nothing before it is trained, and, where the model is for training, the later
            stages of a cascade, and pyramid, RPN and head if of the model's layers it holds
            exactly the backbone; the report names them as missing.
        adapt_channels: whether a first kernel for three channels is adapted to a model for images
            of another number, see `frcnn.weights.channels`; that of a file which holds exactly the
            backbone of a detector is in any case.

    Returns:
        What was loaded and what was not; it is also logged.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated, not a weight file, for another backbone, has weights
            of another shape, lacks a layer, or has no layer of the model; it has stages of a
            cascade or an attention that the model lacks, or, for detection, fewer stages. If the
            file could be read, the error's `report` lists the layers.
    """
    layers = model_layers(model)
    exclude = {exclude} if isinstance(exclude, str) else set(exclude or ())
    wanted = {name: layer for name, layer in layers.items()
              if not exclude & {name, layer.group}}
    with open_weight_file(path) as file_weights:
        if by_name:
            matches, ignored = match_by_name(wanted, file_weights, path)
            of_other_backbone = [] if allow_missing is True else other_backbone_layers(
                layers, [weight for weight in file_weights if weight.group not in exclude])
        else:
            matches, ignored = match_by_order(_in_file_order(wanted), file_weights, path)
            of_other_backbone = []
        report = _report(path, layers, wanted, matches, ignored)
        if adapt_channels or (report.missing and _is_exactly_a_backbone(report)):
            adapted = fit_channels(matches, layers)
            report = _report(path, layers, wanted, matches, ignored)
            report.adapted = adapted
        unknown = unknown_part(layers, set(ignored) - exclude)
        if unknown:
            _fail(report, unknown)
        _check(report, wanted, _allowed(model, report, allow_missing), of_other_backbone)
        values = {key: match.read() for key, match in matches.items()}
    _warn_of_damage(path, values)
    for (name, variable_name), value in values.items():
        layers[name].variables[variable_name].assign(value)
    log.info("%s", report)
    return report


def _in_file_order(layers: Mapping[str, ModelLayer]) -> dict[str, ModelLayer]:
    groups = in_reference_order({layer.group: None for layer in layers.values()})
    names = sorted(in_reference_order(layers), key=lambda name: groups.index(layers[name].group))
    return {name: layers[name] for name in names}


def _report(path: object, layers: Mapping[str, ModelLayer], wanted: Mapping[str, ModelLayer],
            matches: Matches, ignored: Iterable[str]) -> LoadReport:
    excluded = [name for name in layers if name not in wanted]
    left_out = {*excluded, *(layers[name].group for name in excluded)}
    report = LoadReport(str(path), excluded=excluded)
    report.ignored = [name for name in ignored if name not in left_out]
    for name, layer in wanted.items():
        lacking = [variable for variable in layer.variables if (name, variable) not in matches]
        if len(lacking) == len(layer.variables):
            report.missing.append(name)
            continue
        report.loaded.append(name)
        report.missing += [f"{name}/{variable}" for variable in lacking]
        for variable_name, variable in layer.variables.items():
            match = matches.get((name, variable_name))
            if match and match.shape != tuple(variable.shape):
                report.mismatched.append(
                    (f"{name}/{variable_name}", match.shape, tuple(variable.shape)))
    return report


def _allowed(model: Any, report: LoadReport,
             allow_missing: bool | Iterable[str]) -> Literal[True] | set[str]:
    """What may be missing, with the layers of optional parts that the file was trained without."""
    if allow_missing is True:
        return True
    allowed = set(allow_missing) if allow_missing else set()
    new = set(new_layers(report.missing, report.loaded))
    has_head = any(name.startswith("mrcnn_") for name in report.loaded)
    is_for_training = getattr(model, "loss_settings", None) is not None
    if is_for_training and _is_exactly_a_backbone(report):
        if set(report.missing) - allowed:
            log.warning("%s holds %s: pyramid, RPN and head stay as they are, random unless they "
                        "were loaded before.", report.path, _backbone_and_more(report))
        return allowed | set(report.missing)
    if has_head and not is_for_training:
        complaint = untrained_stages(new - allowed)
        if complaint:
            _fail(report, complaint)
    complaint = missing_norms(set(report.missing) - allowed, report.loaded)
    if complaint:
        _fail(report, complaint)
    return allowed | new


def _is_exactly_a_backbone(report: LoadReport) -> bool:
    """Whether all layers of the model's backbone were loaded, and no other layer of the model."""
    return bool(report.loaded) and all(map(is_backbone_layer, report.loaded)) \
        and not any(map(is_backbone_layer, report.missing))


def _backbone_and_more(report: LoadReport) -> str:
    """What a file with the backbone holds, with its layers that the model does not have."""
    return (f"the backbone, and layers that the model lacks ({some(report.ignored)})"
            if report.ignored else "the backbone alone")


def _check(report: LoadReport, wanted: Mapping[str, ModelLayer], allowed: Literal[True] | set[str],
           other_backbone: Collection[str]) -> None:
    """Raises CheckpointError for the first thing that is wrong."""
    if other_backbone:
        _fail(report, f"is for another backbone: it also has {some(other_backbone)}. Build the "
                      "model with the file's backbone, or pass allow_missing=True to load the "
                      "layers that both have, as the reference does.")
    if report.mismatched:
        names = [name.split("/")[0] for name, _, _ in report.mismatched]
        hint = ("Build the model with the file's number of classes and backbone, or exclude "
                f"{some(dict.fromkeys(names), 8)}.")
        channels = other_channels(report.mismatched)
        if channels:
            hint = (f"The file is for images of {channels} channels: set IMAGE_CHANNEL_COUNT to "
                    "it, or start from ImageNet's weights, which fit any number.")
        of_classes = class_layers(wanted)
        if set(names) <= set(of_classes):
            hint = ("The file is of another number of classes: set NUM_CLASSES to it, or pass "
                    f"exclude={of_classes} to start with new output layers.")
        _fail(report, f"does not fit the model: {some(map(mismatch_text, report.mismatched))}. "
                      + hint)
    if not report.loaded:
        _fail(report, "has no layer of the model's names, so nothing would be loaded; it is of "
                      f"another model. It holds {some(report.ignored) or 'no weights at all'}.")
    missing = report.missing
    if allowed is not True:
        missing = [name for name in missing
                   if not allowed & {name, name.split("/")[0], wanted[name.split("/")[0]].group}]
        if missing:
            hint = "Pass allow_missing=True if these may stay as they are."
            if _is_exactly_a_backbone(report) and report.ignored:
                hint = f"It holds {_backbone_and_more(report)}. {hint}"
            elif not any(is_backbone_layer(name) for name in missing):
                hint = "It may be a file with ImageNet weights for the backbone alone. " + hint
            _fail(report, f"lacks layers of the model: {some(missing)}. {hint}")


def _fail(report: LoadReport, complaint: str) -> NoReturn:
    error = CheckpointError(f"{report.path} {complaint}")
    error.report = report
    raise error


def _warn_of_damage(path: object, values: Mapping[tuple[str, str], Any]) -> None:
    broken = [f"{name}/{variable}" for (name, variable), value in values.items()
              if not np.isfinite(value).all()]
    if broken:
        log.warning("%s: NaN or infinite values in %s; the training that wrote it had diverged.",
                    path, some(broken))


def load_imagenet_weights(model: Any, path: str | os.PathLike[str]) -> LoadReport:
    """Loads a file with ImageNet weights; pyramid, RPN and head are unchanged.

    The images may have any number of channels; see `frcnn.weights.channels`.

    Args:
        model: the detector's Keras model.
        path: the file, from `download.get_imagenet_weights(backbone)`.

    Returns, raises: as `load_weights`.
    """
    rest = {name for name in model_layers(model) if not is_backbone_layer(name)}
    return load_weights(model, path, allow_missing=rest, adapt_channels=True)


def load_coco_weights(model: Any, path: str | os.PathLike[str],
                      exclude: str | Iterable[str] | None = None) -> LoadReport:
    """Loads the reference's COCO checkpoint, a ResNet-101 with 81 classes.

    With another number of classes the head's output layers are excluded automatically.

    Args:
        model: the detector's Keras model.
        path: the file, from `download.get_coco_weights()`.
        exclude: further layers to leave out.

    Returns, raises: as `load_weights`.
    """
    layers = model_layers(model)
    if "res4w_branch2a" not in layers:
        raise CheckpointError(
            "The COCO weights are of a ResNet-101; build the model with BACKBONE='resnet101', or "
            "start from 'imagenet' or 'none'."
        )
    exclude = {exclude} if isinstance(exclude, str) else set(exclude or ())
    head = layers.get("mrcnn_class_logits")
    if head is not None and head.variables["bias"].shape[0] != 81:
        exclude.update(class_layers(layers))
    return load_weights(model, path, exclude=exclude)
