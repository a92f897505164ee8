"""Notebooks: code cells are changed, everything else stays to the byte."""

import json

import pytest

from frcnn.errors import MigrationError
from frcnn.migrate.notebook import migrate_notebook


def notebook(*sources, indent=1, as_list=True):
    """A notebook with code cells of these sources; a tuple is a Markdown cell."""
    cells = []
    for source in sources:
        kind = "markdown" if isinstance(source, tuple) else "code"
        text = source[0] if kind == "markdown" else source
        cell = {"cell_type": kind, "metadata": {"a": 1},
                "source": text.splitlines(keepends=True) if as_list else text}
        if kind == "code":
            cell |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout",
                                                        "text": ["import mrcnn\n"]}]}
        cells.append(cell)
    return json.dumps({"cells": cells, "metadata": {"é": "ü"}, "nbformat": 4, "nbformat_minor": 2},
                      indent=indent, ensure_ascii=False) + "\n"


def code_of(text):
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"]
            if cell["cell_type"] == "code"]


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("indent", [1, 2, None])
def test_only_what_is_changed_changes(indent, as_list):
    before = ("from mrcnn import visualize\n%matplotlib inline\n", ("# from mrcnn import x",),
              "r = model.detect([image])[0]\n!pip install tqdm\n\n", "x = 1",
              "visualize.display_instances(image, r['rois'], r['masks'], r['class_ids'], names)")
    text = notebook(*before, indent=indent, as_list=as_list)
    after = notebook("from frcnn import visualize\n%matplotlib inline\n", *before[1:4],
                     "visualize.display_instances(image, r['rois'], r['class_ids'], names)",
                     indent=indent, as_list=as_list)
    assert migrate_notebook(text).text == after


def test_names_go_from_cell_to_cell_and_places_are_by_cell():
    text = notebook("import mrcnn.model as modellib", ("text",), "",
                    "i, m, c, b, mask = modellib.load_image_gt(d, e, 0)\nmodellib.log('m', mask)",
                    "\n\narea = mask.sum()\n")
    migrated = migrate_notebook(text)
    assert code_of(migrated.text)[2] == "i, m, c, b = modellib.load_image_gt(d, e, 0)"
    assert [(finding.place, finding.by_hand) for finding in migrated.findings] == [
        ("cell 1, line 1", False), ("cell 3, line 1", False), ("cell 3, line 2", False),
        ("cell 4, line 3", True)]


@pytest.mark.parametrize("cell", [
    "%load_ext autoreload\n%autoreload 2\nimport os", "!ls {folder}\nfiles = !ls\n",
    "%%time\nmodel.train(a)", "%%bash\nfor i in mrcnn; do echo $i; done\n",
    "dataset?\nmodel.train??", "if x:\n    !ls\n", "for i in range(3):\n    %time f(i)\n",
    "this is no Python", "%%html\n<b>", "# only a comment %x\n", "print('100%!')", "",
    "x = '''\n%d\n''' % 3", "a = b\\\n  % 2\n"])
def test_magics_stay(cell):
    text = notebook("import mrcnn", cell, "from mrcnn import utils")
    assert code_of(migrate_notebook(text).text) == ["import frcnn", cell,
                                                    "from frcnn import utils"]


def test_code_under_a_cell_magic_is_changed():
    assert code_of(migrate_notebook(notebook("%%time\nfrom mrcnn import utils\n")).text) == [
        "%%time\nfrom frcnn import utils\n"]


def test_installations_of_old_versions_are_named():
    text = notebook("%tensorflow_version 1.x\nimport mrcnn\n!pip install -q keras==2.1.6 scipy",
                    "!git clone https://github.com/matterport/Mask_RCNN\n!pip install tqdm")
    by_hand = [finding for finding in migrate_notebook(text).findings if finding.by_hand]
    assert [finding.place for finding in by_hand] == ["cell 1, line 1", "cell 1, line 3",
                                                      "cell 2, line 1"]
    assert all("leave this line out" in finding.message for finding in by_hand)
    assert migrate_notebook(notebook("!pip install keras==2.1.6")).findings == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"worksheets": []}', '{"cells": [1]}'])
def test_what_is_no_notebook(text):
    with pytest.raises(MigrationError, match="it is not a notebook of version 4"):
        migrate_notebook(text)


def test_a_notebook_of_something_else_stays():
    text = notebook("import torch\n%matplotlib inline\n", indent=None)
    assert migrate_notebook(text).text == text
