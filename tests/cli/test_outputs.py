"""What the programs write: never over an input, whatever the names, and as much as can be."""

import csv
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import h5py
import pytest
from cli_tools import CATEGORY_IDS, NAMES, Stub, checkpoint, fails
from PIL import Image

from frcnn import runs
from frcnn.cli import anchors, detect, evaluate, outputs, results, run_report, train
from frcnn.data.coco import CocoDataset
from frcnn.errors import OutputError
from frcnn.formats.tables import COLUMNS

needs_bytes = pytest.mark.skipif(sys.platform in ("win32", "darwin"),
                                 reason="file names are UTF-8 there")
# "präparat.png" in Latin-1, as on an old disk.
LATIN = os.fsdecode(b"pr\xe4parat.png")


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    monkeypatch.setattr(run_report, "inference_model", Stub)


@pytest.fixture
def weights(tmp_path):
    return checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)


@pytest.fixture
def slides(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (30 + number, 20), (200, 190, 180)).save(folder / name)
    return folder


def run(*arguments):
    return detect.main(list(map(str, arguments)))


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- outputs that would replace inputs ----------------------------------------------------------


@pytest.mark.parametrize("link", [False, True])
def test_pictures_do_not_go_where_the_images_are(capsys, weights, slides, tmp_path, link):
    before, place = contents(slides), slides
    if link:
        place = tmp_path / "other name"
        place.symlink_to(slides)
    line = fails(capsys, detect.main, slides / "*.png", "--model", weights, "--output",
                 tmp_path / "r.json", "--pictures", place)
    assert f"--pictures {place}" in line and "a.png" in line and "name another folder" in line
    assert contents(slides) == before and not (tmp_path / "r.json").exists()


def test_a_picture_replaces_no_other_picture_but_its_own(weights, slides, tmp_path):
    shown = tmp_path / "shown"
    shown.mkdir()
    Image.new("RGB", (5, 5)).save(shown / "a.png")
    (shown / "b.png").write_text("not even an image")
    arguments = (slides, "--model", weights, "--output", tmp_path / "r.json", "--pictures", shown)
    assert run(*arguments) == 0
    assert sorted(path.name for path in shown.iterdir()) == ["a-2.png", "a.png", "b-2.png", "b.png"]
    with Image.open(shown / "a.png") as picture:
        assert picture.size == (5, 5)
    assert (shown / "b.png").read_text() == "not even an image"
    assert run(*arguments) == 0  # its own ones are replaced
    assert len(list(shown.iterdir())) == 4


def test_pictures_that_differ_by_case_alone_do_not_meet(weights, slides, tmp_path):
    shutil.copy(slides / "a.png", slides / "A.png")
    assert run(slides / "a.png", slides / "A.png", "--model", weights, "--output",
               tmp_path / "r.json", "--pictures", tmp_path / "shown") == 0
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == ["A-2.png", "a.png"]


@pytest.mark.parametrize("which", ["annotations", "beside", "config", "linked", "hard linked"])
def test_results_replace_no_input(capsys, weights, slides, tmp_path, which):
    beside = runs.metadata_path(weights)
    chosen = tmp_path / "inputs.json"  # lists, as results are, so that only the place tells
    chosen.write_text('[{"image_id": 1}]')
    options = ["--annotations", chosen] if which == "annotations" else ["--config", chosen]
    target = chosen
    if which == "beside":
        target, options = beside, []
    elif which != "annotations":
        shutil.copy(beside, chosen)
        target = {"config": chosen, "linked": tmp_path / "link.json",
                  "hard linked": tmp_path / "second.json"}[which]
        if which == "linked":
            target.symlink_to(chosen)
        elif which == "hard linked":
            os.link(chosen, target)
    before = contents(tmp_path)
    line = fails(capsys, detect.main, slides, "--model", weights, *options, "--output", target)
    assert "error: " in line and contents(tmp_path) == before


def test_the_place_alone_is_enough_to_refuse(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b.json").symlink_to(tmp_path / "a.json")
    for path in (tmp_path / "a.json", tmp_path / "b.json", tmp_path / "x" / ".." / "a.json"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(OutputError, match=r"--output: .*one of the inputs"):
            outputs.check_not_inputs("--output", [path], [None, str(tmp_path / "a.json")])
    outputs.check_not_inputs("--output", [tmp_path / "new.json"], [tmp_path / "a.json"])


@pytest.mark.parametrize("name, content, is_refused", [
    ("r.json", '{"images": []}', True), ("r.json", "\ufeff { ", True),
    ("r.json", '[{"id": 1, "image": "a.png"}]', True),
    *(("r.json", content, True) for content in (
        '["a.png", "b.png"]', "[1, 2]", "[[1, 2]]", '"hello"', "hello", "3", "null", "[null]",
        "[", '[] {"a": 1}', '[{"image_ids": 1}]', "file_name: a.png", "\0\1")),
    ("r.json", "[]", False), ("r.json", " [ ]\n", False), ("r.json", "", False),
    ("r.json", '[\n {\n  "image_id": 1}]', False),
    ("r.csv", "file,patient\n", True), ("r.csv", "", False),
    ("r.csv", ",".join(COLUMNS) + "\r\n", False)])
def test_only_results_are_replaced_by_results(capsys, weights, slides, tmp_path, name, content,
                                              is_refused):
    target = tmp_path / name
    target.write_text(content, encoding="utf-8")
    if is_refused:
        line = fails(capsys, detect.main, slides, "--model", weights, "--output", target)
        assert f"--output: {target}" in line and target.read_text(encoding="utf-8") == content
    else:
        assert run(slides, "--model", weights, "--output", target) == 0
        assert "a.png" in target.read_text()


def test_results_through_a_link_leave_the_link(weights, slides, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "r.json").symlink_to(tmp_path / "elsewhere" / "real.json")
    assert run(slides, "--model", weights, "--output", tmp_path / "r.json") == 0
    assert (tmp_path / "r.json").is_symlink()
    assert len(json.loads((tmp_path / "elsewhere" / "real.json").read_text())) == 2


def test_an_evaluation_replaces_no_image_of_its_data_and_no_configuration(capsys, coco_folder,
                                                                          tmp_path):
    # A weight file called metrics.h5 had its configuration in metrics.json, in older versions.
    path = checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)
    for file in (runs.metadata_path(path), path):
        file.rename(path.with_name(f"metrics{file.suffix}"))
    (coco_folder / "val/val_0.png").rename(coco_folder / "val/detections.png")
    annotations = coco_folder / "annotations/instances_val.json"
    annotations.write_text(annotations.read_text().replace("val_0.png", "detections.png"))
    before = contents(tmp_path)
    for folder, name in ((tmp_path / "run", "metrics.json"),
                         (coco_folder / "val", "detections.png")):
        line = fails(capsys, evaluate.main, "--dataset", coco_folder, "--model",
                     tmp_path / "run/metrics.h5", "--output", folder)
        assert f"--output: {folder / name} is one of the inputs" in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name, told", [
    ("train/train_0.png", "one of the inputs"), ("plot.json", "name a file that ends in .png"),
    ("train", "name a file that ends in"), ("file/plot.png", "nothing can be written")])
def test_a_plot_replaces_no_image_and_is_tried_before_the_work(capsys, coco_folder, monkeypatch,
                                                               name, told):
    monkeypatch.setattr(anchors, "molded_objects", lambda *_: pytest.fail("the work has begun"))
    (coco_folder / "file").touch()
    before = contents(coco_folder)
    line = fails(capsys, anchors.main, coco_folder, "--output", coco_folder / name)
    assert told in line and contents(coco_folder) == before


# --- one bad item -------------------------------------------------------------------------------


@needs_bytes
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_name_that_is_not_utf8_is_escaped(weights, slides, tmp_path, kind):
    shutil.copy(slides / "a.png", slides / LATIN)
    output = tmp_path / f"found.{kind}"
    assert run(slides, "--model", weights, "--output", output, "--pictures", tmp_path / "p") == 0
    text = output.read_bytes().decode("utf-8")
    rows = json.loads(text) if kind == "json" else list(csv.DictReader(text.splitlines()))
    names = [row["file_name"] for row in rows]
    assert names == [str(slides / name) for name in ("a.png", "b.png", r"pr\xe4parat.png")]
    assert "".join(names).encode("utf-8")  # has no lone surrogates, which strict readers refuse
    assert os.path.exists(tmp_path / "p" / LATIN)


@pytest.mark.parametrize("length", [247, 251])
def test_a_long_name_costs_nothing(weights, slides, tmp_path, length):
    shutil.copy(slides / "a.png", slides / ("x" * length + ".png"))
    (slides / "more").mkdir()
    shutil.copy(slides / ("x" * length + ".png"), slides / "more")  # its picture needs "-2"
    assert run(slides, slides / "more", "--model", weights, "--output", tmp_path / "r.json",
               "--pictures", tmp_path / "shown") == 0
    assert len(list((tmp_path / "shown").iterdir())) == 4


@pytest.mark.parametrize("error", [OSError(36, "File name too long"), ValueError("a font\nbroke"),
                                   MemoryError(), RuntimeError("no LaTeX")])
def test_a_picture_that_fails_costs_only_itself(capsys, weights, slides, tmp_path, monkeypatch,
                                                error):
    def fail_at_first(self, path, *arguments):
        if path.name == "a.png":
            raise error
        return draw(self, path, *arguments)

    draw = results.Artist.draw
    monkeypatch.setattr(results.Artist, "draw", fail_at_first)
    output, shown = tmp_path / "r.json", tmp_path / "shown"
    assert run(slides, "--model", weights, "--output", output, "--pictures", shown) == 1
    assert len(json.loads(output.read_text())) == 2
    assert [path.name for path in shown.iterdir()] == ["b.png"]
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"frcnn detect: no picture of {slides / 'a.png'}: ")
    assert last == "frcnn detect: 1 of 2 pictures could not be written."


def test_an_image_too_large_for_the_memory_is_skipped(capsys, weights, slides, tmp_path,
                                                      monkeypatch):
    from frcnn.inference.stream import FailedImage

    assert FailedImage(0, MemoryError()).is_skippable
    assert not FailedImage(0, MemoryError(), ends_stream=True).is_skippable
    monkeypatch.setattr(Stub, "detect_stream", lambda self, images, **options: iter(
        [MemoryError("9 GB"), self.detect([list(images)[1]()])[0]]))
    assert run(slides, "--model", weights, "--output", tmp_path / "r.json") == 1
    assert "skipped: there is not enough memory (9 GB)" in capsys.readouterr().err


def test_results_left_in_an_input_folder_are_no_images(capsys, weights, slides):
    """The same command twice, with its results in the folder of the images."""
    for name in ("found.json", "found.csv", "found.json"):
        assert run(slides, "--model", weights, "--output", slides / name) == 0
        assert run(slides / "*", "--model", weights, "--output", slides / name) == 0
    assert len(json.loads((slides / "found.json").read_text())) == 2
    assert capsys.readouterr().err == ""
    assert run(slides / "found.json", "--model", weights, "--output", slides / "x.json") in (1, 2)


def test_one_file_is_taken_once(weights, slides, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(slides)
    monkeypatch.chdir(tmp_path)
    given = ["slides/a.png", slides / "a.png", "./slides/../slides/a.png", "link/a.png", "slides",
             str(slides / "*.png")]
    assert [str(path) for path in results.find_images(map(str, given))] == [
        "slides/a.png", "slides/b.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes have names there")
def test_a_pipe_among_the_images_does_not_wait_forever(capsys, weights, slides, tmp_path):
    os.mkfifo(slides / "pipe.png")
    line = fails(capsys, detect.main, slides / "pipe.png", "--model", weights)
    assert "a pipe" in line
    assert run(slides, "--model", weights, "--output", tmp_path / "r.json") == 0


# --- the evaluation's pictures ------------------------------------------------------------------


def evaluated(monkeypatch, coco_folder, tmp_path):
    """Runs `frcnn evaluate` with a stub; returns its exit code and the folder."""
    with h5py.File(checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)) as file:
        path = file.filename
    folder = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return evaluate.main(["--dataset", str(coco_folder), "--model", path, "--output",
                              str(folder)]), folder


def test_an_evaluation_is_not_written_among_the_images(capsys, monkeypatch, coco_folder, tmp_path):
    path = checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)
    before = sorted((coco_folder / "val").iterdir())
    line = fails(capsys, evaluate.main, "--dataset", coco_folder, "--model", path, "--output",
                 coco_folder / "val")
    assert ".png is in this folder, and is read; name another folder" in line
    assert sorted((coco_folder / "val").iterdir()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_logs_where_nothing_can_be_written(capsys, coco_folder):
    line = fails(capsys, train.main, "--dataset", coco_folder, "--logs", "/dev/full/runs")
    assert "--logs: nothing can be written as /dev/full/runs" in line and "another place" in line


def test_an_evaluation_survives_a_picture_that_fails(capsys, monkeypatch, coco_folder, tmp_path):
    def fail(*arguments, **options):
        raise ValueError("no such font")

    monkeypatch.setattr(run_report.visualize, "draw_detections_beside_truth", fail)
    code, folder = evaluated(monkeypatch, coco_folder, tmp_path)
    out, err = capsys.readouterr()
    assert code == 1 and sorted(os.listdir(folder)) == ["metrics.json", "report.html"]
    assert f"warning: {folder / 'detections.png'} could not be written: no such font" in err
    assert "Traceback" not in err and "detections.png" not in out and "report.html" in out


def test_an_evaluation_does_not_go_on_where_the_disk_is_full(capsys, monkeypatch, coco_folder,
                                                             tmp_path):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_report.visualize, "save_figure", fail)
    code, _ = evaluated(monkeypatch, coco_folder, tmp_path)
    assert code == 2 and "No space left" in capsys.readouterr().err


def test_an_image_that_has_gone_is_left_out_of_pictures_and_report(capsys, monkeypatch,
                                                                   coco_folder, tmp_path):
    drawn = []
    draw = run_report.visualize.draw_detections_beside_truth

    def vanish(*arguments, **options):
        (coco_folder / "val/val_0.png").unlink(missing_ok=True)
        return metrics(*arguments, **options)

    metrics = run_report.evaluate.evaluate_detections
    monkeypatch.setattr(run_report.evaluate, "evaluate_detections", vanish)
    monkeypatch.setattr(run_report.visualize, "draw_detections_beside_truth",
                        lambda images, *more, **options: drawn.append(len(images))
                        or draw(images, *more, **options))
    code, folder = evaluated(monkeypatch, coco_folder, tmp_path)
    err = capsys.readouterr().err
    assert code == 0 and drawn == [2]
    assert sorted(os.listdir(folder)) == ["detections.png", "metrics.json", "report.html"]
    assert "val_0.png is left out of the pictures" in err
    assert "val_0.png is left out of the report" in err


@needs_bytes
def test_names_that_are_not_utf8_come_through_to_the_report(monkeypatch, coco_folder, tmp_path):
    odd = coco_folder.with_name(os.fsdecode(b"coco\xe4"))
    coco_folder.rename(odd)
    code, folder = evaluated(monkeypatch, odd, tmp_path)
    assert code == 0
    assert "coco\\" in (folder / "report.html").read_text(encoding="utf-8")
    json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_the_users_matplotlibrc_does_not_break_the_pictures(weights, slides, tmp_path):
    import matplotlib

    shown = tmp_path / "shown"
    with matplotlib.rc_context({"text.usetex": True, "figure.dpi": 900}):
        assert run(slides, "--model", weights, "--output", tmp_path / "r.json", "--pictures",
                   shown) == 0
        assert matplotlib.rcParams["text.usetex"]
    assert len(list(shown.iterdir())) == 2


def test_a_data_set_is_still_evaluated(monkeypatch, coco_folder, tmp_path):
    """The stub finds something, so that the tests above compare more than empty results."""
    code, folder = evaluated(monkeypatch, coco_folder, tmp_path)
    assert code == 0 and CocoDataset.from_folder(coco_folder, "val").num_images == 3
    assert json.loads((folder / "metrics.json").read_text())["settings"]["checkpoint"].endswith("5")
