"""Stages, growth and the GPU, from invented measurements."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from benchmarks import __main__ as program
from benchmarks import children, detect, devices, gpu, saving, scaling, stages
from benchmarks.matrix_product import SIDE
from benchmarks.rows import Result, Row
from benchmarks.scaling_plot import draw

UNIT = 0.5
STAGES = {
    "unit_before": [UNIT], "unit_after": [UNIT], "half_products": [UNIT / 2],
    "parts": {"backbone": [1.0, 1.2, 0.8], "proposals": [0.05] * 3}, "host": {"unmold": [0.01]},
    "whole": [1.1, 1.3, 1.2], "multiply_adds": {"backbone": SIDE**3},
}


@pytest.mark.parametrize(("precision", "limit", "share", "whole"), [
    ("float32", "1.00", "50 %", "42 %"), ("mixed_bfloat16", "0.500", "25 %", "21 %")])
def test_stages_beside_the_limit_of_the_matrix_product(precision, limit, share, whole):
    section = stages.section("detect", 1024, 1, precision, STAGES)
    rows = {line[0]: dict(zip(section.headers, line)) for line in section.rows}
    assert list(rows) == ["backbone", "proposals", "unmold (host)", "sum of the parts", "whole"]
    # SIDE³ multiply-adds are those of the product: one unit, or half of one in bfloat16
    assert rows["backbone"] == {"stage": "backbone", "ms": "1,000", "range, ms": "800–1,200",
                                "units": "2.00", "limit": limit, "share": share, "GMAC": "68.7"}
    assert rows["proposals"]["limit"] == rows["proposals"]["share"] == "–"
    assert rows["sum of the parts"]["ms"] == "1,060"
    assert rows["whole"]["units"] == "2.40" and rows["whole"]["share"] == whole


def test_stages_of_both_works_and_precisions(monkeypatch):
    given = []

    def child(work, **arguments):
        given.append((arguments["task"], arguments["side"], arguments["precision"]))
        if given[-1][2] == "float32":
            raise children.ChildError("no memory left")
        return STAGES

    monkeypatch.setattr(children, "run", child)
    sections, data, errors = stages.run(SimpleNamespace(
        side=1024, batch=1, task=None, runs=1, warmup=1, shrink=2))
    assert given == [(task, 512, precision) for task in ("detect", "train")
                     for precision in ("float32", "mixed_bfloat16")]
    assert [section.title for section in sections] == [
        "Detection by stage, 1 × 512², bfloat16", "Training step by stage, 1 × 512², bfloat16"]
    assert len(errors) == 2 and list(data) == ["detect", "train"]


# --- growth -----------------------------------------------------------------------------------


def child_of_quadratic_cost(work, side, batch, **arguments):
    return {"seconds": [(side / 512) ** 2 * batch] * 3, "unit_before": [UNIT],
            "unit_after": [UNIT], "memory_peak": 1e9 * batch}


def test_rows_along_an_axis():
    found = scaling.axis_rows("side", "train", "float32", most=1024)
    assert [(value, row.side, row.batch) for value, row in found] == [
        (256, 256, 1), (512, 512, 1), (768, 768, 1), (1024, 1024, 1)]
    found = scaling.axis_rows("batch", "detect", "float32")
    assert [(value, row.side, row.batch) for value, row in found] == [
        (1, 512, 1), (2, 512, 2), (4, 512, 4), (8, 512, 8)]
    found = scaling.axis_rows("proposals", "detect", "float32")
    assert [row.settings["POST_NMS_ROIS_INFERENCE"] for _, row in found] == [
        100, 300, 1000, 2000, 4000]


def test_growth_is_measured_drawn_and_redrawn(monkeypatch, tmp_path, capsys):
    given = []
    monkeypatch.setattr(children, "run", lambda *work, **row: given.append(row)
                        or child_of_quadratic_cost(*work, **row))
    arguments = ["scaling", "--folder", str(tmp_path), "--precision", "float32", "--most", "1024",
                 "--axis", "side", "--axis", "batch", "--task", "detect"]
    assert program.main(arguments) == 0
    # four sides and four batches, but one image of 512² is measured once
    assert len(given) == 7
    content = json.loads((tmp_path / "scaling.json").read_text())
    assert len(content["points"]) == 8 and content["machine"]["cores"] and content["date"]
    with Image.open(tmp_path / "scaling.png") as image:
        assert image.size == (1000, 560)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "side detection float32 256–1024 0.250–4.00 2.0 1.00–1.00 0" in lines
    assert "batch detection float32 1–8 1.00–8.00 1.0 1.00–8.00 1.0" in lines

    (tmp_path / "scaling.png").unlink()
    assert program.main(["scaling", "--folder", str(tmp_path), "--redraw"]) == 0
    assert len(given) == 7 and (tmp_path / "scaling.png").exists()


def test_exponents():
    points = [{"value": value, "seconds": 3 * value**1.5, "gigabytes": None}
              for value in (1, 2, 4, 8)]
    assert scaling.exponent(points, "seconds") == pytest.approx(1.5)
    assert scaling.exponent(points[:1], "seconds") is None
    assert scaling.exponent(points, "gigabytes") is None


def test_a_point_without_memory_is_drawn(tmp_path):
    result = Result(Row("detect", 512), {**child_of_quadratic_cost("", 512, 1),
                                         "memory_peak": None})
    draw([scaling.point("side", 512, result)], {"side": "side", "batch": "batch"},
         tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


# --- detection from files -------------------------------------------------------------------


def test_detection_from_files_beside_the_network(monkeypatch, capsys):
    def child(work, workers=None, **arguments):
        if work == "detect_rows:prepare":
            return "{}"
        if workers == 2:
            raise children.ChildError("no memory left")
        if workers:
            return {"seconds": 2.0, "images": 8, "pixels": 4e6, "start": 20.0}
        return {"a folder": {"seconds": 4.0, "images": 32, "pixels": 8e6, "network": 3.0}}

    monkeypatch.setattr(children, "run", child)
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda name: object())
    options = SimpleNamespace(detect_side=512, files=32, no_ray=False, shrink=1)
    (section,), data, errors = detect.run(options)
    assert section.rows == [["a folder", "32", "8.00", "2.00", "25 %", "–"],
                            ["a folder, Ray, 1 worker", "8", "4.00", "2.00", "–", "20.0"]]
    assert errors == ["Failed: Ray with 2 workers. no memory left"] and data["side"] == 512
    options.no_ray = True
    (section,), _, errors = detect.run(options)
    assert len(section.rows) == 1 and not errors


# --- GPU --------------------------------------------------------------------------------------

OPTIONS = SimpleNamespace(runs=1, warmup=1, shrink=1, batches=(1, 4), precision=["float32"],
                          any_device=False)


def test_without_a_gpu_a_note_says_so(monkeypatch):
    monkeypatch.setattr(children, "run", lambda work: {"backend": "jax", "gpus": []})
    (section,), data, errors = gpu.run(OPTIONS)
    assert section.notes[0].startswith("jax finds no GPU here") and not errors
    assert data["gpus"] == []


def test_images_a_second_beside_torchvision(monkeypatch):
    def child(work, batch=None, **arguments):
        if work == "gpu_rows:devices":
            return {"backend": "tensorflow", "gpus": ["gpu:0"]}
        if work == "torchvision_rows:measure" and batch == 4:
            raise children.ChildError("no memory left")
        return [0.1 * batch, 0.2 * batch, 0.1 * batch]

    monkeypatch.setattr(children, "run", child)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: object())
    (section,), data, errors = gpu.run(OPTIONS)
    assert section.rows == [
        [work, batch, "float32", "10.0", "5.00–10.0", "10.0" if batch == "1" else "–"]
        for work in ("detection", "training") for batch in ("1", "4")]
    assert len(errors) == 2 and len(data["rows"]) == 4


def test_torchvision_is_left_out_where_it_is_not(monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(children, "run", lambda work, **row: [1.0] if row else {
        "backend": "tensorflow", "gpus": []})
    (section,), _, _ = gpu.run(SimpleNamespace(**{**vars(OPTIONS), "any_device": True}))
    assert section.rows[0][-1] == "–" and "not installed" in section.notes[-1]


# --- saving -----------------------------------------------------------------------------------


def test_the_cost_of_a_saved_state():
    found = {"state_seconds": [1.0, 2.0, 3.0], "checkpoint_seconds": [0.5], "step_seconds": [0.5],
             "state_bytes": 230_000_000, "checkpoint_bytes": 115_000_000}
    rows = saving.section(found, 320, "adamw").rows
    # 2 s are four steps of 0.5 s, and a third of a hundredth of 10 minutes
    assert rows[0] == ["state of the training", "2.00", "230", "4.00", "0.33 %"]
    assert rows[1][:3] == ["checkpoint", "0.500", "115"]


# --- devices ----------------------------------------------------------------------------------


def test_rates_of_devices_and_processes(monkeypatch):
    asked = []

    def run(work, **arguments):
        asked.append((work, arguments))
        if arguments["devices"] == 2:
            raise children.ChildError("no memory")
        return [2.0 if arguments["job"] else 0.5] * 3

    monkeypatch.setattr(children, "run", lambda work, devices=1, **arguments: run(
        work, devices=devices, **arguments))
    (section,), _, errors = devices.run(SimpleNamespace(shrink=1, steps=3))
    rates = {row[0]: (row[3], row[4]) for row in section.rows}
    # Two images a step: of half a second, and of two seconds in the job.
    assert rates["JAX, one device"] == ("4.00", "1.00")
    assert rates["JAX, two processes"] == ("1.00", "0.25")
    assert errors == ["Failed: JAX, two devices of one process. no memory"]
    jobs = [arguments["job"] for _, arguments in asked if arguments["job"]]
    assert sorted(job["process_id"] for job in jobs) == [0, 1]
    assert len({job["coordinator"] for job in jobs}) == 1 and jobs[0]["processes"] == 2
