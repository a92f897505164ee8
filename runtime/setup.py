"""frcnn-runtime: the sources of frcnn with what detection with exported files needs, no more.

pip cannot leave out requirements, so that the package without TensorFlow and Keras is a
distribution of its own. Install it or frcnn, not both: they have the same files.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PROJECT = HERE.parent
SOURCE = (PROJECT / "frcnn" / "__init__.py").read_text("utf-8")
VERSION = re.search(r'__version__ = "([^"]+)"', SOURCE).group(1)
# Of requirements.txt: what frcnn.runtime and `frcnn detect` import.
NEEDED = ("numpy", "pillow", "platformdirs", "tqdm")
REQUIREMENTS = [line for line in (PROJECT / "requirements.txt").read_text("utf-8").splitlines()
                if line.split(">=")[0] in NEEDED]

setup(
    name="frcnn-runtime",
    version=VERSION,
    description="Detection with exported frcnn detectors, without TensorFlow and Keras",
    license="MIT",
    package_dir={"": ".."},
    packages=find_packages("..", include=["frcnn", "frcnn.*"]),
    package_data={"frcnn": ["py.typed"], "frcnn.report": ["*.html", "*.css"],
                  "frcnn.serve": ["page/*"]},
    entry_points={"console_scripts": ["frcnn = frcnn.cli.main:entry"]},
    python_requires=">=3.11",
    install_requires=REQUIREMENTS,
    extras_require={
        "onnx": ["onnxruntime>=1.32"],
        "openvino": ["openvino>=2026.4"],
        "litert": ["ai-edge-litert>=2.3"],
    },
)
