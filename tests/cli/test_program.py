"""What command-line programs share: one line for an error, exit codes."""

import subprocess
import sys

import pytest

from frcnn.cli.program import Parser, explain, one_line, program
from frcnn.errors import DatasetError


@pytest.mark.parametrize(("raised", "code", "told"), [
    (DatasetError("a.json:\n is bad"), 2, "tool: error: a.json: is bad\n"),
    (FileNotFoundError("There is no x."), 2, "tool: error: There is no x.\n"),
    (KeyboardInterrupt(), 130, "\ntool: stopped.\n"),
    (SystemExit(3), 3, ""),
])
def test_exit_codes(capsys, raised, code, told):
    def main(argv):
        raise raised

    assert program(main, "tool")([]) == code
    assert capsys.readouterr().err == told


def test_bugs_keep_their_traceback():
    def main(argv):
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        program(main, "tool")([])


def test_the_name_is_the_files_by_default(capsys):
    def main(argv):
        raise DatasetError("bad")

    assert program(main)([]) == 2
    assert capsys.readouterr().err == "test_program.py: error: bad\n"


def test_wrong_options_are_one_line(capsys):
    def main(argv):
        Parser(prog="tool").parse_args(argv)

    assert program(main, "tool")(["--what"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "tool: error: unrecognized arguments: --what (tool --help lists the options)"]


def test_warnings_are_one_line(capsys):
    code = ("import warnings; from frcnn.cli.program import program\n"
            "program(lambda _: warnings.warn('a.png\\nis\\x1b[31m red', stacklevel=2), 'tool')()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "tool: warning: a.png is\\x1b[31m red\n"


def test_text_that_a_terminal_would_obey_is_escaped():
    assert one_line("a\x1b[2Jb\ud800  c\nd\x07é") == "a\\x1b[2Jb\\ud800 c d\\x07é"


def test_errors_that_a_backend_wraps():
    assert explain(RuntimeError("x\n frcnn.errors.ImageError: a.png: broken\n y")) \
        == "a.png: broken"
    assert explain(RuntimeError("a bug")) is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no broken pipes")
def test_a_reader_that_leaves_ends_the_program_quietly():
    code = ("import sys; from frcnn.cli.program import program\n"
            "sys.exit(program(lambda _: [print('x' * 100) for _ in range(10000)], 'tool')())")
    command = f"{sys.executable} -c \"$CODE\" | head -n 1"
    done = subprocess.run(["bash", "-c", command], env={"CODE": code}, capture_output=True,
                          text=True, check=False)
    assert done.stdout == "x" * 100 + "\n" and done.stderr == ""
