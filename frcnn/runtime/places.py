"""The paths of exported files."""

import os
import re
from pathlib import Path

from frcnn.errors import ArgumentError, OutputError
from frcnn.files import expanded
from frcnn.runtime.metadata import FORMATS

# The beginning of an OpenVINO model's `.xml`.
_MODEL = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>)?\s*<net[\s>]")
ENDINGS = {"savedmodel": "", "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}


def check_target(format: str, path: str | os.PathLike[str]) -> Path:
    """The path of an export, checked.

    Args:
        format: one of FORMATS.
        path: see `frcnn.export.export`.

    Raises:
        ArgumentError: there is no such format, or its files have another ending.
        OutputError: it is a folder, or, for "savedmodel", a file or a folder with content; for
            "openvino", there is something else than a model.
    """
    if format not in FORMATS:
        raise ArgumentError(f"format is {format!r}; allowed is one of {', '.join(FORMATS)}.")
    target = expanded(path)
    if format == "savedmodel":
        if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
            raise OutputError(f"{target} is there already; name a new folder.")
    elif target.suffix.lower() != ENDINGS[format]:
        raise ArgumentError(f"{target}: the name of a file of the format {format!r} ends in "
                            f"{ENDINGS[format]}.")
    elif target.is_dir():
        raise OutputError(f"{target} is a folder; name a file.")
    elif format == "openvino":
        _check_openvino(target)
    return target


def files_at(format: str, target: Path) -> list[Path]:
    """The files that an export writes; of a SavedModel, its folder."""
    return [target, target.with_suffix(".bin")] if format == "openvino" else [target]


def _check_openvino(target: Path) -> None:
    """Raises OutputError where one of the two files would replace what is no OpenVINO model.

    Annotations are `.xml` files, too, and nobody has named the `.bin`.
    """
    is_model = False
    if os.path.lexists(target):
        try:
            with open(target, "rb") as file:
                is_model = _MODEL.match(file.read(4096)) is not None
        except OSError as error:
            raise OutputError(f"{target} cannot be replaced ({error.strerror or error}); name "
                              "another file.") from error
        if not is_model:
            raise OutputError(f"{target} is there already and is no OpenVINO model, but something "
                              "else, such as annotations; name another file.")
    weights = target.with_suffix(".bin")
    if os.path.lexists(weights) and not is_model:
        raise OutputError(f"{weights}, which the weights of {target.name} would replace, is there "
                          "already and belongs to no OpenVINO model; delete it, or name another "
                          "file.")


def size_of(path: Path) -> int:
    """Bytes of an exported file, of a folder's files, or of OpenVINO's two."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    format = "openvino" if path.suffix.lower() == ENDINGS["openvino"] else ""
    return sum(part.stat().st_size for part in files_at(format, path))
