"""What every command-line program shares: its parser, its errors, warnings and exit codes."""

import argparse
import contextlib
import errno
import faulthandler
import functools
import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn, TextIO

from frcnn import errors
from frcnn.cli.options import join_range
from frcnn.errors import FrcnnError

# An error raised while Keras fetches a batch may arrive as text inside one of the backend's own.
_NAMES = "|".join(name for name in vars(errors) if name.endswith("Error"))
_OWN_ERROR = re.compile(rf"(?:{_NAMES}): (.+)")
_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|ResourceExhaustedError|OOM when allocating")
# Of the system's errors that TensorFlow raises as a ResourceExhaustedError, those of files.
_OF_FILES = [os.strerror(code) for code in (
    errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.ENFILE, errno.EMFILE,
    errno.EMLINK)]  # of two that begin alike, the longer first
_UTF8_ADVICE = ("set the environment variable PYTHONUTF8=1 or a locale with UTF-8, such as "
                "LC_ALL=C.UTF-8")
_warned: set[str] = set()
_debug: ContextVar[bool] = ContextVar("debug", default=False)


class _Debug(argparse.Action):
    """The action of `--debug`."""

    def __call__(self, *arguments: Any, **options: Any) -> None:
        _debug.set(True)
        with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr may be no file
            faulthandler.enable()


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports an error as one line, and has the option `--debug`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
                         **options)
        self.add_argument("--debug", action=_Debug, nargs=0,
                          help="show the stack trace of an error")

    def parse_known_args(  # type: ignore[override]  # typeshed has overloads
            self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As of ArgumentParser; `--range LOW HIGH` is one option of one or of two values."""
        return super().parse_known_args(join_range(sys.argv[1:] if args is None else args),
                                        namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {one_line(message)} ({self.prog} --help lists the "
                     "options)\n")


def program(main: Callable[..., int | None], name: str | None = None) -> Callable[..., Any]:
    """Decorates `main(argv, ...) -> exit code` so that a user's mistake is reported as one line.

    Exit codes: 0 done, 1 done in part, 2 the command or its input is wrong, 130 stopped by Ctrl-C.
    With `--debug`, the stack trace comes before the line.

    Args:
        main: the function; any other error, which is a bug, leaves it as it is.
        name: what messages begin with; default is main's argument `prog`, or its file's name.
    """
    prog = inspect.signature(main).parameters.get("prog")
    default_name = name or (prog.default if prog else Path(main.__code__.co_filename).name)

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None, **options: Any) -> Any:
        label = options.get("prog", default_name)
        _prepare_streams()
        before = _debug.set(False)
        try:
            with _one_line_warnings(label):
                _check_encoding(label)
                return main(argv, **options)
        except SystemExit as exit_request:  # argparse: --help and wrong options
            return exit_request.code or 0
        except KeyboardInterrupt:
            print(f"\n{label}: stopped.", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader of the output has ended, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            if _debug.get():
                traceback.print_exc()
            print(f"{label}: error: {message}", file=sys.stderr)
            return 2
        finally:
            _debug.reset(before)

    return wrapped


def _prepare_streams() -> None:
    """Makes output possible, whatever the terminal and the shell: UTF-8, and no closed streams.

    What a text has besides, as names that are not UTF-8 do, is escaped. In place of a stream that
    the shell has closed (`2>&-`) output is discarded; else the next file that is opened would take
    its number, and what a library prints would be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _check_encoding(label: str) -> None:
    """Says what to do where file names can only be ASCII, since others would not be found."""
    encoding = sys.getfilesystemencoding()
    if encoding == "ascii" and label not in _warned:
        _warned.add(label)
        print(f"{label}: warning: in this locale, file names can only be {encoding}, and files "
              f"with other names are not found; {_UTF8_ADVICE}.", file=sys.stderr)


@contextlib.contextmanager
def _one_line_warnings(name: str) -> Iterator[None]:
    """Shows the library's warnings as one line each, without the line of code that gave them."""
    original = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int,
             file: TextIO | None = None, line: str | None = None) -> None:
        if category is UserWarning:
            print(f"{name}: warning: {one_line(message)}", file=file or sys.stderr)
        else:
            original(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = original


def explain(error: BaseException) -> str | None:
    """One line on an error that a user can correct; None for any other error."""
    of_files = _of_files(error)
    if of_files is not None:
        return of_files
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(f"{type(error).__name__}: {error}"):
        return ("there is not enough memory" + (f" ({one_line(error)[:200]})" if str(error) else "")
                + "; use a smaller batch or smaller images (--batch-size, --image-size).")
    if isinstance(error, UnicodeEncodeError):
        encoding = sys.getfilesystemencoding()
        advice = "" if encoding == "utf-8" else f"; {_UTF8_ADVICE}"
        return (f"the name {error.object!r} cannot be written in the encoding of the file system, "
                f"{encoding}{advice}.")
    if isinstance(error, (FrcnnError, OSError)):
        return (one_line(error) or type(error).__name__) + _cause(error)
    found = _OWN_ERROR.findall(str(error))
    return one_line(found[-1]) if found else None


def _of_files(error: BaseException) -> str | None:
    """One line where TensorFlow's lack of a resource is one of files; None for another error."""
    text = one_line(f"{type(error).__name__}: {error}")
    if _OUT_OF_MEMORY.search(text):
        for reason in _OF_FILES:
            if reason in text:
                return f"a file cannot be written: {reason} ({one_line(error)[:200]})."
    return None


def _cause(error: BaseException) -> str:
    """What the operating system said, where an error's message leaves it out."""
    cause = error.__cause__
    if not isinstance(cause, OSError) or cause.errno == errno.ENOENT or not cause.strerror \
            or cause.strerror in str(error):
        return ""
    return f" ({one_line(cause.strerror)})"


def one_line(text: object) -> str:
    """A text as one line of printable characters: file names may contain control characters."""
    line = " ".join(str(text).split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def shows_progress() -> bool:
    """Whether progress bars have a terminal to be drawn on; in a log file they would pile up."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
