"""Files that are either whole or not there."""

import os

import pytest

from frcnn.files import replacing


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "made" / "it.txt"
    for text in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent  # so that replacing is one step of the disk
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["it.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_content_and_nothing_more(tmp_path, error):
    path = tmp_path / "it.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["it.txt"]
