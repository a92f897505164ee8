"""HDF5 weight files: what lies where in the layouts that Keras has written over the years.

Read are Keras 2's weight files and whole-model files (as the reference's checkpoints and the
ImageNet files), and Keras 3's `.weights.h5`. Written is the first of these, as the reference
writes it. Only arrays and names are taken from a file; nothing in it is ever run.
"""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from frcnn.errors import CheckpointError
from frcnn.files import replacing
from frcnn.weights.names import parse_weight_name

# What the reference's loader checks before it takes arrays as they are. The version tells the
# layout, which is Keras 2's, not the Keras that is running.
_LAYOUT_ATTRIBUTES = {"backend": b"tensorflow", "keras_version": b"2.15.0"}


@dataclass(frozen=True)
class FileWeight:
    """One array of a weight file.

    Attributes:
        group: name of the layer's group, which may hold the layers of a nested model.
        name: the weight's own name in the file.
        parts: that name split: scopes, layer, variable. Just a number when the file has no names.
        dataset: the open `h5py.Dataset`; read it with `read()` while the file is open.
    """

    group: str
    name: str
    parts: tuple
    dataset: h5py.Dataset

    @property
    def shape(self):
        return tuple(self.dataset.shape)

    @property
    def label(self):
        """Group and variable, for messages."""
        return f"{self.group}/{self.parts[-1]}"

    def read(self):
        """The array as float32.

        Raises:
            CheckpointError: the file does not hold numbers here.
        """
        if self.dataset.dtype.kind not in "fiu":
            raise CheckpointError(
                f"{self.dataset.file.filename}: {self.label} holds {self.dataset.dtype}, not "
                "numbers; this is not a weight file."
            )
        return np.asarray(self.dataset[()], np.float32)


@contextlib.contextmanager
def open_weight_file(path):
    """Opens a weight file and yields its arrays, `[FileWeight, ...]`, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is truncated, not HDF5, or HDF5 without the weights of a Keras model;
            also when that shows only while the arrays are read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no weight file {path}.")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the .h5 file in it.")
    _check_signature(path)
    try:
        with h5py.File(path, "r") as file:
            yield _list_weights(file, path)
    except CheckpointError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:  # h5py raises all
        reason = str(error).strip("\"'")
        raise CheckpointError(
            f"{path} cannot be read, it is truncated or damaged ({reason}). Take another "
            "checkpoint, or fetch the file again."
        ) from error


def _check_signature(path):
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        raise CheckpointError(
            f"{path} is a .keras archive or another zip file; save the weights as HDF5 with "
            "model.save_weights('NAME.weights.h5') and load that."
        )
    # an HDF5 file may begin with a user block, so that h5py has the last word
    if not h5py.is_hdf5(path):
        raise CheckpointError(
            f"{path} is not an HDF5 file ({path.stat().st_size} bytes): it is of another kind, or "
            "its beginning is missing."
        )


def _list_weights(file, path):
    root = file
    if "layer_names" not in _attribute_names(file) and isinstance(
        file.get("model_weights"), h5py.Group
    ):
        root = file["model_weights"]
    if "layer_names" in _attribute_names(root):
        _check_backend(root, path)
        return _list_keras2(root)
    if isinstance(root.get("layers"), h5py.Group):
        return _list_keras3(root["layers"], path)
    raise CheckpointError(
        f"{path} is an HDF5 file, but not one with the weights of a Keras model: it has neither "
        "the attribute 'layer_names' nor a group 'layers'."
    )


def _attribute_names(group):
    """Names of attributes, with one name for what Keras split over `name0, name1, ...`."""
    return {re.sub(r"\d+$", "", name) for name in group.attrs}


def _texts(group, attribute):
    """A text list attribute, put together again where Keras split it."""
    if attribute in group.attrs:
        values = list(group.attrs[attribute])
    else:
        chunks = [name for name in group.attrs if re.fullmatch(attribute + r"\d+", name)]
        values = [value for name in sorted(chunks, key=lambda name: int(name[len(attribute) :]))
                  for value in group.attrs[name]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _check_backend(root, path):
    backend = root.attrs.get("backend", b"tensorflow")
    backend = backend.decode() if isinstance(backend, bytes) else str(backend)
    if backend == "theano":
        raise CheckpointError(
            f"{path} was written with the Theano backend, which stores kernels mirrored; take the "
            "file with 'tf_kernels' in its name."
        )


def _list_keras2(root):
    weights = []
    for group_name in _texts(root, "layer_names"):
        group = root[group_name]
        for name in _texts(group, "weight_names"):
            weights.append(_file_weight(group_name, name, parse_weight_name(name), group[name]))
    return weights


def _file_weight(group, name, parts, item):
    if not isinstance(item, h5py.Dataset):
        raise KeyError(f"{group}/{name} is not an array")
    return FileWeight(group, name, parts, item)


def _list_keras3(layers, path):
    weights, unnamed = [], []

    def visit(group):
        for child in group.values():
            if not isinstance(child, h5py.Group):
                continue
            variables = child.get("vars")
            if isinstance(variables, h5py.Group) and len(variables):
                name = variables.attrs.get("name")
                (unnamed if name is None else weights).extend(
                    _file_weight(str(name), key, (key,), variables[key])
                    for key in sorted(variables, key=int)
                )
            if isinstance(child.get("layers"), h5py.Group):
                visit(child["layers"])

    visit(layers)
    if unnamed:
        raise CheckpointError(
            f"{path} does not name its layers: an older Keras 3 wrote it. Load it there and save "
            "it again with model.save('NAME.h5')."
        )
    return weights


def write_weight_file(path, groups):
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


def _write_texts(group, attribute, texts, limit=64000):
    """Stores a list of texts, split over several attributes where HDF5's limit demands it."""
    data = np.array([text.encode() for text in texts], dtype="S")
    chunks = np.array_split(data, max(1, -(-data.nbytes // limit)))
    if len(chunks) == 1:
        group.attrs[attribute] = data
        return
    for number, chunk in enumerate(chunks):
        group.attrs[f"{attribute}{number}"] = chunk
