"""New processes for measurements, so that each starts with unused memory and empty caches.

    python -m benchmarks.children '{"work": "network:measure", …}'

runs one function of a module of this package and prints its result as a line of JSON.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from frcnn.startup import FROZEN_WEIGHTS

ROOT = Path(__file__).parent.parent
MARK = "result: "
LINES_OF_AN_ERROR = 15


class ChildError(RuntimeError):
    """A measuring process ended without a result; the message has the reason."""


def run(work, **arguments):
    """Runs `work(**arguments)` in a new process.

    Args:
        work: "module:function" of this package; the function's result is stored as JSON.

    Returns:
        The result.

    Raises:
        ChildError: the process failed.
    """
    command = [sys.executable, "-m", "benchmarks.children",
               json.dumps({"work": work, **arguments})]
    finished = subprocess.run(command, env=environment(), capture_output=True, text=True,
                              check=False)
    for line in reversed(finished.stdout.splitlines()):
        if line.startswith(MARK) and finished.returncode == 0:
            return json.loads(line.removeprefix(MARK))
    raise ChildError(reason(finished.returncode, finished.stderr))


def environment():
    """The environment of a measuring process: this one's, with the package on the path.

    It leaves out the variable of `detection_only`: each measurement decides that itself.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != FROZEN_WEIGHTS}
    return {"TF_CPP_MIN_LOG_LEVEL": "2", **kept, "PYTHONPATH": os.pathsep.join(paths)}


def progress(text):
    """Prints a line of progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def reason(code, errors):
    """Why a measuring process with this exit code ended without a result, as text."""
    if code == -signal.SIGKILL:
        return ("The measuring process was killed, most likely because no memory was left; measure "
                "a smaller image or batch.")
    lines = "\n".join(errors.strip().splitlines()[-LINES_OF_AN_ERROR:])
    return f"The measuring process ended with exit code {code} and without a result:\n{lines}"


def main(text):
    """Runs in the new process: calls the function and prints its result."""
    arguments = json.loads(text)
    module, _, name = arguments.pop("work").partition(":")
    work = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    print(MARK + json.dumps(work(**arguments)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
