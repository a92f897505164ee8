"""What command-line programs share: one line for an error, exit codes."""

import errno
import os
import subprocess
import sys

import pytest

from frcnn.cli import main as cli
from frcnn.cli.program import Parser, explain, one_line, program
from frcnn.errors import ArgumentError, DatasetError


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


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's, which is raised for the lack of memory, disk, files and quota."""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE])
def test_what_tensorflow_lacks_of_files_is_not_called_memory(code):
    reason = os.strerror(code)
    for error in (ResourceExhaustedError(f"out/variables.data; {reason}"),
                  RuntimeError(f"RESOURCE_EXHAUSTED: out/variables.data; {reason} [Op:Save]")):
        told = explain(error)
        assert told is not None and "memory" not in told and "batch" not in told
        assert told.startswith(f"a file cannot be written: {reason} (") and "out/var" in told
    told = explain(ResourceExhaustedError("OOM when allocating tensor with shape[9]"))
    assert told is not None and "not enough memory" in told
    assert explain(RuntimeError(reason)) is None  # a bug, as far as is known


@pytest.mark.parametrize(("raised", "told"), [
    (ArgumentError("layers is 'x'."), "layers is 'x'."),
    (PermissionError(13, "Permission denied", "a.png"), "[Errno 13] Permission denied: 'a.png'"),
    (TimeoutError(), "TimeoutError"),
    (MemoryError("9 GB"), "there is not enough memory (9 GB); use a smaller batch or smaller "
                          "images (--batch-size, --image-size)."),
    (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), "there is not enough memory (RESOURCE_EXHAUSTED: "
     "9 GB); use a smaller batch or smaller images (--batch-size, --image-size)."),
    (UnicodeEncodeError("ascii", "ä.png", 0, 1, "ordinal not in range(128)"),
     "the name 'ä.png' cannot be written in the encoding of the file system, utf-8.")])
def test_what_a_user_can_put_right_is_one_line(capsys, raised, told):
    def main(argv):
        raise raised

    assert program(main, "tool")([]) == 2
    assert capsys.readouterr().err == f"tool: error: {told}\n"


@pytest.mark.parametrize("cause, told", [
    (PermissionError(13, "Permission denied"), "cannot be read (Permission denied)"),
    (FileNotFoundError(2, "No such file"), "cannot be read"), (KeyError("x"), "cannot be read"),
    (OSError(5, "cannot be read"), "cannot be read")])
def test_the_systems_reason_is_kept(cause, told):
    try:
        raise DatasetError("cannot be read") from cause
    except DatasetError as error:
        assert explain(error) == told


@pytest.mark.parametrize("arguments", [["--debug", "check", "{folder}"],
                                       ["check", "--debug", "{folder}"],
                                       ["check", "{folder}", "--debug"]])
def test_debug_shows_the_trace_and_then_the_line(capsys, tmp_path, arguments):
    absent = str(tmp_path / "absent")
    arguments = [argument.format(folder=absent) for argument in arguments]
    assert cli.main(arguments) == 2
    *trace, line = capsys.readouterr().err.splitlines()
    assert trace[0] == "Traceback (most recent call last):" and "folders.py" in "".join(trace)
    assert line.startswith(f"frcnn check: error: There is no data set folder {absent}")
    assert cli.main(["check", absent]) == 2  # the option holds for one call
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_debug(capsys, command):
    assert cli.main([command, "--help"]) == 0
    assert "--debug" in capsys.readouterr().out


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locales of this kind")
@pytest.mark.parametrize("settings", [
    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "utf-16"}, {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_output_is_utf8_whatever_the_terminal(settings):
    code = ("from frcnn.cli.program import program; import sys, warnings\n"
            "def main(argv):\n"
            "    print('Größe 細胞 \\udce4')\n"
            "    warnings.warn('Größe', stacklevel=2)\n"
            "    raise OSError('細胞')\n"
            "sys.exit(program(main, 'tool')())")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUTF8"}
    done = subprocess.run([sys.executable, "-X", "utf8=0", "-c", "exec(" + ascii(code) + ")"],
                          capture_output=True, check=False, env={**environment, **settings})
    assert done.returncode == 2
    assert done.stdout.decode("utf-8") == "Größe 細胞 \\udce4\n"
    assert done.stderr.decode("utf-8").splitlines()[-2:] == [
        "tool: warning: Größe", "tool: error: 細胞"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_closed_stream_does_not_become_part_of_a_file(tmp_path, closed):
    """The next file that is opened gets the number of a closed stream."""
    code = ("import os; from frcnn.cli.program import program, shows_progress\n"
            "def main(argv):\n"
            "    print('out'); shows_progress()\n"
            "    with open('precious', 'wb', buffering=0) as file:\n"
            "        os.write(1, b'noise'); os.write(2, b'noise')\n"
            "        file.write(b'data')\n"
            "program(main, 'tool')()")
    subprocess.run(["bash", "-c", f"{sys.executable} -c \"$CODE\" {closed}"], cwd=tmp_path,
                   env={**os.environ, "CODE": code}, capture_output=True, check=True)
    assert (tmp_path / "precious").read_bytes() == b"data"
