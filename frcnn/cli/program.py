"""What every command-line program shares: a parser whose errors are one line, and so are others."""

import argparse
import contextlib
import functools
import inspect
import os
import re
import sys
import warnings
from pathlib import Path

from frcnn.errors import FrcnnError

# An error raised while Keras fetches a batch may arrive as text inside one of the backend's own.
_OWN_ERROR = re.compile(r"(?:ImageError|DatasetError|ConfigError|CheckpointError): (.+)")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
                         **options)

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help lists the options)\n")


def program(main, name=None):
    """Decorates `main(argv, ...) -> exit code`, so that what a user can put right is one line.

    Exit codes: 0 done, 1 done in part, 2 the command or its input is wrong, 130 stopped by Ctrl-C.
    `name` is what messages begin with: by default main's argument `prog`, or the file's name.
    """
    prog = inspect.signature(main).parameters.get("prog")
    usual = name or (prog.default if prog else Path(main.__code__.co_filename).name)

    @functools.wraps(main)
    def wrapped(argv=None, **options):
        said = options.get("prog", usual)
        for stream in (sys.stdout, sys.stderr):  # a terminal may not know every letter
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            with _plain_warnings(said):
                return main(argv, **options)
        except SystemExit as leaving:  # argparse: --help and wrong options
            return leaving.code or 0
        except KeyboardInterrupt:
            print(f"\n{said}: stopped.", file=sys.stderr)
            return 130
        except BrokenPipeError:  # whoever read the output has left, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            print(f"{said}: error: {message}", file=sys.stderr)
            return 2

    return wrapped


@contextlib.contextmanager
def _plain_warnings(name):
    """Shows the library's warnings as one line each, without the line of code that gave them."""
    shown_before = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        if category is UserWarning:
            print(f"{name}: warning: {one_line(message)}", file=file or sys.stderr)
        else:
            shown_before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown_before


def explain(error):
    """One line on an error that a user can put right, or None for any other error."""
    if not isinstance(error, (FrcnnError, OSError)):
        found = _OWN_ERROR.findall(str(error))
        if not found:
            return None
        return one_line(found[-1])
    return one_line(error)


def one_line(text):
    """A text as one line that a terminal shows as it is: file names may hold anything."""
    line = " ".join(str(text).split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
