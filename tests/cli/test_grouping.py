"""Which images are one sample: by folder, by an expression, by a table; and what is refused."""

import pytest

from frcnn.cli.grouping import group
from frcnn.errors import ArgumentError, DatasetError

IMAGES = ["scans/p1/a.png", "scans/p1/b.png", "scans/p2/a.png", "scans/p2/deep/c.png"]


def test_folders():
    assert group(IMAGES, "folder") == {"p1": [0, 1], "p2": [2], "p2/deep": [3]}
    assert group(IMAGES[:2], "folder") == {"p1": [0, 1]}
    assert group(["/x/a.png", "b.png"], "folder") == {"/x": [0], ".": [1]}
    assert list(group(["/data/s7/a.png"], "folder")) == ["s7"]
    assert group([], "folder") == {}


def test_expressions():
    names = ["x7/s12_1.png", "x7/s12_2.png", "x7/s3_1.png"]
    assert group(names, r"(s\d+)_") == {"s12": [0, 1], "s3": [2]}
    assert group(names, r"s\d+") == {"s12": [0, 1], "s3": [2]}
    assert group(names, r"\d+") == {"12": [0, 1], "3": [2]}  # of the name, and not of the folder
    assert group(names, r"(\w+)/") == {"x7": [0, 1, 2]}
    with pytest.raises(ArgumentError, match=r"--samples s\(: .*; give 'folder', a regular expr"):
        group(names, "s(")
    with pytest.raises(ArgumentError, match=r"x7/s3_1\.png does not match, so that it belongs to "
                                            "no sample"):
        group(names, r"s(1\d)")
    with pytest.raises(ArgumentError, match="does not match"):
        group(names, r"()s")  # a sample without a name


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "samples.csv"
        path.write_text(text, encoding=encoding)
        return str(path)

    return write


@pytest.mark.parametrize("text", [
    "file,sample\np1/a.png,Ann\np2/a.png,Bo\nb.png,Ann\nc.png,Bo\n",
    "sample;note;file\nAnn;;scans/p1/a.png\nBo;;./scans/p2/a.png\nAnn;x;p1/b.png\nBo;;deep/c.png",
    "File,Sample\r\np1\\a.png, Ann\r\n\r\nP2/A.PNG,Bo\r\nb.png,Ann\r\n\"c.png\",Bo\r\n,\r\n",
])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tables(table, text, encoding):
    """Files with as many of their folders as needed, in any order, separated as Excel likes."""
    assert group(IMAGES, table(text, encoding)) == {"Ann": [0, 1], "Bo": [2, 3]}


WHOLE = "file,sample\np1/a.png,A\np1/b.png,A\np2/a.png,B\nc.png,B\n"


@pytest.mark.parametrize(("text", "message"), [
    ("", r"has the columns \(none\); its first line must name the columns file and sample"),
    ("image,patient\na.png,1\n", "has the columns image, patient; its first line must name"),
    ("file,file,sample\n", "once each"),
    (WHOLE + "d.png,B\n", r"line 6: d\.png is not among the images; correct its name, add it"),
    (WHOLE + "p3/a.png,B\n", r"line 6: p3/a\.png is not among the images"),
    (WHOLE + "scans/p1/a.png,A\n", r"lists scans/p1/a\.png twice, in the lines 2 and 6; delete"),
    (WHOLE.replace("p1/b.png,A", "p1/a.png,B"), r"lists scans/p1/a\.png twice, in the lines 2 and"),
    ("file,sample\na.png,A\n", r"line 2: a\.png may be .*p1/a\.png or .*p2/a\.png; write its fol"),
    ("file,sample\nb.png,A\n", r"p1/a\.png and 2 more images have no sample in .*; list every"),
    (WHOLE.replace("c.png,B\n", ""), r"deep/c\.png has no sample in"),
    (WHOLE + "b.png,\n", "line 6: the sample is empty; fill it in"),
    (WHOLE + ",B\n", "line 6: the file is empty"),
    (WHOLE + '"' + "x" * 200_000 + '",B\n', "line 6: field larger than field limit"),
])
def test_a_table_that_is_wrong_is_refused_in_a_sentence(table, text, message):
    with pytest.raises(DatasetError, match=message) as caught:
        group(IMAGES, table(text))
    assert "samples.csv" in str(caught.value)


def test_a_table_that_cannot_be_read(table, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such table"):
        group(IMAGES, str(tmp_path / "none.csv"))
    with pytest.raises(DatasetError, match=r"is not UTF-8 .*; save it as CSV in UTF-8"):
        group(IMAGES, table("file,sample\nb.png,Jürgen\n", "latin-1"))
