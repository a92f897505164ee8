"""What importing a module of the package loads."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", [
    "geometry.boxes", "geometry.anchors", "data", "data.resize", "data.targets", "config", "utils",
    "evaluate", "visualize", "cli.train",
])  # fmt: skip
def test_importing_loads_no_keras_and_no_backend(module):
    code = (f"import sys, frcnn.{module}\n"
            "print([name for name in ('keras', 'tensorflow', 'jax', 'torch') "
            "if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
