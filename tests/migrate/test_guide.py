"""docs/migration.md: its code runs, its messages are those of the code, its names exist."""

import ast
import re

import pytest
from migrate_tools import draw_data, make_small, write_weights
from places import PROJECT
from readme_tools import blocks

from frcnn.config import Config
from frcnn.weights import download

TEXT = (PROJECT / "docs" / "migration.md").read_text(encoding="utf-8")
# What Python and NumPy say, which is not in the code here.
FOREIGN = {"No module named 'mrcnn'", "module 'numpy' has no attribute 'bool'", "np.sctypes",
           "was removed in the NumPy 2.0 release", "too many values to unpack (expected 2)"}


def literals():
    """The text of all string literals of the package, those of f-strings in pieces."""
    texts = []
    for path in (PROJECT / "frcnn").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        texts += [node.value for node in ast.walk(tree)
                  if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(texts)


def test_the_messages_are_those_of_the_code():
    table = TEXT[TEXT.index("| message |"):]
    cells = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    messages = [message for cell in cells for message in re.findall("`([^`]+)`", cell)]
    known = literals()
    assert len(messages) > 12
    for message in set(messages) - FOREIGN:
        assert message in known, message


def test_settings_exist():
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", TEXT))
    derived = {"BATCH_SIZE", "IMAGE_SHAPE", "IMAGE_META_SIZE"}
    assert named <= {*Config.setting_names(), *derived}, named - set(Config.setting_names())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_worked_example_runs(tmp_path, monkeypatch):
    draw_data(tmp_path)
    (tmp_path / "balloons").symlink_to(tmp_path / "data" / "via")
    monkeypatch.chdir(tmp_path)
    make_small(monkeypatch)
    write_weights(tmp_path)
    monkeypatch.setattr(download, "fetch", lambda source, path, verbose: str(path))
    namespace = {}
    python = [content for language, content in blocks(TEXT) if language == "python"]
    assert len(python) == 3
    for content in python:
        content = content.replace("epochs=10", "epochs=1").replace("epochs=20", "epochs=2")
        exec(compile(content, "migration.md", "exec"), namespace)
    assert (tmp_path / "balloons.png").is_file()
    assert len(list((tmp_path / "logs").glob("*/mask_rcnn_balloon_0002.h5"))) == 1
