"""HDF5 weight files: what is listed from good ones and said about bad ones."""

import shutil

import h5py
import numpy as np
import pytest

from frcnn.errors import CheckpointError
from frcnn.weights.hdf5 import open_weight_file, write_weight_file


def arrays_of(path):
    with open_weight_file(path) as weights:
        return {(weight.group, weight.parts): weight.read() for weight in weights}


@pytest.fixture
def written(tmp_path, rng):
    """A file with a plain layer, a nested model's group and a name with a slash, and its arrays."""
    groups = [
        ("conv1/conv", [("conv1/conv/kernel:0", rng.normal(size=(3, 3, 2, 4)))]),
        ("rpn_model", [("rpn_class_raw/kernel:0", rng.normal(size=(1, 1, 4, 6))),
                       ("rpn_class_raw/bias:0", rng.normal(size=6))]),
    ]  # fmt: skip
    path = tmp_path / "new" / "weights.h5"
    write_weight_file(path, groups)
    return path, groups


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.smoke
def test_what_is_written_is_read_as_float32(written):
    path, groups = written
    found = arrays_of(path)
    assert list(found) == [("conv1/conv", ("conv1", "conv", "kernel")),
                           ("rpn_model", ("rpn_class_raw", "kernel")),
                           ("rpn_model", ("rpn_class_raw", "bias"))]  # fmt: skip
    for value, (_, array) in zip(found.values(), [pair for _, group in groups for pair in group]):
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, array.astype(np.float32))


def test_attributes_are_the_references(written):
    with h5py.File(written[0]) as file:
        assert file.attrs["layer_names"].tolist() == [b"conv1/conv", b"rpn_model"]
        assert file.attrs["backend"] in ("tensorflow", b"tensorflow")  # as h5py likes
        assert file.attrs["keras_version"][:2] in ("2.", b"2.")
        assert file["rpn_model"].attrs["weight_names"].tolist() == [
            b"rpn_class_raw/kernel:0", b"rpn_class_raw/bias:0"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(written):
    path, _ = written
    before = path.read_bytes()
    bad = [("conv1", [("conv1/kernel:0", np.zeros(3)), ("conv1/kernel:0", np.zeros(3))])]
    with pytest.raises(ValueError, match="name already exists"):
        write_weight_file(path, bad)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["weights.h5"]


def test_name_lists_beyond_hdf5s_limit_are_split_and_put_together(tmp_path):
    names = [f"layer_with_a_rather_long_name_{number:06d}" for number in range(3000)]
    path = tmp_path / "long.h5"
    write_weight_file(path, [(name, []) for name in names[:-1]]
                      + [(names[-1], [(f"{names[-1]}/bias:0", np.ones(2))])])
    with h5py.File(path) as file:
        assert {"layer_names0", "layer_names1"} <= set(file.attrs)
    assert list(arrays_of(path)) == [(names[-1], (names[-1], "bias"))]


def test_keras_2_whole_model_files_are_read(tmp_path, written):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file, h5py.File(written[0]) as source:
        file.attrs["model_config"] = b'{"class_name": "Lambda", "config": "code"}'
        file.create_group("optimizer_weights")
        group = file.create_group("model_weights")
        for name, value in source.attrs.items():
            group.attrs[name] = value
        for name in source:
            source.copy(name, group)
    assert arrays_of(path).keys() == arrays_of(written[0]).keys()


# --- bad files ------------------------------------------------------------------------------


def complaint(path, error=CheckpointError):
    with pytest.raises(error) as caught, open_weight_file(path) as weights:
        [weight.read() for weight in weights]
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_missing_file_and_folder(tmp_path):
    assert "no weight file" in complaint(tmp_path / "none.h5", FileNotFoundError)
    assert "is a folder" in complaint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"version https://", b"x" * 5000])
def test_other_kinds_of_file(tmp_path, content):
    path = tmp_path / "odd.h5"
    path.write_bytes(content)
    assert "not an HDF5 file" in complaint(path)


@pytest.mark.parametrize("name", ["history.json", "report.html", "config_mask_rcnn_ury_0001.json",
                                  "events.out.tfevents.1", "losses.png"])
def test_the_other_files_of_a_run_are_no_weights(tmp_path, name):
    (tmp_path / name).write_text("{}")
    message = complaint(tmp_path / name)
    assert "is not an HDF5 file" in message and message.endswith("whose name ends in .h5.")


@pytest.mark.parametrize("is_hdf5", [True, False])
def test_the_state_of_a_training_is_no_weights(tmp_path, is_hdf5):
    """A whole one is HDF5 with other arrays; one that was cut off is not."""
    path = tmp_path / "training_state_0001_000000.state"
    path.write_bytes(b"abc" * 100)
    if is_hdf5:
        with h5py.File(path, "w") as file:
            file["weights/0"] = np.zeros((4, 4))
    message = complaint(path)
    assert "is the state of a training" in message and "ends in .h5" in message


def test_a_path_that_is_a_letter_of_another(tmp_path, monkeypatch):
    """`find_last()[1]` of the first release, alone and in os.path.join(folder, …)."""
    monkeypatch.chdir(tmp_path)
    for path in ("o", "logs/o", str(tmp_path / "logs" / "h")):
        with pytest.raises(FileNotFoundError, match=r"is one letter: .* drop the \[1\]"), \
                open_weight_file(path):
            pass
    for path in ("ab", "logs/5.h5", "o/ab"):
        with pytest.raises(FileNotFoundError, match=r"There is no weight file [^ ]*\.$"), \
                open_weight_file(path):
            pass


def test_keras_archive(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    assert ".keras archive" in complaint(path)


def test_hdf5_without_weights(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((4, 4))
    assert "not one with the weights" in complaint(path)


def test_theano_kernels_are_refused(tmp_path, written):
    path = shutil.copy(written[0], tmp_path / "theano.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["backend"] = b"theano"
    assert "Theano" in complaint(path)


def test_text_in_place_of_numbers(tmp_path, written):
    path = shutil.copy(written[0], tmp_path / "text.h5")
    with h5py.File(path, "r+") as file:
        del file["rpn_model/rpn_class_raw/bias:0"]
        file["rpn_model/rpn_class_raw/bias:0"] = [b"rm -rf", b"/"]
    assert "not numbers" in complaint(path)


@pytest.mark.parametrize("damage", ["no group", "group for array", "no array"])
def test_a_file_that_contradicts_itself(tmp_path, written, damage):
    path = shutil.copy(written[0], tmp_path / "contradiction.h5")
    with h5py.File(path, "r+") as file:
        if damage == "no group":
            del file["rpn_model"]
        else:
            del file["rpn_model/rpn_class_raw/bias:0"]
        if damage == "group for array":
            file.create_group("rpn_model/rpn_class_raw/bias:0")
    assert "truncated or damaged" in complaint(path)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files(tmp_path, written, part):
    path = tmp_path / "cut.h5"
    content = written[0].read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert "truncated" in complaint(path) or "not an HDF5 file" in complaint(path)


def test_keras_3_files_without_layer_names(tmp_path):
    path = tmp_path / "old.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(3)
    assert "does not name its layers" in complaint(path)
