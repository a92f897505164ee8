"""HDF5 weight files in the layouts of Keras 1 to 3.

Reads Keras 2's weight files and whole-model files (as the reference's checkpoints and the ImageNet
files), and Keras 3's `.weights.h5`. Writes the first of these, as the reference does. Only arrays
and names are taken from a file; nothing in it is executed, and no link is followed.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from frcnn.errors import CheckpointError
from frcnn.files import expanded, replacing
from frcnn.weights.hdf5_checks import (
    MAX_ARRAYS,
    MAX_DEPTH,
    check_array,
    check_compression,
    groups_in,
    identity,
    member,
    optional_group,
    read_attribute,
)
from frcnn.weights.names import parse_weight_name

# The reference's loader converts arrays unless it finds these. The version is that of the layout,
# not of the Keras that is running.
_LAYOUT_ATTRIBUTES = {"backend": b"tensorflow", "keras_version": b"2.15.0"}


@dataclass(frozen=True)
class FileWeight:
    """One array of a weight file.

    Attributes:
        group: name of the layer's group, which may hold the layers of a nested model.
        name: the weight's own name in the file.
        parts: that name split: scopes, layer, variable. Only a number if the file has no names.
        dataset: the open `h5py.Dataset`; call `read()` while the file is open.
    """

    group: str
    name: str
    parts: tuple[str, ...]
    dataset: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.dataset.shape)

    @property
    def label(self) -> str:
        """Group and variable, for messages."""
        return f"{self.group}/{self.parts[-1]}"

    def read(self) -> NDArray[np.float32]:
        """The array as float32.

        Raises:
            CheckpointError: the array is not numeric, or inflates to more than its size.
        """
        if self.dataset.dtype.kind not in "fiu":
            raise CheckpointError(
                f"{self.dataset.file.filename}: {self.label} contains {self.dataset.dtype}, not "
                "numbers; this is not a weight file."
            )
        check_compression(self.dataset)
        return np.asarray(self.dataset[()], np.float32)


@contextlib.contextmanager
def open_weight_file(path: str | os.PathLike[str]) -> Iterator[list[FileWeight]]:
    """Opens a weight file and yields its arrays in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is truncated, not HDF5, or HDF5 without the weights of a Keras model;
            also if that is only found while the block reads arrays. Or it does not hold its
            arrays itself, or is beyond the limits of `frcnn.weights.hdf5_checks`.
    """
    path = expanded(path)
    if not path.exists():
        subject = "It" if len(str(path)) == 1 else "Its name"  # os.path.join(folder, letter)
        hint = (f" {subject} is one letter: MaskRCNN.find_last returns the path itself, not a "
                "pair; drop the [1].") if len(path.name) == 1 else ""
        raise FileNotFoundError(f"There is no weight file {path}.{hint}")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the .h5 file in it.")
    _check_signature(path)
    try:
        with h5py.File(path, "r") as file:
            weights = _list_weights(file, path)
            _check_listing(weights, path)
            yield weights
    except CheckpointError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError,  # all from h5py
            MemoryError) as error:
        reason = str(error).strip("\"'")
        raise CheckpointError(
            f"{path} cannot be read, it is truncated or damaged ({reason}). Take another "
            "checkpoint, or fetch the file again."
        ) from error


def _check_signature(path: Path) -> None:
    if path.suffix == ".state":
        raise CheckpointError(
            f"{path} is the state of a training, from which it continues exactly where it was; it "
            "is no weight file. Load a checkpoint of that folder, which ends in .h5."
        )
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        raise CheckpointError(
            f"{path} is a .keras archive or another zip file; save the weights as HDF5 with "
            "model.save_weights('NAME.weights.h5') and load that."
        )
    # by h5py, since an HDF5 file may begin with a user block
    if not h5py.is_hdf5(path):
        raise CheckpointError(
            f"{path} is not an HDF5 file ({path.stat().st_size} bytes): it is of another kind, or "
            f"its beginning is missing.{_other_file(path)}"
        )


def _other_file(path: Path) -> str:
    """What to take instead of a file whose name is not that of weights."""
    is_named_so = path.suffix.lower() in (".h5", ".hdf5", "")
    return "" if is_named_so else " Take a checkpoint, whose name ends in .h5."


def _list_weights(file: Any, path: Path) -> list[FileWeight]:
    root = file
    if "layer_names" not in _attribute_names(file):
        root = optional_group(file, "model_weights") or file
    if "layer_names" in _attribute_names(root):
        _check_backend(root, path)
        return _list_keras2(root)
    layers = optional_group(root, "layers")
    if layers is not None:
        return _list_keras3(layers, path)
    raise CheckpointError(
        f"{path} is an HDF5 file, but not one with the weights of a Keras model: it has neither "
        "the attribute 'layer_names' nor a group 'layers'."
    )


def _check_listing(weights: Sequence[FileWeight], path: Path) -> None:
    """Raises CheckpointError for a list of weights that no model wrote."""
    if not weights:
        raise CheckpointError(f"{path} lists no weights; take another checkpoint.")
    seen: set[tuple[str, str]] = set()
    for weight in weights:
        if (weight.group, weight.name) in seen:
            raise CheckpointError(f"{path} lists {weight.label} twice, and only one could count; "
                                  "take another checkpoint.")
        seen.add((weight.group, weight.name))
        if 0 in weight.shape:
            raise CheckpointError(f"{path}: {weight.label} has the shape {weight.shape}, which "
                                  "holds no number; take another checkpoint.")


def _attribute_names(group: Any) -> set[str]:
    """Names of attributes, with one name for those that Keras split into `name0, name1, ...`."""
    return {re.sub(r"\d+$", "", name) for name in group.attrs}


def _texts(group: Any, attribute: str) -> list[str]:
    """An attribute that is a list of texts, joined again where Keras split it."""
    if attribute in group.attrs:
        values = list(read_attribute(group, attribute))
    else:
        chunks = [name for name in group.attrs if re.fullmatch(attribute + r"\d+", name)]
        values = [value for name in sorted(chunks, key=lambda name: int(name[len(attribute) :]))
                  for value in read_attribute(group, name)]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _check_backend(root: Any, path: Path) -> None:
    backend = read_attribute(root, "backend") if "backend" in root.attrs else b"tensorflow"
    backend = backend.decode() if isinstance(backend, bytes) else str(backend)
    if backend == "theano":
        raise CheckpointError(
            f"{path} was written with the Theano backend, which stores kernels mirrored; take the "
            "file with 'tf_kernels' in its name."
        )


def _list_keras2(root: Any) -> list[FileWeight]:
    listed: list[tuple[str, Any, list[str]]] = []
    count = 0
    for group_name in _texts(root, "layer_names"):
        group = member(root, group_name)
        if "weight_names" not in _attribute_names(group):
            raise KeyError(f"the layer {group_name} does not list its weights")
        names = _texts(group, "weight_names")
        count += len(names)
        _check_count(count, root)
        listed.append((group_name, group, names))
    return [_file_weight(group_name, name, parse_weight_name(name), group)
            for group_name, group, names in listed for name in names]


def _check_count(count: int, root: Any) -> None:
    if count > MAX_ARRAYS:
        raise CheckpointError(f"{root.file.filename} lists more than {MAX_ARRAYS:,} weights; this "
                              "is not a weight file.")


def _file_weight(group_name: str, name: str, parts: tuple[str, ...], group: Any) -> FileWeight:
    item = member(group, name)
    if not isinstance(item, h5py.Dataset):
        raise KeyError(f"{group_name}/{name} is not an array")
    check_array(item)
    return FileWeight(group_name, name, parts, item)


def _list_keras3(layers: Any, path: Path) -> list[FileWeight]:
    weights: list[FileWeight] = []
    unnamed: list[FileWeight] = []
    visited: set[int] = set()

    def visit(group: Any, depth: int) -> None:
        if identity(group) in visited or depth > MAX_DEPTH:
            raise KeyError(f"{group.name} is in several places, or too deep")
        visited.add(identity(group))
        for child in groups_in(group):
            variables = optional_group(child, "vars")
            if variables is not None and len(variables):
                _check_count(len(weights) + len(unnamed) + len(variables), layers)
                name = read_attribute(variables, "name") if "name" in variables.attrs else None
                (unnamed if name is None else weights).extend(
                    _file_weight(str(name), key, (key,), variables)
                    for key in sorted(variables, key=int)
                )
            inner = optional_group(child, "layers")
            if inner is not None:
                visit(inner, depth + 1)

    visit(layers, 1)
    if unnamed:
        raise CheckpointError(
            f"{path} does not name its layers: an older Keras 3 wrote it. Load it there and save "
            "it again with model.save('NAME.h5')."
        )
    return weights


def write_weight_file(
        path: str | os.PathLike[str],
        groups: Sequence[tuple[str, Sequence[tuple[str, NDArray[Any]]]]]) -> None:
    """Writes a file in the reference's layout, atomically.

    Args:
        path: the file; its folder is made.
        groups: `[(group name, [(weight name, float32 array), ...]), ...]`, in the file's order;
            weight names read `"conv1/kernel:0"`.

    Raises:
        OSError: the disk is full, the folder read-only, or the like.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        _write_texts(file, "layer_names", [name for name, _ in groups])
        for name, value in _LAYOUT_ATTRIBUTES.items():
            file.attrs[name] = value
        for group_name, weights in groups:
            group = file.create_group(group_name)
            _write_texts(group, "weight_names", [name for name, _ in weights])
            for name, array in weights:
                group.create_dataset(name, data=np.asarray(array, np.float32))


def _write_texts(group: Any, attribute: str, texts: Sequence[str], limit: int = 64000) -> None:
    """Stores a list of texts, split into several attributes if it exceeds HDF5's limit."""
    data = np.array([text.encode() for text in texts], dtype="S")
    chunks = np.array_split(data, max(1, -(-data.nbytes // limit)))
    if len(chunks) == 1:
        group.attrs[attribute] = data
        return
    for number, chunk in enumerate(chunks):
        group.attrs[f"{attribute}{number}"] = chunk
