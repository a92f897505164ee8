"""Scripts, notebooks and folders of them: reading, changing and writing copies."""

import io
import os
import tokenize
from collections.abc import Iterator
from pathlib import Path

from frcnn.errors import MigrationError, OutputError
from frcnn.files import expanded, replacing
from frcnn.migrate.notebook import migrate_notebook
from frcnn.migrate.scope import is_reference_file
from frcnn.migrate.script import Migrated, migrate_script

SUFFIXES = (".py", ".ipynb")
_SUFFIX = "_frcnn"  # of the copies


def scripts_in(path: Path) -> list[Path]:
    """The scripts and notebooks to look at: the file itself, or all those in a folder.

    Hidden folders, virtual environments and the reference's own modules are left out.

    Raises:
        MigrationError: it is neither, or there are none.
    """
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise MigrationError(f"{path} is neither a script (.py) nor a notebook (.ipynb).")
        return [path]
    if not path.is_dir():
        raise MigrationError(f"There is no {path}; name a script, a notebook or a folder of them.")
    found = [file for file in _walk(path) if not is_reference_file(file)]
    if not found:
        raise MigrationError(f"{path} has no scripts (.py) or notebooks (.ipynb).")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".")
                            and name != "__pycache__"
                            and not os.path.exists(os.path.join(place, name, "pyvenv.cfg")))
        yield from (Path(place) / name for name in sorted(files) if name.endswith(SUFFIXES))


def migrate_file(path: Path, alone: bool = True) -> tuple[Migrated, str]:
    """Changes the text of a script or notebook; the file stays as it is.

    Args:
        path: of the script or notebook.
        alone: whether the scripts beside it are not changed with it.

    Returns:
        The changed text with its findings, and its encoding.

    Raises:
        MigrationError: it cannot be read.
    """
    try:
        data = path.read_bytes()
        encoding = "utf-8"
        if path.suffix == ".py":
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
        change = migrate_notebook if path.suffix == ".ipynb" else migrate_script
        return change(text, path.parent, alone), encoding
    except MigrationError as error:
        raise MigrationError(f"{path}: {error}.") from error
    except (RecursionError, MemoryError) as error:
        raise MigrationError(f"{path} is nested too deeply.") from error
    except (OSError, SyntaxError, UnicodeError) as error:
        raise MigrationError(f"{path} cannot be read: {error}.") from error


def target_of(path: Path, base: Path, output: str | None) -> Path:
    """Where the copy of a script is written.

    Args:
        path: of the script.
        base: what was named: the script, or a folder that it is in.
        output: the file or folder to write, or None for one beside it, with the ending `_frcnn`.

    Raises:
        OutputError: there is such a file already.
    """
    if base.is_dir():
        folder = expanded(output) if output else base.absolute().with_name(
            f"{base.absolute().name}{_SUFFIX}")
        target = folder / path.relative_to(base)
    elif output is not None and not expanded(output).is_dir():
        target = expanded(output)
    elif output is not None:
        target = expanded(output) / path.name
    else:
        target = path.with_name(f"{path.stem}{_SUFFIX}{path.suffix}")
    if target.suffix != path.suffix:
        raise OutputError(f"--output {output}: name a folder, or a file that ends in "
                          f"{path.suffix}.")
    if os.path.lexists(target):
        raise OutputError(f"{target} is there already; name another place with --output.")
    return target


def write_copy(target: Path, text: str, encoding: str) -> None:
    """Writes a changed script, atomically."""
    with replacing(target) as temporary:
        temporary.write_bytes(text.encode(encoding))
