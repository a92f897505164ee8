"""`frcnn migrate`: files and folders, what it prints, where it writes, its exit codes."""

import json
import shutil

import pytest
from cli_tools import fails

from frcnn.cli import migrate

SCRIPT = "from mrcnn import visualize\nvisualize.display_instances(i, b, m, c, n, s)\n"
MIGRATED = "from frcnn import visualize\nvisualize.display_instances(i, b, c, n, s)\n"
BY_HAND = "import mrcnn.model as modellib\narea = r['masks'].sum()\n"


@pytest.fixture
def project(tmp_path):
    """A project with the reference inside, a notebook, and what is none of its scripts."""
    folder = tmp_path / "project"
    for name, text in {
        "train.py": SCRIPT, "sub/measure.py": BY_HAND, "helper.py": "x = 1\n", "data/a.txt": "a",
        "mrcnn/model.py": '"""\nMask R-CNN\nThe main model.\n"""\nimport keras\n',
        "mrcnn/utils.py": '"""\nMask R-CNN\nUtilities.\n"""\n', "mrcnn/__init__.py": "",
        ".hidden/a.py": SCRIPT, "env/pyvenv.cfg": "", "env/b.py": SCRIPT,
        "show.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": [SCRIPT]}]}),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.smoke
def test_a_script_gets_a_copy_beside_it(project, capsys):
    script = project / "train.py"
    assert migrate.main([str(script)]) == 0
    assert script.read_text() == SCRIPT
    assert (project / "train_frcnn.py").read_text() == MIGRATED
    assert capsys.readouterr().out.splitlines() == [
        f"{script}:1: changed: imports frcnn",
        f"{script}:2: changed: display_instances without masks",
        "1 file: 2 changes, 0 to make by hand", f"written to {project / 'train_frcnn.py'}"]
    line = fails(capsys, migrate.main, script)
    assert f"{project / 'train_frcnn.py'} is there already; name another place" in line


def test_check_only_lists(project, capsys):
    before = files(project)
    assert migrate.main([str(project), "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{project}/show.ipynb:cell 1, line 2: changed: display_instances without masks" in lines
    assert any(line.startswith(f"{project}/sub/measure.py:2: by hand: a result has no masks")
               for line in lines)
    assert lines[-1] == "5 files: 5 changes, 1 to make by hand" and files(project) == before
    assert migrate.main([str(project / "helper.py"), "--check"]) == 0


def test_a_folder_is_copied_with_all_its_scripts(project, tmp_path, capsys):
    assert migrate.main([str(project)]) == 1
    copies = tmp_path / "project_frcnn"
    assert files(copies) == ["helper.py", "mrcnn/__init__.py", "show.ipynb", "sub/measure.py",
                             "train.py"]
    assert (copies / "train.py").read_text() == MIGRATED
    assert json.loads((copies / "show.ipynb").read_text())["cells"][0]["source"] \
        == MIGRATED.splitlines(keepends=True)
    assert capsys.readouterr().out.endswith(f"written to {copies} and below\n")
    shutil.rmtree(copies)
    assert migrate.main([str(project), "--output", str(tmp_path / "other")]) == 1
    assert (tmp_path / "other" / "train.py").is_file() and not copies.exists()


def test_the_output_is_a_file_or_a_folder(project, tmp_path, capsys):
    script = str(project / "train.py")
    assert migrate.main([script, "--output", str(tmp_path / "new.py")]) == 0
    assert migrate.main([script, "--output", str(project / "sub")]) == 0
    assert (project / "sub" / "train.py").read_text() == MIGRATED
    for wrong in ("new.txt", "new"):
        line = fails(capsys, migrate.main, script, "--output", tmp_path / wrong)
        assert "name a folder, or a file that ends in .py" in line
    line = fails(capsys, migrate.main, script, "--output", script)
    assert "is there already" in line and (project / "train.py").read_text() == SCRIPT


def test_encodings_stay(tmp_path):
    script = tmp_path / "a.py"
    script.write_bytes(b"# -*- coding: latin-1 -*-\r\nimport mrcnn\r\nx = '\xe4'\r\n")
    assert migrate.main([str(script), "--output", str(tmp_path / "b.py")]) == 0
    assert (tmp_path / "b.py").read_bytes() == \
        b"# -*- coding: latin-1 -*-\r\nimport frcnn\r\nx = '\xe4'\r\n"


def test_what_cannot_be_read_is_named(project, tmp_path, capsys):
    (project / "old.py").write_text("import mrcnn\nprint 'x'\n")
    line = fails(capsys, migrate.main, project / "old.py")
    assert f"{project / 'old.py'}: line 2: it is not valid Python 3" in line
    assert migrate.main([str(project)]) == 2  # the rest is written
    assert f"error: {project / 'old.py'}: line 2" in capsys.readouterr().out
    assert (tmp_path / "project_frcnn" / "train.py").read_text() == MIGRATED
    assert not (tmp_path / "project_frcnn" / "old.py").exists()
    (project / "bytes.py").write_bytes(b"x = '\xff'\n")
    assert "bytes.py cannot be read" in fails(capsys, migrate.main, project / "bytes.py")
    (project / "deep.py").write_text("import mrcnn\nx = " + "-" * 20000 + "1\n")
    assert "deep.py" in fails(capsys, migrate.main, project / "deep.py")
    (project / "bad.ipynb").write_text("[]")
    assert "bad.ipynb: it is not a notebook" in fails(capsys, migrate.main, project / "bad.ipynb")
    assert "is neither a script" in fails(capsys, migrate.main, project / "data" / "a.txt")
    assert "There is no" in fails(capsys, migrate.main, project / "gone.py")
    assert "has no scripts" in fails(capsys, migrate.main, project / "data")


def test_scripts_that_import_each_other_are_changed_together(tmp_path, capsys):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "marbles.py").write_text("from mrcnn.config import Config\n")
    (folder / "train.py").write_text("import marbles\nfrom mrcnn import utils\n")
    assert migrate.main([str(folder / "train.py"), "--check"]) == 1
    assert "train.py:1: by hand: marbles.py uses the reference, too" in capsys.readouterr().out
    assert migrate.main([str(folder)]) == 0
    assert "by hand: " not in capsys.readouterr().out
    assert (tmp_path / "project_frcnn" / "marbles.py").read_text().startswith("from frcnn.")
