"""Which images belong to one sample, such as a patient's: by folder, by name, or by a table."""

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from frcnn.data.file_names import spelling
from frcnn.errors import ArgumentError, DatasetError
from frcnn.files import expanded

FOLDER = "folder"
FILE_COLUMN, SAMPLE_COLUMN = "file", "sample"
_DELIMITERS = ",;\t"


def group(images: Sequence[str], how: str) -> dict[str, list[int]]:
    """The images of each sample.

    Args:
        images: their paths.
        how: "folder": images of a folder are a sample; a name that ends in .csv: a table with the
            columns `file` and `sample`; else a regular expression, whose first group, or all that
            it matches, is the sample's name. It is searched for in the file's name, or, if it has
            a "/", in the path, with "/" between folders.

    Returns:
        Sample → places in `images`, samples in the order of their first image.

    Raises:
        ArgumentError: the expression is none, or an image does not match it.
        DatasetError: the table is unusable, lists a file twice or one that is not among the
            images, or leaves one out.
        FileNotFoundError: there is no such table.
    """
    if how == FOLDER:
        names = _folders(images)
    elif is_table(how):
        names = _from_table(images, how)
    else:
        names = list(_matches(images, how))
    samples: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        samples[name].append(place)
    return dict(samples)


def _folders(images: Sequence[str]) -> list[str]:
    """The folder of each image, from the folder on that all have in common."""
    parents = [str(PurePosixPath(_slashes(image)).parent) for image in images]
    if len(set(parents)) == 1:
        return [PurePosixPath(os.path.abspath(parent)).name or parent for parent in parents]
    try:
        common = os.path.commonpath(parents)
    except ValueError:  # absolute and relative ones
        return parents
    return [os.path.relpath(parent, common) if common else parent for parent in parents]


def _slashes(path: str) -> str:
    return path.replace(os.sep, "/")


def _matches(images: Sequence[str], pattern: str) -> Iterator[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ArgumentError(f"--samples {pattern}: {error}; give 'folder', a regular expression "
                            "such as '(patient[0-9]+)_', or a table that ends in .csv.") from error
    for image in images:
        text = _slashes(image)
        found = expression.search(text if "/" in pattern else text.rpartition("/")[2])
        name = found and (found[1] if expression.groups else found[0])
        if not name:
            raise ArgumentError(f"--samples {pattern}: {image} does not match, so that it belongs "
                                "to no sample; change the expression, or leave the image out.")
        yield name


# --- tables -------------------------------------------------------------------------------------


def _from_table(images: Sequence[str], text: str) -> list[str]:
    by_name: dict[str, list[int]] = defaultdict(list)
    spelled = [spelling(_slashes(os.path.abspath(image))) for image in images]
    for place, path in enumerate(spelled):
        by_name[path.rpartition("/")[2]].append(place)
    names: dict[int, str] = {}
    lines: dict[int, int] = {}
    for line, file, sample in _rows(text):
        place = _place_of(file, spelled, by_name, f"{text}, line {line}")
        if place in lines:
            raise DatasetError(f"{text} lists {images[place]} twice, in the lines {lines[place]} "
                               f"and {line}; delete one of them.")
        names[place], lines[place] = sample, line
    left = [image for place, image in enumerate(images) if place not in names]
    if left:
        more = f" and {len(left) - 1} more images have" if len(left) > 1 else " has"
        raise DatasetError(f"{left[0]}{more} no sample in {text}; list every image, or leave it "
                           "out of the input.")
    return [names[place] for place in range(len(images))]


def _place_of(file: str, spelled: Sequence[str], by_name: Mapping[str, list[int]], where: str
              ) -> int:
    """The place of the image that a table names, with as many of its folders as it likes."""
    wanted = spelling(_slashes(file)).removeprefix("./").lstrip("/")
    candidates = by_name.get(wanted.rpartition("/")[2], [])
    fitting = [place for place in candidates if f"{spelled[place]}".endswith(f"/{wanted}")]
    if not fitting:
        raise DatasetError(f"{where}: {file} is not among the images; correct its name, add it to "
                           "the input, or delete the line.")
    if len(fitting) > 1:
        raise DatasetError(f"{where}: {file} may be {spelled[fitting[0]]} or "
                           f"{spelled[fitting[1]]}; write its folders, too.")
    return fitting[0]


def _rows(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, file, sample) of a table."""
    path = expanded(text)
    try:
        content = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"--samples {text}: there is no such table.") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{text} is not UTF-8 ({error.reason}); save it as CSV in UTF-8."
                           ) from error
    first = content.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(content.splitlines(keepends=True), delimiter=delimiter)
    try:
        yield from _checked_rows(text, reader)
    except csv.Error as error:
        raise DatasetError(f"{text}, line {reader.line_num}: {error}; save it as CSV again."
                           ) from error


def _checked_rows(text: str, reader: Any) -> Iterator[tuple[int, str, str]]:
    columns = [name.strip().lower() for name in next(reader, [])]
    for name in (FILE_COLUMN, SAMPLE_COLUMN):
        if columns.count(name) != 1:
            raise DatasetError(f"{text} has the columns {', '.join(columns) or '(none)'}; its "
                               f"first line must name the columns {FILE_COLUMN} and "
                               f"{SAMPLE_COLUMN}, once each.")
    file_column, sample_column = columns.index(FILE_COLUMN), columns.index(SAMPLE_COLUMN)
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        cells = [cell.strip() for cell in row] + [""] * len(columns)
        file, sample = cells[file_column], cells[sample_column]
        if not file or not sample:
            missing = SAMPLE_COLUMN if file else FILE_COLUMN
            raise DatasetError(f"{text}, line {reader.line_num}: the {missing} is empty; fill it "
                               "in, or delete the line.")
        yield reader.line_num, file, sample


def is_table(how: str | None) -> Path | None:
    """The path of the table that `--samples` names; None if it names none."""
    return expanded(how) if how is not None and how.lower().endswith(".csv") else None
