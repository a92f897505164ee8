"""The table of an evaluation, and its JSON file."""

import json

import pytest
from evaluate_tools import A, B, Boxes, perfect

from frcnn import evaluate


def test_table_names_every_figure_and_class():
    dataset = Boxes([([A, B], [1, 3])])
    lines = evaluate.format_table(
        evaluate.evaluate_detections(dataset, perfect(dataset), score_threshold=0.05)).splitlines()
    assert "score >= 0.05" in lines[0] and "1 image, 2 objects" in lines[0]
    assert lines[2].split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"]
    assert lines[3].split() == ["1.000", "1.000", "1.000", "1.000", "-", "-", "1.000"]
    assert [line.split() for line in lines[5:]] == [
        ["class", "AP", "AP50", "objects"], ["cast", "1.000", "1.000", "1"],
        ["cryst", "-", "-", "0"], ["eryth", "1.000", "1.000", "1"]]


def test_metrics_file_is_whole_or_untouched(tmp_path):
    path = tmp_path / "new" / "metrics.json"
    evaluate.write_metrics({"AP": 0.5}, path)
    assert json.loads(path.read_text()) == {"AP": 0.5}
    with pytest.raises(ValueError):
        evaluate.write_metrics({"AP": float("nan")}, path)
    assert json.loads(path.read_text()) == {"AP": 0.5}
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]


def test_columns_are_aligned_to_either_side():
    rows = [["name", "n"], ["a", "10"], ["longer"]]
    assert evaluate.tables.align_columns(rows) == ["name    n", "a       10", "longer"]
    assert evaluate.tables.align_columns(rows, left=1) == ["name     n", "a       10", "longer"]
    assert evaluate.tables.align_columns([]) == []
