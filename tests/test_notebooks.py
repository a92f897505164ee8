"""The notebooks: their stored form, and, as slow tests, their results."""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, checkpoint
from places import PROJECT

from frcnn.data.coco import CocoDataset
from frcnn.errors import DatasetError
from notebooks import execute
from samples.urinary import quick

OWN_FOLDER = "DATASET = None"


def stored(name):
    return nbformat.read(execute.FOLDER / f"{name}.ipynb", as_version=4)


# --- stored form ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", execute.NAMES)
def test_a_stored_notebook_is_executed_small_and_without_absolute_paths(name):
    path = execute.FOLDER / f"{name}.ipynb"
    notebook = stored(name)
    nbformat.validate(notebook)
    assert execute.faults(notebook, path.stat().st_size) == []
    before = nbformat.writes(notebook)
    execute.clean(notebook)
    assert nbformat.writes(notebook) == before, "not written by notebooks/execute.py"
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", ())
                if "image/jpeg" in output.get("data", {})]
    assert len(pictures) >= 3


@pytest.mark.parametrize("name", execute.NAMES)
def test_links_exist(name):
    text = "\n".join(cell.source for cell in stored(name).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    for link in links:
        assert (execute.FOLDER / link).is_file(), link


def test_every_notebook_is_known():
    assert {path.stem for path in execute.FOLDER.glob("*.ipynb")} == set(execute.NAMES)


@pytest.mark.parametrize("text, found", [
    ("saved in /home/me/logs", "/home/me/logs"), ("('/tmp/x/y')", "/tmp/x/y"),
    ("C:\\Users\\me", "C:\\U"), ("path=/opt/venv/lib", "/opt/venv/lib"),
    ("logs/quick20260101T0000/a.h5", None), ("rows/columns, 1/2", None), ("</td></tr>", None),
    ("see [train](train.ipynb) and/or /", None)])
def test_absolute_paths_are_recognised(text, found):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    faults = execute.faults(notebook, 0)
    assert faults == ([] if found is None else [f"cell 0 shows the path {found}"])


def test_faults_of_a_run():
    output = nbformat.v4.new_output
    cells = [nbformat.v4.new_code_cell("1/0", execution_count=1, outputs=[
                 output("error", ename="ZeroDivisionError", evalue="division by zero")]),
             nbformat.v4.new_code_cell("warn()", execution_count=3, outputs=[
                 output("stream", name="stderr", text="careful")])]
    faults = execute.faults(nbformat.v4.new_notebook(cells=cells), execute.MOST_BYTES + 1)
    assert len(faults) == 4 and "top to bottom" in faults[0]
    assert "ZeroDivisionError" in faults[1] and "careful" in faults[2] and "bytes" in faults[3]


# --- choice of the detector -----------------------------------------------------------------


@pytest.fixture
def train(coco_folder):
    return CocoDataset.from_folder(coco_folder, "train")


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(quick, "train_quickly", lambda train, logs: "trained")


def test_the_newest_run_of_the_same_classes_is_taken(train, tmp_path, no_training):
    logs = tmp_path / "logs"
    assert quick.find_or_train(train, logs) == "trained"
    runs = {}
    for run, names in (("ury20260101T0000", NAMES), ("quick20260102T0000", NAMES),
                       ("ury20260103T0000", ["BG", "a", "b", "c"]), ("other20260104T0000", NAMES),
                       ("quick20260105T0000", None)):  # None: no JSON beside it
        runs[run] = checkpoint(logs / run, 4, names=names,
                               category_ids=names and CATEGORY_IDS)
    checkpoint(logs / "quick20260102T0000", 4, epoch=2, names=NAMES, category_ids=CATEGORY_IDS)
    assert quick.find_or_train(train, logs) == runs["quick20260102T0000"]


def test_a_named_checkpoint_must_have_the_classes(train, tmp_path, no_training):
    fits = checkpoint(tmp_path / "fits", 4, names=NAMES, category_ids=CATEGORY_IDS)
    assert quick.find_or_train(train, tmp_path, str(fits)) == fits
    other = checkpoint(tmp_path / "other", 4, names=["BG", "a", "b", "c"],
                       category_ids=CATEGORY_IDS)
    with pytest.raises(DatasetError, match="a, b, c"):
        quick.find_or_train(train, tmp_path, str(other))


def test_the_small_network_fits_where_a_resnet_does():
    import keras

    from frcnn.training.layer_selection import layer_pattern
    from samples.shapes.small_network import small_backbone, small_backbone_shapes

    stages = small_backbone(keras.Input((192, 128, 3)))
    assert [tuple(stage.shape[1:3]) for stage in stages] == [
        (48, 32), (48, 32), (24, 16), (12, 8), (6, 4)]
    np.testing.assert_array_equal(small_backbone_shapes((192, 128, 3)), [
        (48, 32), (24, 16), (12, 8), (6, 4), (3, 2)])
    assert small_backbone(keras.Input((64, 64, 3)), stage5=False)[-1] is None
    names = [layer.name for layer in keras.Model(stages[0], stages[-1]).layers if layer.weights]
    chosen = [sum(bool(re.fullmatch(layer_pattern(word), name)) for name in names)
              for word in ("heads", "5+", "4+", "3+", "all")]
    assert chosen == [0, 6, 12, 18, 24]


# --- results --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder like the project's, into which runs and drawn images may be written."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("frcnn", "samples"):
        (folder / name).symlink_to(PROJECT / name)
    (folder / "notebooks").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRCNN_CACHE", os.environ.get("FRCNN_CACHE", str(folder / "cache")))
        yield folder


def run(root, name, replacing=(), **values):
    """Executes a notebook in `root`; returns the values of Python expressions after its end."""
    notebook = stored(name)
    for old, new in replacing:
        assert any(old in cell.source for cell in notebook.cells), old
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    asked = ", ".join(f"{name!r}: {expression}" for name, expression in values.items())
    notebook.cells.append(nbformat.v4.new_code_cell(
        "import json\nimport numpy as np\nprint(json.dumps({" + asked + "}, default=lambda value: "
        "np.asarray(value).tolist()))"))
    execute.execute(notebook, root / "notebooks")
    errors = [output for cell in notebook.cells for output in cell.get("outputs", ())
              if output.output_type == "error"]
    assert errors == []  # also those not raised by a cell, as of a figure that cannot be drawn
    return json.loads(notebook.cells[-1].outputs[-1].text)


@pytest.mark.slow
def test_inspect_data(root):
    found = run(
        root, "inspect_data", folder="str(folder)", counts="counts", anchors="anchor_count",
        reference="reference_count", miss="miss", rpn="np.bincount(rpn_match + 1)",
        best="overlaps.max(axis=0)", fit="best.mean()", window="window",
        unmolded="np.array_equal(unmolded, image)", rois="rois.shape", positives="positives",
        share="positive_share", deltas="all_deltas.std(axis=0)", augmented="augmented_counts",
        batch="{name: array.shape for name, array in batch.items()}")
    annotations = json.loads(
        (Path(found["folder"]) / "annotations/instances_train.json").read_text())["annotations"]
    assert found["counts"] == [sum(row["category_id"] == k for row in annotations)
                               for k in range(1, 8)]
    # 320 pixels, anchors at every second cell: 40, 20, 10, 5 and 3 positions a side
    assert found["anchors"] == 3 * (40**2 + 20**2 + 10**2 + 5**2 + 3**2)
    assert found["reference"] == 261_888
    negative, neutral, positive = found["rpn"]
    assert negative + positive == 256 and 0 < positive <= 128
    assert negative + neutral + positive == found["anchors"]
    assert found["miss"] < 1e-3 and found["fit"] > 0.5
    assert found["unmolded"] and found["window"] == [8, 0, 184, 320]
    assert found["rois"] == [100, 4] and 0 < found["positives"] <= 33
    assert 0 < found["share"] <= 0.33
    assert all(0.3 < spread < 3 for spread in found["deltas"])
    assert min(found["augmented"]) > 0
    assert found["batch"]["rpn_match"] == [2, found["anchors"], 1]
    assert found["batch"]["→ deltas"] == [2, 100, 8, 4]


@pytest.fixture(scope="module")
def inspected(root):
    """Results of inspect_model, which trains, since there is no run yet."""
    return run(
        root, "inspect_model", checkpoint="str(checkpoint)", missing="report.missing",
        anchors="len(anchors)", taken="len(steps['scores'])", proposals="len(proposals)",
        same_proposals="bool(same_proposals)", same_result="bool(same_result)",
        nearest="nearest", recall="recall[0.5]", levels="np.bincount(level_of_roi)",
        background="background",
        candidates="len(candidates)", kept="len(final['keep'])", ap50="metrics['AP50']",
        objects="metrics['settings']['objects']", confusion="confusion", val="val_ids",
        folder="str(folder)")


@pytest.mark.nightly
def test_inspect_model(root, inspected):
    found = inspected
    assert Path(found["checkpoint"]).parents[1] == root / "logs" and found["missing"] == []
    # 256 pixels, anchors at every second cell
    assert found["anchors"] == 3 * (32**2 + 16**2 + 8**2 + 4**2 + 2**2)
    assert found["anchors"] > found["taken"] == 1000 > found["proposals"] > 50
    assert found["same_proposals"] and found["same_result"]
    assert len(found["nearest"]) == found["kept"] and min(found["nearest"]) > 0.9
    assert found["recall"] == sorted(found["recall"]) and found["recall"][-1] > 0.7
    assert sum(found["levels"]) == found["proposals"] and max(found["levels"]) == found["levels"][2]
    assert 0 < found["kept"] < found["candidates"] <= found["proposals"] - found["background"]
    assert found["ap50"] > 0.25
    content = json.loads((Path(found["folder"]) / "annotations/instances_val.json").read_text())
    first = {image["id"] for image in content["images"][:len(found["val"])]}
    objects = sum(row["image_id"] in first for row in content["annotations"])
    assert sum(map(sum, found["confusion"][1:])) == objects == found["objects"]


@pytest.mark.nightly
def test_inspect_weights(root, inspected):
    found = run(root, "inspect_weights", checkpoint="str(checkpoint)", missing="report.missing",
                trained="trained_by", layers="len(layers)", stats="len(stats)",
                moved="list(moved.values())", paths="len(paths)", refusal="refusal",
                excluded="transfer.excluded", dead="sum(dead_by_activity.values())",
                kernels="len(kernels)")
    assert found["checkpoint"] == inspected["checkpoint"], "it trained again"
    assert len(list((root / "logs").iterdir())) == 1
    assert found["missing"] == [] and found["paths"] == quick.EPOCHS
    trained = list(found["trained"].values())
    assert trained == sorted(set(trained)) and trained[-1] == found["layers"] < found["stats"]
    assert found["trained"]["heads"] == 17  # 8 of the pyramid, 3 of the RPN, 6 of the head
    assert len(found["moved"]) == found["kernels"] and min(found["moved"]) > 0
    assert "mrcnn_class_logits" in found["refusal"]
    assert sorted(found["excluded"]) == ["mrcnn_bbox_fc", "mrcnn_class_logits"]
    assert found["dead"] < 500


def train_shapes(root, replacing=()):
    """Runs train_shapes; returns what it found, after checking the files of its run."""
    found = run(root, "train_shapes", replacing, history="model.history", run="str(run)",
                ap50="metrics['AP50']", val="val.num_images", epochs="EPOCHS",
                objects="metrics['settings']['objects']", minutes="minutes")
    assert Path(found["run"]).parent == root / "logs"
    assert len(list(Path(found["run"]).glob("mask_rcnn_shapes_*.h5"))) == found["epochs"]
    assert len(found["history"]["loss"]) == found["epochs"]
    assert found["val"] == 80 and found["objects"] > 80
    return found


@pytest.mark.nightly
def test_train_shapes(root):
    found = train_shapes(root)
    losses = found["history"]["loss"]
    assert losses[-1] < 0.5 * losses[0] and found["ap50"] > 0.7


@pytest.mark.slow
def test_train_shapes_in_a_few_steps(root):
    """A detector that has learned nearly nothing can be looked at, too."""
    found = train_shapes(root, [("STEPS_PER_EPOCH = 200", "STEPS_PER_EPOCH = 10"),
                                ("EPOCHS = 4", "EPOCHS = 2")])
    assert np.isfinite(found["history"]["loss"]).all()


@pytest.fixture(scope="module")
def own_model(coco_original, tmp_path_factory):
    """A detector with random weights for the classes of `coco_original`."""
    from frcnn import runs
    from frcnn.config import Config
    from frcnn.model import MaskRCNN
    from frcnn.training.callbacks import class_lists
    from frcnn.weights.checkpoint import save_weights

    train = CocoDataset.from_folder(coco_original, "train")
    config = Config(NAME="own", NUM_CLASSES=train.num_classes, BACKBONE="resnet50",
                    TOP_DOWN_PYRAMID_SIZE=32, FPN_CLASSIF_FC_LAYERS_SIZE=32, IMAGE_MIN_DIM=128,
                    IMAGE_MAX_DIM=128, IMAGE_RESIZE_MODE="fit64", POST_NMS_ROIS_INFERENCE=50)
    model = MaskRCNN("inference", config, str(tmp_path_factory.mktemp("logs")), seed=0)
    path = runs.checkpoint_path(tmp_path_factory.mktemp("own"), "own", 1)
    runs.save_metadata(path, config, *class_lists(train, config))
    save_weights(model.keras_model, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inspect_data", "inspect_model", "inspect_weights"])
def test_ones_own_folder(name, root, coco_original, own_model, tmp_path):
    """Wide images, a crowd, an image without objects, and a detector that finds nothing."""
    project = tmp_path / "project"
    shutil.copytree(root, project, symlinks=True, ignore=shutil.ignore_patterns("logs", "cache"))
    replacing = [(OWN_FOLDER, f"DATASET = {str(coco_original)!r}")]
    if name != "inspect_data":
        replacing.append(("MODEL = None", f"MODEL = {own_model!r}"))
    found = run(project, name, replacing, classes="train.class_names")
    assert found["classes"] == NAMES
    assert not (project / "logs").exists()
