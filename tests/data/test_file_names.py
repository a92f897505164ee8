"""Files whose names are spelled otherwise than in the annotations: found if exactly one fits."""

import unicodedata

import pytest

from frcnn.data.file_names import FileFinder, spelling


@pytest.fixture
def make(tmp_path):
    def write(*names):
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode("utf-8"))
        return FileFinder([tmp_path / "data"])
    return write


def found(finder, name):
    """What is written in the file that is found; None without one."""
    path = finder.find(name).path
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


COMPOSED = unicodedata.normalize("NFC", "Zürich é.png")
PAIRS = {
    "letter case": ("cell.PNG", "Cell.png"),
    "backslashes": ("sub\\a.png", "sub/a.png"),
    "percent": ("a%20b.png", "a b.png"),
    "percent on disk": ("a b.png", "a%20b.png"),
    "percent of a letter": ("Z%C3%BCrich%20%C3%A9.png", COMPOSED),
    "decomposed": (unicodedata.normalize("NFD", COMPOSED), COMPOSED),
    "decomposed on disk": (COMPOSED, unicodedata.normalize("NFD", COMPOSED)),
    "sharp s": ("STRASSE.png", "straße.png"),
    "all at once": ("SUB\\A%20B.PNG", "sub/a b.png"),
    "dots": ("./sub//a.png", "sub/a.png"),
    "sub-folder": ("a.png", "deep/er/a.png"),
    "folders in front": ("upload/3/images/a.png", "images/a.png"),
}


@pytest.mark.parametrize("case", PAIRS)
def test_one_file_of_another_spelling(make, case):
    name, on_disk = PAIRS[case]
    finder = make(on_disk, "other.png", "x/y.png")
    assert found(finder, name) == on_disk
    finding = finder.find(name).finding(name, 7)
    if case != "dots":
        assert finding.repairable and finding.image_id == 7 and on_disk in finding.message


def test_the_very_name_comes_first(make):
    names = ["a.png", "A.png", "a%2Epng", "sub/a.png"]
    finder = make(*names)
    for name in names:
        assert found(finder, name) == name and not finder.find(name).how


@pytest.mark.parametrize(("name", "on_disk"), [
    ("a.PNG", ("a.png", "A.png")), ("a b.png", ("a%20b.png", "A b.png")),
    ("a.png", ("x/a.png", "y/a.png")),
])
def test_of_several_none_is_taken(make, name, on_disk):
    finder = make(*on_disk)
    assert found(finder, name) is None and finder.find(name).candidates == len(on_disk)


@pytest.mark.parametrize(("name", "on_disk"), [
    ("x/a.png", "a.png"), ("x/a.png", "y/a.png"), ("a.png", "a.jpg"), ("a.png", "ba.png"),
    ("%2E%2E/secret.png", "secret.png"),
])
def test_another_file_is_not_taken(make, name, on_disk):
    assert found(make(on_disk), name) is None


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "..\\secret.png", "C:\\a.png",
                                  "%2e%2e/secret.png", "a/../../secret.png"])
def test_nothing_outside_the_folder_is_found(make, tmp_path, name):
    finder = make("a.png")
    (tmp_path / "secret.png").write_text("secret")
    assert found(finder, name) is None


def test_links_to_folders_are_not_followed(make, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.png").write_text("secret")
    finder = make("b.png")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    assert found(finder, "A.png") is None and found(finder, "a.png") is None


def test_names_with_a_folder_may_begin_elsewhere(tmp_path):
    for name in ("train/a.png", "train/b.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    finder = FileFinder([tmp_path / "train"], also=[tmp_path])
    assert found(finder, "train/a.png") == "train/a.png"
    assert found(finder, "b.png") == "train/b.png"


def test_spelling():
    assert spelling("A\\B%20c.PNG") == spelling("a/b C.png") == "a/b c.png"
