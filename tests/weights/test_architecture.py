"""What a weight file says about its network: all backbones, all layouts."""

import h5py
import numpy as np
import pytest
from reference_tools import DENSENETS, reference_layout

from frcnn.config import BACKBONES
from frcnn.errors import CheckpointError
from frcnn.weights import architecture
from frcnn.weights.architecture import count_anchor_ratios, read_architecture

LARGE = [name for name in BACKBONES if name not in ("resnet18", "resnet34")]

def write_shapes(path, layout):
    """A file in the reference's layout whose arrays take no space."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [entry["layer"].encode() for entry in layout]
        for entry in layout:
            group = file.create_group(entry["layer"])
            group.attrs["weight_names"] = [name.encode() for name, _ in entry["weights"]]
            for name, shape in entry["weights"]:
                group.create_dataset(name, shape, np.float32, dcpl=allocated())
    return path


def allocated():
    """A plan for arrays that have their place in the file, without numbers: so it is written soon.
    """
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return plan


def renamed(layout, change):
    """The layout with `change(layer name)` as names of groups and weights."""
    return [{"layer": change(entry["layer"]), "weights": [
        ["/".join([*map(change, name.split("/")[:-1]), name.split("/")[-1]]), shape]
        for name, shape in entry["weights"]]} for entry in layout]


def backbone_of(layout):
    return [entry for entry in layout
            if entry["layer"].startswith(("conv", "bn", "res", "pool"))]


def test_small_resnets(tmp_path):
    """Which the reference does not have, and its forks do."""
    import keras

    from frcnn.network.resnet import BASIC_RESNETS, resnet_graph
    from frcnn.weights.checkpoint import save_weights

    for name in BASIC_RESNETS:
        image = keras.Input((64, 64, 3))
        save_weights(keras.Model(image, resnet_graph(image, name, stage5=True)), tmp_path / "a.h5")
        assert read_architecture(tmp_path / "a.h5") == {"BACKBONE": name, "IMAGE_CHANNEL_COUNT": 3}


@pytest.mark.parametrize("backbone", LARGE)
def test_checkpoints_of_the_reference(tmp_path, backbone):
    path = write_shapes(tmp_path / "a.h5", reference_layout(
        backbone, classes=8, pyramid=24, hidden=48, channels=1, pool=5, ratios=2))
    assert read_architecture(path) == {
        "BACKBONE": backbone, "IMAGE_CHANNEL_COUNT": 1, "TOP_DOWN_PYRAMID_SIZE": 24,
        "FPN_CLASSIF_FC_LAYERS_SIZE": 48, "POOL_SIZE": 5, "NUM_CLASSES": 8}
    assert count_anchor_ratios(path) == 2


@pytest.mark.parametrize("backbone", LARGE)
def test_a_backbone_alone(tmp_path, backbone):
    path = write_shapes(tmp_path / "a.h5", backbone_of(reference_layout(backbone)))
    assert read_architecture(path) == {"BACKBONE": backbone, "IMAGE_CHANNEL_COUNT": 3}
    assert count_anchor_ratios(path) is None


def test_block_numbers_are_those_of_the_networks():
    from frcnn.network.densenet import DENSENET_BLOCKS
    from frcnn.network.resnet import RESNET_BLOCKS

    ours = [*architecture._RESNETS.items(), *architecture._BASIC_RESNETS.items()]
    assert {name: key for key, name in ours} == RESNET_BLOCKS
    assert {name: key for key, name in architecture._DENSENETS.items()} == DENSENET_BLOCKS
    assert DENSENETS == DENSENET_BLOCKS


def test_scopes_and_counters_in_names(tmp_path):
    layout = renamed(reference_layout("densenet121"), lambda name: f"tower/{name}_1")
    assert read_architecture(write_shapes(tmp_path / "a.h5", layout)) == read_architecture(
        write_shapes(tmp_path / "b.h5", reference_layout("densenet121")))


def test_the_first_names_of_densenets(tmp_path):
    """Older versions of `keras.applications` name the first layers conv1/conv and conv1/bn."""
    layout = renamed(backbone_of(reference_layout("densenet121")),
                     lambda name: name.replace("conv1_", "conv1/", 1)
                     if name in ("conv1_conv", "conv1_bn") else name)
    assert read_architecture(write_shapes(tmp_path / "a.h5", layout)) == {
        "BACKBONE": "densenet121", "IMAGE_CHANNEL_COUNT": 3}


def applications_resnet(blocks, normed=True):
    """The names of a ResNet of `keras.applications`; its second version has other BatchNorms."""
    names = ["conv1_conv"]
    for stage, count in enumerate(blocks, start=2):
        for block in range(1, count + 1):
            for unit in range(4):
                names.append(f"conv{stage}_block{block}_{unit}_conv")
                if normed or unit in (1, 2):
                    names.append(f"conv{stage}_block{block}_{unit}_bn")
    return [{"layer": name, "weights": [[f"{name}/kernel:0", [7, 7, 3, 64]]]} for name in names]


@pytest.mark.parametrize("layout, backbone", [
    (applications_resnet((3, 4, 6, 3)), "resnet50"),
    (applications_resnet((3, 4, 23, 3)), "resnet101"),
    (applications_resnet((3, 8, 36, 3)), None),  # a ResNet-152
    (applications_resnet((3, 4, 6, 3), normed=False), None),  # a ResNet-50 V2
    (applications_resnet((3, 4, 6)), None),
])
def test_resnets_of_keras_applications(tmp_path, layout, backbone):
    found = read_architecture(write_shapes(tmp_path / "a.h5", layout))
    assert found == ({"BACKBONE": backbone, "IMAGE_CHANNEL_COUNT": 3} if backbone else {})


@pytest.mark.parametrize("name", ["a.h5", "a.weights.h5"])
def test_files_of_a_model(tmp_path, detecting, name):
    from frcnn.weights.checkpoint import save_weights

    path, config = tmp_path / name, detecting.config
    if name == "a.h5":
        save_weights(detecting.keras_model, path)
    else:
        inner = getattr(detecting.keras_model, "inner_model", detecting.keras_model)
        inner.save_weights(path)
    found = read_architecture(path)
    assert set(found) >= {"NUM_CLASSES", "POOL_SIZE", "TOP_DOWN_PYRAMID_SIZE"}
    assert found == {setting: getattr(config, setting) for setting in found}
    assert count_anchor_ratios(path) == len(config.RPN_ANCHOR_RATIOS)


def test_files_that_say_nothing(tmp_path):
    path = write_shapes(tmp_path / "a.h5", [{"layer": "dense", "weights": [["dense/bias:0", [3]]]}])
    assert read_architecture(path) == {} and count_anchor_ratios(path) is None
    (tmp_path / "b.h5").write_text("no HDF5")
    with pytest.raises(CheckpointError):
        read_architecture(tmp_path / "b.h5")
    with pytest.raises(FileNotFoundError):
        read_architecture(tmp_path / "c.h5")
