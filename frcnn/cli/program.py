"""What every command-line program shares: its parser, its errors, warnings and exit codes."""

import argparse
import contextlib
import functools
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from frcnn.errors import FrcnnError

# An error raised while Keras fetches a batch may arrive as text inside one of the backend's own.
_OWN_ERROR = re.compile(r"(?:ImageError|DatasetError|ConfigError|CheckpointError): (.+)")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports an error as one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
                         **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help lists the options)\n")


def program(main: Callable[..., int | None], name: str | None = None) -> Callable[..., Any]:
    """Decorates `main(argv, ...) -> exit code` so that a user's mistake is reported as one line.

    Exit codes: 0 done, 1 done in part, 2 the command or its input is wrong, 130 stopped by Ctrl-C.

    Args:
        main: the function; any other error, which is a bug, leaves it as it is.
        name: what messages begin with; default is main's argument `prog`, or its file's name.
    """
    prog = inspect.signature(main).parameters.get("prog")
    default_name = name or (prog.default if prog else Path(main.__code__.co_filename).name)

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None, **options: Any) -> Any:
        label = options.get("prog", default_name)
        for stream in (sys.stdout, sys.stderr):  # a terminal may not be able to show a character
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            with _one_line_warnings(label):
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
            print(f"{label}: error: {message}", file=sys.stderr)
            return 2

    return wrapped


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
    if not isinstance(error, (FrcnnError, OSError)):
        found = _OWN_ERROR.findall(str(error))
        if not found:
            return None
        return one_line(found[-1])
    return one_line(error)


def one_line(text: object) -> str:
    """A text as one line of printable characters: file names may contain control characters."""
    line = " ".join(str(text).split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def shows_progress() -> bool:
    """Whether progress bars have a terminal to be drawn on; in a log file they would pile up."""
    return sys.stderr.isatty()
