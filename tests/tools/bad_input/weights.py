"""Weight files: HDF5 in the layouts of Keras, and what is no such thing."""

import os

import h5py
import numpy as np

from bad_input import case, harmless
from frcnn.weights.architecture import count_anchor_ratios, read_architecture
from frcnn.weights.hdf5 import open_weight_file


def reads(path):
    """Reads all of a file: names, shapes, arrays."""
    count_anchor_ratios(path)
    settings = read_architecture(path)
    with open_weight_file(path) as weights:
        texts = [f"{weight.label} {weight.read().shape}" for weight in weights]
    return ", ".join(texts) + f"; {settings}"


def data(content, name="w.h5"):
    """Reads a file of these bytes."""
    def act(folder):
        (folder / name).write_bytes(content)
        return reads(folder / name)
    return act


def valid(file):
    """Fills a file with the weights of one layer, as Keras 2 lays them out."""
    file.attrs["layer_names"] = [b"mrcnn_class_logits"]
    group = file.create_group("mrcnn_class_logits")
    group.attrs["weight_names"] = [b"mrcnn_class_logits/kernel:0", b"mrcnn_class_logits/bias:0"]
    group["mrcnn_class_logits/kernel:0"] = np.ones((5, 3), np.float32)
    group["mrcnn_class_logits/bias:0"] = np.zeros(3, np.float32)


def keras3(file):
    """Fills a file with the weights of one layer, as Keras 3 lays them out."""
    group = file.create_group("layers/dense/vars")
    group.attrs["name"] = "mrcnn_class_logits"
    group["0"], group["1"] = np.ones((5, 3), np.float32), np.zeros(3, np.float32)


def with_(change, layout=valid):
    """Reads a valid file after a change."""
    def act(folder):
        with h5py.File(folder / "w.h5", "w") as file:
            layout(file)
            change(file)
        return reads(folder / "w.h5")
    return act


def bytes_changed(change, layout=valid):
    def act(folder):
        with h5py.File(folder / "w.h5", "w") as file:
            layout(file)
        content = (folder / "w.h5").read_bytes()
        return data(change(content))(folder)
    return act


def kernel(**options):
    """Reads a valid file with another kernel; the options are of h5py's create_dataset."""
    def change(file):
        del file["mrcnn_class_logits/mrcnn_class_logits/kernel:0"]
        file.create_dataset("mrcnn_class_logits/mrcnn_class_logits/kernel:0", **options)
    return with_(change)


def attribute(name, value):
    return with_(lambda file: file.attrs.__setitem__(name, value))


def weight_names(value):
    return with_(lambda file: file["mrcnn_class_logits"].attrs.__setitem__("weight_names", value))


def missing(folder):
    reads(folder / "no.h5")


def a_folder(folder):
    reads(folder)


def looped(file):
    """Layers that hold themselves, twice a level: a tree of 2**1000 leaves."""
    for name in ("a", "b"):
        group = file.create_group(f"layers/{name}")
        group["layers"] = file["layers"]


def unreadable(folder):
    os.symlink(folder / "w.h5", folder / "w.h5")
    return reads(folder / "w.h5")


def user_block(folder):
    with h5py.File(folder / "w.h5", "w", userblock_size=512) as file:
        valid(file)
    return reads(folder / "w.h5")


def theano(file):
    file.attrs["backend"] = b"theano"


def delete_group(file):
    del file["mrcnn_class_logits"]


def unnamed(file):
    del file["layers/dense/vars"].attrs["name"]


def words_as_keys(file):
    file["layers/dense/vars/kernel"] = np.ones(3, np.float32)


def softly(file):
    del file["mrcnn_class_logits/mrcnn_class_logits/bias:0"]
    file["mrcnn_class_logits/mrcnn_class_logits/bias:0"] = h5py.SoftLink("/nowhere")


def soft_loop(file):
    del file["mrcnn_class_logits"]
    file["mrcnn_class_logits"] = h5py.SoftLink("/mrcnn_class_logits")


CASES = [
    case("no file", missing,
         "FileNotFoundError: There is no weight file DIR/no.h5."),
    case("a folder", a_folder,
         "CheckpointError: DIR is a folder; name the .h5 file in it."),
    case("a link to itself", unreadable,
         "FileNotFoundError: There is no weight file DIR/w.h5."),
    case("an empty file", data(b""),
         "CheckpointError: DIR/w.h5 is not an HDF5 file (0 bytes): it is of another kind, or "
         "its beginning is missing."),
    case("a text", data(b"no weights"),
         "CheckpointError: DIR/w.h5 is not an HDF5 file (10 bytes): it is of another kind, or "
         "its beginning is missing."),
    case("a .keras archive", data(b"PK\x03\x04" + bytes(100)),
         "CheckpointError: DIR/w.h5 is a .keras archive or another zip file; save the weights "
         "as HDF5 with model.save_weights('NAME.weights.h5') and load that."),
    case("a pickle", data(b"\x80\x04K\x07."),
         "CheckpointError: DIR/w.h5 is not an HDF5 file (5 bytes): it is of another kind, or "
         "its beginning is missing."),
    case("a checkpoint of PyTorch", data(b"PK\x03\x04" + bytes(20), "w.pt"),
         "CheckpointError: DIR/w.pt is a .keras archive or another zip file; save the weights "
         "as HDF5 with model.save_weights('NAME.weights.h5') and load that."),
    case("a pointer of Git LFS", data(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
         "CheckpointError: DIR/w.h5 is not an HDF5 file (63 bytes): it is of another kind, or "
         "its beginning is missing."),
    case("a signature alone", data(b"\x89HDF\r\n\x1a\n"),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("cut off", bytes_changed(lambda content: content[:len(content) // 2]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("cut off at the end", bytes_changed(lambda content: content[:-1]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("zeros in the middle", bytes_changed(
        lambda content: content[:96] + bytes(400) + content[496:]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("an empty HDF5 file", with_(lambda file: None, lambda file: None),
         "CheckpointError: DIR/w.h5 is an HDF5 file, but not one with the weights of a Keras "
         "model: it has neither the attribute 'layer_names' nor a group 'layers'."),
    case("HDF5 of something else", with_(lambda file: None, lambda file: file.update(
        {"data": np.ones(3)})),
         "CheckpointError: DIR/w.h5 is an HDF5 file, but not one with the weights of a Keras "
         "model: it has neither the attribute 'layer_names' nor a group 'layers'."),
    harmless("a user block", user_block,
         "= mrcnn_class_logits/kernel (5, 3), mrcnn_class_logits/bias (3,); {'NUM_CLASSES': 3}"),
    case("Theano's weights", with_(theano),
         "CheckpointError: DIR/w.h5 was written with the Theano backend, which stores kernels "
         "mirrored; take the file with 'tf_kernels' in its name."),
    case("a layer that is missing", with_(delete_group),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("a layer that is an array", with_(lambda file: file.update(
        {"other": np.ones(3)}) or file.attrs.__setitem__("layer_names", [b"other"])),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("names of layers as a number", attribute("layer_names", 7),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("names of layers as numbers", attribute("layer_names", [1, 2]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("names of layers that are empty", attribute("layer_names", h5py.Empty("S1")),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("names of layers in Latin-1", attribute("layer_names", [b"\xff"]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("a layer named ..", attribute("layer_names", [b".."]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("a layer listed twice", attribute("layer_names", [b"mrcnn_class_logits"] * 2),
         "CheckpointError: DIR/w.h5 lists mrcnn_class_logits/kernel twice, and only one could "
         "count; take another checkpoint."),
    case("no layers at all", attribute("layer_names", np.zeros(0, "S1")),
         "CheckpointError: DIR/w.h5 lists no weights; take another checkpoint."),
    case("a weight that is missing", weight_names([b"mrcnn_class_logits/gamma:0"]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("a weight that is a group", weight_names([b"mrcnn_class_logits"]),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("names of weights as a number", weight_names(1.5),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("a weight of texts", kernel(data=[b"a", b"b"]),
         "CheckpointError: DIR/w.h5: mrcnn_class_logits/kernel contains object, not numbers; "
         "this is not a weight file."),
    case("a weight of truth values", kernel(data=np.ones((5, 3), bool)),
         "CheckpointError: DIR/w.h5: mrcnn_class_logits/kernel contains bool, not numbers; "
         "this is not a weight file."),
    case("a weight of complex numbers", kernel(data=np.ones((5, 3), complex)),
         "CheckpointError: DIR/w.h5: mrcnn_class_logits/kernel contains complex128, not "
         "numbers; this is not a weight file."),
    case("a compound weight", kernel(data=np.zeros(3, [("a", "f4")])),
         "CheckpointError: DIR/w.h5: mrcnn_class_logits/kernel contains [('a', '<f4')], not "
         "numbers; this is not a weight file."),
    case("an empty weight", kernel(data=h5py.Empty("f")),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("a weight of no size", kernel(data=np.ones((0, 3), np.float32)),
         "CheckpointError: DIR/w.h5: mrcnn_class_logits/kernel has the shape (0, 3), which "
         "holds no number; take another checkpoint."),
    case("a link to nothing", with_(softly),
         "CheckpointError: DIR/w.h5: /mrcnn_class_logits/mrcnn_class_logits/bias:0 is a link to "
         "'/nowhere'. A weight file has to hold its arrays itself: save the weights again where "
         "that file comes from."),
    case("a link to itself inside", with_(soft_loop),
         "CheckpointError: DIR/w.h5: /mrcnn_class_logits is a link to '/mrcnn_class_logits'. A "
         "weight file has to hold its arrays itself: save the weights again where that file comes "
         "from."),
    case("layers in themselves", with_(looped, keras3),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
    case("Keras 3 without names", with_(unnamed, keras3),
         "CheckpointError: DIR/w.h5 does not name its layers: an older Keras 3 wrote it. Load "
         "it there and save it again with model.save('NAME.h5')."),
    case("Keras 3 with other keys", with_(words_as_keys, keras3),
         "CheckpointError: DIR/w.h5 cannot be read, it is truncated or damaged (…). Take "
         "another checkpoint, or fetch the file again."),
]
