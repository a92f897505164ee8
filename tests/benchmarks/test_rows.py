"""Rows, the table of goals, the first detection and memory, from invented measurements."""

from types import SimpleNamespace

import pytest

from benchmarks import children, memory, start, table
from benchmarks.matrix_product import SIDE
from benchmarks.rows import Result, Row, ideal_units, measure_all, shrink_side

OPTIONS = SimpleNamespace(runs=3, warmup=2, shrink=1, only=None, jit_compile=False, images=100,
                          sizes=4, many_side=256, resize_mode="square", no_rows=False)


def measured(seconds=2.0, unit=0.5, peak=3.0, **changes):
    return {"seconds": [seconds, 0.9 * seconds, 1.2 * seconds], "first_seconds": 9.0,
            "unit_before": [unit], "unit_after": [unit], "half_products": [unit / 2],
            "multiply_adds": SIDE**3, "memory_start": 0.5e9, "memory_built": 1e9,
            "memory_peak": peak * 1e9, **changes}


def results(**by_key):
    return {key.replace("_", "-"): Result(table.ROWS[key.replace("_", "-")], data)
            for key, data in by_key.items()}


def goals(section):
    return {line[0]: dict(zip(section.headers, line)) for line in section.rows}


def test_a_row_in_words():
    assert str(Row("detect", 1024)) == "forward pass, 1 image, 1024²"
    assert str(Row("train", 512, 2, train_bn=True, jit_compile=True)) \
        == "training step, 2 images, 512², BatchNorm trained, XLA"
    assert str(Row("detect", 512, weights_change=True)).endswith("512², weights may change")
    assert str(Row("detect", 512, settings={"PRE_NMS_LIMIT": 9})).endswith("512², PRE_NMS_LIMIT=9")


def test_units_and_share():
    # One unit's arithmetic in four units of time: a quarter of the product's rate.
    result = Result(Row("detect", 1024), measured(seconds=2.0, unit=0.5))
    assert (result.seconds, result.unit, result.units) == (2.0, 0.5, 4.0)
    assert result.share() == pytest.approx(0.25)
    assert ideal_units(3 * SIDE**3) == 3
    assert result.steady
    assert not Result(result.row, measured(unit_after=[0.6])).steady


def test_shrunken_sides_stay_multiples_of_64():
    assert [shrink_side(side, 1) for side in (256, 512, 1536)] == [256, 512, 1536]
    assert [shrink_side(side, 5) for side in (256, 512, 1536)] == [64, 64, 256]


def test_rows_are_measured_one_after_another_and_a_failure_stops_nothing(monkeypatch):
    def child(work, side, **arguments):
        if side == 512:
            raise children.ChildError("no memory left")
        assert arguments["runs"] == 3 and arguments["product"] == SIDE
        return measured()

    monkeypatch.setattr(children, "run", child)
    lines = []
    found, errors = measure_all([Row("detect", 512), Row("train", 1024)], OPTIONS, lines.append)
    assert found[0] is None and found[1].seconds == 2.0
    assert errors == ["Failed: forward pass, 1 image, 512², float32. no memory left"]
    assert lines == ["[1/2] forward pass, 1 image, 512², float32: failed",
                     "[2/2] training step, 1 image, 1024², float32: 2.000 s"]


# --- the table of goals -----------------------------------------------------------------------


def test_goals_without_measurements():
    found = goals(table.goals_section({}, {}))
    assert len(found) == len(table.GOALS)
    assert all(line["here"] == line["mode"] == line["met"] == "–" for line in found.values())


def test_goals_refer_to_rows_that_are_measured():
    assert {key for goal in table.GOALS if goal.kind != "seconds" for key in goal.rows} \
        <= set(table.ROWS)


def test_the_best_mode_counts_and_its_memory():
    found = goals(table.goals_section(results(
        forward_1024_float32=measured(seconds=2.3), forward_1024_bfloat16=measured(seconds=1.3),
        train_1024_float32=measured(seconds=9.0, peak=2.0),
        train_1024_bfloat16=measured(seconds=4.0, peak=3.0),
        train_1024_bfloat16_bn=measured(seconds=1.0, peak=1.0)), {
            "float32": {"total": [8.0, 6.5, 9.0]}, "mixed_bfloat16": {"total": [1.0]}}))

    def line(start_of_name):
        return next([row["here"], row["mode"], row["met"]] for name, row in found.items()
                    if name.startswith(start_of_name))

    assert line("forward pass, 1024², float32") == ["4.60", "float32", "no"]
    assert line("forward pass, 1024², fastest mode") == ["2.60", "bfloat16", "yes"]
    assert line("training step, 1 image") == ["8.00", "bfloat16", "yes"]
    assert line("peak memory") == ["3.00", "bfloat16", "no"]  # that of the step above
    assert line("first detection") == ["8.00", "float32", "no"]
    assert line("forward pass, 512²") == ["–", "–", "–"]


def test_a_trial_meets_no_goal():
    section = table.goals_section(results(forward_512_float32=measured(0.1)), {}, shrink=8)
    assert section.rows[0][-1] == "–" and "Shrunk by 8" in section.notes[-1]


def test_all_figures_of_rows():
    section = table.rows_section(results(
        forward_1024_float32=measured(), train_512_bfloat16=measured(unit_after=[0.6])))
    first, second = (dict(zip(section.headers, line)) for line in section.rows)
    assert first == {
        "work": "forward pass, 1 image, 1024²", "precision": "float32", "s": "2.00",
        "range, s": "1.80–2.40", "units": "4.00", "range, units": "3.60–4.80", "GMAC": "69",
        "share": "25 %", "peak, GB": "3.00", "above start": "2.50", "first call, s": "9.00"}
    assert second["units"].endswith("~") and section.notes[-1].startswith("~ The unit changed")
    assert "The unit was 0.500–0.550 s." in section.notes


def test_memory_that_the_system_does_not_report():
    data = measured(memory_peak=None, memory_start=None, memory_built=None)
    section = table.rows_section(results(forward_1024_float32=data))
    assert section.rows[0][8:10] == ["–", "–"]
    assert memory.peaks_section([Result(Row("train", 1024), data)]).rows[0][2:] == ["–"] * 5


def test_only_some_rows(monkeypatch):
    given = []
    monkeypatch.setattr(children, "run", lambda work, **row: given.append(row) or measured())
    options = SimpleNamespace(**{**vars(OPTIONS), "only": "^forward-512", "jit_compile": True})
    sections, data, errors = table.run(options)
    assert [(row["side"], row["precision"], row["jit_compile"]) for row in given] == [
        (512, "float32", True), (512, "mixed_bfloat16", True)]
    assert len(sections) == 2 and not errors and data["first"] == {}
    assert data["rows"]["forward-512-float32"]["row"]["task"] == "detect"


# --- first detection, memory ------------------------------------------------------------------


def test_the_parts_of_a_first_detection():
    stamps = {"import": 103.0, "build": 104.5, "load": 105.0, "detect": 107.0}
    assert start.split(100.0, stamps) == {
        "import": 3.0, "build": 1.5, "load": 0.5, "detect": 2.0, "total": 7.0}
    runs = {name: [value, value + 1, value + 2] for name, value in
            start.split(100.0, stamps).items()}
    section = start.section({"float32": runs})
    assert section.rows == [["float32", "8.00", "7.00", "4.00", "2.50", "1.50", "3.00"]]


def test_peaks_beside_the_reference():
    section = memory.peaks_section([Result(Row("train", 1024), measured(peak=2.15)),
                                    Result(Row("train", 512, 2), measured())])
    assert section.rows[0][2:] == ["0.50", "1.00", "2.15", "1.65", "50 %"]
    assert section.rows[1][-1] == "–"


def test_memory_over_many_images():
    found = {"seconds": 50.0, "processor_seconds": 80.0, "cores": 2, "first_seconds": 4.0,
             "shapes": [(None, 256, 256)], "resident": [1e9] + [1.5e9] * 98 + [1.7e9] * 12}
    section = memory.many_section(found, 100, 20, 256, "square")
    assert dict(section.rows) == {
        "images a second": "2.00", "processor busy": "80 %", "graphs compiled": "1",
        "first image of each size, s": "4.00", "memory in the second tenth, GB": "1.50",
        "memory in the last tenth, GB": "1.70"}
    assert section.notes == ["Compiled for (batch, height, width): (any, 256, 256)."]
