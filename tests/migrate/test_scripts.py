"""Scripts in the styles of 2017, of the final release and of the TF2 ports: migrated, they run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from migrate_tools import draw_data, make_small, run_notebook, run_script, write_weights

from frcnn.cli import main as cli

SCRIPTS = sorted(Path(__file__).with_name("scripts").iterdir())
# These train, so that they take longer.
TRAINING = {"early_shapes.py", "early_balloon.py", "final_balloon.py", "final_pneumonia.py",
            "tf2_train.py"}
ARGUMENTS = {"early_balloon.py": ("train", "--dataset=data/via", "--weights=coco")}
# What a script leaves behind, beside what it prints.
MADE = {
    "early_shapes.py": ["logs/mask_rcnn_shapes.h5", "logs/shapes2*/mask_rcnn_shapes_0001.h5"],
    "early_demo.py": ["demo.png"], "early_balloon.py": ["logs/balloon2*/mask_rcnn_balloon_0001.h5"],
    "early_nuclei.py": ["counts.csv"], "final_kangaroo.py": ["kangaroo.png"],
    "final_pneumonia.py": ["submission.csv", "pneumonia2*/mask_rcnn_pneumonia_0001.h5"],
    "final_map.py": ["overlaps.png"], "final_submit.py": ["results/submit.csv", "results/0.png"],
    "final_frames.py": ["first.png"], "tf2_folds.py": ["weights/fold_1.hdf5"],
    "final_balloon.py": ["logs/object2*/mask_rcnn_object_0001.h5"],
    "tf2_train.py": ["logs/marble2*/mask_rcnn_marble_0001.h5"],
}
# What is left to change by hand, in parts that are not run.
BY_HAND = {"early_balloon.py": ["a result has no masks"]}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with data and weights, which the scripts of this module share."""
    folder = tmp_path_factory.mktemp("scripts")
    draw_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        write_weights(folder)
    return folder


@pytest.fixture
def workplace(prepared, tmp_path, monkeypatch):
    """A folder of one script, with links to the data and weights; the network is tiny."""
    for entry in prepared.iterdir():
        if entry.name != "logs":
            (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    make_small(monkeypatch)
    yield tmp_path
    plt.close("all")


def migrated(path, folder, capsys):
    """The changed copy of a script, and the lines about it."""
    target = folder / path.name
    code = cli.main(["migrate", str(path), "--output", str(target)])
    lines = capsys.readouterr().out.splitlines()
    assert code == any(": by hand: " in line for line in lines)
    return target, lines


@pytest.mark.filterwarnings("default")  # the scripts' own
@pytest.mark.parametrize("path", [
    pytest.param(path, marks=pytest.mark.slow if path.name in TRAINING else (), id=path.name)
    for path in SCRIPTS])
def test_a_migrated_script_runs(path, workplace, capsys):
    target, lines = migrated(path, workplace, capsys)
    by_hand = [line for line in lines if ": by hand: " in line]
    told = BY_HAND.get(path.name, [])
    assert len(by_hand) == len(told), by_hand
    assert all(text in line for text, line in zip(told, by_hand))
    run = run_notebook if path.suffix == ".ipynb" else run_script
    assert run(target, *ARGUMENTS.get(path.name, ()))
    for pattern in MADE.get(path.name, []):
        assert list(workplace.glob(pattern)), pattern


def test_there_are_scripts_of_all_times():
    names = [path.name for path in SCRIPTS]
    assert len(names) >= 20 and set(MADE) | TRAINING | set(BY_HAND) <= set(names)
    for style, least in (("early", 5), ("final", 8), ("tf2", 4)):
        assert sum(name.startswith(style) for name in names) >= least


def test_a_migrated_script_needs_nothing_more(workplace, capsys):
    """A migrated script is one of frcnn: nothing in it is changed a second time."""
    for path in SCRIPTS:
        target, _ = migrated(path, workplace, capsys)
        assert cli.main(["migrate", "--check", str(target)]) == 0
        assert "0 changes, 0 to make by hand" in capsys.readouterr().out
        assert "mrcnn." not in target.read_text("utf-8").replace("import mrcnn", "") \
            .replace("frcnn.", "").replace("Mask_RCNN.mrcnn", ""), path


def test_migrating_loads_no_keras(tmp_path):
    program = ("import sys; from frcnn.cli.main import main; code = main(sys.argv[1:]); "
               "assert not {'keras', 'tensorflow'} & sys.modules.keys(); sys.exit(code)")
    done = subprocess.run([sys.executable, "-c", program, "migrate", str(SCRIPTS[0].parent),
                           "--output", str(tmp_path / "out")], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 1, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == len(SCRIPTS)
