"""Weight files that lead elsewhere, or declare more than they hold: refused before it is read."""

import zlib

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from frcnn.errors import CheckpointError
from frcnn.weights import hdf5_checks
from frcnn.weights.architecture import read_architecture
from frcnn.weights.checkpoint import load_weights
from frcnn.weights.hdf5 import open_weight_file

KERNEL = "mrcnn_class_logits/mrcnn_class_logits/kernel:0"


@pytest.fixture
def other(tmp_path):
    """Another file, whose arrays must not be read."""
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = np.full((5, 3), 7, np.float32)
        file["group/secret"] = np.ones(3, np.float32)
    return path


@pytest.fixture
def written(tmp_path):
    """A function that writes a weight file of one layer, changed as its argument does."""
    def write(change, layout="2"):
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            group = file.create_group("mrcnn_class_logits" if layout == "2"
                                      else "layers/dense/vars")
            if layout == "2":
                file.attrs["layer_names"] = [b"mrcnn_class_logits"]
                group.attrs["weight_names"] = [b"mrcnn_class_logits/kernel:0",
                                               b"mrcnn_class_logits/bias:0"]
                group = group.create_group("mrcnn_class_logits")
                names = "kernel:0", "bias:0"
            else:
                group.attrs["name"], names = "mrcnn_class_logits", ("0", "1")
            group[names[0]], group[names[1]] = np.ones((5, 3), "f4"), np.zeros(3, "f4")
            change(file)
        return path
    return write


def read_all(path):
    read_architecture(path)
    with open_weight_file(path) as weights:
        return [weight.read() for weight in weights]


def replaced(name, value):
    def change(file):
        del file[name]
        file[name] = value
    return change


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "layout"), [
    (KERNEL, "2"), ("mrcnn_class_logits/mrcnn_class_logits", "2"), ("mrcnn_class_logits", "2"),
    ("layers/dense/vars/0", "3"), ("layers/dense/vars", "3"), ("layers/dense", "3"),
    ("layers", "3")])
@pytest.mark.parametrize("kind", ["external", "external, missing", "soft"])
def test_links_are_refused_by_name(written, other, name, layout, kind):
    link = {"external": h5py.ExternalLink(str(other), "group"),
            "external, missing": h5py.ExternalLink(str(other) + "x", "group"),
            "soft": h5py.SoftLink("/elsewhere")}[kind]
    path = written(replaced(name, link), layout)
    with pytest.raises(CheckpointError) as raised:
        read_all(path)
    message = str(raised.value)
    assert f"/{name} is a link to " in message and "hold its arrays itself" in message
    assert ("another file" in message and "other.h5" in message) == kind.startswith("external")


def test_a_whole_model_is_refused_by_name(tmp_path, other):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(other), "group")
    with pytest.raises(CheckpointError, match=r"/model_weights is a link to 'group' in another"):
        read_all(path)


def test_groups_in_groups_end(written):
    """Each level holds the next one twice: 2 to the power of 50 paths."""
    def change(file):
        inner = file["layers"]
        for _ in range(50):
            outer = file.create_group(f"outer{len(file)}")
            outer.create_group("a")["layers"] = inner
            outer.create_group("b")["layers"] = inner
            inner = outer
        file.move("layers", "innermost")
        file["layers"] = inner

    with pytest.raises(CheckpointError, match="is in several places"):
        read_all(written(change, "3"))


# --- arrays ---------------------------------------------------------------------------------------


def external_storage(file, other):
    del file[KERNEL]
    file.create_dataset(KERNEL, (5, 3), "f4", external=[(str(other), 0, 60)])


def virtual(file, other):
    del file[KERNEL]
    layout = h5py.VirtualLayout((5, 3), "f4")
    layout[:] = h5py.VirtualSource(str(other), "secret", (5, 3))
    file.create_virtual_dataset(KERNEL, layout)


@pytest.mark.parametrize(("change", "what"), [
    (external_storage, r"has its numbers in another file, '.*other\.h5'"),
    (virtual, r"is a virtual data set, of arrays in '.*other\.h5'")])
def test_arrays_in_other_files_are_refused(written, other, change, what):
    path = written(lambda file: change(file, other))
    with pytest.raises(CheckpointError, match=what):
        read_all(path)


def new_kernel(**options):
    def change(file):
        del file[KERNEL]
        file.create_dataset(KERNEL, **options)
    return change


BIG = (1024, 2**40)


@pytest.mark.parametrize(("options", "what"), [
    ({"shape": BIG, "chunks": (1, 2**20)}, r"at most 8,589,934,592 are read"),
    ({"shape": (2**10, 2**20)}, "which the file does not hold"),
    ({"shape": (2**10, 2**20), "chunks": (8, 8)}, "of which 0 are stored"),
    ({"shape": (2**10, 2**20), "chunks": (8, 8), "compression": "gzip"}, "of which 0 are stored"),
    ({"shape": (5, 3)}, "which the file does not hold"),
    ({"data": np.ones((5, 3), "f4"), "chunks": (2**14, 2**14), "maxshape": (None, None),
      "compression": "gzip"}, r"chunks of 1,073,741,824 bytes, but has 60"),
    ({"data": np.ones((5, 3), "f4"), "compression": "lzf"}, r"filters \[32000\]"),
    ({"data": np.ones((5, 3), "i4"), "scaleoffset": 4}, r"filters \[6\]"),
], ids=str)
def test_sizes_are_checked_before_anything_is_allocated(written, options, what):
    path = written(new_kernel(**{"dtype": "f4", **options} if "shape" in options else options))
    assert path.stat().st_size < 2**21
    with pytest.raises(CheckpointError, match=what):
        read_all(path)


def test_an_incomplete_array_is_refused(written):
    """As of a process that ended while it wrote."""
    def change(file):
        new_kernel(shape=(64, 64), dtype="f4", chunks=(32, 32), compression="gzip")(file)
        file[KERNEL][:32] = np.random.default_rng(0).normal(size=(32, 64))

    with pytest.raises(CheckpointError, match="not complete: 2 of its 4 chunks"):
        read_all(written(change))


@pytest.mark.parametrize("options", [
    {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}, {"fletcher32": True},
    {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"chunks": (4, 2)},
    {"chunks": (8, 4), "maxshape": (None, None), "compression": "gzip"}])
def test_honest_compression_is_read(written, options):
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    path = written(new_kernel(data=values, **options))
    np.testing.assert_array_equal(read_all(path)[0], values)


def test_a_chunk_that_inflates_to_more_than_its_size_is_refused(written):
    """A megabyte of zeros in a chunk for fifteen numbers; HDF5 would inflate them all."""
    def change(file):
        new_kernel(data=np.ones((5, 3), "f4"), chunks=(5, 3), compression="gzip")(file)
        file[KERNEL].id.write_direct_chunk((0, 0), zlib.compress(bytes(2**20)))

    with pytest.raises(CheckpointError, match="inflates to more than its size"):
        read_all(written(change))


# --- names ----------------------------------------------------------------------------------------


def test_many_names_are_refused(written, monkeypatch):
    monkeypatch.setattr(hdf5_checks, "MAX_NAMES", 1000)
    path = written(lambda file: file.attrs.__setitem__("layer_names", np.full(50, b"x" * 100)))
    with pytest.raises(CheckpointError, match=r"'layer_names' of / has 50 entries, 5,000 bytes"):
        read_all(path)


def test_names_that_multiply_are_refused(written):
    """A thousand times the same layer, each time with all names."""
    def change(file):
        file.attrs["layer_names"] = np.full(1000, b"mrcnn_class_logits")
        file["mrcnn_class_logits"].attrs["weight_names"] = np.full(
            1000, b"mrcnn_class_logits/kernel:0")

    with pytest.raises(CheckpointError, match="lists more than 100,000 weights"):
        read_all(written(change))


# --- a model --------------------------------------------------------------------------------------


def test_what_keras_writes_is_read(tmp_path):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(4, 3, name="conv")(image))
    for name in ("whole.h5", "weights.weights.h5"):
        if name == "whole.h5":
            model.save(tmp_path / name)
        else:
            model.save_weights(tmp_path / name)
        expected = model.get_weights()
        model.set_weights([0 * weight for weight in expected])
        load_weights(model, tmp_path / name)
        for found, wanted in zip(model.get_weights(), expected):
            np.testing.assert_array_equal(found, wanted)
        assert model.get_weights()[0].any()
