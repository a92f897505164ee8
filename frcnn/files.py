"""Files that are either whole or not there, and paths as people write them."""

import contextlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Yields a temporary path beside `path`; what is written there replaces `path` at the end.

    When anything goes wrong in between, the temporary file is removed and an older file at `path`
    stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def expanded(path):
    """The Path that a person means: `~` is the home folder, unless something has that very name.

    A name that only looks like a user's, as `~backup.png`, stays as it is.
    """
    path = Path(path)
    if os.path.lexists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or no home
        return path


def check_writable(folder, name="frcnn"):
    """Makes a folder if it is missing, and tries whether a file of that name can be written there.

    Raises:
        OSError: it cannot; nothing is left behind but the folder.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=f".{name}.", suffix=".tmp", dir=folder) as file:
        file.write(b"?")  # a full disk shows as late as this
        file.flush()
