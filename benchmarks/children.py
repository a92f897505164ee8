"""Fresh processes for measurements, so that each has its own memory and nothing is warm.

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
    """A measuring process ended without a result; the message says how."""


def run(work, **arguments):
    """Runs `work(**arguments)` in a fresh process.

    Args:
        work: "module:function" of this package; the function returns what JSON can hold.

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
    raise ChildError(_reason(finished.returncode, finished.stderr))


def environment():
    """The environment of a measuring process: this one's, with the package on the path.

    Whether weights may change is left to each measurement.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != FROZEN_WEIGHTS}
    return {"TF_CPP_MIN_LOG_LEVEL": "2", **kept, "PYTHONPATH": os.pathsep.join(paths)}


def progress(text):
    """Says on the error stream what is being done."""
    print(text, file=sys.stderr, flush=True)


def _reason(code, errors):
    if code == -signal.SIGKILL:
        return ("The measuring process was killed, as the system does with a process for which "
                "there is no memory left; measure a smaller image or batch.")
    lines = "\n".join(errors.strip().splitlines()[-LINES_OF_AN_ERROR:])
    return f"The measuring process ended with the code {code} and without a result:\n{lines}"


def main(text):
    """The child's side."""
    arguments = json.loads(text)
    module, _, name = arguments.pop("work").partition(":")
    work = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    print(MARK + json.dumps(work(**arguments)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
