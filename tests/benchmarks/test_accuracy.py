"""The accuracy table: its rows, what is trained anew, and what it says."""

import json

import pytest

from benchmarks import accuracy
from benchmarks.accuracy_rows import RECIPE, ROWS, TASKS
from frcnn.cli.sample import SmallObjectsConfig


@pytest.mark.parametrize("task", TASKS)
def test_every_row_is_a_configuration(task):
    for row in ROWS.values():
        SmallObjectsConfig().replaced(**row.on(TASKS[task]))


def test_rows_of_the_recipe_differ_from_it_by_what_they_say():
    assert ROWS["recipe"].settings == RECIPE
    assert "PYRAMID_BATCH_NORM" not in ROWS["recipe-norm"].settings
    assert ROWS["recipe+paste"].settings == {**RECIPE, "PASTE_OBJECTS": 4.0}
    assert ROWS["recipe+flips"].augmentation == "flips"


def scores(ap50):
    return {"AP": ap50 / 2, "AP50": ap50, "AP75": ap50 / 3, "per_class": {"cell": ap50}}


def test_only_what_is_missing_is_trained(tmp_path, monkeypatch, capsys):
    trained = []

    def run(work, **arguments):
        trained.append((arguments["settings"].get("OPTIMIZER", "sgd"), arguments["seed"]))
        if arguments["seed"] == 3:
            raise accuracy.children.ChildError("no memory")
        return {"loss": 1.0, "soft": scores(0.5 + arguments["seed"] / 10)}

    monkeypatch.setattr(accuracy.children, "run", run)
    results = tmp_path / "found.jsonl"
    results.write_text(json.dumps({"task": "umid", "row": "adamw", "seed": 1,
                                   "soft": scores(0.2)}) + "\n")
    arguments = [str(tmp_path), "--task", "umid", "--rows", "anchors,adamw", "--seeds", "1,2,3",
                 "--results", str(results)]
    assert accuracy.main(arguments) == 1
    assert trained == [("sgd", 1), ("sgd", 2), ("sgd", 3), ("adamw", 2), ("adamw", 3)]
    assert len(results.read_text().splitlines()) == 4
    out = capsys.readouterr().out
    assert "umid: 640 pixels, 4 epochs" in out and "anchors, seed 3: no memory" in out
    adamw = next(line for line in out.splitlines() if line.startswith("adamw"))
    assert "0.450 (0.200–0.700)" in adamw and "cell 0.450" in adamw
    trained.clear()
    accuracy.main([*arguments[:5], "--rows", "adamw", "--seeds", "1,2", "--results", str(results)])
    assert not trained
    accuracy.main([*arguments[:5], "--rows", "adamw", "--seeds", "1,2", "--results", str(results),
                   "--start", "drawn.h5"])
    assert trained == [("adamw", 1), ("adamw", 2)]
    last = capsys.readouterr().out.splitlines()[-2:]
    assert "0.650 (0.600–0.700)" in " ".join(last)  # of these two alone


def test_an_unknown_row_is_an_error_that_names_all(capsys):
    with pytest.raises(SystemExit):
        accuracy.main(["data", "--rows", "anchors,adam"])
    assert "there is no row 'adam'; choose from sample, anchors" in capsys.readouterr().err
