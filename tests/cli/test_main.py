"""The `frcnn` command: findings line by line and as JSON, exit codes, conversion."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import PROJECT
from voc_tools import annotation, draw_voc, set_annotation, set_list, voc_object

import frcnn
from frcnn.cli import main as cli
from frcnn.data.coco import CocoDataset


def run(capsys, *arguments):
    """Exit code, lines on stdout, and stderr; no stack trace, and no warning beside."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = cli.main([str(each) for each in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out.splitlines(), captured.err


def edit(folder, subset, change):
    path = folder / "annotations" / f"instances_{subset}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# --- check ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--headers",), ("--subset", "val")])
def test_a_clean_folder(capsys, coco_folder, options):
    code, lines, err = run(capsys, "check", coco_folder, *options)
    assert (code, lines) == (0, [])
    assert err.startswith("frcnn: errors: 0, repaired: 0, in the subsets ")


def test_a_clean_voc_folder(capsys, tmp_path):
    assert run(capsys, "check", draw_voc(tmp_path / "voc"))[:2] == (0, [])


def test_what_can_be_repaired(capsys, coco_folder):
    edit(coco_folder, "val", lambda content: content["annotations"][0].update(bbox=[-5, 0, 30, 9]))
    code, lines, err = run(capsys, "check", coco_folder)
    assert code == 1
    assert lines == ["repaired: val: Annotation 13 (image 6): the box [-5, 0, 30, 9] reaches "
                     "beyond the image of 128x96 pixels; clipped."]
    assert err == "frcnn: errors: 0, repaired: 1, in the subsets train, val\n"


def test_every_finding_is_a_line_of_its_own(capsys, coco_folder):
    def spoil(content):
        content["annotations"][0]["bbox"] = ["1", 2, 3, 4]
        content["annotations"][3]["bbox"] = [1, 2, 0, 4]
        content["images"].append({"id": 77, "file_name": "../val/val_0.png"})
        content["images"].append({"id": 78, "file_name": "line\nbreak\x1b[31m.png"})

    edit(coco_folder, "train", spoil)
    (coco_folder / "train/train_4.png").write_bytes(b"")
    Image.new("RGB", (9, 9)).save(coco_folder / "val/val_1.png")
    code, lines, err = run(capsys, "check", coco_folder)
    assert code == 2 and err.startswith("frcnn: errors: 5, repaired: 1,")
    expected = [
        "error: train: Image 77 has the file_name '../val/val_0.png', which leaves the data set's",
        "error: train: Image 78: there is no file ",
        "error: train: Annotation 1 (image 1, train_0.png) has the bbox ['1', 2, 3, 4]; give four",
        "repaired: train: Annotation 4 (image 2): the box [1, 2, 0, 4] is empty; dropped.",
        "error: train: Image 5: ",
        "error: val: Image 7 (",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected):
        assert line.startswith(start) and line.isprintable()
    assert "9x9 pixels" in lines[-1]


def test_only_some_subsets(capsys, coco_folder):
    (coco_folder / "val/val_0.png").unlink()
    assert run(capsys, "check", coco_folder, "--subset", "train")[0] == 0
    assert run(capsys, "check", coco_folder, "--subset", "train", "--subset", "val")[0] == 2
    code, lines, _ = run(capsys, "check", coco_folder, "--subset", "test", "--subset", "train")
    assert code == 2 and len(lines) == 1
    assert "error: test: There is no annotation file" in lines[0] and "are train, val" in lines[0]


def test_a_subset_that_is_not_usable_does_not_hide_the_others(capsys, coco_folder):
    (coco_folder / "annotations/instances_train.json").write_text("{images: oops")
    (coco_folder / "val/val_2.png").unlink()
    code, lines, _ = run(capsys, "check", coco_folder)
    assert code == 2 and len(lines) == 2
    assert lines[0].startswith("error: train: ") and "is not JSON" in lines[0]
    assert lines[1].startswith("error: val: Image 8: there is no file")


def test_subsets_of_different_classes(capsys, coco_folder):
    edit(coco_folder, "val", lambda content: content["categories"][0].update(name="quadrat"))
    code, lines, _ = run(capsys, "check", coco_folder)
    assert code == 2 and len(lines) == 1
    assert "quadrat" in lines[0] and "square" in lines[0]


def test_findings_as_json(capsys, coco_folder):
    def spoil(content):
        content["annotations"][0].update(id=[1, 2], bbox=[float("nan"), 0, 1, 1])
        content["annotations"][3]["bbox"] = [100, 80, 90, 90]

    edit(coco_folder, "train", spoil)
    code, lines, _ = run(capsys, "check", coco_folder, "--json")
    content = json.loads("\n".join(lines), parse_constant=pytest.fail)
    assert (code, content["exit_code"], content["folder"]) == (2, 2, str(coco_folder))
    first, second = content["findings"]
    assert first.pop("message").startswith("Annotation [1, 2] (image 1, train_0.png)")
    assert first == {"subset": "train", "kind": "bad box", "repairable": False, "image_id": 1,
                     "annotation_id": "[1, 2]"}
    assert (second["repairable"], second["image_id"], second["annotation_id"]) == (True, 2, 4)

    code, lines, _ = run(capsys, "check", coco_folder, "--json", "--subset", "val")
    content = json.loads("\n".join(lines))
    assert (code, content["exit_code"], content["findings"]) == (0, 0, [])


def test_objects_without_anchors_are_a_warning_that_names_the_way_out(capsys, coco_folder):
    """Thin strips, which no anchor resembles, drawn over an image without objects."""
    def spoil(content):
        strips = [{"id": 100 + number, "image_id": 5, "category_id": 2 if number % 4 else 7,
                   "bbox": [10 + number, 5, 1, 80], "area": 80, "iscrowd": 0}
                  for number in range(100)]
        content["annotations"] += strips

    edit(coco_folder, "train", spoil)
    stripes = np.arange(96 * 128, dtype=np.uint8).reshape(96, 128)  # not all one value
    Image.fromarray(stripes).save(coco_folder / "train/train_4.png")
    code, lines, err = run(capsys, "check", coco_folder)
    assert code == 0 and err.startswith("frcnn: errors: 0, repaired: 0, ")
    (line,) = lines
    assert line.startswith("warning: train: ") and line.isprintable()
    for part in ("% of the objects of the class 'bar'", "'square'", "IoU of 0.5",
                 f"frcnn anchors {coco_folder} recommends"):
        assert part in line
    assert "'slab'" not in line  # it has three objects
    code, lines, _ = run(capsys, "check", coco_folder, "--json")
    content = json.loads("\n".join(lines))
    assert (code, content["findings"]) == (0, [])
    assert content["warnings"] == [{"subset": "train",
                                    "message": line.removeprefix("warning: train: ")}]

    # Without "train" the first subset that is checked.
    (coco_folder / "annotations/instances_train.json").rename(
        coco_folder / "annotations/instances_odd.json")
    (coco_folder / "train").rename(coco_folder / "odd")
    code, lines, _ = run(capsys, "check", coco_folder, "--subset", "odd", "--subset", "val")
    assert code == 0 and len(lines) == 1
    assert f"frcnn anchors {coco_folder} --subset odd recommends" in lines[0]
    assert run(capsys, "check", coco_folder, "--subset", "val")[:2] == (0, [])


def test_voc_findings(capsys, tmp_path):
    folder = draw_voc(tmp_path / "voc")
    set_annotation(folder, "a", annotation(voc_object(), voc_object("rod", "x"),
                                           voc_object("rod", 90, 70, 110, 90)))
    set_annotation(folder, "c", "<annotation>")
    set_list(folder, "val", ["c", "d", "../../secret"])
    Image.new("L", (50, 50)).save(folder / "JPEGImages/d.png")
    code, lines, _ = run(capsys, "check", folder)
    assert code == 2
    expected = ["error: train: Object 2 of image a has the box ",
                "repaired: train: Object 3 of image a: the box ymin '70', ",
                "error: val: Image c: ",
                "error: val: Image '../../secret' leaves the data set's folder; it is not opened",
                "error: val: Image d ("]
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected)), lines


@pytest.mark.parametrize("arguments, told", [
    (("check", "{}/nowhere"), "There is no data set folder"),
    (("check", "{}/empty"), "neither layout"),
    (("check",), "DIR"),
    (("check", "{}", "--colour"), "--colour"),
    ((), "COMMAND"),
    (("train", "{}"), "train"),
    (("convert", "{}"), "COCO_DIR"),
    (("convert", "{}/empty", "{}/new"), "not in Pascal VOC's layout"),
    (("convert", "{}/nowhere", "{}/new", "--subset", "train"), "There is no file or folder"),
])
def test_wrong_commands_are_one_line(capsys, tmp_path, arguments, told):
    (tmp_path / "empty").mkdir()
    code, lines, err = run(capsys, *(each.format(tmp_path) for each in arguments))
    assert (code, lines) == (2, []) and err.count("\n") == 1
    assert told in err and "frcnn" in err.split(":")[0]


def test_no_file_outside_the_folder_is_opened(capsys, coco_folder):
    """Watches what Python opens, with names that would lead to a file that is there."""
    secret = coco_folder.parent / "secret.png"
    Image.new("RGB", (128, 96)).save(secret)
    names = ["../../secret.png", str(secret), "x/../../../secret.png", "..\\..\\secret.png"]
    edit(coco_folder, "train", lambda content: content["images"].extend(
        {"id": 100 + number, "file_name": name} for number, name in enumerate(names)))
    voc = draw_voc(coco_folder.parent / "voc")
    for name, filename in zip("ab", names):
        (voc / "JPEGImages" / f"{name}.png").unlink()
        set_annotation(voc, name, annotation(voc_object(), filename=filename))
    set_list(voc, "val", ["c", "../../secret"])
    opened, watching = [], True

    def note(event, values):
        if event == "open" and watching:
            opened.append(str(values[0]))

    sys.addaudithook(note)  # there is no way to remove it
    assert run(capsys, "check", coco_folder)[0] == 2
    assert run(capsys, "check", voc)[0] == 2
    watching = False
    seen = [Path(name).resolve() for name in opened if "secret" in name]
    assert any("train_0.png" in name for name in opened) and not seen


# --- convert --------------------------------------------------------------------------------


@pytest.mark.smoke
def test_convert_and_check(capsys, tmp_path):
    folder, target = draw_voc(tmp_path / "voc"), tmp_path / "deep" / "coco"
    code, lines, _ = run(capsys, "convert", folder, target)
    assert code == 0
    assert lines == ["train: 2 images with 3 objects", "val: 2 images with 1 objects",
                     f"written in COCO's layout to {target}"]
    assert run(capsys, "check", target)[:2] == (0, [])
    code, _, err = run(capsys, "convert", folder, target)
    assert code == 2 and "is there already" in err


def test_convert_one_subset_counted_from_zero(capsys, tmp_path):
    folder = draw_voc(tmp_path / "voc")
    set_annotation(folder, "a", annotation(voc_object("rod", 0, 0, 50, 40)))
    target = tmp_path / "coco"
    target.mkdir()  # an empty folder may be there
    assert run(capsys, "convert", folder, target, "--subset", "val", "--first-pixel", 0)[0] == 0
    assert [path.name for path in (target / "annotations").iterdir()] == ["instances_val.json"]
    box = CocoDataset.from_folder(target, "val").load_boxes(0)[0]
    assert box.tolist() == [[30, 30, 45, 50]]


@pytest.mark.filterwarnings("default:train.txt. 1 bad item:UserWarning")
def test_convert_bad_input(capsys, tmp_path):
    folder, target = draw_voc(tmp_path / "voc"), tmp_path / "coco"
    set_annotation(folder, "a", annotation(voc_object(), voc_object("rod", "x")))
    code, lines, err = run(capsys, "convert", folder, target)
    assert (code, lines) == (2, []) and err.count("\n") == 1
    assert "Object 2 of image a" in err and "--skip-bad" in err and not target.exists()
    shutil.rmtree(target, ignore_errors=True)
    code = cli.main(["convert", str(folder), str(target), "--skip-bad"])
    captured = capsys.readouterr()
    assert "warning: train.txt: 1 bad item is left out" in captured.err
    assert code == 0 and "train: 2 images with 2 objects" in captured.out


# --- the command itself ---------------------------------------------------------------------


@pytest.mark.smoke
def test_help_and_version(capsys):
    for arguments in (["--help"], ["check", "--help"], ["convert", "--help"]):
        assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    for word in ("check", "convert", "--json", "--subset", "--headers", "--skip-bad", "exit code"):
        assert word in text
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"frcnn {frcnn.__version__}\n"


def test_it_starts_fast_and_as_a_module(coco_folder):
    code = ("import sys; from frcnn.cli.main import main; "
            f"code = main(['check', {str(coco_folder)!r}]); "
            "sys.exit(99 if {'keras', 'tensorflow', 'jax'} & set(sys.modules) else code)")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-m", "frcnn.cli", "check", str(coco_folder) + "x"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("frcnn check: error: There is no data set")


def test_setup_names_the_command():
    text = (PROJECT / "setup.py").read_text()
    assert '"frcnn = frcnn.cli.main:entry"' in text
