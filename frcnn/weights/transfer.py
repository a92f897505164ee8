"""Transfers of large files over HTTP that go on where they were interrupted.

What has come so far is kept in the folder `downloads` of the cache, with the server's tag of the
file's version, until the transfer is complete.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from frcnn.files import cache_folder

CHUNK = 1 << 20  # bytes
_OK, _PARTIAL, _NOT_SATISFIABLE = 200, 206, 416


class InsecureError(OSError):
    """An address of HTTPS leads to one without."""


class Transfer:
    """The transfer of one file; a context, after which what has come is kept only if it failed.

    Two processes do not write to one file: the second one starts anew, in a file of its own.

    Args:
        url: of HTTP, HTTPS or a file.
        is_checked: whether the file's content will be checked. Only then, or if the server says
            that the version is the same, an interrupted transfer goes on.
        timeout: seconds without an answer.

    Attributes:
        path: of the file.
        resumed: bytes that had come before, of those that are used.
        kept: bytes that are left for the next attempt, after the context.
    """

    def __init__(self, url: str, is_checked: bool, timeout: float) -> None:
        self.url, self.is_checked, self.timeout = url, is_checked, timeout
        self.path, self.resumed, self.kept = Path(), 0, 0
        self._file: IO[bytes] | None = None
        self._is_shared = False

    def __enter__(self) -> "Transfer":
        shared = _claimed(self.url)
        self._file, self._is_shared = shared or _private(), shared is not None
        self.path = Path(self._file.name)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._opened().close()
        size = self.path.stat().st_size if self.path.is_file() else 0
        if kind is None or not size or not self._is_shared:
            self.discard()
        else:
            self.kept = size

    def discard(self) -> None:
        """Deletes what has come, if it has not been moved elsewhere."""
        for path in (self.path, self._tag_path):
            path.unlink(missing_ok=True)

    def run(self, progress: Any = False) -> Path:
        """Fetches what is missing.

        Args:
            progress: a bar as pooch takes it, or False.

        Returns:
            The file's path.

        Raises:
            OSError: the server cannot be reached, or breaks off. What has come is kept.
        """
        # Imported here, since most programs never download anything.
        from pooch import HTTPDownloader

        file = self._opened()
        if self.url.startswith("file:"):  # a mirror on disk, which pooch cannot read
            file.truncate(0)
            with open(url2pathname(urlsplit(self.url).path), "rb") as mirror:
                shutil.copyfileobj(mirror, file)
            file.flush()
            return self.path
        headers = {"Accept-Encoding": "identity", **self._conditions()}
        download = HTTPDownloader(progressbar=progress, chunk_size=CHUNK, timeout=self.timeout,
                                  headers=headers, hooks={"response": self._begin})
        try:
            download(self.url, file, None)
        except _CannotResumeError:
            return self.restart(progress)
        return self.path

    def restart(self, progress: Any = False) -> Path:
        """Fetches all of it, whatever has come so far; as `run`."""
        self._forget()
        return self.run(progress)

    def _conditions(self) -> dict[str, str]:
        """The headers of a request for the rest; none for the whole."""
        size = self._opened().seek(0, os.SEEK_END)
        tag = self._tag_path.read_text("ascii") if self._tag_path.is_file() else ""
        self.resumed = size if size and (tag or self.is_checked) else 0
        if not self.resumed:
            return {}
        return {"Range": f"bytes={size}-", **({"If-Range": tag} if tag else {})}

    def _begin(self, response: Any, *args: Any, **kwargs: Any) -> None:
        """Prepares the file for what the server's answer, to requests, brings."""
        if response.is_redirect:
            return
        if self.url.startswith("https:") and not response.url.startswith("https:"):
            raise InsecureError(f"it leads to {response.url}, which is not encrypted")
        if response.status_code == _PARTIAL:
            if response.headers.get("Content-Range", "").startswith(f"bytes {self.resumed}-"):
                return
            raise _CannotResumeError
        if response.status_code == _NOT_SATISFIABLE and self.resumed:
            raise _CannotResumeError
        if response.status_code == _OK:
            self._forget()
            tag = response.headers.get("ETag", "")
            # A weak tag, W/"…", promises no equal bytes.
            if tag.startswith('"') and tag.isascii() and self._is_shared:
                self._tag_path.write_text(tag, "ascii")

    def _forget(self) -> None:
        file = self._opened()
        file.seek(0)
        file.truncate(0)
        self._tag_path.unlink(missing_ok=True)
        self.resumed = 0

    @property
    def _tag_path(self) -> Path:
        return self.path.with_name(self.path.name + ".tag")

    def _opened(self) -> IO[bytes]:
        assert self._file is not None, "outside of the context"
        return self._file


class _CannotResumeError(Exception):
    """The server cannot send the rest alone."""


def _folder() -> Path:
    return cache_folder() / "downloads"


def _claimed(url: str) -> IO[bytes] | None:
    """The file of a transfer, locked for this process; None if that is not possible."""
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        file = open(folder / f"{name}.part", "ab")  # noqa: SIM115 - Transfer closes it
    except (OSError, ValueError):  # no place, or no home
        return None
    if _locks(file):
        return file
    file.close()
    return None


def _locks(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # on Windows; what two processes mix up, the check of the content finds
        return True
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _private() -> IO[bytes]:
    handle, name = tempfile.mkstemp(suffix=".part")
    os.close(handle)
    return open(name, "ab")
